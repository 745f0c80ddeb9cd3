import importlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from ogacli.config import load_config
from ogacli.config.commands import plan, scan
from ogacli.data import Samples
from ogacli.detectors import isolation_forest
from ogacli.detectors.forest import fitting as forest_fitting
from ogacli.detectors.norm import Norm
from ogacli.errors import ConfigError, DataError, RunError
from ogacli.gradients import GradientBatch
from ogacli.run.directory import Run
from ogacli.scan import fitting
from reference import head_gradients, isolation_score, nested, norm
from small_scans import WIDTH, K, N, Place, contents, make_place

FOREST = {"name": "isolation_forest", "trees": 12, "subsample": 32, "seed": 0}
SAME = ("config.yaml", "provenance.json", "scores.parquet", "summary.json", "report.html", "previews.parquet")
"""Files that are equal in two runs of the same config."""


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return make_place(tmp_path / "place")


def scores(run: Run, column: str = "score") -> np.ndarray:
    return run.scores[column].to_numpy()


def scanned(place: Place, name: str, *overrides: str, **options: Any) -> Run:
    return scan(place.config(*overrides), output=place.folder / name, **options)


def gradients(place: Place, loss: Any = F.cross_entropy, target: str = "y") -> Tensor:
    """The dense per-sample gradients of the head, one backward each."""
    module, head = place.network()
    arrays = place.arrays
    return head_gradients(module, head, torch.tensor(arrays["x"]), torch.tensor(arrays[target]), loss)


# --- scores are those of the plain definitions -------------------------------------------------------------


@pytest.mark.parametrize("order", [1, 2])
def test_norms(place, order):
    run = scanned(place, "out", f"detector=l{order}")
    np.testing.assert_allclose(scores(run), norm(gradients(place), order).numpy(), rtol=1e-6, atol=1e-6)


def test_the_isolation_forest_is_a_walk_of_the_dense_gradients(place, monkeypatch):
    made = []
    make = isolation_forest.IsolationForest.detector
    monkeypatch.setattr(
        isolation_forest.IsolationForest, "detector", lambda self: made.append(make(self)) or made[-1]
    )
    run = scanned(place, "out", f"detector={json.dumps(FOREST)}")
    forest = made[-1].forests.whole
    trees = [nested(forest, root) for root in range(FOREST["trees"])]
    expected = [
        isolation_score(trees, [FOREST["subsample"]] * len(trees), g) for g in gradients(place).tolist()
    ]
    np.testing.assert_allclose(scores(run), expected, rtol=0, atol=1e-6)
    assert run.summary.parameters == (WIDTH + 1) * K


@pytest.mark.parametrize("order", [1, 2])
def test_per_class_norms_are_ranks_within_the_label(place, order):
    run = scanned(place, "out", f"detector={{name: l{order}, per_class: true}}")
    norms, labels = norm(gradients(place), order), place.arrays["y"]
    for i in range(N):
        own = norms[labels == labels[i]]
        assert scores(run)[i] == pytest.approx(float((own <= norms[i]).double().mean()), abs=0.03)


def test_label_smoothing(place):
    run = scanned(place, "out", "loss={name: cross_entropy, label_smoothing: 0.2}")
    expected = norm(gradients(place, lambda z, y: F.cross_entropy(z, y, label_smoothing=0.2)), 2)
    np.testing.assert_allclose(scores(run), expected.numpy(), rtol=1e-5, atol=1e-6)


def test_several_classes_a_sample(place):
    y = np.random.default_rng(3).integers(0, 2, (N, K))
    y[0] = 0
    place.write(y=y)
    place.write_config(
        loss="bce_with_logits", data={"source": "arrays", "path": "data.npz", "x": "x", "y": "y"}
    )

    def loss(logits: Tensor, labels: Tensor) -> Tensor:
        return F.binary_cross_entropy_with_logits(logits, labels.float(), reduction="sum")

    run = scanned(place, "out")
    np.testing.assert_allclose(scores(run), norm(gradients(place, loss), 2).numpy(), rtol=1e-5, atol=1e-6)
    labels = run.scores["label"].to_pylist()
    assert labels == [[str(k) for k in range(K) if row[k]] for row in y]
    assert run.summary.diagnosis.fit is None
    assert run.scores["suggested_label"].null_count == N


