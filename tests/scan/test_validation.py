"""The ``validation:`` section, in whole scans."""

import json
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import yaml

from ogacli.config import parse_config
from ogacli.config.commands import scan
from ogacli.errors import ConfigError, DataError, RunError
from ogacli.run.directory import Run
from reference import head_gradients
from reference_influence import against, block_diagonal, dampings, datainf_inverse
from small_scans import H, K, Place, make_place

TRACING: dict[str, Any] = {"name": "gradient_tracing"}


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """With a second dataset, ``validation.npz``."""
    place = make_place(tmp_path / "place")
    rng = np.random.default_rng(5)
    y = np.concatenate([np.arange(K), rng.integers(0, K, 37)])
    x = rng.normal(size=(40, H)).astype(np.float32)
    np.savez(place.folder / "validation.npz", x=x, y=y)
    section = {"source": "arrays", "path": "validation.npz", "x": "x", "y": "y"}
    place.write_config(validation=section, detector=[TRACING, {"name": "datainf"}])
    return place


def gradients(place: Place, name: str) -> torch.Tensor:
    """Of the head, one backward each."""
    module, head = place.network()
    arrays = np.load(place.folder / name)
    return head_gradients(
        module, head, torch.tensor(arrays["x"]), torch.tensor(arrays["y"]), F.cross_entropy
    ).double()


def scores(run: Run, column: str) -> torch.Tensor:
    return torch.tensor(np.array(run.scores[column]))


@pytest.mark.parametrize("size", [7, 500])
def test_scores_are_against_the_mean_validation_gradient(place: Place, size: int) -> None:
    run = scan(place.config(f"gradients.batch_size={size}"))
    own, mean = gradients(place, "data.npz"), gradients(place, "validation.npz").mean(0)
    torch.testing.assert_close(scores(run, "score"), -(own @ mean), rtol=1e-4, atol=1e-6)
    sizes = [len(mean) - K, K]
    lambdas = dampings(own, sizes, 0.1)
    pieces = zip(own.split(sizes, 1), lambdas, strict=True)
    inverse = block_diagonal([datainf_inverse(piece, damping) for piece, damping in pieces])
    expected = against(own, inverse, mean)
    torch.testing.assert_close(
        scores(run, "score_datainf"), expected, rtol=1e-3, atol=1e-4 * float(expected.abs().max())
    )


def test_all_layers_hold_the_same_for_the_head_s_parameters(place: Place) -> None:
    head = scan(place.config("gradients.layers=head"), output=place.folder / "head")
    named = scan(place.config("gradients.layers=[head.*]"), output=place.folder / "named")
    for column in ("score", "score_datainf"):
        one, other = scores(head, column), scores(named, column)
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5 * float(one.abs().max()))


