"""The page to decide in, in a real browser: filter, decide, reload, export, trim by the export."""

import json

import pytest
from PIL import Image

from browsing import cards, exported, ids, visit
from ogacli.config.commands import scan
from ogacli.run.reports import write_report
from ogacli.run.reports.content import flagged_rows
from ogacli.run.review.server import serving
from small_scans import make_place
from synthetic_runs import Recipe, example, png

pytestmark = pytest.mark.browser

NAMELESS = """() =>
  [...document.querySelectorAll("button, input, select, progress, img, [role=group], nav, li[tabindex]")]
    .filter((one) => one.getClientRects().length)
    .filter((one) => !["aria-label", "alt", "aria-labelledby"].some((name) => one.getAttribute(name)))
    .filter((one) => !one.textContent.trim() && !one.labels?.[0]?.textContent.trim())
    .map((one) => one.outerHTML)"""
CUT_OFF = """() =>
  [...document.querySelectorAll("main *")]
    .filter((one) => !one.matches(".unseen, svg, .scroll, #matrix th, .choices button, select, input"))
    .filter((one) => one.scrollWidth > one.clientWidth + 1)
    .filter((one) => getComputedStyle(one).overflowX !== "visible")
    .map((one) => one.className || one.tagName)"""


@pytest.fixture
def page(browser, tmp_path):
    """The report of the example; at the end there must have been no request and no complaint."""
    opened = visit(browser, write_report(example().write(tmp_path / "run")).as_uri())
    yield opened.page
    opened.check()


# --- deciding -------------------------------------------------------------------------------------------


def test_the_suggested_label_by_key_and_any_label_by_select(page, tmp_path):
    page.click("#start")
    page.keyboard.press("r")
    assert page.evaluate("document.activeElement.dataset.id") == "img-006"
    page.keyboard.press("c")
    page.select_option("#samples > li.open [name=other]", "=cat")
    document = json.loads(exported(page, tmp_path).read_text())
    assert document["schema_version"] == 1
    assert document["decisions"] == [
        {"id": "img-019", "action": "relabel", "label": "cat"},
        {"id": "img-006", "action": "relabel", "label": "cat"},
    ]


def test_a_decision_made_twice_is_taken_back_and_undo_restores(page):
    drop = cards(page).nth(0).locator(".drop")
    drop.click()
    assert drop.get_attribute("aria-pressed") == "true"
    drop.click()
    assert page.locator("#decided").text_content() == "0 of 8 decided"
    page.click("#undo")
    assert page.locator("#decided").text_content() == "1 of 8 decided: 1 drop"
    page.click("#undo")
    assert page.locator("#undo").is_disabled()
    assert page.locator("#export").is_disabled()


def test_exported_decisions_can_be_loaded_elsewhere(browser, page, tmp_path):
    page.click("#start")
    page.keyboard.press("d")
    file = exported(page, tmp_path)
    other = visit(browser, page.url)  # a window that stores nothing of the first one
    assert other.page.locator("#decided").text_content() == "0 of 8 decided"
    other.page.set_input_files("#import", str(file))
    other.page.wait_for_selector("li[data-decision=drop]")
    (tmp_path / "other.json").write_text("[1, 2]")
    other.page.set_input_files("#import", str(tmp_path / "other.json"))
    other.page.wait_for_selector("#problem:not([hidden])")
    assert "holds no decisions" in other.page.locator("#problem").text_content()
    other.check()


def test_what_cannot_be_loaded_is_told_until_the_next_decision(page, tmp_path):
    (tmp_path / "other.json").write_text("[1, 2]")
    page.click("#start")
    page.keyboard.press("d")  # is kept 150 ms later, which goes well
    page.set_input_files("#import", str(tmp_path / "other.json"))
    page.wait_for_selector("#problem:not([hidden])")
    page.wait_for_function("key => localStorage.getItem(key)", arg=page.evaluate("storageKey"))
    assert "holds no decisions" in page.locator("#problem").text_content()
    cards(page).nth(3).locator(".drop").click()
    assert page.locator("#problem").is_hidden()