@pytest.mark.parametrize("targets", [1, K])
def test_regression(place, targets):
    y = np.random.default_rng(3).normal(size=(N, targets)).astype(np.float32)
    place.write(y=y[:, 0] if targets == 1 else y)
    data = {"source": "arrays", "path": "data.npz", "x": "x", "y": "y", "target": "regression"}
    place.write_config(loss="mse", data=data)
    place.new_weights(1, "model.checkpoint=null")

    def loss(logits: Tensor, labels: Tensor) -> Tensor:
        return (logits - labels.reshape(logits.shape)).square().sum()

    run = scanned(place, "out")
    np.testing.assert_allclose(scores(run), norm(gradients(place, loss), 2).numpy(), rtol=1e-5, atol=1e-6)
    assert run.summary.classes == ()
    shown = [label if isinstance(label, list) else [label] for label in run.scores["label"].to_pylist()]
    np.testing.assert_allclose(shown, y, rtol=1e-6)


def test_precomputed_with_features_is_the_scan_of_the_model(place):
    module, head = place.network()
    kept = {}
    head.register_forward_pre_hook(lambda _, args: kept.update(features=args[0]))
    with torch.no_grad():
        logits = module(torch.tensor(place.arrays["x"]))
    np.save(place.folder / "p.npy", logits.softmax(1).numpy())
    np.save(place.folder / "h.npy", kept["features"].numpy())
    whole = scanned(place, "whole")
    looked_up = "model={source: precomputed, probabilities: %s/p.npy, features: %s/h.npy}"
    found = scanned(place, "found", looked_up % (place.folder, place.folder))
    np.testing.assert_allclose(scores(found), scores(whole), rtol=1e-5, atol=1e-6)
    assert found.summary.parameters == whole.summary.parameters


def test_precomputed_without_features_is_the_residual(place):
    logits = np.random.default_rng(1).normal(size=(N, K)).astype(np.float32)
    np.save(place.folder / "z.npy", logits)
    place.write_config(
        model={"source": "precomputed", "logits": "z.npy"},
        data={"source": "arrays", "path": "data.npz", "y": "y"},
    )
    run = scanned(place, "out")
    residual = torch.tensor(logits).softmax(1) - F.one_hot(torch.tensor(place.arrays["y"]), K)
    np.testing.assert_allclose(scores(run), norm(residual, 2).numpy(), rtol=1e-5, atol=1e-6)
    assert run.summary.parameters == K
    assert run.previews.num_rows == 0, "there is nothing to show"


def test_a_model_of_more_outputs_than_classes(place):
    """A suggestion that no class of the data stands for is still told."""
    logits = np.zeros((N, K + 2), dtype=np.float32)
    logits[:, K + 1] = 5
    np.save(place.folder / "z.npy", logits)
    run = scanned(place, "out", f"model={{source: precomputed, logits: {place.folder}/z.npy}}")
    assert run.scores["suggested_label"].to_pylist() == [f"output {K + 1}"] * N


# --- what must not matter ----------------------------------------------------------------------------------


@pytest.mark.parametrize("detector", ["l1", "l2", FOREST, FOREST | {"per_class": True}], ids=str)
@pytest.mark.parametrize("override", ["gradients.batch_size=1", "gradients.batch_size=7", "data.workers=2"])
def test_batch_size_and_workers(place, detector, override):
    place.write_config(detector=detector)
    expected = scanned(place, "one", "gradients.batch_size=40")
    found = scanned(place, "two", "gradients.batch_size=40", override)
    np.testing.assert_allclose(scores(found), scores(expected), rtol=1e-6, atol=1e-6)


