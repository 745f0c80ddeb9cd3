"""Groups of near-duplicates against slow ones, and on real pictures and texts."""

import json
from collections.abc import Callable

import networkx
import numpy as np
import pytest
import torch
from PIL import Image

from near_copies import (
    DATA,
    cifar,
    compressed,
    darker,
    groups,
    mnist,
    moved,
    of_another_word,
    resized,
    tensors,
)
from ogacli.data.near import distances, farthest_of, groups_of
from ogacli.data.sketches import PICTURE, ROW, TEXT, sketched

N, COPIED = 1500, 200


def pictures(load: Callable[[range], list[Image.Image]], count: int = N) -> list[Image.Image]:
    """The first pictures of a set."""
    if not DATA.exists():
        pytest.skip(f"no data at {DATA}; set OGA_DATA")
    return load(range(count))


@pytest.mark.parametrize(
    ("load", "change", "least"),
    [
        (cifar, compressed, 0.95),
        (cifar, resized, 0.9),
        (cifar, moved, 0.75),
        (cifar, darker, 0.95),
        (mnist, compressed, 0.95),
        (mnist, darker, 0.95),
    ],
)
def test_changed_copies_of_pictures_are_found(load, change, least):
    own = pictures(load)
    found = groups(torch.cat([tensors(own), tensors([change(one) for one in own[:COPIED]])]))
    assert float((found[N:] == found[:COPIED]).float().mean()) >= least
    alone = found[:N][(found[:N] != torch.arange(N))]
    assert len(alone) <= 0.003 * N, "few of the pictures are near to each other"


def test_one_changed_word_and_another_case_are_found():
    if not DATA.exists():
        pytest.skip(f"no data at {DATA}; set OGA_DATA")
    lines = (DATA / "text" / "agnews_7600.jsonl").read_text().splitlines()[:N]
    texts = [json.loads(line)["text"] for line in lines]
    changed = [of_another_word(text).upper() + " !" for text in texts[:COPIED]]
    before = groups(texts)
    found = groups(texts + changed)
    assert float((found[N:] == found[:COPIED]).float().mean()) >= 0.9
    assert float((before != torch.arange(N)).float().mean()) < 0.02


@pytest.mark.parametrize("kind", [PICTURE, TEXT, ROW])
def test_groups_are_the_connected_parts_of_equal_sketches(kind):
    rng = np.random.default_rng(0)
    own = rng.integers(0, 60, 300)
    sketches = torch.from_numpy(rng.integers(0, 256, (60, 256), dtype=np.uint8))[own]
    found = groups_of(torch.full((300,), kind, dtype=torch.uint8), sketches)
    assert found.tolist() == [int((own == one).argmax()) for one in own]


def test_groups_of_pictures_against_all_pairs():
    own = pictures(cifar, 150)
    kind, sketches = sketched(tensors([*own, *map(compressed, own[:50]), *map(moved, own[50:100])]))
    n = len(sketches)
    one, other = torch.triu_indices(n, n, 1)
    graph = networkx.Graph()
    graph.add_nodes_from(range(n))
    near = distances(sketches, one, other) <= farthest_of(sketches)
    graph.add_edges_from(zip(one[near].tolist(), other[near].tolist(), strict=True))
    whole = {row: min(part) for part in networkx.connected_components(graph) for row in part}
    found = groups_of(torch.full((n,), kind, dtype=torch.uint8), sketches)
    agree = [whole[row] == first for row, first in enumerate(found.tolist())]
    assert np.mean(agree) > 0.95


def test_samples_that_were_not_read_are_in_no_group():
    kind, sketches = sketched(["the same text", "the same text", "the same text"])
    found = groups_of(torch.tensor([kind, 0, kind], dtype=torch.uint8), sketches)
    assert found.tolist() == [0, 1, 0]


def test_texts_of_one_word_are_near_to_themselves_alone():
    words = [f"word{i}" for i in range(3000)]
    assert groups(words + words).tolist() == 2 * list(range(3000))


def test_a_row_of_the_same_text_is_one_group_however_long():
    found = groups(["one text of several words"] * 500 + ["another one that differs in all of them"])
    assert found.tolist() == [0] * 500 + [500]