def test_decisions_of_another_run_are_not_mixed_in(browser, tmp_path):
    context = browser.new_context()
    first = visit(browser, write_report(example().write(tmp_path / "a")).as_uri(), context=context)
    first.page.click("#start")
    first.page.keyboard.press("d")
    first.page.wait_for_timeout(300)
    recipe = example()
    recipe.budget = 0.5
    second = visit(browser, write_report(recipe.write(tmp_path / "b")).as_uri(), context=context)
    assert second.page.locator("#decided").text_content().startswith("0 of")
    again = visit(browser, (tmp_path / "a" / "report.html").as_uri(), context=context)
    assert again.page.locator("#decided").text_content().startswith("1 of")


# --- finding --------------------------------------------------------------------------------------------


def test_filters_and_order(page):
    page.select_option("[name=reason]", "=mislabelled")
    assert ids(page) == ["img-019", "img-006", "img-012"]
    assert page.locator("#shown").text_content() == "3 of 8 samples"
    page.select_option("[name=given]", "=ship")
    assert ids(page) == ["img-019"]
    page.click("[type=reset]")
    page.fill("[name=low]", "0.45")
    assert ids(page) == ["img-019", "img-006", "img-025"]
    page.fill("[name=high]", "0.48")
    assert ids(page) == ["img-006", "img-025"]
    page.click("[type=reset]")
    page.fill("[name=search]", "</B> dog")
    assert ids(page) == ["img-025"]
    page.fill("[name=search]", "nothing like it")
    assert page.locator("#nothing").is_visible()
    page.click("[type=reset]")
    page.select_option("[name=sort]", "last")
    assert ids(page)[-1] == "img-019"
    page.select_option("[name=sort]", "id")
    assert ids(page) == sorted(ids(page))


def test_a_cell_of_the_matrix_shows_its_samples(page):
    cell = page.get_by_role("button", name="1 sample labelled ship, suggested cat")
    cell.click()
    assert cell.get_attribute("aria-pressed") == "true"
    assert ids(page) == ["img-019"]
    cell.click()
    assert len(ids(page)) == 8
    page.get_by_role("button", name="suggested none").first.click()
    assert set(ids(page)) < {f"img-{i:03d}" for i in range(32)}


def test_the_number_of_detectors_that_flag_a_sample_is_a_filter(browser, tmp_path):
    place = make_place(tmp_path, detector=["latent_label", "l2"])
    run = scan(place.config())
    opened = visit(browser, (run.path / "report.html").as_uri())
    page = opened.page
    found = dict.fromkeys(("1 of 2", "2 of 2"), 0)
    for share in flagged_rows(run, 99)["agreement"].to_pylist():
        found[f"{round(share * 2)} of 2"] += 1
    for text, number in found.items():
        if number and len(set(filter(None, found.values()))) > 1:
            page.select_option("[name=agreement]", f"={text}")
            assert len(ids(page)) == number
    opened.check()


def test_samples_beside_a_flagged_one(browser, tmp_path):
    recipe = example()
    recipe.beside = [(19, "given", 0, 23), (19, "suggested", 0, 0), (19, "same", 0, 6)]
    opened = visit(browser, write_report(recipe.write(tmp_path / "run")).as_uri())
    page = opened.page
    page.get_by_role("button", name="Compare").first.click()
    shown = page.locator(".beside section").all_text_contents()
    assert shown == [
        "Nearest samples labelled shipshipimg-023",
        "Nearest samples labelled catcatimg-000",
        "The same inputsfrog flaggedimg-006",
    ]
    assert page.locator(".beside img").count() == 1
    page.get_by_role("button", name="Close").click()
    assert page.locator(".beside").count() == 0
    opened.check()