def test_samples_that_must_be_computed_again_are(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """LiSSA goes through its samples again and again; that they are held in memory is only quicker."""
    text = "detector=[{name: lissa}, {name: datainf, against: self}]"
    held = scan(place.config(text), output=place.folder / "held")
    monkeypatch.setattr(import_module("ogacli.scan.fitting"), "_HELD_BYTES", 0)
    again = scan(place.config(text), output=place.folder / "again")
    for column in ("score", "score_datainf_self"):
        # Another batch size is another rounding of the network's float32.
        torch.testing.assert_close(scores(again, column), scores(held, column), rtol=1e-4, atol=1e-6)


def test_without_the_section_the_training_gradients_stand_in(place: Place) -> None:
    place.write_config(validation=None, detector=[TRACING])
    run = scan(place.config())
    own = gradients(place, "data.npz")
    torch.testing.assert_close(scores(run, "score"), -(own @ own.mean(0)), rtol=1e-4, atol=1e-6)
    assert run.provenance["validation"] is None


def test_against_validation_needs_the_section(place: Place) -> None:
    place.write_config(validation=None, detector=[TRACING | {"against": "validation"}])
    with pytest.raises(ConfigError, match="nothing to compare the samples with"):
        scan(place.config())


def test_the_run_says_what_it_was_held_against(place: Place) -> None:
    run = scan(place.config())
    found = run.provenance["validation"]
    assert found["samples"] == 40
    validation = place.config().validation
    assert validation is not None
    assert found["fingerprint"] == validation.open().fingerprint
    assert run.config["validation"]["source"] == "arrays"
    again = scan(parse_config(run.config_file.read_text()), output=place.folder / "again")
    assert torch.equal(scores(again, "score"), scores(run, "score"))


def test_it_is_not_opened_for_detectors_that_do_not_want_it(place: Place) -> None:
    (place.folder / "validation.npz").unlink()
    run = scan(place.config("detector=[l2, {name: datainf, against: self}]"))
    assert run.provenance["validation"] is None


def test_non_finite_validation_samples_do_not_count(place: Place) -> None:
    before = scan(place.config("detector=gradient_tracing"), output=place.folder / "before")
    arrays = dict(np.load(place.folder / "validation.npz"))
    extra = {"x": np.full((3, H), np.inf, np.float32), "y": np.zeros(3, np.int64)}
    both = {name: np.concatenate([arrays[name], extra[name]]) for name in arrays}
    np.savez(place.folder / "validation.npz", **both)
    after = scan(place.config("detector=gradient_tracing"), output=place.folder / "after")
    torch.testing.assert_close(scores(after, "score"), scores(before, "score"))
    np.savez(place.folder / "validation.npz", x=np.full((4, H), np.inf, np.float32), y=np.arange(4) % K)
    with pytest.raises(DataError, match=r"none of the validation samples has a gradient"):
        scan(place.config(), output=place.folder / "none")


def test_other_classes_are_refused(place: Place) -> None:
    np.savez(place.folder / "validation.npz", x=np.zeros((4, H), np.float32), y=np.arange(4))
    with pytest.raises(DataError, match=r"validation: the validation samples have other classes"):
        scan(place.config())


def test_a_table_of_outputs_is_refused(place: Place) -> None:
    np.save(place.folder / "p.npy", np.full((120, K), 1 / K, np.float32))
    place.write_config(model={"source": "precomputed", "probabilities": "p.npy"})
    with pytest.raises(ConfigError, match=r"validation: the model is a table of outputs"):
        scan(place.config())


def test_mistakes_in_the_section_name_their_line(place: Place) -> None:
    place.write_config(validation={"source": "digits", "splt": "test"})
    with pytest.raises(
        ConfigError, match=r"config.yaml:\d+: validation.splt: unknown key; did you mean 'split'"
    ):
        place.config()
    assert parse_config(
        yaml.safe_dump({"data": "digits", "model": "logistic", "validation": "digits"})
    ).validation


def test_an_interrupted_scan_resumes_without_it(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    from ogacli.detectors._influence import Influence

    config = place.config("gradients.batch_size=20", "detector=[{name: gradient_tracing}, {name: lissa}]")
    monkeypatch.setattr(import_module("ogacli.scan.fitting"), "_HELD_BYTES", 0)
    whole = scan(config, output=place.folder / "whole")
    score, calls = Influence.score, 0

    def interrupted(self: Influence, batch: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 5:
            raise KeyboardInterrupt
        return score(self, batch)

    monkeypatch.setattr(Influence, "score", interrupted)
    with pytest.raises(KeyboardInterrupt):
        scan(config, output=place.folder / "out")
    monkeypatch.setattr(Influence, "score", score)
    monkeypatch.setattr(Influence, "see_validation", None)
    resumed = scan(config, output=place.folder / "out", resume=True)
    for column in ("score", "score_lissa"):
        assert torch.equal(scores(resumed, column), scores(whole, column))


def test_other_validation_samples_do_not_resume(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    from ogacli.detectors._influence import Influence

    def interrupted(self: Influence, batch: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(import_module("ogacli.scan.fitting"), "_HELD_BYTES", 0)
    with monkeypatch.context() as patched:
        patched.setattr(Influence, "score", interrupted)
        with pytest.raises(KeyboardInterrupt):
            scan(place.config(), output=place.folder / "out")
    arrays = dict(np.load(place.folder / "validation.npz"))
    np.savez(place.folder / "validation.npz", x=arrays["x"][:20], y=arrays["y"][:20])
    with pytest.raises(
        RunError, match="the unfinished scan is of another config, dataset, checkpoint or vers"
    ):
        scan(place.config(), output=place.folder / "out", resume=True)


def test_the_time_of_each_detector_is_kept(place: Place) -> None:
    run = scan(place.config())
    timing = json.loads((run.path / "timing.json").read_text())
    assert set(timing["detectors"]) == {"gradient_tracing", "datainf"}
