"""A real browser for tests: Debian's Chromium, driven by Playwright."""

import shutil
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@contextmanager
def chromium():
    """A running browser; the test is skipped where there is none."""
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine: apt-get install chromium")
    playwright = pytest.importorskip("playwright.sync_api", reason="pip install 'ogacli[browser]'")
    with playwright.sync_playwright() as running:
        opened = running.chromium.launch(
            executable_path=CHROMIUM,
            args=["--no-sandbox", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"],
        )
        try:
            yield opened
        finally:
            opened.close()


@dataclass
class Visit:
    """A page, and what it asked for and complained of."""

    page: object
    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def check(self) -> None:
        """No request and no complaint."""
        assert self.requests == []
        assert self.complaints == []


def visit(browser, address: str, *, width: int = 1280, scheme: str = "light", context=None) -> Visit:
    """Open an address in a window of its own, or in that of a context."""
    context = context or browser.new_context(
        color_scheme=scheme, viewport={"width": width, "height": 900}, accept_downloads=True
    )
    found = Visit(context.new_page())
    page = found.page
    page.set_default_timeout(60_000)
    page.on("console", lambda one: found.complaints.append(one.text))
    page.on("pageerror", lambda one: found.complaints.append(str(one)))
    own = ("file:", "data:", "blob:", address) if address.startswith("http") else ("file:", "data:", "blob:")
    page.on("request", lambda one: None if one.url.startswith(own) else found.requests.append(one.url))
    page.goto(address)
    return found


def cards(page):
    return page.locator("#samples > li")


def ids(page):
    return cards(page).evaluate_all("all => all.map((one) => one.dataset.id)")


def exported(page, tmp_path):
    with page.expect_download() as waiting:
        page.click("#export")
    file = tmp_path / "decisions.json"
    waiting.value.save_as(file)
    return file
