"""What a killed process left is removed or put back; what bears no mark of ours is left alone."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ogacli.base.processes.process import Process
from ogacli.base.workplace import NEW, OLD, clear, workplace
from small_scans import contents


@pytest.fixture(scope="module")
def ended() -> Process:
    """A process that has ended."""
    code = """
import json
from ogacli.base.processes.process import Process
print(json.dumps(Process.own().plain()))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    found = Process.of(json.loads(done.stdout))
    assert found is not None
    return found


def left_by(process: Process, destination: Path, **changes: object) -> Path:
    """What a process has left that was killed while it wrote."""
    with workplace(destination) as work:
        (work / NEW).mkdir()
        (work / NEW / "half").write_text("half")
        mark = json.loads((work / "owner.json").read_text()) | {"process": process.plain()} | changes
        (work / "owner.json").write_text(json.dumps(mark))
        left = work.with_name(work.name + "x")
        work.rename(left)
    return left


def test_what_a_killed_process_left_is_removed(tmp_path, ended):
    left = left_by(ended, tmp_path / "run")
    clear(tmp_path / "other")
    assert left.exists()
    with workplace(tmp_path / "run"):
        assert not left.exists()
    assert not list(tmp_path.iterdir())


def test_the_earlier_version_is_put_back(tmp_path, ended):
    """The process was killed between two renames, where folders cannot be exchanged in one step."""
    left = left_by(ended, tmp_path / "run")
    (left / OLD).mkdir()
    (left / OLD / "mine").write_text("old")
    clear(tmp_path / "run")
    assert contents(tmp_path) == {"run/mine": b"old"}


MARKS = {
    "a deep mark": b"[" * 100_000,
    "a long mark": b'{"kind": "oga work in progress", "of": "run", "x": "' + bytes(1 << 20) + b'"}',
    "a mark of half a character": b'{"kind": "\\ud800"}',
    "a mark of a number": b"1" * 5_000,
    "a mark that is no text": b"\xff",
}


@pytest.mark.parametrize(
    "kind", ["running", "elsewhere", "no mark", *MARKS, "of another kind", "with a thesis", "a link"]
)
def test_what_may_not_be_removed_stays(tmp_path, ended, kind):
    far = Process("elsewhere", "", 1, "")
    process = {"running": Process.own(), "elsewhere": far}.get(kind, ended)
    left = left_by(process, tmp_path / "run", **({"kind": "mine"} if kind == "of another kind" else {}))
    if kind == "no mark":
        (left / "owner.json").unlink()
    if kind in MARKS:
        (left / "owner.json").write_bytes(MARKS[kind])
    if kind == "with a thesis":
        (left / "thesis.txt").write_text("mine")
    if kind == "a link":
        left.rename(tmp_path / "real")
        left.symlink_to("real")
    before = contents(tmp_path)
    clear(tmp_path / "run")
    assert contents(tmp_path) == before


def test_what_another_machine_left_goes_after_a_week(tmp_path):
    left = left_by(Process("elsewhere", "", 1, ""), tmp_path / "run")
    os.utime(left, (time.time() - 8 * 24 * 3600,) * 2)
    clear(tmp_path / "run")
    assert not left.exists()


@pytest.mark.parametrize("name", ["é" * 120, "x" * 255, "a b"])
def test_names_of_any_length(tmp_path, name):
    with workplace(tmp_path / name) as work:
        assert work.parent == tmp_path


def test_a_number_that_was_given_to_another_process(ended):
    own = Process.own()
    assert own.runs()
    assert ended.runs() is False
    assert Process(own.host, own.space, own.number, "1").runs() is False
    assert Process("elsewhere", own.space, own.number, own.started).runs() is None
    assert Process(own.host, "another boot", own.number, own.started).runs() is None
    assert Process.of(own.plain()) == own
    for record in (None, [], {}, own.plain() | {"number": "1"}, own.plain() | {"number": True}):
        assert Process.of(record) is None
