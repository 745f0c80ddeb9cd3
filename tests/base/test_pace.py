"""The time that a step still takes."""

import pytest

from ogacli.base.pace import Pace
from ogacli.base.progress import Step


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def pace(work: float, clock: Clock, costs: list[tuple[float, float]]) -> Pace:
    found = Pace(work, clock)
    for seconds, done in costs:
        clock.now += seconds
        found.advance(done)
    return found


def test_even_steps():
    clock = Clock()
    found = pace(100, clock, [])
    assert found.left is None
    found = pace(100, clock, [(2.0, 10)] * 3)
    assert found.left == pytest.approx(14.0)
    clock.now += 1
    assert found.left == pytest.approx(13.0)
    clock.now += 100
    assert found.left == 0


def test_a_slow_start_is_left_out():
    """As soon as another report has followed it."""
    assert pace(100, Clock(), [(30.0, 5)]).left == pytest.approx(30 / 5 * 95)
    assert pace(100, Clock(), [(30.0, 5), (1.0, 5)]).left == pytest.approx(1 / 5 * 90)
    assert pace(100, Clock(), [(30.0, 5)] + [(1.0, 5)] * 4).left == pytest.approx(75 / 5)


def test_work_of_different_size():
    """Long texts come first: in a tenth of the samples there may be half of the work."""
    sizes = [10.0] * 10 + [1.0] * 100
    found = pace(sum(sizes), Clock(), [(size * 0.1, size) for size in sizes[:10]])
    assert found.left == pytest.approx(10.0)


def test_what_was_done_before_is_no_work(monkeypatch):
    clock = Clock()
    monkeypatch.setattr("ogacli.base.pace.time.monotonic", clock)
    for work in (None, 50.0):
        step = Step("scanning", 100, work)
        step.advance(50, 0)
        assert step.state.done == 50
        assert step.state.seconds_left is None
        for _ in range(5):
            clock.now += 1
            step.advance(5, None if work is None else 5.0)
        assert step.state.done == 75
        assert step.state.seconds_left == pytest.approx(5.0)
