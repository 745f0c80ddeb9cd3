"""Limits on parts of labels: by reason, and for each class."""

import pyarrow.parquet as pq
import pytest

from command_line import oga
from ogacli.errors import ConfigError
from ogacli.run.gate import gate
from synthetic_runs import Recipe
from wrong_cells import NAMES, scanned, sets, shown


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Eight cells of each class are wrong."""
    folder = tmp_path_factory.mktemp("issues")
    given, _ = sets(folder)
    lines = ["key;kinds;size", *(f"k{i};{shown(row)};{i}" for i, row in enumerate(given))]
    (folder / "d.csv").write_text("\n".join(lines) + "\n")
    data = {"source": "table", "path": "d.csv", "features": ["size"], "label": "kinds", "separator": ", "}
    return scanned(folder, data, {"probabilities": "p.npy"}, "bce_with_logits")


def judged(run, **policy):
    return next((one for one in gate(run, policy=policy).conditions if one.name == "max_issues"), None)


def test_by_reason(run):
    counts = [one.wrong for one in run.summary.cells]
    forgotten = sum(one.get("forgotten", 0) for one in counts)
    wrongly = sum(one.get("wrongly given", 0) for one in counts)
    assert forgotten + wrongly >= 24
    assert judged(run) is None
    found = judged(run, max_issues={"forgotten": forgotten, "wrongly given": wrongly - 1})
    assert (found.status, found.found.split()[:3]) == ("failed", ["wrongly", "given:", str(wrongly)])
    assert judged(run, max_issues={"forgotten": forgotten, "wrongly given": None}).passed
    assert judged(run, max_issues={"forgotten": 0.5}).allowed == "at most 200 (50%)"
    with pytest.raises(ConfigError, match="not a reason: 'forgoten'; did you mean 'forgotten'"):
        gate(run, policy={"max_issues": {"forgoten": 3}})


def test_for_each_class(run):
    most = max(sum(one.wrong.values()) for one in run.summary.cells)
    assert judged(run, max_issues_per_class=most).passed
    found = judged(run, max_issues_per_class=most - 1)
    assert found.status == "failed"
    assert any(name in found.found for name in NAMES)


def test_labels_without_parts_are_skipped(tmp_path):
    found = judged(Recipe().write(tmp_path / "run"), max_issues={"forgotten": 0})
    assert found.status == "skipped"


def test_on_the_command_line(run):
    arguments = ["gate", str(run.path), "--set", "max_flagged_per_class=null"]
    assert oga(*arguments, cwd=run.path).code == 0
    done = oga(*arguments, "--set", "max_issues.forgotten=0", cwd=run.path)
    assert done.code == 1
    assert "max_issues" in done.out


def test_issues_that_were_taken_away_are_noticed(run):
    file = run.path / "issues.parquet"
    table = pq.read_table(file)
    pq.write_table(table.slice(1), file)
    try:
        found = gate(run.path).conditions[0]
        assert (found.name, found.status) == ("consistent", "failed")
        assert "issues of" in found.found
    finally:
        pq.write_table(table, file)