def test_several_detectors_give_what_each_gives_alone(place):
    """Forests of different seeds and sizes among them."""
    several = [
        "l2",
        FOREST,
        FOREST | {"seed": 5},
        FOREST | {"trees": 3, "subsample": 8},
        "l1",
        FOREST | {"per_class": True},
    ]
    place.write_config(detector=several)
    run = scanned(place, "all")
    columns = ["score", *(f"score_{name}" for name in run.summary.detectors[1:])]
    assert len(set(columns)) == len(several)
    for i, (detector, column) in enumerate(zip(several, columns, strict=True)):
        place.write_config(detector=detector)
        alone = scanned(place, f"alone{i}")
        np.testing.assert_allclose(scores(run, column), scores(alone), rtol=1e-6, atol=1e-6, err_msg=column)


def test_seeds_of_a_forest_differ(place):
    place.write_config(detector=[FOREST, FOREST | {"seed": 1}])
    run = scanned(place, "out")
    assert np.abs(scores(run) - scores(run, "score_isolation_forest_2")).max() > 1e-3


@pytest.mark.parametrize("held", [0, 2000, 1 << 30])
def test_one_pass_or_two(place, monkeypatch, held):
    """Whatever fits in memory between fitting and scoring, the scores are the same."""
    place.write_config(detector=[FOREST, "l2", FOREST | {"trees": 20}])
    expected = scanned(place, "one", "gradients.batch_size=16")
    reads = []
    read = Samples.read
    monkeypatch.setattr(Samples, "read", lambda self, rows: reads.extend(rows) or read(self, rows))
    monkeypatch.setattr(fitting, "_HELD_BYTES", held)
    monkeypatch.setattr(fitting, "_KEPT_BYTES", 0)
    found = scanned(place, "two", "gradients.batch_size=16")
    for column in ("score", "score_l2", "score_isolation_forest_2"):
        np.testing.assert_allclose(scores(found, column), scores(expected, column), rtol=1e-6, atol=1e-6)
    times = np.bincount(reads, minlength=N)[1:]  # the first sample is also looked at for its shape
    assert times.max() == (1 if held > 1e6 else 3 if held == 0 else times.max())


def test_all_layers_take_one_pass_where_their_factors_cannot_be_held(place, monkeypatch):
    """The coordinates of a forest are held, also where its trees see fewer samples than there are."""
    place.write_config(detector=["l2", FOREST | {"trees": 5, "subsample": 8}])
    monkeypatch.setattr(fitting, "_HELD_BYTES", 0)
    reads = []
    read = Samples.read
    monkeypatch.setattr(Samples, "read", lambda self, rows: reads.extend(rows) or read(self, rows))
    monkeypatch.setattr(forest_fitting, "_HELD", 0)  # as of a gradient that is too long
    scanned(place, "out", "gradients.batch_size=16", "gradients.layers=all")
    assert np.bincount(reads, minlength=N)[1:].max() == 1


def test_reruns_are_bit_equal(place):
    place.write_config(detector=[FOREST, "l2"])
    for name in ("one", "two"):
        scanned(place, name)
    one, two = (contents(place.folder / name) for name in ("one", "two"))
    same = [*SAME, "beside.parquet", "gradient_map.parquet", "issues.parquet", "state.safetensors"]
    assert sorted(one) == sorted([*same, "timing.json"])
    assert {name: one[name] for name in same} == {name: two[name] for name in same}


def test_the_resolved_config_scans_again(place):
    first = scanned(place, "one", "budget=7")
    again = scan(load_config(first.config_file), output=place.folder / "two")
    assert again.path == place.folder / "two"
    assert {name: contents(again.path)[name] for name in SAME} == {
        name: contents(first.path)[name] for name in SAME
    }


def test_global_random_state_is_left_alone(place):
    place.write_config(detector=FOREST)
    torch_before, numpy_before = torch.get_rng_state(), np.random.get_state()[1].copy()
    scanned(place, "out")
    assert torch.equal(torch.get_rng_state(), torch_before)
    assert (np.random.get_state()[1] == numpy_before).all()


