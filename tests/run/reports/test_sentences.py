"""Terminal, HTML and Markdown tell the same results, to the digit."""

import re

import pytest

import ogacli
import small_tags
import wrong_cells
from ogacli.config.commands import scan
from ogacli.run.reports import cells, sentences
from ogacli.run.reports.content import EVALUATED, class_shares, figures
from run_outputs import OUTPUTS, plain, terminal
from small_masks import open_masks, trained
from small_scans import make_place
from synthetic_runs import Recipe, example


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


def sets(folder):
    """Several classes a sample, with the true ones."""
    given, truth = wrong_cells.sets(folder)
    names = [[wrong_cells.shown(row) for row in labels] for labels in (given, truth)]
    lines = [
        "key;kinds;true;size",
        *(f"k{i};{pair[0]};{pair[1]};{i}" for i, pair in enumerate(zip(*names, strict=True))),
    ]
    (folder / "d.csv").write_text("\n".join(lines) + "\n")
    data = {"source": "table", "path": "d.csv", "features": ["size"], "label": "kinds", "separator": ", "}
    return wrong_cells.scanned(
        folder, data | {"truth": "true"}, {"probabilities": "p.npy"}, "bce_with_logits"
    )


def numbers(folder):
    """Two targets a sample."""
    given, _ = wrong_cells.numbers(folder, 2)
    lines = ["key;price;area;size", *(f"k{i};{row[0]:.2f};{row[1]:.2f};{i}" for i, row in enumerate(given))]
    (folder / "d.csv").write_text("\n".join(lines) + "\n")
    data = wrong_cells.REGRESSION | {"path": "d.csv", "label": ["price", "area"]}
    return wrong_cells.scanned(folder, data, {"logits": "f.npy"}, "mse")


def tags(folder):
    """A tag a word, some of entities, with the true ones."""
    codes, right, given = small_tags.sentences()
    classes = small_tags.CLASSES
    samples = ogacli.Samples.of(codes.numpy(), labels=given.numpy(), classes=classes, truth=right.numpy())
    network = small_tags.trained(codes, right)
    found = ogacli.scan(samples, network, loss="word_cross_entropy", layers="layer.*", budget="auto")
    return found.save(folder / "run")


def masks(folder):
    """A class for each pixel."""
    samples = open_masks(folder)
    found = ogacli.scan(samples, trained(samples), loss="pixel_cross_entropy", budget="auto")
    return found.save(folder / "run")


KINDS = {"broken": broken_dataset, "sets": sets, "numbers": numbers, "tags": tags, "masks": masks}


@pytest.fixture(scope="module", params=["example", "regression", *KINDS])
def run(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    if request.param == "example":
        return example().write(folder / "run")
    if request.param == "regression":
        return Recipe(n=2, classes=(), labels=[0.5, 1.25], scores=[0.25, 0.5], budget=1).write(folder / "run")
    return KINDS[request.param](folder)


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


@pytest.mark.parametrize("output", OUTPUTS)
def test_figures_beside_the_sentences_are_the_same_everywhere(run, output):
    """Counts by reason, how well the wrong labels are found, and what is not scored."""
    told = re.sub(r"[|\s`]+", " ", output(run))
    for reason, count in run.summary.reasons.items():
        if count:
            assert re.search(rf"{count:,} {reason}|{reason} {count:,}", told, re.I), reason
    for name, found in (run.summary.evaluation or {}).items():
        shown = dict(zip(EVALUATED.values(), figures(found), strict=True))
        if output is terminal:
            del shown["recall"]  # for which there is no room
        assert " ".join([name, *filter(None, shown.values())]) in told.replace(" - ", " ")
    if run.summary.quarantined:
        count = f"{run.summary.quarantined:,}"
        assert f"{count} could not be scored" in told or f"Could not be scored (quarantined) {count}" in told


@pytest.mark.parametrize("output", OUTPUTS[1:])
def test_parts_of_labels_have_the_same_figures_in_both_reports(run, output):
    told = re.sub(r"[|\s`]+", " ", output(run))
    for row in cells.rows(run.summary, 8):
        assert " ".join(one for one in row if one) in told


def test_the_kinds_have_something_to_tell(run, request):
    if "tags" in request.node.name:
        told = next(one for one in sentences.results(run.summary) if one.startswith("Entities"))
        (entity,) = run.summary.entities
        assert told.endswith(f": 'PER' {entity.doubted} of {entity.entities} and {entity.missing} new")
    if "sets" in request.node.name or "tags" in request.node.name:
        assert run.summary.evaluation
    if any(kind in request.node.name for kind in ("sets", "numbers", "tags", "masks")):
        assert cells.rows(run.summary, 8)


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
