"""The page on samples of several classes, and on numbers: what is shown, and other labels by hand."""

import csv
import io
import json

import numpy as np
import pytest

from browsing import cards, exported, visit
from ogacli.run.trim import trim
from small_tags import tagged_rows
from wrong_cells import NAMES, REGRESSION, WRONG, numbers, scanned, sets, shown

pytestmark = pytest.mark.browser


def rows_of(path):
    return {row["key"]: row for row in csv.DictReader(io.StringIO(path.read_text()), delimiter=";")}


def test_sets_of_classes(browser, tmp_path):
    given, _ = sets(tmp_path)
    lines = ["key;kinds;size", *(f"k{i};{shown(row)};{i}" for i, row in enumerate(given))]
    (tmp_path / "d.csv").write_text("\n".join(lines) + "\n")
    data = {"source": "table", "path": "d.csv", "features": ["size"], "label": "kinds", "separator": ", "}
    run = scanned(tmp_path, data, {"probabilities": "p.npy"}, "bce_with_logits")
    opened = visit(browser, (run.path / "report.html").as_uri())
    page = opened.page
    assert page.locator("#cells").text_content().startswith("Parts of labels")
    assert page.locator("#matrix").is_hidden()
    options = page.locator("[name=given] option").all_text_contents()
    assert options == ["all", *NAMES]
    first, second, third = (cards(page).nth(i) for i in range(3))
    names = [one.get_attribute("data-id") for one in (first, second, third)]
    suggested = {row["id"]: row["suggested_label"] for row in run.scores.to_pylist()}
    assert "wrongly given" in first.locator(".cells").text_content()
    first.locator(".relabel").click()
    second.locator(".compare").click()
    boxes = second.locator("fieldset input")
    for i in range(3):
        boxes.nth(i).set_checked(i == 1)
    third.locator(".compare").click()
    for i in range(3):
        third.locator("fieldset input").nth(i).set_checked(True)
        third.locator("fieldset input").nth(i).set_checked(False)
    assert third.locator(".verdict").text_content() == "relabel as no class"
    page.wait_for_timeout(300)
    page.reload()
    decisions = exported(page, tmp_path)
    opened.check()
    labels = {one["id"]: one["label"] for one in json.loads(decisions.read_text())["decisions"]}
    assert labels == {names[0]: "|".join(suggested[names[0]]), names[1]: "bee", names[2]: ""}
    trim(run, tmp_path / "clean.csv", decisions=decisions)
    found = rows_of(tmp_path / "clean.csv")
    assert [found[name]["kinds"] for name in names] == [", ".join(suggested[names[0]]), "bee", ""]
    assert found[names[1]]["kinds_before"] == shown(given[int(names[1][1:])])


def test_the_tag_of_a_word(browser, tmp_path):
    """By the list beside a doubtful word, by that of any other word, and by the suggestion."""
    run, rows, _ = tagged_rows(tmp_path)
    opened = visit(browser, (run.path / "report.html").as_uri())
    page = opened.page
    assert page.locator("#matrix").is_hidden()
    assert page.locator("[name=given] option").all_text_contents() == ["all", "NUM", "O"]
    first, second, third = (cards(page).nth(i) for i in range(3))
    names = [one.get_attribute("data-id") for one in (first, second, third)]
    given = {name: rows[int(name)]["tags"] for name in names}
    new = {name: ["O" if tag == "NUM" else "NUM" for tag in given[name]] for name in names}
    word = rows[int(names[0])]["words"][0]
    assert (
        first.locator(".cells li")
        .first.text_content()
        .startswith(f"{word} wrong tag: {given[names[0]][0]} → ")
    )
    doubtful = first.locator(".cells select")
    assert doubtful.get_attribute("aria-label") == f"Tag of {word}"
    assert doubtful.input_value() == f"={given[names[0]][0]}"
    doubtful.select_option(label=new[names[0]][0])
    assert first.locator(".verdict").text_content() == f"relabel {word} as {new[names[0]][0]}"
    page.click("#undo")
    assert (first.locator(".verdict").count(), doubtful.input_value()) == (0, f"={given[names[0]][0]}")
    doubtful.select_option(label=new[names[0]][0])
    second.locator(".compare").click()
    other = second.locator(".other select[data-word='1']")
    other.select_option(label=new[names[1]][1])
    other.select_option(label=given[names[1]][1])
    assert second.locator(".verdict").text_content() == "keep", "all tags are as they were"
    other.select_option(label=new[names[1]][1])
    third.locator(".relabel").click()
    page.wait_for_timeout(300)
    page.reload()
    assert first.locator(".cells select").input_value() == f"={new[names[0]][0]}"
    decisions = exported(page, tmp_path)
    opened.check()
    trim(run, tmp_path / "clean.jsonl", decisions=decisions)
    clean = [json.loads(line)["tags"] for line in (tmp_path / "clean.jsonl").read_text().splitlines()]
    clean = {name: clean[int(name)] for name in names}  # all rows stay
    assert clean[names[0]] == [new[names[0]][0], *given[names[0]][1:]]
    assert clean[names[1]] == [given[names[1]][0], new[names[1]][1], *given[names[1]][2:]]
    assert clean[names[2]] == [new[names[2]][0], *given[names[2]][1:]]


@pytest.mark.parametrize("targets", [1, 2])
def test_numbers(browser, tmp_path, targets):
    given, predictions = numbers(tmp_path, targets)
    columns = ["price", "area"][:targets]
    lines = [";".join(["key", *columns, "size"])]
    lines += [";".join([f"k{i}", *(f"{x:.2f}" for x in row), str(i)]) for i, row in enumerate(given)]
    (tmp_path / "d.csv").write_text("\n".join(lines) + "\n")
    data = REGRESSION | {"path": "d.csv", "label": columns if targets > 1 else "price"}
    run = scanned(tmp_path, data, {"logits": "f.npy"}, "mse")
    opened = visit(browser, (run.path / "report.html").as_uri())
    page = opened.page
    first, second = (cards(page).nth(i) for i in range(2))
    names = [one.get_attribute("data-id") for one in (first, second)]
    assert first.locator(".cells li").count() == targets
    first.locator(".relabel").click()
    second.locator(".compare").click()
    fields = second.locator("fieldset input")
    for i in range(targets):
        fields.nth(i).fill(f"{i + 7}.5")
        fields.nth(i).dispatch_event("change")
    decisions = exported(page, tmp_path)
    opened.check()
    trim(run, tmp_path / "clean.csv", decisions=decisions)
    found = rows_of(tmp_path / "clean.csv")
    assert [found[names[1]][name] for name in columns] == ["7.50", "8.50"][:targets]
    position = int(names[0][1:])
    assert position < WRONG
    np.testing.assert_allclose(
        [float(found[names[0]][name]) for name in columns], predictions[position], atol=0.006
    )
