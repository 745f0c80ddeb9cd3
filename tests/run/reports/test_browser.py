"""The HTML report in a real browser."""

import html
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from PIL import Image

from ogacli.run.reports import write_report
from run.reports.test_html import png
from synthetic_runs import Recipe, example

pytestmark = pytest.mark.browser

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
PROBE = """<!doctype html><meta charset="utf-8"><iframe src="{page}"
style="border:0;height:900px;width:{width}px"></iframe><script>
document.querySelector("iframe").addEventListener("load", (event) => {{
  const page = event.target.contentDocument, root = page.documentElement, found = {{}};
  const samples = [...page.querySelectorAll("#samples > li")];
  const visible = () => samples.filter((sample) => sample.offsetHeight > 0).length;
  found.width = root.clientWidth;
  found.needed = root.scrollWidth;
  const clips = (one) => one.scrollWidth > one.clientWidth + 1 &&
    getComputedStyle(one).overflowX !== "visible";
  const boxes = [...page.querySelectorAll("main *:not(.unseen):not(svg)")];
  found.cut_off = boxes.filter(clips).map((one) => one.className || one.tagName);
  found.broken = [...page.images].filter((image) => !image.naturalWidth).length;
  found.visible = visible();
  const filters = page.querySelector("#filters");
  found.filters = filters.offsetHeight > 0;
  filters.elements.reason.value = "mislabelled";
  filters.dispatchEvent(new Event("change", {{bubbles: true}}));
  found.mislabelled = visible();
  found.told = page.querySelector("#shown").textContent;
  filters.elements.label.value = "ship";
  filters.dispatchEvent(new Event("change", {{bubbles: true}}));
  found.mislabelled_ships = visible();
  const result = document.body.appendChild(document.createElement("pre"));
  result.id = "found";
  result.textContent = JSON.stringify(found);
}});
</script>"""


@pytest.fixture
def browse(tmp_path):
    """Runs Chromium on a file; returns what it printed and the log of its network requests."""
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine")

    def run(page: Path, *options: str) -> tuple[str, str, list[str]]:
        profile, log = tmp_path / "profile", tmp_path / "network.json"
        shutil.rmtree(profile, ignore_errors=True)
        flags = (
            "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-sync"
            " --disable-background-networking --disable-component-update --hide-scrollbars"
            " --allow-file-access-from-files --enable-logging=stderr --virtual-time-budget=5000"
        ).split()
        flags.append("--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1")
        command = [CHROMIUM, *flags, f"--user-data-dir={profile}", f"--log-net-log={log}", *options]
        done = subprocess.run([*command, page.as_uri()], capture_output=True, timeout=120, check=True)
        return done.stdout.decode(), done.stderr.decode(errors="replace"), requested(log)

    return run


def requested(log: Path) -> list[str]:
    """The addresses that pages asked for; what the browser asks for by itself has no origin."""
    events = [event.get("params") or {} for event in json.loads(log.read_text(encoding="utf-8"))["events"]]
    asked = [event["url"] for event in events if event.get("initiator", "not an origin") != "not an origin"]
    return [url for url in asked if not url.startswith(("file:", "data:"))]


@pytest.fixture
def page(tmp_path):
    """The report of the example, with pictures of several sizes and long words everywhere."""
    recipe = example()
    recipe.classes = ("cat", "a_class_of_a_very_long_name_without_any_space_in_it", "frog", "ship")
    recipe.ids = [f"folder/{'of_long_names_' * 6}{i}.png" for i in range(32)]
    recipe.quarantined = {5: "cannot identify image file '/a/folder/" + "of_long_names_" * 12 + "'"}
    recipe.previews = [(19, "image", png(32)), (6, "image", png(300)), (25, "text", b"word" * 99)]
    return write_report(recipe.write(tmp_path / "run"))


@pytest.mark.parametrize("width", [1280, 390])
def test_fits_works_and_asks_for_nothing(browse, page, tmp_path, width):
    probe = tmp_path / "probe.html"
    probe.write_text(PROBE.format(width=width, page=page.as_uri()), encoding="utf-8")
    printed, log, requests = browse(probe, "--dump-dom")
    found = json.loads(html.unescape(re.search(r'<pre id="found">(.*?)</pre>', printed)[1]))
    assert found["width"] == width
    assert found["needed"] == width
    assert found["cut_off"] == []
    assert found["broken"] == 0
    assert (found["visible"], found["mislabelled"], found["mislabelled_ships"]) == (8, 3, 1)
    assert found["filters"]
    assert found["told"] == "3 shown"
    assert "CONSOLE" not in log
    assert requests == []


def test_the_probe_would_see_a_request_and_an_error(browse, tmp_path):
    """The checks above are only worth something if they can fail."""
    page = tmp_path / "bad.html"
    page.write_text(
        '<img src="http://127.0.0.1:9/x.png"><script>console.error("oh")</script>', encoding="utf-8"
    )
    _, log, requests = browse(page, "--dump-dom")
    assert "http://127.0.0.1:9/x.png" in requests
    assert "CONSOLE" in log


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_has_a_light_and_a_dark_face(browse, page, tmp_path, scheme):
    picture = tmp_path / "shot.png"
    options = ["--window-size=1280,900", f"--screenshot={picture}"]
    browse(page, *options, *["--blink-settings=preferredColorScheme=0"] * (scheme == "dark"))
    with Image.open(picture) as shot:
        assert shot.size == (1280, 900)
        corner = shot.convert("L").getpixel((4, 4))
        assert len(shot.convert("RGB").getcolors(1 << 20)) > 50
    assert corner < 40 if scheme == "dark" else corner > 240


def test_a_run_with_nothing_flagged_has_no_script(browse, tmp_path):
    page = write_report(Recipe(budget=0).write(tmp_path / "run"))
    printed, log, _ = browse(page, "--dump-dom")
    assert "<script" not in printed
    assert "CONSOLE" not in log
