import numpy as np
import pytest
import torch

from gradient_batches import dense_batch, head_batch
from ogacli import stream
from ogacli.detectors import detectors
from ogacli.errors import DataError, GradientError
from ogacli.scan import scan
from small_scans import make_place


def test_it_knows_which_classes_are_taken_for_each_other() -> None:
    """Of two labels that the model believes as little, the usual confusion is the more likely mistake."""
    generator = torch.Generator().manual_seed(0)
    true = torch.arange(3000) % 3
    labels = torch.where((true == 0) & (torch.rand(3000, generator=generator) < 0.3), 1, true)
    logits = torch.randn(3000, 3, generator=generator)
    logits[torch.arange(3000), true] += 4
    labels[0], logits[0] = 1, torch.tensor([4.0, 0, 0])
    labels[3], logits[3] = 2, torch.tensor([4.0, 0, 0])
    batch, detector = dense_batch(logits, labels), detectors.get("latent_label")().detector()
    detector.fit([batch])
    usual, strange = detector.score(batch)[[0, 3]].tolist()
    assert usual > strange > 0.5


def test_it_is_fitted_to_no_more_samples_than_asked() -> None:
    detector = detectors.get("latent_label")(fit_samples=50).detector()
    assert detector.fit_size(40) == 40
    assert detector.fit_size(400) == 50


def test_no_sample() -> None:
    with pytest.raises(DataError, match="no sample to fit the label noise to"):
        detectors.get("latent_label")().detector().fit([])


def test_labels_must_be_classes() -> None:
    batch = dense_batch(torch.randn(4, 3), torch.zeros(4, dtype=torch.int64))
    single = dense_batch(torch.randn(4, 1), torch.zeros(4, dtype=torch.int64))
    detectors.get("latent_label")().detector().fit([batch])
    with pytest.raises(GradientError, match=r"detector\.name latent_label: label quality takes one class"):
        detectors.get("latent_label")().detector().fit([single])


def test_judging_answers_is_fitting_and_scoring_them() -> None:
    batch = head_batch(300)
    detector, other = (detectors.get("latent_label")().detector() for _ in range(2))
    detector.fit([batch])
    torch.testing.assert_close(other.judge(batch.logits, batch.labels), detector.score(batch))


@pytest.mark.parametrize("layers", ["head", "all"])
def test_a_scan_need_not_hold_gradients_for_it(tmp_path, monkeypatch, layers) -> None:
    """Answers are kept where the factors of the gradients would be too many."""
    place = make_place(tmp_path, detector=["latent_label", "l2"])
    held = scan(place.config(f"gradients.layers={layers}"), output=tmp_path / "held")
    monkeypatch.setattr(stream, "_HELD_BYTES", 0)
    kept = scan(place.config(f"gradients.layers={layers}"), output=tmp_path / "kept")
    for column in ("score", "score_l2"):
        np.testing.assert_allclose(kept.scores[column].to_numpy(), held.scores[column].to_numpy(), rtol=1e-5)
