"""One process at a time for each output, and a file that says how far it is."""

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

from ogacli.base.processes import running as room
from ogacli.base.processes.process import Process
from ogacli.base.processes.running import Running, running, running_file
from ogacli.base.progress import SILENT
from ogacli.errors import RunError


def record(output: Path) -> dict[str, Any]:
    return json.loads(running_file(output).read_text())


def write(output: Path, *, age: float = 0.0, **changes: Any) -> None:
    """A lock of another process."""
    lock = Running(output, "scan")
    lock.take()
    found = record(output)
    lock.release()
    running_file(output).write_text(json.dumps(found | {"token": "theirs"} | changes))
    then = time.time() - age
    os.utime(running_file(output), (then, then))


def test_one_at_a_time(tmp_path):
    output = tmp_path / "runs" / "x"
    with running(output, "scan", SILENT):
        with pytest.raises(RunError, match="x: another process is writing this output") as caught:
            running(output, "scan", SILENT).__enter__()
        assert f"process {os.getpid()} on" in str(caught.value)
        assert "oga scan since" in str(caught.value)
        with running(tmp_path / "runs" / "y", "scan", SILENT):
            pass
    assert not list(tmp_path.iterdir()), "nor are the folders left that were made for it"
    with running(output, "scan", SILENT):
        assert [path.name for path in output.parent.iterdir()] == ["x.running.json"]


GONE = Process.own().plain() | {"started": "1"}
FAR = {"host": "elsewhere", "space": "", "number": 1, "started": ""}


@pytest.mark.parametrize(
    ("process", "age", "taken"),
    [
        (Process.own().plain(), 1e6, False),
        (GONE, 0, True),
        (FAR, 100, False),
        (FAR, 200, True),
        (FAR, -200, True),  # a clock was wrong; a process that runs would have set the time since
        (None, 100, False),
        (None, 200, True),
    ],
)
def test_locks_of_processes_that_have_ended_are_taken_over(tmp_path, process, age, taken):
    output = tmp_path / "x"
    write(output, age=age, process=process)
    if not taken:
        with pytest.raises(RunError, match="another process is writing") as caught:
            running(output, "scan", SILENT).__enter__()
        assert ("taken over after 120 s" in str(caught.value)) == (process in (FAR, None))
        assert record(output)["token"] == "theirs"
        return
    with running(output, "scan", SILENT):
        assert record(output)["process"] == Process.own().plain()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("kind", ["a thesis", "a folder", "a link", "other json", "deep json"])
def test_what_is_no_lock_is_left_alone(tmp_path, kind):
    output, file = tmp_path / "x", running_file(tmp_path / "x")
    if kind == "a folder":
        file.mkdir()
    elif kind == "a link":
        file.symlink_to("nowhere")
    else:
        texts = {"other json": '{"kind": "mine"}', "deep json": "[" * 100_000}
        file.write_text(texts.get(kind, "mine"))
    with pytest.raises(RunError, match=r"x\.running\.json: something else stands where the lock is kept"):
        running(output, "scan", SILENT).__enter__()
    assert os.path.lexists(file)
    assert [path.name for path in tmp_path.iterdir()] == [file.name]


def test_an_empty_lock_of_a_process_that_was_killed(tmp_path):
    """Where there are no links, the file is there before its content."""
    output, file = tmp_path / "x", running_file(tmp_path / "x")
    file.touch()
    with pytest.raises(RunError, match="another process is writing"):
        running(output, "scan", SILENT).__enter__()
    os.utime(file, (time.time() - 200,) * 2)
    with running(output, "scan", SILENT):
        assert record(output)["kind"] == "oga running"


@pytest.mark.parametrize("links", [True, False])
def test_of_many_that_find_a_stale_lock_one_takes_it(tmp_path, monkeypatch, links):
    if not links:

        def link(*names: Any) -> None:
            raise OSError(1, "not permitted")

        monkeypatch.setattr(os, "link", link)
    output = tmp_path / "x"
    for _ in range(20):
        write(output, process=GONE)
        several = [Running(output, "scan") for _ in range(4)]
        held = []
        for one in several:
            try:
                one.take()
                held.append(one)
            except RunError:
                pass
        assert len(held) == 1
        held[0].release()
        assert not list(tmp_path.iterdir())


def test_the_heartbeat_says_how_far_it_is(tmp_path, monkeypatch):
    monkeypatch.setattr(room, "_EVERY", 0.01)
    output = tmp_path / "x"
    with running(output, "scan", SILENT) as (_, progress):
        first = record(output)
        assert first["stage"] == "starting"
        assert {"kind", "command", "process", "since", "updated", "done", "total", "seconds_left"} < set(
            first
        )
        with progress.bar("scanning", 10) as advance:
            advance(4)
            until(lambda: record(output)["done"] == 4)
            assert record(output)["stage"] == "scanning"
            assert record(output)["total"] == 10
            assert record(output)["seconds_left"] >= 0


def test_a_process_that_was_asleep_notices_that_another_one_has_taken_over(tmp_path, monkeypatch):
    monkeypatch.setattr(room, "_EVERY", 0.01)
    output = tmp_path / "x"
    lock = Running(output, "scan")
    lock.take()
    lock.check()
    theirs = record(output) | {"token": "theirs", "process": FAR}
    running_file(output).unlink()
    lock.check()  # somebody has deleted the file; nobody has taken over
    running_file(output).write_text(json.dumps(theirs))
    time.sleep(0.1)
    with pytest.raises(RunError, match="another process has taken over this output") as caught:
        lock.check()
    assert "process 1 on elsewhere" in str(caught.value)
    lock.release()
    assert record(output) == theirs, "its lock is not touched"


def until(condition: Any) -> None:
    for _ in range(500):
        if condition():
            return
        time.sleep(0.01)
    raise AssertionError("never")
