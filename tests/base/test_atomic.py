"""An exception at any point leaves what stood there whole."""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ogacli.base import atomic
from ogacli.base.atomic import check_free, holds_only, new_file, new_folder
from ogacli.errors import RunError
from small_scans import contents

TOUCHING = (
    (Path, "mkdir"),
    (Path, "rename"),
    (Path, "replace"),
    (Path, "open"),
    (shutil, "rmtree"),
    (tempfile, "mkdtemp"),
    (os, "fsync"),
    (atomic, "exchanged"),
)
"""What touches the file system."""


def ours(folder: Path) -> bool:
    return (folder / "mine").is_file()


def write_folder(destination: Path, text: str) -> None:
    with new_folder(destination, overwrite=True, ours=ours) as work:
        (work / "mine").write_text(text)
        (work / "below").mkdir()
        (work / "below" / "more").write_text(text)


def write_file(destination: Path, text: str) -> None:
    with new_file(destination, overwrite=True) as file:
        file.write(text.encode())


class Faults:
    """Counts the calls that touch the file system, and raises in the one of a given number."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, error: type[BaseException]) -> None:
        self.error = error
        self.at: int | None = None
        self.calls: list[str] = []
        for owner, name in TOUCHING:
            monkeypatch.setattr(owner, name, self.wrapped(getattr(owner, name), name))

    def wrapped(self, call: Callable[..., Any], name: str) -> Callable[..., Any]:
        def faulty(*args: Any, **options: Any) -> Any:
            self.calls.append(name)
            if self.at == len(self.calls):
                raise self.error(5, "broken")
            return call(*args, **options)

        return faulty


def outcomes(
    tmp_path: Path, write: Callable[[Path, str], None], error: type[BaseException]
) -> Iterator[tuple[str, Path]]:
    """The destination after a fault at each point where the file system is touched."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        faults = Faults(monkeypatch, error)
        for number in range(1, 60):
            parent = tmp_path / str(number)
            write(parent / "it", "old")
            faults.calls.clear()
            faults.at = number
            try:
                write(parent / "it", "new")
            except (RunError, error):
                pass
            faults.at = None
            yield (faults.calls[number - 1] if len(faults.calls) >= number else "none"), parent
            if len(faults.calls) < number:
                return
    raise AssertionError("more steps than expected")


