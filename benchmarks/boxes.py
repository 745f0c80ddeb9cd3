"""Wrong boxes of object detectors, beside cleanlab's ObjectLab (Tkachenko, Thyagarajan and Mueller, 2023).

    python benchmarks/boxes.py --seeds 2 3 4 [--cache FOLDER]

Digits of MNIST on canvases of 96 x 96 pixels, with parts of other digits between them. A fifth of the
pictures gets one error: a box is dropped, gets another class, is moved, or is added where nothing is; "none"
are the same pictures without errors. A small network of torchvision is trained on half of the pictures, and
its boxes in the other half are judged by cleanlab and by us. A row is the mean over the seeds: average
precision of the wrong pictures and of the wrong boxes, and what ``budget: auto`` flags. Constants were chosen
on seed 0.
"""

import argparse
import json
import os
import tempfile
from pathlib import Path

import numpy as np
import torch
from cleanlab.object_detection.filter import find_label_issues
from cleanlab.object_detection.rank import (
    compute_badloc_box_scores,
    compute_swap_box_scores,
    get_label_quality_scores,
)
from PIL import Image
from sklearn.metrics import average_precision_score, f1_score
from torch import nn
from torchvision.models.detection import FCOS, FasterRCNN
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead

from ogacli.data import Samples
from ogacli.data.sources.coco import Coco
from ogacli.detectors.label_noise.boxes import matched
from ogacli.detectors.latent_boxes import BoxCells, BoxNoise, judged
from ogacli.gradients.batch import Objects
from ogacli.models.detection import BoxLosses, BoxNetwork, Found
from ogacli.models.tasks.boxes import Boxes
from ogacli.models.training.loop import TrainOptions, train_network

DATA = Path(os.environ.get("OGA_DATA", Path(__file__).parents[2] / "shared" / "data"))
SIDE, PICTURES, K = 96, 1200, 10
ERRORS = ("dropped", "another class", "moved", "added")
SHARE = 0.2
"""Of the pictures, that get an error."""


class Backbone(nn.Sequential):
    """Six convolutions, to one feature map of an eighth of the size."""

    def __init__(self, width: int = 64) -> None:
        layers: list[nn.Module] = []
        sizes = ((3, 16, 2), (16, 32, 2), (32, 32, 1), (32, width, 2), (width, width, 1))
        for inside, outside, stride in sizes:
            conv = nn.Conv2d(inside, outside, 3, stride=stride, padding=1, bias=False)
            layers += [conv, nn.BatchNorm2d(outside), nn.ReLU()]
        super().__init__(*layers)
        self.out_channels = width


def detector(name: str) -> nn.Module:
    """A small network of torchvision, with fresh weights."""
    common = {"min_size": SIDE, "max_size": SIDE, "image_mean": [0.2] * 3, "image_std": [0.3] * 3}
    if name == "fcos":
        return FCOS(Backbone(), K + 1, anchor_generator=AnchorGenerator(((8,),), ((1.0,),)), **common)
    return FasterRCNN(
        Backbone(),
        box_head=TwoMLPHead(64 * 49, 128),
        box_predictor=FastRCNNPredictor(128, K + 1),
        rpn_anchor_generator=AnchorGenerator(((18, 26, 36),), ((1.0,),)),
        rpn_pre_nms_top_n_train=200,
        rpn_post_nms_top_n_train=100,
        rpn_pre_nms_top_n_test=200,
        rpn_post_nms_top_n_test=60,
        rpn_batch_size_per_image=64,
        box_batch_size_per_image=64,
        **common,
    )