def test_pages_of_samples(browser, tmp_path):
    run = Recipe(n=100, suggested={99: 0}, budget=0.5).write(tmp_path / "run")
    opened = visit(browser, write_report(run).as_uri())
    page = opened.page
    first = ids(page)
    assert page.locator(".pages span").first.text_content() == "Page 1 of 3"
    page.get_by_role("button", name="Next page").first.click()
    assert not set(first) & set(ids(page))
    page.get_by_role("button", name="Next page").last.click()
    assert len(ids(page)) == 2
    assert page.get_by_role("button", name="Next page").first.is_disabled()
    page.keyboard.press("p")
    assert page.locator(".pages span").first.text_content() == "Page 2 of 3"
    page.keyboard.press("ArrowLeft")
    assert page.locator(".pages span").first.text_content() == "Page 1 of 3"
    assert page.evaluate("document.activeElement.dataset.id") == first[-1]
    opened.check()


# --- for everyone ---------------------------------------------------------------------------------------


def test_by_keyboard_alone(page):
    """From the top of the page: to the list by the link and Tab, decide, undo, compare, export."""

    def focused():
        return page.evaluate(
            "document.activeElement.id || document.activeElement.className || document.activeElement.tagName"
        )

    for _ in range(60):
        page.keyboard.press("Tab")
        if focused() == "start":
            break
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.dataset.id") == "img-019"
    page.keyboard.press("ArrowRight")
    page.keyboard.press("d")
    assert page.locator("#told").text_content() == "img-006: drop"
    page.keyboard.press("Shift+D")
    page.keyboard.press("u")
    page.keyboard.press("c")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.dataset.action") == "keep"
    page.keyboard.press("Space")
    assert page.locator("#samples [aria-pressed=true]").count() == 2
    page.locator("#export").focus()
    with page.expect_download():
        page.keyboard.press("Enter")


def test_keys_in_a_field_are_text(page):
    page.click("[name=search]")
    page.keyboard.type("drku")
    assert page.locator("[name=search]").input_value() == "drku"
    assert page.locator("#decided").text_content() == "0 of 8 decided"


def test_everything_has_a_name_for_screen_readers(page):
    page.click("#start")
    page.keyboard.press("c")
    nameless = page.evaluate(NAMELESS)
    assert nameless == []
    levels = page.evaluate(
        """() => [...document.querySelectorAll("h1, h2, h3, h4")].map((one) => Number(one.tagName[1]))"""
    )
    assert levels[0] == 1
    assert levels.count(1) == 1
    tree = page.locator("main").aria_snapshot()
    assert 'button "Keep"' in tree
    assert "status" in tree


@pytest.mark.parametrize("width", [1280, 390, 360])
def test_fits_and_nothing_is_cut_off(browser, tmp_path, width):
    recipe = example()
    recipe.classes = ("cat", "a_class_of_a_very_long_name_without_any_space_in_it", "frog", "ship")
    recipe.ids = [f"folder/{'of_long_names_' * 6}{i}.png" for i in range(32)]
    recipe.quarantined = {5: "cannot identify image file '/a/folder/" + "of_long_names_" * 12 + "'"}
    recipe.previews = [(19, "image", png(32)), (6, "image", png(300)), (25, "text", b"word" * 99)]
    recipe.beside = [(19, "given", i, 4 * i + 3) for i in range(4)] + [(19, "suggested", 0, 0)]
    opened = visit(browser, write_report(recipe.write(tmp_path / "run")).as_uri(), width=width)
    page = opened.page
    page.click("#start")
    page.keyboard.press("c")
    page.keyboard.press("d")
    measure = "() => [document.documentElement.clientWidth, document.documentElement.scrollWidth]"
    assert page.evaluate(measure) == [width, width]
    cut_off = page.evaluate(CUT_OFF)
    assert cut_off == []
    assert page.evaluate("[...document.images].filter((one) => !one.naturalWidth).length") == 0
    opened.check()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_has_a_light_and_a_dark_face(browser, tmp_path, scheme):
    opened = visit(browser, write_report(example().write(tmp_path / "run")).as_uri(), scheme=scheme)
    picture = tmp_path / "shot.png"
    opened.page.screenshot(path=picture)
    with Image.open(picture) as shot:
        corner = shot.convert("L").getpixel((4, 4))
        assert len(shot.convert("RGB").getcolors(1 << 20)) > 50
    assert corner < 40 if scheme == "dark" else corner > 240


