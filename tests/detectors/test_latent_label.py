from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score

from gradient_batches import dense_batch, head_batch
from ogacli.config.commands import scan
from ogacli.detectors import detectors
from ogacli.errors import DataError, GradientError
from ogacli.gradients import GradientBatch
from ogacli.scan import fitting
from small_scans import make_place


def test_it_learns_which_classes_are_confused() -> None:
    """Of two labels with equal predicted probability, the frequent confusion is the more likely error."""
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


def test_neighbours_find_wrong_labels_that_the_model_has_learned() -> None:
    """Predictions follow half of the wrong labels, features those of the true class."""
    generator = torch.Generator().manual_seed(0)
    n, k, h = 600, 3, 200
    true = torch.arange(n) % k
    wrong = torch.rand(n, generator=generator) < 0.2
    labels = torch.where(wrong, (true + 1) % k, true)
    features = torch.randn(n, h, generator=generator) + torch.randn(k, h, generator=generator)[true]
    learned = torch.rand(n, generator=generator) < 0.5
    logits = torch.randn(n, k, generator=generator)
    logits[torch.arange(n), torch.where(learned, labels, true)] += 4
    batch = GradientBatch(torch.arange(n), labels, logits, logits, features, [])

    def found(batch: GradientBatch, **options: int) -> torch.Tensor:
        detector = detectors.get("latent_label")(**options).detector()
        detector.fit([batch])
        return detector.score(batch)

    alone = found(batch, neighbours=0)
    assert torch.equal(alone, found(replace(batch, features=None)))
    together = found(batch)
    known = average_precision_score(wrong, alone)
    assert average_precision_score(wrong, together) > known + 0.1
    assert average_precision_score(wrong, found(batch, bank=150)) > known + 0.1


@pytest.mark.parametrize(("n", "k", "count"), [(400, 10, 20), (60, 10, 6), (29, 10, None), (400, 2, 20)])
def test_as_many_neighbours_as_classes_have_samples(n: int, k: int, count: int | None) -> None:
    detector = detectors.get("latent_label")().detector()
    detector.fit([head_batch(n, k)])
    assert (detector.neighbours and detector.neighbours.count) == count


def test_it_is_fitted_to_at_most_fit_samples() -> None:
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


def test_refitting_to_the_evidence_is_fitting_to_the_batches() -> None:
    batch = head_batch(300)
    detector, other = (detectors.get("latent_label")().detector() for _ in range(2))
    detector.held_out = True
    detector.fit([batch])
    evidence = detector.evidence(batch)
    other.refit(evidence, batch.labels)
    true = other.true_class(evidence, batch.labels)
    torch.testing.assert_close(true.exp().sum(1), torch.ones(300, dtype=torch.float64))
    found = other.wrong(true, batch.labels)
    torch.testing.assert_close(found, detector.score(batch))
    torch.testing.assert_close(found, 1 - true.exp().gather(1, batch.labels[:, None])[:, 0])


@pytest.mark.parametrize("layers", ["head", "all"])
@pytest.mark.parametrize("room", [0, 20_000, 1 << 30])
def test_a_scan_need_not_hold_gradients_for_it(tmp_path, monkeypatch, layers, room) -> None:
    """Batches that do not fit in memory between fitting and scoring are computed again."""
    place = make_place(tmp_path, detector=["latent_label", "l2"])
    held = scan(place.config(f"gradients.layers={layers}"), output=tmp_path / "held")
    monkeypatch.setattr(fitting, "_HELD_BYTES", 0)
    monkeypatch.setattr(fitting, "_KEPT_BYTES", room)
    again = scan(place.config(f"gradients.layers={layers}"), output=tmp_path / "again")
    for column in ("score", "score_l2"):
        np.testing.assert_allclose(again.scores[column].to_numpy(), held.scores[column].to_numpy(), rtol=1e-5)


def test_no_more_candidates_are_held_than_are_fitted(monkeypatch: pytest.MonkeyPatch) -> None:
    batch, found = head_batch(400), []
    monkeypatch.setattr("ogacli.detectors.latent_label._ENTRIES", 10 * 250)
    detector = detectors.get("latent_label")().detector()
    detector.fit(found.append(i) or batch.select(slice(i, i + 50)) for i in range(0, 400, 50))
    assert found == [0, 50, 100, 150, 200], "five batches of fifty"
    assert len(detector.neighbours.rows) == 250
    assert torch.isfinite(detector.score(batch)).all()