# --- quarantine --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("held", [0, 1 << 30])
@pytest.mark.parametrize("detector", ["l2", FOREST, FOREST | {"trees": 3, "subsample": 100}], ids=str)
def test_inputs_that_are_not_finite(place, monkeypatch, detector, held):
    """They get no score and change nobody else's; the forest is grown without them."""
    monkeypatch.setattr(fitting, "_HELD_BYTES", held)
    monkeypatch.setattr(fitting, "_KEPT_BYTES", 0)
    x = place.arrays["x"]
    broken = [0, 5, 77, N - 1]
    x[broken, 1] = np.nan
    place.write(x=x)
    place.write_config(detector=detector)
    run = scanned(place, "out", "gradients.batch_size=16")
    assert run.scores["status"].to_pylist() == ["quarantined" if i in broken else "ok" for i in range(N)]
    row = run.scores.slice(5, 1).to_pylist()[0]
    assert row["reason"] == "a value of the input is not finite"
    assert (row["score"], row["rank"], row["flagged"], row["suggested_label"]) == (None, None, False, None)
    good = np.setdiff1d(np.arange(N), broken)
    place.write(x=x[good], y=place.arrays["y"][good], truth=place.arrays["truth"][good])
    if detector == "l2":
        alone = scanned(place, "alone")
        np.testing.assert_allclose(scores(run)[good], scores(alone), rtol=1e-6)
    assert sorted(r for r in run.scores["rank"].to_pylist() if r) == list(range(1, N - 3))
    assert run.summary.quarantined == 4
    assert run.summary.scored == N - 4
    assert "4 samples could not be scored" in " ".join(run.summary.diagnosis.warnings)
    assert "a value of the input is not finite" in (run.path / "report.html").read_text()


def test_gradients_that_are_not_finite(place):
    """Also among the samples that the forest is grown from: here all are."""
    logits = np.random.default_rng(0).normal(size=(N, K)).astype(np.float32)
    logits[[3, 4, 60]] = [[np.nan, 0, 0], [np.inf, 0, 0], [np.inf, -np.inf, 0]]
    features = np.ones((N, 4), dtype=np.float32)
    features[9, 2] = np.nan
    np.save(place.folder / "z.npy", logits)
    np.save(place.folder / "h.npy", features)
    place.write_config(detector=[FOREST, "l2"], data={"source": "arrays", "path": "data.npz", "y": "y"})
    model = "model={source: precomputed, logits: %s/z.npy, features: %s/h.npy}"
    run = scanned(place, "out", model % (place.folder, place.folder), "gradients.batch_size=1")
    lost = [i for i, status in enumerate(run.scores["status"].to_pylist()) if status == "quarantined"]
    assert lost == [3, 4, 9, 60]
    assert run.scores["reason"][9].as_py() == "non-finite gradient"
    assert run.scores["score_l2"].null_count == 4


def test_pictures_that_cannot_be_read(tmp_path):
    rng = np.random.default_rng(0)
    for i in range(24):
        path = tmp_path / "pictures" / ("cat", "dog")[i % 2] / f"{i:02d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 255, (6, 6, 3), dtype=np.uint8)).save(path)
    (tmp_path / "pictures/cat/00.png").write_bytes(b"not a picture")  # the very first
    (tmp_path / "pictures/dog/11.png").write_bytes((tmp_path / "pictures/dog/13.png").read_bytes()[:60])
    place = Place(tmp_path)
    config = {
        "data": {"source": "image_folder", "root": "pictures"},
        "model": {"source": "logistic", "checkpoint": "weights.safetensors"},
        "detector": [FOREST],
        "output": "run",
    }
    place.config_file.write_text(json.dumps(config))
    place.new_weights(0, "model.checkpoint=null")
    run = scanned(place, "run")
    lost = {row["id"]: row["reason"] for row in run.scores.to_pylist() if row["status"] == "quarantined"}
    assert set(lost) == {"cat/00.png", "dog/11.png"}
    assert all(lost.values())
    assert {one.name: one.quarantined for one in run.summary.classes} == {"cat": 1, "dog": 1}
    assert run.previews.num_rows == 22


