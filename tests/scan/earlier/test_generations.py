"""The state of an unfinished scan on disk: two generations, damage, and a disk that is full."""

import errno
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import SafetensorError

from ogacli.base.progress import SILENT
from ogacli.config.commands import scan
from ogacli.detectors.norm import Norm
from ogacli.errors import RunError
from ogacli.scan.earlier.generations import Generations
from ogacli.scan.result import ScanResult
from small_scans import Place, contents, make_place

SIZE = "gradients.batch_size=16"


class Told:
    """A display that keeps what it is told."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.warnings: list[str] = []

    @contextmanager
    def bar(self, *given: Any, **options: Any) -> Iterator[Any]:
        with SILENT.bar(*given, **options) as advance:
            yield advance

    def note(self, text: str) -> None:
        self.notes.append(text)

    def warn(self, text: str) -> None:
        self.warnings.append(text)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    """A small scan that is saved after each batch."""
    monkeypatch.setattr(import_module("ogacli.scan.earlier.resume"), "_SAVE_EVERY", 0.0)
    monkeypatch.setattr(import_module("ogacli.scan.earlier.resume"), "_SHARE", 0)
    return make_place(tmp_path / "place")


def interrupt(place: Place, monkeypatch: pytest.MonkeyPatch, call: int = 5) -> Path:
    """The saved state of a scan that was interrupted at a batch."""
    score, calls = Norm.score, []

    def interrupted(self: Norm, batch: Any) -> Any:
        calls.append(1)
        if len(calls) == call:
            raise KeyboardInterrupt
        return score(self, batch)

    with monkeypatch.context() as patched:
        patched.setattr(Norm, "score", interrupted)
        with pytest.raises(KeyboardInterrupt):
            scan(place.config(SIZE), output=place.folder / "out")
    return place.folder / "out.partial"


def states(folder: Path) -> list[Path]:
    return sorted(folder.glob("state-*"))


def test_two_are_kept(tmp_path):
    kept = Generations(tmp_path / "x.partial")
    assert not kept.exists
    assert kept.newest() is None
    for number in range(5):
        kept.write({"a": torch.full((3,), number), "b": torch.empty(0)}, {"number": number})
        assert kept.exists
        found = kept.newest()
        assert found is not None
        assert found.document == {"number": number}
        assert found.tensors["a"].tolist() == [number] * 3
        assert set(found.tensors) == {"a", "b"}
        assert len(states(kept.folder)) == min(2, number + 1)
    assert sorted(path.name.split("-")[0] for path in kept.folder.iterdir()) == ["oga.json", "state", "state"]
    kept.remove()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "swapped"])
def test_the_older_one_is_used_where_the_newer_one_is_damaged(place, monkeypatch, damage):
    whole = scan(place.config(SIZE), output=place.folder / "whole")
    older, newer = states(interrupt(place, monkeypatch))
    content = bytearray(newer.read_bytes())
    if damage == "flipped":
        content[len(content) // 2] ^= 1
    elif damage == "swapped":
        content = bytearray(older.read_bytes())
    else:
        del content[len(content) // 2 if damage == "cut" else 0 :]
    newer.write_bytes(content)
    told = Told()
    resumed = scan(place.config(SIZE), output=place.folder / "out", resume=True, progress=told)
    assert told.warnings == [f"{newer} is damaged; the state before it is used"]
    assert contents(resumed.path)["scores.parquet"] == contents(whole.path)["scores.parquet"]
    assert not (place.folder / "out.partial").exists()


def test_where_both_are_damaged_nothing_is_lost_silently(place, monkeypatch):
    folder = interrupt(place, monkeypatch)
    for file in states(folder):
        file.write_bytes(b"")
    before = contents(folder)
    with pytest.raises(RunError, match=r"out\.partial: the unfinished scan is damaged") as caught:
        scan(place.config(SIZE), output=place.folder / "out", resume=True)
    assert "--overwrite begins anew" in str(caught.value)
    assert contents(folder) == before
    scan(place.config(SIZE), output=place.folder / "out", overwrite=True)
    assert not folder.exists()


FULL = [OSError(errno.ENOSPC, "No space left on device"), SafetensorError("No space left on device")]


@pytest.mark.parametrize("error", FULL)
def test_a_scan_that_cannot_be_saved_goes_on(place, monkeypatch, error):
    room = import_module("ogacli.scan.earlier.generations")
    save, calls = room.save_file, []

    def full(tensors: Any, file: Path) -> None:
        calls.append(file)
        if len(calls) in (2, 3, 4):
            file.write_bytes(b"half")
            raise error
        save(tensors, file)

    monkeypatch.setattr(room, "save_file", full)
    told = Told()
    run = scan(place.config(SIZE), output=place.folder / "out", progress=told)
    assert run.summary.samples == len(run.scores)
    assert len(told.warnings) == 1, "told once"
    assert "cannot be saved in" in told.warnings[0]
    assert "No space left on device" in told.warnings[0]
    assert "the scan goes on, the state before it is kept" in told.warnings[0]
    assert told.notes == ["the unfinished scan is saved again"]
    assert [path.name for path in place.folder.glob("*out*")] == ["out"]


def test_a_run_that_cannot_be_written_is_one_error_and_loses_nothing(place, monkeypatch):
    """Neither the earlier run nor the state of the scan, which can be continued once there is room."""
    scan(place.config(SIZE), output=place.folder / "out")
    before = contents(place.folder / "out")
    whole = scan(place.config(SIZE, "detector=l1"), output=place.folder / "whole")
    room = import_module("ogacli.scan.result")

    def full(folder: Path, **given: Any) -> None:
        (folder / "scores.parquet").write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(room, "write_run", full)
        with pytest.raises(RunError, match="out: cannot be written\n  found: No space left") as caught:
            scan(place.config(SIZE, "detector=l1"), output=place.folder / "out", overwrite=True)
    assert "next: make room on the disk, or choose another place; what stood there is unchanged" in str(
        caught.value
    )
    assert contents(place.folder / "out") == before
    assert sorted(path.name for path in place.folder.glob("*out*")) == ["out", "out.partial"]
    monkeypatch.setattr(Norm, "score", None)  # everything is scored already
    again = scan(place.config(SIZE, "detector=l1"), output=place.folder / "out", resume=True, overwrite=True)
    assert contents(again.path)["scores.parquet"] == contents(whole.path)["scores.parquet"]


def test_the_time_between_scan_and_save_is_not_counted_as_writing(place, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(import_module("ogacli.scan.stopwatch").time, "perf_counter", lambda: clock[0])
    save = ScanResult.save

    def later(self: ScanResult, *given: Any, **options: Any) -> Any:
        clock[0] += 3600
        return save(self, *given, **options)

    monkeypatch.setattr(ScanResult, "save", later)
    run = scan(place.config(SIZE), output=place.folder / "out")
    assert run.timing["seconds"]["write"] == 0


def test_a_folder_that_is_deleted_meanwhile_is_made_again(place, monkeypatch):
    score, calls = Norm.score, []

    def scored(self: Norm, batch: Any) -> Any:
        calls.append(1)
        if len(calls) == 3:
            shutil.rmtree(place.folder / "out.partial")
        return score(self, batch)

    with monkeypatch.context() as patched:
        patched.setattr(Norm, "score", scored)
        assert scan(place.config(SIZE), output=place.folder / "out").summary.samples


def test_processes_that_save_at_the_same_time(tmp_path: Path) -> None:
    """Each keeps states of its own; whoever makes the folder last takes nothing away."""
    first, other = (Generations(tmp_path / "x.partial", rank) for rank in (0, 12))
    first.write({"a": torch.zeros(2)}, {"of": 0})
    other._make()
    for number in range(3):
        other.write({"a": torch.full((2,), number)}, {"of": 12})
    assert first.ranks == [0, 12]
    states = [one.newest() for one in (first, other)]
    assert [one and (one.document, one.tensors["a"].tolist()) for one in states] == [
        ({"of": 0}, [0, 0]),
        ({"of": 12}, [2, 2]),
    ]
    assert len([*first.folder.iterdir()]) == 4
    first.remove()
    assert not first.folder.exists()
