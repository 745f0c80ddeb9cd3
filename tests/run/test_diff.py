"""``oga diff``: every sample that is not the same in both runs, by kind."""

import json

import pytest

from command_line import oga
from ogacli.run.diff import KINDS, diff
from ogacli.run.gate import gate
from synthetic_runs import Recipe


def flagging(*rows, n=32, **options):
    scores = [2.0 + row / 64 if row in rows else row / 64 for row in range(n)]
    return Recipe(n=n, scores=scores, budget=len(rows), **options)


@pytest.fixture
def runs(tmp_path):
    """30 and 31 become flagged; 1 is no longer; 2 is gone; 3 and 7 have changed; a, b are new."""
    ids = [f"img-{i:03d}" for i in range(32)]
    before = flagging(1, 2, 3, ids=ids)
    labels = [i % 4 for i in range(32)]
    labels[7] = 0
    now_ids = [*ids[:2], "a", *ids[3:], "b"]
    contents = {2: 900, 3: 1000}
    rows = (3, 30, 31, 32)
    now = flagging(*rows, n=33, ids=now_ids, labels=[*labels, 1], contents=contents, checkpoint="other")
    return before.write(tmp_path / "before"), now.write(tmp_path / "now")


def test_every_kind(runs):
    found = diff(*runs)
    ids = {kind: [one.id for one in found.of(kind)] for kind in KINDS}
    assert ids == {
        "became_flagged": ["img-030", "img-031"],
        "no_longer_flagged": ["img-001"],
        "new": ["a"],
        "new_flagged": ["b"],
        "changed": ["img-007"],
        "changed_flagged": ["img-003"],
        "gone": ["img-002"],
    }
    assert found.counts == {kind: len(ids[kind]) for kind in KINDS}
    assert (found.samples, found.flagged, found.by_label) == ((32, 33), (3, 4), False)
    (moved,) = found.of("changed")
    assert (moved.before, moved.label) == ("ship", "cat")
    assert all(one.reason for one in found.of("became_flagged") + found.of("no_longer_flagged"))


def test_it_lists_what_the_ratchet_fails_on(runs):
    before, now = runs
    failed = next(one for one in gate(now, baseline=before).conditions if one.name == "max_new_flagged")
    found = diff(before, now)
    listed = [one.id for kind in ("new_flagged", "changed_flagged") for one in found.of(kind)]
    assert sorted(failed.samples) == sorted(listed)


def test_counts_by_class(runs):
    found = diff(*runs)
    assert sum(sum(counts.values()) for counts in found.classes.values()) == len(found.changes) == 8
    assert found.classes["frog"]["became_flagged"] == 1
    totals = [sum(counts.values()) for counts in found.classes.values()]
    assert totals == sorted(totals, reverse=True)


def test_a_run_and_itself(runs):
    assert diff(runs[0], runs[0]).changes == ()


def test_the_other_way_round(runs):
    there, back = diff(*runs).counts, diff(*reversed(runs)).counts
    assert back["gone"] == there["new"] + there["new_flagged"]
    assert back["no_longer_flagged"] == there["became_flagged"]
    assert back["changed"] + back["changed_flagged"] == there["changed"] + there["changed_flagged"]


def test_labels_of_every_kind(tmp_path):
    numbers = [i / 4 for i in range(32)]
    several = [[float(i % 2), 1.0] for i in range(32)]
    for name, classes, labels in (("numbers", (), numbers), ("several", ("x", "y"), several)):
        before = Recipe(classes=classes, labels=labels).write(tmp_path / name)
        labels[3] = 7.5 if name == "numbers" else [0.0, 1.0]
        now = Recipe(classes=classes, labels=labels).write(tmp_path / f"{name}-now")
        (change,) = diff(before, now).changes
        assert (change.id, change.kind) == ("img-003", "changed")
        assert change.before != change.label


def test_without_fingerprints_labels_are_compared(tmp_path):
    none = dict.fromkeys(range(32), 0)
    before = flagging(1, contents=none).write(tmp_path / "before")
    found = diff(before, flagging(1, contents=none).write(tmp_path / "now"))
    assert found.by_label
    assert found.changes == ()
    assert found.document()["compared_by"] == "label"


def test_on_the_command_line(runs, tmp_path):
    paths = [str(run.path) for run in runs]
    shown = oga("diff", *paths, cwd=tmp_path)
    assert shown.code == 0
    for text in ("33 samples (before 32), 4 flagged (before 3)", "became flagged", "img-030, img-031"):
        assert text in shown.out
    document = json.loads(oga("diff", *paths, "--json", cwd=tmp_path).out)
    assert document["counts"]["gone"] == 1
    assert {"id": "b", "kind": "new_flagged"}.items() <= next(
        one for one in document["changes"] if one["id"] == "b"
    ).items()
    markdown = oga("diff", *paths, "--format", "md", cwd=tmp_path).out
    assert markdown.startswith("## oga diff\n")
    assert "### new, flagged: 1" in markdown
    assert oga("diff", *paths, "--format", "pdf", cwd=tmp_path).code == 2


def test_names_are_no_markup(tmp_path):
    ids = [f"[x](http://e) | `<b>` {i}\n## no" for i in range(32)]
    before = flagging(1, ids=ids).write(tmp_path / "before")
    text = diff(before, flagging(2, ids=ids).write(tmp_path / "now")).markdown()
    assert "\n## no" not in text
    assert "<b>" not in text.replace("&#60;b&#62;", "")
