import pytest
from hypothesis import given
from hypothesis import strategies as st

from ogacli.run.reports.plot import plot
from ogacli.run.summary import Histogram

FINITE = st.floats(-1e30, 1e30, allow_nan=False)


@given(
    FINITE, st.floats(1e-3, 1e6), st.lists(st.integers(0, 10**7), min_size=1, max_size=60), st.floats(0, 1)
)
def test_everything_lies_within_the_drawing(low, width, counts, where):
    counts[0] += 1
    high = low + width * max(1.0, abs(low))
    drawn = plot(Histogram(low=low, high=high, counts=tuple(counts)), low + where * (high - low))
    assert 0 <= drawn.cut <= 100
    assert all(0 <= tick.at <= 100 for tick in (*drawn.x, *drawn.y))
    assert drawn.bars.count("M") == sum(count > 0 for count in counts)
    assert 3 <= len(drawn.x) <= 11
    assert 1 <= len(drawn.y) <= 3


def test_positions():
    drawn = plot(Histogram(low=0.0, high=8.0, counts=(4, 0, 16, 1)), cut=6.0)
    assert drawn.bars == "M0 100V50h25V100zM50 100V0h25V100zM75 100V75h25V100z"
    assert drawn.cut == 75
    assert [(tick.at, tick.text) for tick in drawn.x] == [
        (0, "0"),
        (25, "2"),
        (50, "4"),
        (75, "6"),
        (100, "8"),
    ]
    assert [tick.text for tick in drawn.y] == ["1", "5", "10"]
    assert drawn.y[0].at == pytest.approx(25)


def test_no_cut_and_one_value():
    drawn = plot(Histogram(low=2.0, high=2.0, counts=(3, 0)), cut=None)
    assert drawn.cut is None
    assert [tick.text for tick in drawn.x][:2] == ["2", "2.2"]
