"""Signals end a scan as Ctrl-C does, and --log-json tells machines how far it is."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from command_line import oga
from small_scans import Place, contents, make_place

BATCH = ("--set", "gradients.batch_size=4")
SLOW = (
    "import signal, sys, time\n"
    "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
    "if hasattr(signal, 'SIGHUP'):\n"
    "    signal.signal(signal.SIGHUP, signal.SIG_IGN if {ignored} else signal.SIG_DFL)\n"
    "from ogacli.detectors.norm import Norm\n"
    "score = Norm.score\n"
    "def slowly(self, batch):\n    print('scoring', file=sys.stderr, flush=True)\n    time.sleep(0.05)\n"
    "    return score(self, batch)\n"
    "Norm.score = slowly\n"
    "from ogacli.cli import main\n"
    "sys.argv = ['oga', 'scan', 'config.yaml', '--set', 'gradients.batch_size=4']\n"
    "main()\n"
)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return make_place(tmp_path / "place")


def sent(place: Place, number: int, *, ignored: bool = False) -> tuple[int, str]:
    """The exit code and stderr of a scan that gets a signal."""
    started = subprocess.Popen(
        [sys.executable, "-c", SLOW.format(ignored=ignored)],
        cwd=place.folder,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert started.stderr is not None
    for _ in range(3):
        assert started.stderr.readline() == "scoring\n"
    started.send_signal(number)
    _, err = started.communicate(timeout=120)
    return started.returncode, err


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="Windows")
@pytest.mark.parametrize(("name", "code"), [("SIGTERM", 143), ("SIGHUP", 129)])
def test_a_signal_saves_and_ends_the_scan(place, name, code):
    found, err = sent(place, getattr(signal, name))
    assert found == code
    assert "Traceback" not in err
    assert "--resume continues from here" in err
    assert sorted(path.name for path in place.folder.glob("run*")) == ["run.partial"]
    assert oga("scan", "config.yaml", "--resume", *BATCH, cwd=place.folder).code == 0
    assert oga("scan", "config.yaml", "--output", "whole", *BATCH, cwd=place.folder).code == 0
    resumed, whole = (contents(place.folder / one)["scores.parquet"] for one in ("run", "whole"))
    assert resumed == whole


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="Windows")
def test_a_signal_that_is_ignored_stays_ignored(place):
    """As under nohup."""
    found, _ = sent(place, signal.SIGHUP, ignored=True)
    assert found == 0
    assert (place.folder / "run" / "summary.json").exists()


def test_progress_for_machines(place):
    done = oga("scan", "config.yaml", "--log-json", "--json", *BATCH, cwd=place.folder)
    assert done.code == 0, done.err
    assert json.loads(done.out)["samples"] == 120
    lines = [json.loads(line) for line in done.err.splitlines()]
    assert {line["event"] for line in lines} <= {"stage", "progress", "note", "warning"}
    last = [line for line in lines if line["event"] == "progress" and line["stage"] == "scanning"][-1]
    assert last["done"] == last["total"] == 120
    assert last["seconds_left"] == 0
    refused = oga("scan", "config.yaml", "--log-json", *BATCH, cwd=place.folder)
    assert refused.code == 2
    assert [json.loads(line)["event"] for line in refused.err.splitlines()] == ["error"]
