"""How often a batch of each kind of label waits for a device, counted on the stand-in."""

from collections import Counter
from collections.abc import Callable
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

import ogacli
from device_scans import annotated, pictures
from ogacli.data import Samples
from ogacli.scan.collected.collect import Collector
from small_masks import Pixels, open_masks
from small_networks import Pictures, seeded_weights
from small_tags import CLASSES, Tagger, sentences
from stand_in import Counts


def tagged(n: int) -> Samples:
    codes, _, given = sentences(n)
    return Samples.of(codes.numpy(), labels=given.numpy(), classes=CLASSES)


Kind = tuple[Callable[[int, Path], Samples], Any, str, str, list[str]]
KINDS: dict[str, Kind] = {
    "classes": (lambda n, _: pictures(n), Pictures, "latent_label", "cross_entropy", []),
    "look_for": (
        lambda n, _: pictures(n), Pictures, "latent_label", "cross_entropy", ["near_duplicates", "far"]
    ),
    "annotators": (lambda n, _: annotated(n), Pictures, "latent_consensus", "cross_entropy", []),
    "several classes": (
        lambda n, _: pictures(n, "bce_with_logits"), Pictures, "latent_label_set", "bce_with_logits", []
    ),
    "numbers": (lambda n, _: pictures(n, "mse"), Pictures, "latent_target", "mse", []),
    "tags": (lambda n, _: tagged(n), Tagger, "latent_tags", "word_cross_entropy", []),
    "masks": (lambda n, folder: open_masks(folder, n), Pixels, "latent_mask", "pixel_cross_entropy", []),
}  # fmt: skip
"""Samples, network, the detector that decides, its loss, and what is looked for."""
WAITS = dict.fromkeys(KINDS, 0) | {"several classes": 1, "tags": 1, "masks": 3}
"""Of each batch: so many are needed, of at most 4 for the head and 8 for all layers."""


@pytest.fixture
def batches(monkeypatch: pytest.MonkeyPatch, counts: Counts) -> list[Counter[tuple[str, str]]]:
    """The synchronisations until each batch was collected; none waits to be scored with others."""
    monkeypatch.setattr(import_module("ogacli.gradients.batch_size"), "_INPUT_BYTES_ELSEWHERE", 1)
    monkeypatch.setattr(import_module("ogacli.scan.scoring"), "_READS", 1)
    add, found = Collector.add, list[Counter[tuple[str, str]]]()

    def noted(self: Collector, *given: Any) -> None:
        add(self, *given)
        found.append(counts.waits.copy())

    monkeypatch.setattr(Collector, "add", noted)
    return found


@pytest.mark.parametrize("layers", ["head", "all"])
@pytest.mark.parametrize("kind", KINDS)
def test_synchronisations_of_a_batch(
    kind: str, layers: str, batches: list[Counter[tuple[str, str]]], tmp_path: Path
) -> None:
    """The same for each batch of a scan, and for small and large ones; detectors are fitted to the first."""
    make_samples, make, deciding, loss, look_for = KINDS[kind]
    numbers = []
    for size in (3, 12) if layers == "head" else (3,):
        batches.clear()
        ogacli.scan(
            make_samples(4 * size, tmp_path / str(size)),
            seeded_weights(make),
            layers="layer.*" if kind == "tags" and layers == "head" else layers,
            detector=[{"name": deciding, "fit_samples": size}, "l2"],
            loss=loss,
            look_for=look_for,
            device="standin",
            batch_size=size,
            workers=0,
            fold=False,
        )
        each = [after - before for before, after in pairwise(batches)]
        assert len(each) == 3
        assert max(one.total() for one in each) <= (8 if layers == "all" else 4)
        numbers += [one.total() for one in each[1:]]
    assert {*numbers} == {WAITS[kind]}