def test_many_unreadable_pictures_ahead_do_not_make_batches_huge(place, monkeypatch):
    x = place.arrays["x"]
    x[:16] = np.nan
    place.write(x=x)
    monkeypatch.setattr(import_module("ogacli.gradients.batch_size"), "_WIDEST_BYTES", 17 * WIDTH * 4)
    assert plan(place.config()).batch_size == 17


def test_none_that_can_be_scored(place):
    np.save(place.folder / "z.npy", np.full((N, K), np.nan, dtype=np.float32))
    place.write_config(model={"source": "precomputed", "logits": "z.npy"})
    for detector in ("l2", "isolation_forest"):
        with pytest.raises(DataError, match=r"no sample to grow|none of the samples can be scored"):
            scanned(place, "out", f"detector={detector}")
    assert not list(place.folder.glob("*out*"))


# --- interruption ------------------------------------------------------------------------------------------


class Interrupts:
    """A progress bar that is interrupted once so many samples are done."""

    def __init__(self, step: str, after: int) -> None:
        self.step = step
        self.left = after
        self.notes: list[str] = []
        self.warnings: list[str] = []

    @contextmanager
    def bar(self, description: str, total: int, **options: Any) -> Iterator[Any]:
        def advance(count: int, work: float | None = None) -> None:
            self.left -= count * (description == self.step)
            if self.left < 0:
                raise KeyboardInterrupt

        yield advance

    def note(self, text: str) -> None:
        self.notes.append(text)

    def warn(self, text: str) -> None:
        self.warnings.append(text)


@pytest.mark.parametrize("held", [0, 3000])
@pytest.mark.parametrize("after", [40, 100])
def test_a_resumed_scan_is_bit_equal(place, monkeypatch, after, held):
    monkeypatch.setattr(fitting, "_HELD_BYTES", held)
    monkeypatch.setattr(fitting, "_KEPT_BYTES", 0)
    place.write_config(detector=[FOREST, "l2", FOREST | {"per_class": True}])
    x = place.arrays["x"]
    x[[1, 30, 99]] = np.inf
    place.write(x=x)
    whole = scanned(place, "whole", "gradients.batch_size=16")
    with pytest.raises(KeyboardInterrupt):
        scanned(place, "out", "gradients.batch_size=16", progress=Interrupts("scanning", after))
    assert sorted(path.name for path in place.folder.glob("*out*")) == ["out.partial"]
    fits = []
    fit = isolation_forest.Isolation.fit
    monkeypatch.setattr(isolation_forest.Isolation, "fit", lambda *a: fits.append(1) or fit(*a))
    resumed = scanned(place, "out", "gradients.batch_size=16", resume=True)
    assert not fits, "the forests were restored"
    assert {name: contents(resumed.path)[name] for name in SAME} == {
        name: contents(whole.path)[name] for name in SAME
    }
    assert sorted(path.name for path in place.folder.glob("*out*")) == ["out"]


def test_an_interruption_in_a_detector_is_resumed_too(place, monkeypatch):
    whole = scanned(place, "whole", "gradients.batch_size=16")
    calls = []
    score = Norm.score

    def interrupted(self: Norm, batch: GradientBatch) -> Tensor:
        calls.append(batch.rows)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return score(self, batch)

    monkeypatch.setattr(Norm, "score", interrupted)
    with pytest.raises(KeyboardInterrupt):
        scanned(place, "out", "gradients.batch_size=16")
    monkeypatch.setattr(Norm, "score", score)
    resumed = scanned(place, "out", "gradients.batch_size=16", resume=True, overwrite=True)
    assert contents(resumed.path)["scores.parquet"] == contents(whole.path)["scores.parquet"]


