"""Whole scans that look for near-duplicates, samples of another dataset, and far ones."""

import json
from collections import Counter

import numpy as np
import pyarrow.csv as pc
import pytest

import ogacli
from command_line import oga
from ogacli.config.commands import scan
from ogacli.errors import ConfigError, OgaError, RunError
from ogacli.run.gate import gate
from ogacli.run.reports.sentences import results
from ogacli.run.trim.manifest import manifest_table
from ogacli.verdict.budget import Budget
from small_scans import make_place

BOTH = ("look_for=[near_duplicates, far]", "budget=0.2")
N = 120


@pytest.fixture
def place(tmp_path):
    """Rows 100 to 109 are 0 to 9 but for rounding, row 109 under another label; row 50 is far away.

    Of another file, rows 3 to 6 are rows 20 to 23.
    """
    made = make_place(tmp_path, detector="latent_label")
    x, y = made.arrays["x"], made.arrays["y"]
    x[100:110] = x[:10] * np.float32(1 + 1e-6)
    y[100:109] = y[:9]
    y[109] = (y[9] + 1) % 3
    x[50] = 60
    made.write(x=x, y=y)
    made.new_weights()
    others = np.random.default_rng(1).normal(size=(30, x.shape[1])).astype(np.float32)
    others[3:7] = x[20:24] * np.float32(1 - 1e-6)
    np.savez(made.folder / "test.npz", x=others, y=np.zeros(30, np.int64) + np.arange(30) % 3)
    made.write_config(against={"source": "arrays", "path": "test.npz", "x": "x", "y": "y"})
    return made


def told(run, name):
    return {i: value for i, value in enumerate(run.scores[name].to_pylist()) if value is not None}


def test_columns_summary_and_sentences(place):
    run = scan(place.config(*BOTH))
    score = run.scores["score"].to_pylist()
    kept = {i: (i, i + 100) if score[i] <= score[i + 100] * (1 + 1e-4) else (i + 100, i) for i in range(10)}
    assert told(run, "near_duplicate_of") == {goes: str(stays) for stays, goes in kept.values()}
    assert run.summary.near_duplicates.model_dump() == {"groups": 10, "samples": 10, "conflicts": 1}
    assert told(run, "leaks") == {20: "3", 21: "4", 22: "5", 23: "6"}
    assert run.summary.leaks == 4
    far = told(run, "far")
    assert 50 in far
    assert far[50] > 5
    assert len(far) <= 3
    assert run.summary.far == len(far)
    lines = "\n".join(results(run.summary))
    assert "10 samples, flagged or not, are near-duplicates of another one, in 10 groups" in lines
    assert "1 of them has another label" in lines
    assert "4 samples, flagged or not, are in the dataset `against`" in lines
    assert not run.counts.doubts
    counts = Counter(reason for reason in run.scores["reason"].to_pylist() if reason)
    assert counts == {reason: count for reason, count in run.summary.reasons.items() if count}


def test_reasons_are_those_of_another_budget(place):
    few, many = (
        scan(place.config(*BOTH[:1], f"budget={budget}", "protect=off"), output=place.folder / name)
        for name, budget in (("few", 3), ("many", 110))
    )
    found = many.scores["reason"].to_pylist()
    assert manifest_table(few, budget=Budget(110))["reason"].to_pylist() == found
    assert {"leak", "near_duplicate"} <= set(found)


def test_nothing_is_looked_for_by_default(place):
    place.write_config(against=None)
    run = scan(place.config())
    assert not {"near_duplicate_of", "leaks", "far"} & set(run.scores.column_names)
    assert (run.summary.near_duplicates, run.summary.leaks, run.summary.far) == (None, None, None)


def test_trim_keeps_one_of_each_group(place):
    run = scan(place.config(*BOTH))
    goes = set(told(run, "near_duplicate_of"))
    flagged = {i for i, one in enumerate(run.scores["flagged"].to_pylist()) if one}
    for arguments, out in (((), flagged), (("--near-duplicates",), flagged | goes)):
        done = oga(
            "trim",
            "run",
            "--to",
            "clean.npz",
            "--manifest",
            "fates.csv",
            "--overwrite",
            *arguments,
            cwd=place.folder,
        )
        assert done.code == 0, done.err
        fates = pc.read_csv(place.folder / "fates.csv")["fate"].to_pylist()
        assert {i for i, fate in enumerate(fates) if fate == "dropped"} == out
        with np.load(place.folder / "clean.npz") as clean:
            assert len(clean["x"]) == N - len(out)


def test_trim_of_a_run_that_did_not_look(place):
    run = scan(place.config())
    with pytest.raises(RunError, match="did not look for near-duplicates"):
        ogacli.trim(run, place.folder / "clean.npz", near_duplicates=True)


@pytest.mark.parametrize(
    ("limit", "passes"), [("max_leaks", 4), ("max_near_duplicates", 10)], ids=["leaks", "near-duplicates"]
)
def test_the_gate_limits_them(place, limit, passes):
    run = scan(place.config(*BOTH))
    off = {"max_flagged": 1.0, "max_class_increase": None, "min_cut": None}

    def status(policy):
        return {one.name: one.status for one in gate(run, policy=off | policy).conditions}[limit]

    assert status({limit: passes}) == "passed"
    assert status({limit: passes - 1}) == "failed"
    place.write_config(against=None)
    other = scan(place.config(), output=place.folder / "other")
    found = {one.name: one for one in gate(other, policy=off | {limit: 100}).conditions}[limit]
    assert found.status == "failed"
    assert "scan with" in found.allowed


