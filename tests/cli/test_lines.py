"""How far a command is, where stderr is no terminal."""

import io
import json
import threading

import pytest
from rich.console import Console

from command_line import oga
from ogacli.base.progress import Step
from ogacli.cli.lines import Lines
from ogacli.cli.terminal import Terminal
from small_scans import make_place


class Written:
    """Lines, and an event for each of them."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.one_more = threading.Event()

    def __call__(self, line: str) -> None:
        self.lines.append(line)
        self.one_more.set()

    def wait(self) -> None:
        self.one_more.clear()
        assert self.one_more.wait(30)


def test_a_step_is_told_while_nothing_advances():
    """A batch may take minutes, and a training of folds has few batches."""
    written, step = Written(), Step("training fold 1 of 3", 2000)
    with Lines(written, every=0.01).of(step):
        written.wait()
        step.advance(1000)
        written.wait()
        written.wait()
        step.advance(1000)
    assert written.lines[0].startswith("training fold 1 of 3: 0 of 2,000, 0 s")
    assert any(line.startswith("training fold 1 of 3: 1,000 of 2,000, 0 s") for line in written.lines)
    assert written.lines[-1].startswith("training fold 1 of 3: 2,000 of 2,000, 0 s")
    assert not [thread for thread in threading.enumerate() if thread.name == "oga progress"]


def test_short_steps_print_nothing_until_the_command_has_lasted():
    written = Written()
    lines = Lines(written, every=0.5)
    steps = 0
    while not written.lines:
        with lines.of(Step("reading", 1)) as _:
            written.one_more.wait(0.01)
        steps += 1
    assert steps > 1
    assert written.lines[0].startswith("reading: 0 of 1")


def test_a_step_that_fails_is_told_no_more():
    written = Written()
    with pytest.raises(KeyboardInterrupt), Lines(written, every=60).of(Step("reading", 1)):
        raise KeyboardInterrupt
    assert written.lines == []


@pytest.mark.parametrize(("options", "told"), [({}, True), ({"json": True}, True), ({"quiet": True}, False)])
def test_without_a_terminal_there_are_lines_but_not_when_quiet(monkeypatch, options, told):
    monkeypatch.setattr("ogacli.cli.lines.EVERY", 0.01)
    found, stream = Terminal(**options), io.StringIO()
    found.err = Console(file=stream, force_terminal=False, width=80)
    with found.bar("scanning", 200) as advance:
        advance(100)
        threading.Event().wait(0.2)
    assert ("scanning: 100 of 200" in stream.getvalue()) == told


def stages(*arguments, cwd) -> list[str]:
    done = oga(*arguments, "--log-json", cwd=cwd)
    assert done.code == 0, done.err
    events = [json.loads(line) for line in done.err.splitlines()]
    return [event["stage"] for event in events if event["event"] == "stage"]


def test_every_long_part_of_a_command_is_a_step(tmp_path):
    """What is no step is not told: training and prediction of folds, scoring, rows of a trim, trainings."""
    place = make_place(tmp_path / "place", detector=["l2", {"name": "isolation_forest", "trees": 5}])
    small = ("--set", "train.epochs=1", "--set", "verify.seeds=2", "--set", "verify.holdout=0.5")
    fold = ["reading", "training fold {} of 2", "predicting held-out samples"]
    found = stages("scan", "config.yaml", "--folds", "2", *small, cwd=place.folder)
    assert found[:6] == [step.format(number) for number in (1, 2) for step in fold]
    assert {"fitting", "checkpoint 1 of 2", "checkpoint 2 of 2"} <= {*found[6:]}
    assert stages("train", "config.yaml", *small, cwd=place.folder) == ["reading", "training"]
    assert stages("verify", "config.yaml", *small, cwd=place.folder)[-1] == "retraining"
    assert stages("trim", "run", "--to", "clean.npz", cwd=place.folder) == ["writing arrays"]
