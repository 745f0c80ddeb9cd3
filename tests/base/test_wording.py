import pytest
from hypothesis import given
from hypothesis import strategies as st

from ogacli.base import wording


@pytest.mark.parametrize(
    ("share", "told"), [(0, "0.0%"), (1e-5, "<0.1%"), (0.05, "5.0%"), (0.9999, ">99.9%"), (1, "100.0%")]
)
def test_percent(share, told):
    assert wording.percent(share) == told


@given(st.text(), st.integers(4, 60))
def test_cut_keeps_both_ends_and_the_length(text, length):
    short = wording.cut(text, length)
    assert len(short) <= length
    if len(text) <= length:
        assert short == text
    else:
        head, tail = short.split("…")[0], short[short.rindex("…") + 1 :]
        assert text.startswith(head)
        assert text.endswith(tail)


@pytest.mark.parametrize(
    ("value", "told"),
    [("cat", "cat"), (0.123456, "0.1235"), (["a", "b"], "a, b"), ([], "none"), ([0.5], "0.5")],
)
def test_label(value, told):
    assert wording.label(value) == told


@pytest.mark.parametrize(
    ("value", "told"),
    [(0.05, "5% of the samples"), (1200, "1,200 samples"), ("auto", "auto: as many as labels are estimated")],
)
def test_budget(value, told):
    assert wording.budget(value).startswith(told)


def test_parts_and_lists():
    assert wording.part(90, 1797) == "90 of 1,797 (5.0%)"
    assert wording.part(0, 0) == "0 of 0"
    assert wording.listed(["a", "b", "c"], 2) == "a, b, and 1 more"
    assert wording.listed(["a", "b"], 2) == "a, b"


def test_what_would_control_a_terminal_can_be_seen():
    assert wording.visible("a\tb\nc é 😀") == "a\tb\nc é 😀"
    assert wording.visible("\x1b[31m\x07\r\x7f\x9b") == "\ufffd[31m\ufffd\ufffd\ufffd\ufffd"
