"""Terminal, HTML and Markdown tell the same results, to the digit."""

import html
import io
import re

import pytest
from rich.console import Console

from ogacli.cli.views.scanning import scan_view
from ogacli.config.commands import scan
from ogacli.run.reports import report, sentences
from ogacli.run.reports.content import class_shares
from small_scans import make_place
from synthetic_runs import Recipe, example


def plain(text: str) -> str:
    return " ".join(text.split())


def terminal(run) -> str:
    console = Console(width=400, record=True, file=io.StringIO())
    for part in scan_view(run):
        console.print(part)
    return plain(console.export_text())


def page(run) -> str:
    text = re.sub(r"<(style|script).*?</\1>", " ", report(run, "html"), flags=re.S)
    return plain(html.unescape(re.sub(r"<[^>]+>", " ", text)))


def markdown(run) -> str:
    return plain(re.sub(r"\\([\\`*_\[\]#|<>&~])", r"\1", report(run, "md")))


OUTPUTS = [terminal, page, markdown]


def broken_dataset(folder):
    """Duplicates, an unreadable sample, several detectors, protected classes."""
    place = make_place(folder, n=300, detector=["isolation_forest", "latent_label", "l2"])
    arrays = place.arrays
    arrays["x"][7] = float("nan")
    arrays["x"][1] = arrays["x"][0]
    arrays["y"][:260] = 0
    arrays["y"][1] = 1
    place.write(**arrays)
    return scan(place.config("budget=0.5"))


@pytest.fixture(scope="module", params=["example", "broken", "regression"])
def run(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    if request.param == "example":
        return example().write(folder / "run")
    if request.param == "regression":
        return Recipe(n=2, classes=(), labels=[0.5, 1.25], scores=[0.25, 0.5], budget=1).write(folder / "run")
    return broken_dataset(folder)


@pytest.mark.parametrize("output", OUTPUTS)
def test_every_output_has_every_sentence(run, output):
    told = output(run)
    for sentence in [
        sentences.headline(run.summary),
        *sentences.checkpoint(run.summary),
        *sentences.results(run.summary),
        *sentences.notes(run.summary),
    ]:
        assert plain(sentence).replace("`", "") in told.replace("`", ""), sentence


@pytest.mark.parametrize("output", OUTPUTS)
def test_classes_have_the_same_figures_everywhere(run, output):
    told = re.sub(r"[|\s`]+", " ", output(run))
    for one in class_shares(run.summary, 8):
        assert f"{one.name} {one.share:.1%} {one.flagged:,} {one.scored:,}" in told


def test_the_broken_dataset_has_something_to_tell(tmp_path):
    found = sentences.results(broken_dataset(tmp_path).summary)
    for words in (
        "estimated to be wrong|cannot be told",
        "to protect",
        "same inputs",
        "detectors flag",
        "random",
    ):
        assert any(re.search(words, one) for one in found), words
