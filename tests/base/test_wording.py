import json

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
    assert wording.visible("\x1b[31m\x07\r\x7f\x9b") == r"\x1b[31m\x07\r\x7f\x9b"


@pytest.mark.parametrize(
    ("hidden", "shown"),
    [
        ("\u202e", r"\u202e"),  # right to left
        ("\u2066", r"\u2066"),
        ("\u061c", r"\u061c"),
        ("\u200b", r"\u200b"),  # no width
        ("\u200d", r"\u200d"),
        ("\u2060", r"\u2060"),
        ("\ufeff", r"\ufeff"),
        ("\u3164", r"\u3164"),
        ("\xad", r"\xad"),
        ("\u2028", r"\u2028"),
        ("\x9b", r"\x9b"),  # of a terminal, in one byte
        ("\U000e0041", r"\U000e0041"),  # tags
        ("\udc80", r"\udc80"),  # half a character
    ],
)
def test_hidden_characters_are_shown(hidden, shown):
    assert wording.visible(f"invoice{hidden}gpj.exe") == f"invoice{shown}gpj.exe"
    document = json.dumps({"name": f"a{hidden}b"}, ensure_ascii=False)
    told = wording.visible_json(document)
    assert hidden not in told
    assert json.loads(told) == {"name": f"a{hidden}b"}


@pytest.mark.parametrize(
    "text", ["\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645", "\U0001f469\u200d\U0001f4bb", "شبكة", "é"]
)
def test_joiners_within_words_and_emoji_stay(text):
    assert wording.visible(text) == text
