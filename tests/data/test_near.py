"""Groups of near-duplicates against slow ones, and on real pictures and texts."""

import io
import json
import os
import zipfile
from pathlib import Path

import networkx
import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance

from ogacli.data.near import distances, farthest_of, groups_of
from ogacli.data.sketches import PICTURE, ROW, TEXT, sketched

DATA = Path(os.environ.get("OGA_DATA", Path(__file__).parents[3] / "shared" / "data"))
N, COPIED = 1500, 200


def groups(inputs: object) -> torch.Tensor:
    kind, sketches = sketched(inputs)
    return groups_of(torch.full((len(sketches),), kind, dtype=torch.uint8), sketches)


def cifar() -> list[Image.Image]:
    if not DATA.exists():
        pytest.skip(f"no data at {DATA}; set OGA_DATA")
    with zipfile.ZipFile(DATA / "cifar10n" / "images_train.zip") as archive:
        return [Image.open(io.BytesIO(archive.read(f"{i:05d}.jpg"))).convert("RGB") for i in range(N)]


def mnist() -> list[Image.Image]:
    if not DATA.exists():
        pytest.skip(f"no data at {DATA}; set OGA_DATA")
    with np.load(DATA / "images" / "mnist_10k.npz") as arrays:
        return [Image.fromarray(one) for one in arrays["x"][:N]]


def tensors(pictures: list[Image.Image]) -> torch.Tensor:
    arrays = [np.asarray(one, np.float32).reshape(*one.size[::-1], -1) for one in pictures]
    return torch.from_numpy(np.stack(arrays).transpose(0, 3, 1, 2)) / 255


def compressed(picture: Image.Image) -> Image.Image:
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=60)
    return Image.open(file)


def resized(picture: Image.Image) -> Image.Image:
    width, height = picture.size
    small = picture.resize((3 * width // 4, 3 * height // 4), Image.Resampling.BILINEAR)
    return small.resize((width, height), Image.Resampling.BILINEAR)


def moved(picture: Image.Image) -> Image.Image:
    return picture.transform(picture.size, Image.Transform.AFFINE, (1, 0, 1, 0, 1, 1))


def darker(picture: Image.Image) -> Image.Image:
    return ImageEnhance.Brightness(picture).enhance(0.7)


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
    pictures = load()
    found = groups(torch.cat([tensors(pictures), tensors([change(one) for one in pictures[:COPIED]])]))
    assert float((found[N:] == found[:COPIED]).float().mean()) >= least
    alone = found[:N][(found[:N] != torch.arange(N))]
    assert len(alone) <= 0.003 * N, "few of the pictures are near to each other"


def test_one_changed_word_and_another_case_are_found():
    if not DATA.exists():
        pytest.skip(f"no data at {DATA}; set OGA_DATA")
    lines = (DATA / "text" / "agnews_7600.jsonl").read_text().splitlines()[:N]
    texts = [json.loads(line)["text"] for line in lines]
    changed = []
    for text in texts[:COPIED]:
        words = text.split()
        words[len(words) // 2] = "otherwise"
        changed.append(" ".join(words).upper() + " !")
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
    pictures = tensors([*cifar()[:150], *map(compressed, cifar()[:50]), *map(moved, cifar()[50:100])])
    kind, sketches = sketched(pictures)
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
