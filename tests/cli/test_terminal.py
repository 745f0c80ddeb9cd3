import io
import json

import pytest
from rich.console import Console

from ogacli.cli.terminal import Terminal, figure, table


def terminal(*, on_terminal: bool = True, **options) -> tuple[Terminal, io.StringIO]:
    found, stream = Terminal(**options), io.StringIO()
    found.err = Console(file=stream, force_terminal=on_terminal, width=80, highlight=False, soft_wrap=True)
    return found, stream


def test_a_bar_has_rate_and_time_left():
    found, stream = terminal()
    with found.bar("scanning", 200) as advance:
        for _ in range(20):
            advance(10)
    shown = stream.getvalue()
    assert "scanning" in shown
    assert "200/200" in shown
    assert "/s" in shown
    assert "0:00:0" in shown


@pytest.mark.parametrize("options", [{"on_terminal": False}, {"quiet": True}])
def test_no_bar_without_a_terminal_or_when_quiet(options):
    found, stream = terminal(**options)
    with found.bar("scanning", 2) as advance:
        advance(2)
    assert stream.getvalue() == ""


def test_a_bar_goes_away_when_the_step_fails():
    found, _ = terminal()

    def fails() -> None:
        with found.bar("scanning", 2) as advance:
            advance(1)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fails()
    with found.bar("the next one", 2) as advance:
        advance(2)


def test_results_and_messages_keep_their_streams(capsys):
    found = Terminal()
    found.result({"a": 1}, "plain", table(["x", "y"], [["1", "2"]]))
    found.note("a note")
    found.warn("a warning")
    found.error("an error")
    out, err = capsys.readouterr()
    assert out.splitlines()[0] == "plain"
    assert "a note\nwarning: a warning\nerror: an error\n" == err


def test_quiet_keeps_warnings_and_errors(capsys):
    found = Terminal(quiet=True)
    found.note("a note")
    found.warn("a warning")
    found.error("an error")
    assert capsys.readouterr().err == "warning: a warning\nerror: an error\n"


def test_json_and_nothing_else(capsys):
    Terminal(json=True).result({"name": "Zoë", "n": 1}, "plain", "more")
    out, err = capsys.readouterr()
    assert json.loads(out) == {"name": "Zoë", "n": 1}
    assert "Zoë" in out
    assert err == ""


@pytest.mark.parametrize("text", ["[bold]not markup[/]", "[/nope]", "a[0].b", ":smile: \\[x]"])
def test_texts_of_users_are_no_markup(capsys, text):
    found = Terminal()
    found.note(text)
    found.warn(text)
    found.error(text)
    found.result({}, table(["x"], [[text]]))
    out, err = capsys.readouterr()
    assert err == f"{text}\nwarning: {text}\nerror: {text}\n"
    assert text in out


def test_a_table_with_long_cells_is_folded_and_not_cut(capsys):
    Terminal().result({}, table(["label", "n"], [["x" * 100, "12"]]))
    out = capsys.readouterr().out
    assert out.count("x") == 100
    assert "…" not in out
    assert max(map(len, out.splitlines())) <= 80


@pytest.mark.parametrize(("value", "shown"), [(0.98765, "0.988"), (1.0, "1.000"), (None, "-")])
def test_figures(value, shown):
    assert figure(value) == shown


def test_codes_in_names_and_texts_do_not_reach_the_terminal(capsys):
    name = "a\x1b]0;title\x07b\x9b2J"
    found = Terminal()
    found.result(
        {},
        name,
        table(
            ["x", name],
            [[name, "2"]],
        ),
    )
    found.note(name)
    found.warn(name)
    found.error(name)
    out, err = capsys.readouterr()
    assert not {"\x1b", "\x07", "\x9b"} & {*out, *err}
    assert out.splitlines()[0] == r"a\x1b]0;titleb\x9b2J"
