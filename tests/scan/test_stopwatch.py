import time

import pytest

from ogacli.scan.stopwatch import Stopwatch


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Its only entry is what the time is."""
    now = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    return now


def test_it_adds_up(clock: list[float]) -> None:
    watch = Stopwatch()
    for seconds in (2, 3):
        with watch:
            clock[0] += seconds
        clock[0] += 100
    assert watch.total == 5


def test_what_comes_from_elsewhere_is_not_counted(clock: list[float]) -> None:
    def items():
        for item in range(3):
            clock[0] += 10
            yield item
        clock[0] += 10

    watch = Stopwatch()
    with watch:
        for _ in watch.without(items()):
            clock[0] += 1
    assert watch.total == 3


def test_it_stops_when_the_work_fails(clock: list[float]) -> None:
    watch = Stopwatch()

    def fail() -> None:
        with watch:
            clock[0] += 1
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert watch.total == 1
