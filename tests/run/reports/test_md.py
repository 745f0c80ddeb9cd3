import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from ogacli.base import markdown
from ogacli.run.reports import report
from synthetic_runs import Recipe

PARSER = MarkdownIt("commonmark").enable("table")
EVIL = [
    "a|b",
    "``x`",
    "<img src=x>",
    "a\\|b",
    "@someone",
    "[x](http://x.invalid)",
    "two\nlines",
    "*b* _i_ ~s~",
]


def inline(text: str) -> list:
    return PARSER.parse(text)[1].children


@pytest.mark.parametrize("text", EVIL)
def test_code_in_a_cell_reads_as_it_was_written(text):
    tokens = PARSER.parse(markdown.table(["a", "b"], [[markdown.code(text), "end"]], numeric=0))
    cells = [token for token in tokens if token.type == "inline"][2:]
    assert len(cells) == 2
    assert "".join(token.content for token in cells[0].children if token.type != "html_inline") == " ".join(
        text.split()
    )


@given(st.text(alphabet="ab `|\\*_[]()<>&~#!@{}\n", min_size=1))
def test_any_text_as_code_in_a_cell(text):
    tokens = PARSER.parse(markdown.table(["a", "b"], [[markdown.code(text), "end"]], numeric=0))
    cells = [token for token in tokens if token.type == "inline"][2:]
    assert len(cells) == 2
    told = [token for token in cells[0].children if token.type != "html_inline"]
    assert {token.type for token in told} <= {"code_inline", "text", "text_special"}
    assert "".join(token.content for token in told) == " ".join(text.split())


@given(st.text(alphabet="ab `|\\*_[]()<>&~!{}", min_size=1))
def test_any_text_as_plain_text(text):
    told = inline(f"x{markdown.plain(text)}x")
    assert {token.type for token in told} == {"text"}
    assert "".join(token.content for token in told) == f"x{' '.join(text.split())}x"


@pytest.mark.parametrize("say", [markdown.code, markdown.plain])
def test_no_text_controls_a_terminal(say):
    assert "\x1b" not in say("\x1b[31mred\x07")
    assert "31mred" in say("\x1b[31mred\x07")
    assert say("schön 日本") == say("schön\n日本")


def test_hostile_names_stay_in_their_cells(tmp_path):
    recipe = Recipe(
        classes=tuple(EVIL),
        ids=[f"{EVIL[i % 8]}{i}" for i in range(32)],
        quarantined={5: "<script>|`"},
        truth=[0] * 32,
        warnings=("| <b>bold</b> |",),
    )
    page = PARSER.render(report(recipe.write(tmp_path / "run"), "md"))
    assert "<script" not in page
    assert "<img" not in page
    assert "<b>" not in page
    assert "<a " not in page
    rows = [row.split("</tr>")[0] for row in page.split("<tr>")[1:]]
    assert {row.count("<t") for row in rows} == {6, 4, 7}


def test_stays_short(tmp_path):
    n = 5000
    recipe = Recipe(
        n=n,
        classes=tuple(f"class {i} {'x' * 300}" for i in range(500)),
        ids=[f"{'folder/' * 60}{i}" for i in range(n)],
        quarantined=dict.fromkeys(range(0, n, 50), "broken " * 200),
    )
    text = report(recipe.write(tmp_path / "run"), "md")
    assert len(text) < 8000
    assert "and 492 more classes" in text
    assert "- and 95 more" in text