@pytest.mark.parametrize("change", ["detector=l1", "budget=3", "data.limit=50"])
def test_another_config_does_not_resume(place, change):
    with pytest.raises(KeyboardInterrupt):
        scanned(place, "out", "gradients.batch_size=16", progress=Interrupts("scanning", 40))
    before = contents(place.folder / "out.partial")
    with pytest.raises(RunError, match=r"out\.partial: the unfinished scan is of another config") as caught:
        scanned(place, "out", "gradients.batch_size=16", change, resume=True)
    assert "--overwrite without --resume to begin anew" in str(caught.value)
    assert contents(place.folder / "out.partial") == before
    assert not (place.folder / "out").exists()


def test_an_interruption_among_the_held_samples_is_bit_equal_too(place, monkeypatch):
    """They are scored from memory, in the batches and the order in which the forest saw them."""
    place.write_config(detector=[FOREST, "l2"])
    whole = scanned(place, "whole", "gradients.batch_size=16")
    calls = []
    score = isolation_forest.Isolation.score

    def interrupted(self: Any, batch: GradientBatch) -> Tensor:
        calls.append(batch.rows)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return score(self, batch)

    monkeypatch.setattr(isolation_forest.Isolation, "score", interrupted)
    with pytest.raises(KeyboardInterrupt):
        scanned(place, "out", "gradients.batch_size=16")
    monkeypatch.setattr(isolation_forest.Isolation, "score", score)
    resumed = scanned(place, "out", "gradients.batch_size=16", resume=True)
    assert contents(resumed.path)["scores.parquet"] == contents(whole.path)["scores.parquet"]


def test_resume_without_anything_to_resume_says_so_and_begins(place):
    told = Interrupts("scanning", 1000)
    assert scanned(place, "out", resume=True, progress=told).summary.scored == N
    assert told.notes == [
        f"nothing to resume: no unfinished scan in {place.folder}/out.partial; it begins anew"
    ]


def test_resume_of_a_finished_scan_says_so(place, unread):
    scanned(place, "out")
    before, _ = contents(place.folder / "out"), unread.clear()
    with pytest.raises(RunError, match="out: nothing to resume: the scan is finished\n  next: look at it"):
        scanned(place, "out", resume=True)
    assert not unread
    assert contents(place.folder / "out") == before


def test_an_unfinished_scan_beside_a_finished_one(place, unread):
    scanned(place, "out")
    with pytest.raises(KeyboardInterrupt):
        scanned(place, "out", "detector=l1", overwrite=True, progress=Interrupts("scanning", 0))
    unread.clear()
    with pytest.raises(RunError, match="out: there is a finished run\n  next: --resume --overwrite goes on"):
        scanned(place, "out", "detector=l1", resume=True)
    with pytest.raises(RunError, match="out: already exists\n  next: add --overwrite"):
        scanned(place, "out", "detector=l1")
    assert not unread
    assert scanned(place, "out", "detector=l1", resume=True, overwrite=True).summary.detectors == ("l1",)


def test_without_resume_an_unfinished_scan_is_told_and_kept(place, unread):
    with pytest.raises(KeyboardInterrupt):
        scanned(place, "out", "gradients.batch_size=16", progress=Interrupts("scanning", 40))
    before = contents(place.folder / "out.partial")
    unread.clear()
    with pytest.raises(RunError, match=r"out\.partial: an unfinished scan is kept there") as caught:
        scanned(place, "out", "detector=l1")
    assert "--resume goes on with it; --overwrite deletes it and begins anew" in str(caught.value)
    assert not unread, "told before anything was read"
    assert contents(place.folder / "out.partial") == before
    scanned(place, "out", "detector=l1", overwrite=True)
    assert sorted(path.name for path in place.folder.glob("*out*")) == ["out"]


@pytest.mark.parametrize(("step", "saved"), [("fitting", False), ("scanning", True)])
def test_what_can_be_continued_is_told(place, step, saved):
    place.write_config(detector=FOREST)
    told = Interrupts(step, 20)
    with pytest.raises(KeyboardInterrupt):
        scanned(place, "out", "gradients.batch_size=16", progress=told)
    assert [path.name for path in place.folder.glob("*out*")] == (["out.partial"] if saved else [])
    assert ("--resume continues from here" in told.notes[0]) == saved
    assert ("nothing was saved yet" in told.notes[0]) != saved