def canvases(folder: Path, seed: int, share: float) -> tuple[Samples, np.ndarray]:
    """The pictures with their given boxes, an error in this share; and for each error what is wrong.

    Returns:
        The samples; and a row for each error: picture, kind, and corners of the given box (of the true one
        where it was dropped).
    """
    random = np.random.default_rng(seed)
    file = np.load(DATA / "images" / "mnist_10k.npz")
    digits, y = file["x"], file["y"]
    (folder / "pictures").mkdir(parents=True)
    images, boxes, errors = [], [], []
    for i in range(PICTURES):
        canvas = random.integers(0, 30, (SIDE, SIDE)).astype(np.uint8)
        for _ in range(6):  # parts of other digits
            part = digits[random.integers(len(digits))][:10, :10]
            a, b = random.integers(0, SIDE - 10, 2)
            canvas[a : a + 10, b : b + 10] = np.maximum(canvas[a : a + 10, b : b + 10], part // 2)
        own = []
        for corner in random.permutation(4)[: random.integers(1, 5)]:
            j, size = int(random.integers(len(digits))), int(random.integers(22, 46))
            drawn = np.asarray(Image.fromarray(digits[j]).resize((size, size)))
            rows, columns = np.flatnonzero(drawn.max(1) > 60), np.flatnonzero(drawn.max(0) > 60)
            left, top = (48 * p + random.integers(0, 49 - size) for p in (corner % 2, corner // 2))
            region = canvas[top : top + size, left : left + size]
            np.maximum(region, (drawn * random.uniform(0.5, 1)).astype(np.uint8), out=region)
            corners = [left + columns[0], top + rows[0], left + columns[-1] + 1, top + rows[-1] + 1]
            own.append([int(y[j]), *map(float, corners)])
        name = f"{i:04d}.png"
        Image.fromarray(canvas).convert("RGB").save(folder / "pictures" / name)
        images.append({"id": i, "file_name": name, "width": SIDE, "height": SIDE})
        if random.random() < share:
            kind, which = int(random.integers(len(ERRORS))), int(random.integers(len(own)))
            box = own[which]
            if kind == 0:
                own.pop(which)
            elif kind == 1:
                box[0] = int((box[0] + random.integers(1, K)) % K)
            elif kind == 3:
                box = [int(random.integers(K)), *_empty_place(own, random)]
                own.append(box)
            else:
                width, height = box[3] - box[1], box[4] - box[2]
                angle, far = random.uniform(0, 2 * np.pi), random.uniform(0.3, 0.7)
                shift = np.array([far * width * np.cos(angle), far * height * np.sin(angle)])
                moved = np.clip(np.array(box[1:]) + np.tile(shift, 2), 0, SIDE)
                if (moved[2:] - moved[:2]).min() >= 4:
                    own[which] = box = [box[0], *moved.tolist()]
                else:
                    kind = -1
            if kind >= 0:
                errors.append([i, kind, *box[1:]])
        for c, left, top, right, bottom in own:
            boxes.append(
                {
                    "image_id": i,
                    "category_id": c,
                    "bbox": [left, top, right - left, bottom - top],
                    "id": len(boxes),
                }
            )
    categories = [{"id": c, "name": str(c)} for c in range(K)]
    document = {"images": images, "annotations": boxes, "categories": categories}
    (folder / "boxes.json").write_text(json.dumps(document))
    samples = Coco(annotations=str(folder / "boxes.json"), root=str(folder / "pictures")).open()
    return samples, np.array(errors).reshape(-1, 6)


def _empty_place(own: list[list[float]], random: np.random.Generator) -> list[float]:
    """Corners of a box that overlaps the others by less than a tenth of it."""
    corners = np.array(own)[:, 1:]
    while True:
        left, top, width, height = (
            int(random.integers(*ends)) for ends in ((0, 72), (0, 72), (12, 36), (16, 40))
        )
        right, bottom = min(left + width, SIDE), min(top + height, SIDE)
        across = np.minimum(corners[:, 2], right) - np.maximum(corners[:, 0], left)
        down = np.minimum(corners[:, 3], bottom) - np.maximum(corners[:, 1], top)
        shared = across.clip(0) * down.clip(0)
        if shared.max() < 0.1 * (right - left) * (bottom - top):
            return [float(left), float(top), float(right), float(bottom)]


def held_out(samples: Samples, name: str, seed: int, epochs: int) -> list[Found]:
    """The boxes that a network finds in the second half, trained on the first half of the pictures."""
    half = len(samples) // 2
    torch.manual_seed(seed)
    module = BoxLosses(detector(name))
    options = TrainOptions(epochs=epochs, batch_size=8, learning_rate=1e-3, seed=seed)
    history = train_network(module, samples.select(torch.arange(half)), Boxes(), options, workers=0)
    print(name, seed, [round(one.loss, 3) for one in history.epochs], flush=True)
    network = BoxNetwork(module.model, K)
    return [network.found(picture) for picture in samples.read(range(half, 2 * half)).inputs]


def predictions(
    name: str, seed: int, share: float, epochs: int, cache: Path
) -> tuple[Samples, np.ndarray, list[Found]]:
    """Pictures, errors and found boxes, from an earlier call where there was one."""
    folder, kept = cache / f"canvases-{seed}-{share}", cache / f"{name}-{seed}-{share}.pt"
    if (folder / "errors.npy").exists():
        samples = Coco(annotations=str(folder / "boxes.json"), root=str(folder / "pictures")).open()
        errors = np.load(folder / "errors.npy")
    else:
        samples, errors = canvases(folder, seed, share)
        np.save(folder / "errors.npy", errors)
    if not kept.exists():
        found = held_out(samples, name, seed, epochs)
        torch.save([tuple(one) for one in found], kept)
    return samples, errors, [Found(*one) for one in torch.load(kept)]


def compared(samples: Samples, errors: np.ndarray, found: list[Found]) -> dict[str, dict[str, float]]:
    """The figures of all errors, of each kind beside the right pictures, and of the given boxes."""
    half = len(samples) // 2
    pictures = samples.read(range(half, 2 * half)).inputs
    objects = [Objects(one.boxes, one.classes, *boxes) for one, boxes in zip(pictures, found, strict=True)]
    matches = [matched(one, K) for one in objects]
    cells = judged(BoxNoise.fitted(matches, held_out=True), matches, [one.boxes for one in objects])
    ours, flagged = cells.score.numpy(), cells.wrong.numpy().max(1) > 0.5
    given = {
        "labels": [{"bboxes": one.boxes.numpy(), "labels": one.classes.numpy()} for one in objects],
        "predictions": [by_class(one) for one in objects],
    }
    theirs = 1 - get_label_quality_scores(**given, verbose=False)
    decided = find_label_issues(**given)
    planted = {int(row[0]) - half: row for row in errors.tolist() if row[0] >= half}
    kind = np.array([int(planted[i][1]) if i in planted else -1 for i in range(half)])
    if not len(errors):
        decision = {"F1 of cleanlab": np.nan, "F1 of auto": np.nan, "wrong": 0.0, "flagged": flagged.mean()}
        return {"none": ranked(kind >= 0, theirs, ours) | decision}
    rows: dict[str, dict[str, float]] = {}
    for number, name in ((None, "all"), *enumerate(ERRORS)):
        some = np.full(half, True) if number is None else (kind == number) | (kind < 0)
        bad = kind[some] >= 0
        rows[name] = ranked(bad, theirs[some], ours[some])
        if number is None:
            rows[name] |= {"F1 of cleanlab": f1_score(bad, decided), "F1 of auto": f1_score(bad, flagged)}
            rows[name] |= {"wrong": bad.mean(), "flagged": flagged.mean()}
    swapped, moved = (
        np.concatenate([1 - one for one in scores(**given)])
        for scores in (compute_swap_box_scores, compute_badloc_box_scores)
    )
    bad, own = np.concatenate([_of_boxes(one, cells, i, planted) for i, one in enumerate(objects)]).T
    best = max((swapped, moved, np.fmax(swapped, moved)), key=lambda one: average_precision_score(bad, one))
    rows["given boxes"] = ranked(bad, best, own)
    return rows


def ranked(bad: np.ndarray, theirs: np.ndarray, ours: np.ndarray) -> dict[str, float]:
    """Average precision; NaN where nothing is wrong."""
    if not bad.any():
        return {"cleanlab": np.nan, "ours": np.nan}
    return {"cleanlab": average_precision_score(bad, theirs), "ours": average_precision_score(bad, ours)}


def _of_boxes(one: Objects, cells: BoxCells, row: int, planted: dict[int, list[float]]) -> np.ndarray:
    """Of each given box of a picture whether it is wrong, and its probability to be."""
    found = np.zeros((len(one.boxes), 2))
    for index, wrong in zip(cells.index[row].tolist(), cells.wrong[row].tolist(), strict=True):
        if 0 <= index < len(found):
            found[index, 1] = wrong
    if row in planted and planted[row][1] > 0:
        found[:, 0] = np.abs(one.boxes.numpy() - planted[row][2:]).max(1) < 1
    return found


def by_class(one: Objects) -> np.ndarray:
    """The boxes that were found, as cleanlab takes them: for each class rows of corners and score."""
    found = np.empty(K, dtype=object)
    for c in range(K):
        here = one.found_classes == c
        found[c] = np.concatenate([one.found[here].numpy(), one.scores[here].numpy()[:, None]], 1).astype(
            float
        )
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[2, 3, 4])
    parser.add_argument("--networks", nargs="+", default=["faster_rcnn", "fcos"])
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--cache", type=Path, default=None)
    given = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as temporary:
        for name in given.networks:
            cache = given.cache or Path(temporary)
            each = []
            for seed in given.seeds:
                found = [predictions(name, seed, share, given.epochs, cache) for share in (0.0, SHARE)]
                each.append(compared(*found[0]) | compared(*found[1]))
            figures = list(each[0]["all"])
            print(f"\n| {name} | {' | '.join(figures)} |\n| --- |{' --- |' * len(figures)}")
            for row in each[0]:
                columns = [np.array([one[row].get(key, np.nan) for one in each]) for key in figures]
                shown = [
                    "" if np.isnan(one).any() else f"{one.mean():.3f} ± {one.std():.3f}" for one in columns
                ]
                print(f"| {row} | {' | '.join(shown)} |", flush=True)


if __name__ == "__main__":
    main()
