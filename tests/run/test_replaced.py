"""Readers of a run that is replaced meanwhile see the old one or the new one, whole."""

import os
import shutil
import sys
from pathlib import Path

import pytest

from ogacli.base import atomic
from ogacli.base.atomic import new_folder
from ogacli.errors import RunError
from ogacli.run import directory
from ogacli.run.directory import Run, is_run
from small_scans import make_place

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="forks the readers")


@pytest.fixture(scope="module")
def versions(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """Two runs by how many samples are flagged."""
    from ogacli.config.commands import scan

    place = make_place(tmp_path_factory.mktemp("place"))
    return {
        count: scan(place.config(f"budget={count}"), output=place.folder / f"v{count}").path
        for count in (5, 12)
    }


def put(version: Path, destination: Path) -> None:
    with new_folder(destination, overwrite=True, ours=is_run) as work:
        shutil.copytree(version, work, dirs_exist_ok=True)


def consistent(path: Path) -> bool:
    """Whether all files are of one run, read one after the other."""
    run = Run.open(path)
    flagged = run.summary.flagged
    scores = sum(run.scores.column("flagged").to_pylist())
    return flagged in (5, 12) and flagged == scores == run.config["budget"] and bool(run.previews.num_rows)


def readers(path: Path, processes: int, times: int) -> list[int]:
    """Processes that read again and again; each ends with how often it saw something else than one run."""
    children = []
    for _ in range(processes):
        child = os.fork()
        if not child:
            wrong = 0
            for _ in range(times):
                try:
                    wrong += not consistent(path)
                except BaseException as error:
                    print(repr(error), file=sys.stderr, flush=True)
                    wrong += 1
            os._exit(min(wrong, 100))
        children.append(child)
    return children


def swapped(versions: dict[int, Path], out: Path, processes: int, times: int) -> tuple[int, int]:
    """How often the run was replaced while it was read, and how many readings went wrong."""
    put(versions[5], out)
    running, wrong, swaps = set(readers(out, processes, times)), 0, 0
    while running:
        put(versions[(12, 5)[swaps % 2]], out)
        swaps += 1
        for child in list(running):
            ended, status = os.waitpid(child, os.WNOHANG)
            if ended:
                running.discard(child)
                wrong += os.waitstatus_to_exitcode(status)
    return swaps, wrong


@pytest.mark.parametrize("exchange", [True, False], ids=["exchange", "two renames"])
def test_readers_see_one_run(versions, tmp_path, monkeypatch, exchange):
    if not exchange:
        monkeypatch.setattr(atomic, "exchanged", lambda one, other: False)
    swaps = 0
    while swaps <= 5:  # a machine with other work may replace the run seldom
        more, wrong = swapped(versions, tmp_path / "out", 2, 30)
        swaps += more
        assert not wrong


@pytest.mark.slow
def test_five_hundred_readers(versions, tmp_path):
    swaps, wrong = swapped(versions, tmp_path / "out", 20, 25)
    print(f"500 readings during {swaps} replacements: {wrong} went wrong")
    assert swaps > 20
    assert not wrong


def test_a_run_that_is_open_stays_as_it_was(versions, tmp_path):
    put(versions[5], tmp_path / "out")
    run = Run.open(tmp_path / "out")
    put(versions[12], tmp_path / "out")
    assert run.summary.flagged == 5
    assert sum(run.scores.column("flagged").to_pylist()) == 5
    assert run.config["budget"] == 5
    assert Run.open(tmp_path / "out").summary.flagged == 12


def test_without_held_files_a_run_is_read_by_its_names(versions, tmp_path, monkeypatch):
    """On Windows, or where a process has too many open files."""
    monkeypatch.setattr(sys.modules["ogacli.run.held"], "_MOST", 0)
    put(versions[5], tmp_path / "out")
    assert consistent(tmp_path / "out")
    with pytest.raises(RunError, match="no such run directory"):
        Run.open(tmp_path / "nothing")


def test_files_are_closed_with_the_run(versions):
    before = len(os.listdir("/proc/self/fd")) if sys.platform == "linux" else 0
    for _ in range(100):
        Run.open(versions[5])
    after = len(os.listdir("/proc/self/fd")) if sys.platform == "linux" else 0
    assert after <= before + len(directory._FILES)
