"""The ratchet: what is flagged and new or changed since the baseline, and what was reviewed."""

import json

import pytest

from ogacli.errors import ConfigError
from ogacli.run.gate import gate
from synthetic_runs import Recipe

IDS = [f"img-{i:03d}" for i in range(32)]


def ratchet(run, baseline, **policy):
    found = gate(run, policy=policy, baseline=baseline)
    return next(one for one in found.conditions if one.name == "max_new_flagged")


def flagging(*rows, n=32, **options):
    """A run that flags these rows."""
    scores = [2.0 + row / 64 if row in rows else row / 64 for row in range(n)]
    return Recipe(n=n, scores=scores, budget=len(rows), **options)


@pytest.fixture
def baseline(tmp_path):
    return flagging(1, 2).write(tmp_path / "baseline")


def test_a_retrained_checkpoint_flags_others_of_the_same_data(tmp_path, baseline):
    run = flagging(20, 21, 22, checkpoint="other").write(tmp_path / "run")
    for one, other in ((run, baseline), (baseline, run)):
        found = ratchet(one, other)
        assert (found.status, found.found) == ("passed", f"0 of 32 ({0:.1%})")
        assert gate(one, policy={"max_flagged": 5}, baseline=other).passed


def test_new_samples(tmp_path, baseline):
    run = flagging(1, 33, 35, n=36).write(tmp_path / "run")
    found = ratchet(run, baseline)
    assert (found.status, found.found, found.allowed) == ("failed", "2 of 36 (5.6%)", "at most 0")
    assert found.detail == "new: img-033, img-035"
    assert found.samples == ("img-033", "img-035")
    assert ratchet(run, baseline, max_new_flagged=2).passed
    assert ratchet(flagging(1, n=36).write(tmp_path / "calm"), baseline).passed, "new, but not flagged"


@pytest.mark.parametrize(
    "changed", [{"contents": {7: 1000}}, {"labels": [(i + (i == 7)) % 4 for i in range(32)]}]
)
def test_samples_whose_inputs_or_label_have_changed(tmp_path, baseline, changed):
    found = ratchet(flagging(7, 8, **changed).write(tmp_path / "run"), baseline)
    assert (found.status, found.detail, found.samples) == ("failed", "changed: img-007", ("img-007",))


def test_without_inputs_the_labels_are_compared(tmp_path):
    none = dict.fromkeys(range(32), 0)
    baseline = flagging(1, contents=none).write(tmp_path / "baseline")
    found = ratchet(flagging(7, contents=none).write(tmp_path / "run"), baseline)
    assert found.status == "passed"
    assert found.detail == "inputs were not read, so that only labels are compared"
    labels = [(i + (i == 7)) % 4 for i in range(32)]
    found = ratchet(flagging(7, contents=none, labels=labels).write(tmp_path / "other"), baseline)
    assert found.samples == ("img-007",)


def test_other_ids_are_other_samples(tmp_path, baseline):
    run = flagging(1, 2, ids=[f"renamed-{i}" for i in range(32)]).write(tmp_path / "run")
    assert ratchet(run, baseline).samples == ("renamed-1", "renamed-2")


def test_reviewed_samples_may_be_flagged(tmp_path, baseline):
    run = flagging(33, 34, 35, n=36).write(tmp_path / "run")
    found = ratchet(run, baseline, reviewed=["img-033", "img-035", "unknown"])
    assert found.samples == ("img-034",)
    assert found.detail == "new: img-034; reviewed: 2"
    assert gate(run, baseline=baseline, reviewed=["img-033", "img-034", "img-035"]).passed


def test_a_file_of_reviewed_samples(tmp_path, baseline):
    """Paths are relative to the policy; an id with a fingerprint holds until the sample is changed."""
    run = flagging(33, 34, 35, n=36).write(tmp_path / "run")
    mark = run.scores["fingerprint"][34].as_py()
    (tmp_path / "lists").mkdir()
    file = tmp_path / "lists" / "seen.txt"
    file.write_text(f"# looked at in May\nimg-033\n\nimg-034\t{mark}\nimg-035\t0123456789abcdef\n")
    policy = tmp_path / "lists" / "policy.yaml"
    policy.write_text("reviewed: seen.txt\nmax_flagged: null\n")
    found = next(
        one for one in gate(run, policy=policy, baseline=baseline).conditions if one.name == "max_new_flagged"
    )
    assert found.samples == ("img-035",)
    assert gate(run, policy=policy, baseline=baseline, reviewed=IDS).passed is False


def test_what_a_review_decided_to_keep(tmp_path, baseline):
    run = flagging(33, 34, n=36).write(tmp_path / "run")
    decisions = [{"id": "img-033", "action": "keep"}, {"id": "img-034", "action": "drop"}]
    file = tmp_path / "decisions.json"
    file.write_text(json.dumps({"schema_version": 1, "decisions": decisions}))
    assert ratchet(run, baseline, reviewed=str(file)).samples == ("img-034",)


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("none.txt", None, "cannot be read as text"),
        ("d.json", "[1]", "not decisions of a review"),
        ("e.json", "[" * 100_000, "not decisions of a review"),
    ],
)
def test_files_that_are_no_list(tmp_path, baseline, name, text, told):
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(ConfigError, match=told):
        ratchet(baseline, baseline, reviewed=str(tmp_path / name))


def test_other_data_are_told_and_fail_on_request(tmp_path, baseline):
    def same_data(run, **policy):
        found = gate(run, policy=policy, baseline=baseline).conditions
        return next(one for one in found if one.name == "require_same_data")

    assert same_data(flagging(9, checkpoint="other").write(tmp_path / "same")).status == "passed"
    grown = flagging(1, n=33).write(tmp_path / "grown")
    found = same_data(grown)
    assert (found.status, found.found) == ("warned", "33 samples, the baseline has 32")
    assert same_data(grown, require_same_data=True).status == "failed"
    other = flagging(1, contents={3: 99}).write(tmp_path / "other")
    assert same_data(other).status == "warned", "as many samples, but one of them has other inputs"
