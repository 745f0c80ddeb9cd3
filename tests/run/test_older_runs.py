"""Runs that earlier versions wrote, as they are: every command reads them, or says what to do.

``first`` is of the first version with today's file names, without fingerprints, neighbours and probabilities
of the given labels in its scores; ``trimming`` is of the one that could relabel and weight.
"""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from ogacli.errors import RunError
from ogacli.run.compare import compare
from ogacli.run.diff import diff
from ogacli.run.directory import Run
from ogacli.run.gate import gate
from ogacli.run.reports import formats
from ogacli.run.review import review
from ogacli.run.trim import trim

OLDER = Path(__file__).parent / "older"
READERS: dict[str, Callable[[Path], object]] = {
    **{name: lambda run, name=name: formats.get(name)(Run.open(run)) for name in ("html", "md", "json")},  # type: ignore[misc]
    "gate": gate,
    "compare": lambda run: compare([run, run]).document(),
    "diff": lambda run: diff(run, run).document(),
    "review": lambda run: review(run, run.parent / "page.html"),
    "trim": lambda run: trim(run, manifest=run.parent / "manifest.csv"),
    "relabel": lambda run: trim(run, manifest=run.parent / "manifest.csv", relabel=True),
    "weights": lambda run: trim(run, manifest=run.parent / "manifest.csv", weights=True),
}
REFUSED = {("first", "weights"): "scan again"}
"""What an older run lacks, and what is said then."""


@pytest.fixture(params=sorted(path.name for path in OLDER.iterdir()))
def run(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return shutil.copytree(OLDER / request.param, tmp_path / request.param)


@pytest.mark.parametrize("reader", READERS)
def test_older_runs_are_read(run: Path, reader: str) -> None:
    told = REFUSED.get((run.name, reader))
    if told is None:
        READERS[reader](run)
        return
    with pytest.raises(RunError, match=told):
        READERS[reader](run)


def test_what_they_say(run: Path) -> None:
    assert Run.open(run).summary.flagged == 3
    assert trim(run, manifest=run.parent / "m.csv").fates["dropped"] == 3
    told = next(one for one in gate(run).conditions if one.name == "consistent")
    assert told.status == "failed", "no digest binds the rows to the summary"
    assert "scan again" in told.detail


@pytest.mark.parametrize("version", [0, 2, None, "1"])
def test_another_version_of_the_documents_is_refused(run: Path, version: object) -> None:
    document = json.loads((run / "summary.json").read_text())
    (run / "summary.json").write_text(json.dumps(document | {"schema_version": version}))
    for read in READERS.values():
        with pytest.raises(RunError, match=r"written by another version of oga(.|\n)*scan again"):
            read(run)
