"""Whole scans whose samples have more to tell than a score."""

import numpy as np
import pytest
import torch

from ogacli.config.commands import scan
from ogacli.run.reports import content
from ogacli.run.trim.manifest import manifest_table
from ogacli.verdict.budget import Budget
from small_scans import H, N, make_place


@pytest.fixture
def place(tmp_path):
    return make_place(tmp_path)


def with_twins(place) -> None:
    """Sample 7 is a copy of 3 and 50 of 20, of which only the first pair has two labels."""
    arrays = place.arrays
    x, y = arrays["x"], arrays["y"]
    x[7], y[7] = x[3], (y[3] + 1) % 3
    x[50], y[50] = x[20], y[20]
    place.write(x=x, y=y)


def test_duplicates_with_another_label(place):
    with_twins(place)
    run = scan(place.config("budget=1.0", "protect=off", "gradients.batch_size=5"))
    twins = {i: twin for i, twin in enumerate(run.scores["duplicate_of"].to_pylist()) if twin is not None}
    assert twins == {3: "7", 7: "3"}
    reasons = run.scores["reason"].to_pylist()
    assert [i for i, reason in enumerate(reasons) if reason == "duplicate"] == [3, 7]
    assert (run.summary.duplicates, run.summary.reasons["duplicate"]) == (2, 2)
    shown = {one.id: one.reason for one in content.samples(content.flagged_rows(run, N))}
    assert shown["3"] == "duplicate of 7 with another label"


def test_duplicates_of_features_where_no_inputs_are_read(place):
    rng = np.random.default_rng(0)
    features = rng.normal(size=(N, 40)).astype(np.float32)
    features[9] = features[4]
    y = place.arrays["y"]
    y[9] = (y[4] + 1) % 3
    place.write(y=y)
    np.save(place.folder / "f.npy", features)
    np.save(place.folder / "z.npy", rng.normal(size=(N, 3)))
    model = {"source": "precomputed", "logits": "z.npy", "features": "f.npy"}
    place.write_config(model=model)
    run = scan(place.config())
    assert {i for i, twin in enumerate(run.scores["duplicate_of"].to_pylist()) if twin is not None} == {4, 9}
    del model["features"]
    place.write_config(model=model)
    alone = scan(place.config(), output=place.folder / "alone")
    assert alone.scores["duplicate_of"].null_count == N, "equal probabilities make no duplicates"


def test_a_blank_input(tmp_path):
    place = make_place(tmp_path)
    arrays = place.arrays
    wide = np.concatenate([arrays["x"]] * 4, 1)
    wide[11] = 0.5
    place.write(x=wide)
    place.new_weights(0, "model.checkpoint=null")
    run = scan(place.config("budget=1.0", "protect=off"))
    assert wide.shape == (N, 4 * H)
    assert [i for i, reason in enumerate(run.scores["reason"].to_pylist()) if reason == "corrupt"] == [11]


def test_reasons_of_another_budget_are_those_of_a_scan_with_it(place):
    with_twins(place)
    few = scan(place.config("budget=5"))
    many = scan(place.config("budget=60"), output=place.folder / "many")
    table = manifest_table(few, budget=Budget(60))
    assert table["reason"].to_pylist() == many.scores["reason"].to_pylist()
    dropped = [fate == "dropped" for fate in table["fate"].to_pylist()]
    assert dropped == many.scores["flagged"].to_pylist()


def test_a_class_is_not_trimmed_away(place):
    """Of 120 samples the model knows nothing of the class of 6."""
    y = np.where(np.arange(N) < 6, 2, np.arange(N) % 2)
    logits = np.random.default_rng(0).normal(size=(N, 3)) + 5 * np.eye(3)[y]
    logits[:6, 2] -= 10
    np.save(place.folder / "z.npy", logits)
    place.write(y=y, truth=y)
    place.write_config(model={"source": "precomputed", "logits": "z.npy"})
    free = scan(place.config("budget=6", "protect=off"), output=place.folder / "free")
    assert free.scores["flagged"].to_pylist()[:6] == [True] * 6
    run = scan(place.config("budget=6"))
    flagged = np.array(run.scores["flagged"])
    assert flagged.sum() == flagged[:6].sum() == 1, "3 times a twentieth of 6, rounded up"
    assert run.scores["rank"].to_numpy()[flagged].tolist() == [1]
    assert (run.summary.held_back, run.summary.classes[2].held_back) == (5, 5)
    assert "5 more samples are within the budget but not flagged" in (run.path / "report.html").read_text()
    assert manifest_table(run, budget=Budget(6))["fate"].to_pylist().count("dropped") == 1
    loose = scan(
        place.config("budget=6", "protect={times: 10, keep: 0, least: 0}"), output=place.folder / "loose"
    )
    assert loose.summary.flagged == 3


def test_how_many_detectors_agree(place):
    place.write_config(detector=["l2", "l1", {"name": "isolation_forest", "seed": 1}])
    run = scan(place.config("budget=12", "protect=off"))
    names = ["score", "score_l1", "score_isolation_forest"]
    flags = [run.scores[name].to_numpy() >= np.sort(run.scores[name].to_numpy())[-12] for name in names]
    np.testing.assert_allclose(run.scores["agreement"].to_numpy(), np.mean(flags, 0))
    found = run.summary.consensus
    assert (found.detectors, found.any) == (3, int(np.any(flags, 0).sum()))
    assert found.all == int(np.all(flags, 0).sum()) > 0
    assert "Flagged by" in (run.path / "report.html").read_text()


def test_one_detector_has_nobody_to_agree_with(place):
    run = scan(place.config())
    assert "agreement" not in run.scores.column_names
    assert run.summary.consensus is None


def test_the_diagnosis_of_a_scan_is_that_of_its_features(place):
    run = scan(place.config("gradients.batch_size=7"))
    module, head = place.network()
    read = []
    hook = head.register_forward_pre_hook(lambda layer, args: read.append(args[0]))
    with torch.no_grad():
        logits = module(torch.from_numpy(place.arrays["x"]))
    hook.remove()
    labels = torch.from_numpy(place.arrays["y"])
    near = torch.cdist(read[0], read[0]).fill_diagonal_(torch.inf).topk(20, largest=False).indices
    votes = torch.nn.functional.one_hot(labels[near], 3).sum(1)
    contradicted = votes[torch.arange(N), labels] < votes.max(1).values
    found = run.summary.diagnosis
    assert found.neighbours.contradicted == pytest.approx(float(contradicted.float().mean()))
    learned = (logits.argmax(1) == labels)[contradicted].float().mean()
    assert found.neighbours.learned == pytest.approx(float(learned))
    assert run.summary.diagnosis.verdict == "fresh", "the network was never trained"