# --- the output --------------------------------------------------------------------------------------------


@pytest.fixture
def unread(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Every opening of a dataset."""
    from ogacli.data.sources import Source

    found: list[Any] = []
    load = Source.open
    monkeypatch.setattr(Source, "open", lambda self: found.append(self) or load(self))
    return found


def test_an_existing_run_is_refused_before_any_work(place, unread):
    scanned(place, "out")
    before = contents(place.folder / "out")
    unread.clear()
    with pytest.raises(RunError, match="out: already exists\n  next: add --overwrite"):
        scanned(place, "out", "detector=l1")
    assert not unread
    assert contents(place.folder / "out") == before
    assert scanned(place, "out", "detector=l1", overwrite=True).summary.detectors == ("l1",)
    assert [path.name for path in place.folder.glob("*out*")] == ["out"]


@pytest.mark.parametrize("overwrite", [False, True])
def test_what_is_no_run_is_never_replaced(place, unread, overwrite):
    folder = place.folder / "out"
    folder.mkdir()
    (folder / "summary.json").write_text("mine")
    with pytest.raises(RunError, match="something else stands there"):
        scanned(place, "out", overwrite=overwrite)
    assert not unread
    assert contents(folder) == {"summary.json": b"mine"}


THEIRS = {
    "a thesis": {"thesis.txt": b"mine"},
    "a scan.json of somebody else": {"scan.json": b'{"key": "mine"}'},
    "ours with something in it": {"oga.json": b'{"kind": "oga unfinished scan"}', "thesis.txt": b"mine"},
    "no document": {"oga.json": b"\xff", "state-000001-0123456789abcdef.safetensors": b"mine"},
    "no mark": {"state-000001-0123456789abcdef.safetensors": b"mine"},
}


@pytest.mark.parametrize("kind", [*THEIRS, "a run", "a file", "a link"])
def test_what_is_no_unfinished_scan_is_left_alone(place, unread, kind):
    other = place.folder / "out.partial"
    if kind == "a run":
        scanned(place, other.name)
    elif kind == "a file":
        other.write_bytes(b"mine")
    elif kind == "a link":
        other.symlink_to("nowhere")
    else:
        other.mkdir()
        for name, content in THEIRS[kind].items():
            (other / name).write_bytes(content)
    unread.clear()
    before = contents(place.folder)
    for resume in (False, True):
        with pytest.raises(RunError, match=r"out\.partial: something else stands where the unf") as caught:
            scanned(place, "out", resume=resume, overwrite=True)
        assert "move it away, or choose another output" in str(caught.value)
    assert not unread, "refused before anything was read"
    with pytest.raises(RunError, match="something else stands where the unfinished scan is kept"):
        plan(place.config(), output=place.folder / "out")  # which goes on to check the rest
    assert contents(place.folder) == before
    assert other.is_symlink() == (kind == "a link")


def test_what_comes_where_the_unfinished_scan_is_kept_stays(place, monkeypatch):
    """It was not there when the scan began; the scan goes on without."""
    monkeypatch.setattr(importlib.import_module("ogacli.scan.earlier.resume"), "_SAVE_EVERY", 0.0)
    other = place.folder / "out.partial"
    score = Norm.score

    def scored(self: Norm, batch: GradientBatch) -> Tensor:
        other.mkdir(exist_ok=True)
        (other / "thesis.txt").write_text("mine")
        return score(self, batch)

    monkeypatch.setattr(Norm, "score", scored)
    run = scanned(place, "out", "gradients.batch_size=16")
    assert run.summary.samples == len(run.scores)
    assert (other / "thesis.txt").read_text() == "mine"


def test_an_interruption_while_it_is_saved_leaves_the_earlier_state(place, monkeypatch):
    whole = scanned(place, "whole", "gradients.batch_size=16")

    saved = []

    def interrupted(tensors: Any, path: Path) -> None:
        saved.append(path)
        save_file(tensors, path)
        if len(saved) > 1:
            path.write_bytes(path.read_bytes()[:100])
            raise KeyboardInterrupt

    generations = importlib.import_module("ogacli.scan.earlier.generations")
    save_file = generations.save_file
    with monkeypatch.context() as patched:
        patched.setattr(importlib.import_module("ogacli.scan.earlier.resume"), "_SAVE_EVERY", 0.0)
        patched.setattr(importlib.import_module("ogacli.scan.earlier.resume"), "_SHARE", 0)
        patched.setattr(generations, "save_file", interrupted)
        with pytest.raises(KeyboardInterrupt):
            scanned(place, "out", "gradients.batch_size=16")
    assert [path.name for path in place.folder.glob("*out*")] == ["out.partial"]
    again = scanned(place, "out", "gradients.batch_size=16", resume=True)
    assert contents(again.path)["scores.parquet"] == contents(whole.path)["scores.parquet"]


@pytest.mark.parametrize("name", ["thesis.txt", "clean.csv"])
def test_a_run_with_something_else_in_it_is_not_replaced(place, unread, name):
    scanned(place, "out")
    (place.folder / "out" / name).write_text("mine")
    unread.clear()
    before = contents(place.folder / "out")
    with pytest.raises(RunError, match="something else stands there") as caught:
        scanned(place, "out", overwrite=True)
    assert name in str(caught.value)
    assert not unread
    assert contents(place.folder / "out") == before


def test_files_with_the_names_of_ours_are_not_replaced(place):
    folder = place.folder / "out"
    folder.mkdir()
    for name in ("summary.json", "scores.parquet"):
        (folder / name).write_text("mine")
    with pytest.raises(RunError, match="something else stands there"):
        scanned(place, "out", overwrite=True)
    assert contents(folder) == {"summary.json": b"mine", "scores.parquet": b"mine"}


def test_a_link_to_a_run_is_not_replaced(place):
    scanned(place, "real")
    (place.folder / "out").symlink_to("real")
    before = contents(place.folder / "real")
    with pytest.raises(RunError, match="a link stands there\n  found: a link to real"):
        scanned(place, "out", overwrite=True)
    assert (place.folder / "out").is_symlink()
    assert contents(place.folder / "real") == before


@pytest.mark.parametrize(
    ("room", "step"),
    [
        ("execute", "judge"),
        ("execute", "summarise"),
        ("execute", "provenance"),
        ("result", "write_run"),
        ("result", "report"),
    ],
)
def test_a_failure_leaves_the_old_run_whole(place, monkeypatch, room, step):
    scanned(place, "out")
    before = contents(place.folder / "out")

    def fails(*args: Any, **options: Any) -> None:
        raise MemoryError

    monkeypatch.setattr(importlib.import_module(f"ogacli.scan.{room}"), step, fails)
    for name, overwrite in (("out", True), ("new", False)):
        with pytest.raises(MemoryError):
            scanned(place, name, overwrite=overwrite)
    assert contents(place.folder / "out") == before
    assert not list(place.folder.glob("*new*")) + list(place.folder.glob(".*"))


def test_an_output_is_needed(place):
    place.write_config(output=None)
    with pytest.raises(ConfigError, match="no output given") as caught:
        scan(place.config())
    assert "--output DIR" in str(caught.value)
    with pytest.raises(ConfigError, match="output: not a local folder"):
        scan(place.config("output=s3://bucket/run"))


def test_a_plan_says_what_a_scan_would_do_and_writes_nothing(place):
    place.write_config(detector=["l2", FOREST])
    before = contents(place.folder)
    found = plan(place.config())
    assert contents(place.folder) == before
    assert (found.samples, found.classes, found.device) == (N, K, "cpu")
    assert found.parameters == {"head.weight": WIDTH * K, "head.bias": K}
    assert found.detectors == ("l2", "isolation_forest")
    assert json.loads(json.dumps(found.document()))["schema_version"] == 1
    scanned(place, "run")
    with pytest.raises(RunError, match="already exists"):
        plan(place.config())