@pytest.fixture(params=[True, False], ids=["exchange", "two renames"])
def exchange(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether two folders can change places in one step."""
    if not request.param:
        monkeypatch.setattr(atomic, "exchanged", lambda one, other: False)
    return request.param


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt, MemoryError])
def test_a_folder_is_the_old_or_the_new_one(tmp_path, error, exchange):
    steps = []
    for step, parent in outcomes(tmp_path, write_folder, error):
        steps.append(step)
        found = contents(parent / "it")
        assert found in (
            {"mine": b"old", "below/more": b"old"},
            {"mine": b"new", "below/more": b"new"},
        ), step
        if step not in ("rmtree", "none"):
            assert [path.name for path in parent.iterdir()] == ["it"], f"{step} leaves something behind"
    assert steps.count("fsync") >= 4, "two files and two folders"
    if not exchange:
        assert steps.count("rename") == 2, "both renames were hit"
    assert steps[-1] == "none"


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt, MemoryError])
def test_a_file_is_the_old_or_the_new_one(tmp_path, error):
    steps = []
    for step, parent in outcomes(tmp_path, write_file, error):
        steps.append(step)
        assert (parent / "it").read_text() in ("old", "new"), step
        if step not in ("rmtree", "none"):
            assert [path.name for path in parent.iterdir()] == ["it"], f"{step} leaves something behind"
    assert {"mkdtemp", "open", "fsync", "replace"} < set(steps)


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
@pytest.mark.parametrize("before", [False, True])
def test_an_error_in_the_block_changes_nothing(tmp_path, error, before):
    folder, file = tmp_path / "folder", tmp_path / "file"
    if before:
        write_folder(folder, "old")
        write_file(file, "old")
    found = contents(tmp_path)

    def fails_in_a_folder() -> None:
        with new_folder(folder, overwrite=True, ours=ours) as work:
            (work / "mine").write_text("half")
            raise error

    def fails_in_a_file() -> None:
        with new_file(file, overwrite=True) as opened:
            opened.write(b"half")
            raise error

    with pytest.raises(error):
        fails_in_a_folder()
    with pytest.raises((error, RunError)):
        fails_in_a_file()
    assert contents(tmp_path) == found
    assert sorted(path.name for path in tmp_path.iterdir()) == (["file", "folder"] if before else [])


def test_a_folder_that_appears_meanwhile_is_not_replaced(tmp_path):
    def write_late() -> None:
        with new_folder(tmp_path / "it", overwrite=False, ours=ours) as work:
            (work / "mine").write_text("late")
            write_folder(tmp_path / "it", "early")

    with pytest.raises(RunError, match="already exists"):
        write_late()
    assert contents(tmp_path / "it")["mine"] == b"early"
    assert [path.name for path in tmp_path.iterdir()] == ["it"]


def test_a_folder_is_replaced_whole(tmp_path):
    write_folder(tmp_path / "a" / "b" / "it", "old")
    (tmp_path / "a/b/it/extra").write_text("gone afterwards")
    write_folder(tmp_path / "a" / "b" / "it", "new")
    assert contents(tmp_path) == {"a/b/it/mine": b"new", "a/b/it/below/more": b"new"}
    assert (tmp_path / "a/b/it").stat().st_mode & 0o777 == 0o755


def test_an_empty_folder_is_free(tmp_path):
    (tmp_path / "it").mkdir()
    with new_folder(tmp_path / "it", overwrite=False, ours=ours) as work:
        (work / "mine").write_text("new")
    assert contents(tmp_path) == {"it/mine": b"new"}


@pytest.mark.parametrize("target", ["real", "empty", "nowhere"])
def test_a_link_is_never_replaced(tmp_path, target):
    write_folder(tmp_path / "real", "old")
    (tmp_path / "empty").mkdir()
    (tmp_path / "it").symlink_to(target)
    with pytest.raises(RunError, match=f"it: a link stands there\n  found: a link to {target}\n  next: name"):
        write_folder(tmp_path / "it", "new")
    assert (tmp_path / "it").is_symlink()
    assert contents(tmp_path / "real")["mine"] == b"old"
    assert not list((tmp_path / "empty").iterdir())


def test_what_a_folder_holds(tmp_path):
    folder = tmp_path / "it"
    assert not holds_only(folder, ["*"])
    folder.mkdir()
    assert holds_only(folder, [])
    (folder / "a-1.txt").touch()
    assert holds_only(folder, ["a-*.txt"])
    assert not holds_only(folder, ["a.txt"])
    (folder / "b").symlink_to("a-1.txt")
    assert not holds_only(folder, ["a-*.txt", "b"]), "a link is none of our files"
    (folder / "b").unlink()
    (folder / "b").mkdir()
    assert not holds_only(folder, ["a-*.txt", "b"]), "nor is a folder"
    (folder / "b").rmdir()
    (tmp_path / "link").symlink_to("it")
    assert not holds_only(tmp_path / "link", ["a-*.txt"])


@pytest.mark.parametrize("kind", ["file", "foreign folder"])
def test_what_is_not_ours_is_never_replaced(tmp_path, kind):
    place = tmp_path / "it"
    if kind == "file":
        place.write_text("precious")
    else:
        place.mkdir()
        (place / "theirs").write_text("precious")
    for overwrite in (False, True):
        with pytest.raises(RunError, match="something else stands there") as caught:
            check_free(place, overwrite=overwrite, ours=ours)
        assert "it" in str(caught.value)
        assert ("a file" if kind == "file" else "a folder with theirs") in str(caught.value)


def test_files_are_not_replaced_unless_asked(tmp_path):
    write_file(tmp_path / "it", "old")
    with pytest.raises(RunError, match="already exists\n  next: add --overwrite"):
        new_file(tmp_path / "it", overwrite=False).__enter__()
    (tmp_path / "folder").mkdir()
    with pytest.raises(RunError, match="folder: a folder stands there"):
        new_file(tmp_path / "folder", overwrite=True).__enter__()


def test_a_place_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="file/run: cannot be written"):
        new_folder(tmp_path / "file" / "run", overwrite=False, ours=ours).__enter__()
    with pytest.raises(RunError, match="file/run: cannot be written"):
        new_file(tmp_path / "file" / "run", overwrite=False).__enter__()


def test_a_full_disk_is_told_as_such(tmp_path):
    with pytest.raises(RunError, match="it: cannot be written\n  found: No space left"):
        with new_file(tmp_path / "it", overwrite=False):
            raise OSError(28, "No space left on device")
    assert not list(tmp_path.iterdir())