def test_a_run_with_nothing_flagged_has_no_script(browser, tmp_path):
    opened = visit(browser, write_report(Recipe(budget=0).write(tmp_path / "run")).as_uri())
    assert opened.page.locator("script").count() == 0
    opened.check()


# --- hostile data ---------------------------------------------------------------------------------------

EVIL = '<img src=x onerror="alert(1)">'
BREAKS_OUT = "</script><script>alert(1)</script><!--"


def test_hostile_labels_ids_and_texts_stay_text(browser, tmp_path):
    recipe = Recipe(
        classes=(EVIL, BREAKS_OUT, "=1+1", "\u202egnp\u2028"),
        ids=[f"{BREAKS_OUT}{EVIL}__proto__{i}" for i in range(32)],
        suggested={19: 0, 6: 1, 30: 3},
        truth=[i % 4 for i in range(32)],
        previews=[(i, "text", (EVIL + BREAKS_OUT).encode()) for i in range(32)],
        beside=[(19, "given", 0, 23)],
        warnings=(EVIL,),
        detector={"name": EVIL},
    )
    opened = visit(browser, write_report(recipe.write(tmp_path / "run")).as_uri())
    page = opened.page
    page.on("dialog", lambda one: opened.complaints.append(one.message))
    page.click("#start")
    page.keyboard.press("c")
    page.keyboard.press("r")
    assert page.locator("#samples img").count() == 0
    assert page.locator("script").count() == 2
    assert EVIL in page.locator("#samples").text_content()
    assert BREAKS_OUT in page.locator("#samples").text_content()
    document = json.loads(exported(page, tmp_path).read_text())
    assert document["decisions"][0]["id"] == recipe.ids[31] or document["decisions"][0]["id"] in recipe.ids
    opened.check()


def test_stored_rubbish_does_not_break_the_page(browser, tmp_path):
    context = browser.new_context()
    address = write_report(example().write(tmp_path / "run")).as_uri()
    first = visit(browser, address, context=context)
    key = first.page.evaluate("storageKey")
    for rubbish in ("{", "7", '[null, {"id": 3}, {"id": "img-019", "action": "explode"}]', '{"a": 1}'):
        first.page.evaluate("([key, value]) => localStorage.setItem(key, value)", [key, rubbish])
        again = visit(browser, address, context=context)
        assert again.page.locator("#decided").text_content() == "0 of 8 decided"
        assert len(ids(again.page)) == 8


def test_the_checks_would_see_a_request_and_an_error(browser, tmp_path):
    """The checks above are only worth something if they can fail."""
    bad = tmp_path / "bad.html"
    bad.write_text('<img src="http://127.0.0.1:9/x.png"><script>console.error("oh")</script>')
    opened = visit(browser, bad.as_uri())
    assert "http://127.0.0.1:9/x.png" in opened.requests
    assert "oh" in opened.complaints


# --- by a server ----------------------------------------------------------------------------------------


def test_served_page_reads_pictures_on_demand_and_saves_decisions(browser, tmp_path, in_thread):
    place = make_place(tmp_path)
    run = scan(place.config())
    file = tmp_path / "run.decisions.json"
    with serving(run, file) as server, in_thread(server):
        opened = visit(browser, server.url)
        page = opened.page
        page.wait_for_selector("#samples .text")
        page.fill("[name=search]", page.locator("#samples .text").first.text_content())
        assert cards(page).count() == 1
        page.click("[type=reset]")
        assert "data:" not in page.locator("#data").text_content()
        page.click("#start")
        with page.expect_response(lambda one: "/decisions/" in one.url):
            page.keyboard.press("d")
        first = json.loads(file.read_text())["decisions"]
        assert [one["action"] for one in first] == ["drop"]
        page.reload()
        assert page.locator("#decided").text_content() == "1 of 12 decided: 1 drop"
        opened.check()