def test_python_takes_the_same(place):
    from_config = scan(place.config(*BOTH))
    module, _ = place.network()
    arrays, other = place.arrays, np.load(place.folder / "test.npz")
    found = ogacli.scan(
        ogacli.Samples.of(arrays["x"], labels=arrays["y"], classes=3),
        module,
        look_for=["near_duplicates", "far"],
        against=ogacli.Samples.of(other["x"], labels=other["y"], classes=3),
        detector="latent_label",
        budget=0.2,
    )
    for name in ("near_duplicate_of", "leaks", "far"):
        assert found.table()[name].to_pylist() == from_config.scores[name].to_pylist()


def test_results_do_not_depend_on_the_batch_size(place):
    runs = [
        scan(place.config(*BOTH, f"gradients.batch_size={size}"), output=place.folder / str(size))
        for size in (7, 120)
    ]
    for name in ("near_duplicate_of", "leaks"):
        assert runs[0].scores[name].equals(runs[1].scores[name])
    assert told(runs[0], "far").keys() == told(runs[1], "far").keys()


def test_near_duplicates_of_a_grown_dataset(place):
    whole = scan(place.config(*BOTH[1:], "look_for=near_duplicates"))
    arrays = place.arrays
    place.write(**{name: one[:105] for name, one in arrays.items()})
    before = scan(place.config(), output=place.folder / "before")
    place.write(**arrays)
    after = scan(
        place.config(*BOTH[1:], "look_for=near_duplicates"), output=place.folder / "after", since=before.path
    )
    assert after.provenance["since"]["copied"] == 105
    assert told(after, "leaks") == told(whole, "leaks")
    pairs = [
        {frozenset((str(i), one)) for i, one in told(run, "near_duplicate_of").items()}
        for run in (whole, after)
    ]
    assert pairs[0] == pairs[1]
    with pytest.raises(RunError, match="look_for: far"):
        scan(place.config(*BOTH), output=place.folder / "far", since=before.path)


def test_folds_are_compared_within_each(place):
    run = scan(place.config(*BOTH, "train={epochs: 1, batch_size: 32}"), folds=2)
    assert 50 in told(run, "far")
    assert len(told(run, "near_duplicate_of")) == 10


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("look_for=[nearduplicates]", "did you mean 'near_duplicates'"),
        ("look_for=3", "nothing that a scan can look for"),
        ("look_for={far: 1}", "nothing that a scan can look for"),
        ("against={source: arrays, path: nowhere.npz, x: x, y: y}", "nowhere.npz"),
    ],
)
def test_bad_input(place, change, message):
    done = oga("scan", "config.yaml", "--set", change, cwd=place.folder)
    assert done.code == 2
    assert message in done.err
    assert "Traceback" not in done.err
    assert not (place.folder / "run").exists()


def test_inputs_that_are_not_read_cannot_be_compared(place):
    np.save(place.folder / "p.npy", np.full((N, 3), 1 / 3, np.float32))
    place.write_config(model={"source": "precomputed", "probabilities": "p.npy"}, detector="loss")
    with pytest.raises(ConfigError, match="against: precomputed outputs"):
        scan(place.config())
    place.write_config(against=None)
    with pytest.raises(OgaError, match="without features"):
        scan(place.config("look_for=far"))


def test_a_run_that_was_changed_is_doubted(place):
    run = scan(place.config(*BOTH))
    file = run.path / "summary.json"
    document = json.loads(file.read_text())
    file.write_text(json.dumps(document | {"leaks": 0}))
    changed = ogacli.Run.open(run.path)
    assert "leaks: summary.json says 0, there are 4" in changed.counts.doubts


def test_the_group_of_a_flagged_sample_is_shown_beside_it(place):
    run = scan(place.config(*BOTH))
    beside = {(one["position"], one["other"]) for one in run.beside.to_pylist() if one["role"] == "near"}
    assert beside == {pair for i in range(10) for pair in ((i, i + 100), (i + 100, i))}
    assert "Nearly the same inputs" in (run.path / "report.html").read_text()


def test_what_the_terminal_says_to_run_next_leaves_them_out(place):
    place.write_config(look_for=["near_duplicates"])
    done = oga("scan", place.config_file, "--set", "budget=0", cwd=place.folder)
    assert done.code == 0, done.err
    command = next(one for one in done.out.splitlines() if one.strip().startswith("next")).split()[1:]
    assert command[1] == "trim", command
    assert {"--near-duplicates", "--leaks"} <= {*command}
    done = oga(*command[1:], "--manifest", "fates.csv", cwd=place.folder)
    assert done.code == 0, done.err
    fates = pc.read_csv(place.folder / "fates.csv")["fate"].to_pylist()
    dropped = {i for i, fate in enumerate(fates) if fate == "dropped"}
    assert {20, 21, 22, 23} < dropped
    assert len(dropped) == 14
