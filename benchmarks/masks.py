"""Wrong regions of masks, beside cleanlab: MNIST digits on canvases, with an error at one of them.

    python benchmarks/masks.py --seeds 2 3 4

Held-out logits of a small network: two of them, each trained on the given masks of the other half of the
samples. A row is the mean over the seeds, as in ``kinds.py``: average precision of the wrong masks and of the
wrong pixels, by cleanlab's scores (of masks the better of two) and by ours, and what ``budget: auto`` and
cleanlab's filter flag. Constants were chosen on the seeds 0 and 1.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from cleanlab.segmentation.filter import find_label_issues
from cleanlab.segmentation.rank import get_label_quality_scores
from jaxtyping import Float, Int64
from kinds import main
from scipy.ndimage import binary_dilation, binary_erosion
from sklearn.metrics import average_precision_score, f1_score
from torch import Tensor, nn

from ogacli.detectors.latent_mask import LatentMask
from ogacli.gradients import GradientBatch
from ogacli.verdict.ranks import flag

DATA = Path(os.environ.get("OGA_DATA", Path(__file__).parents[2] / "shared" / "data"))
SIDE, DIGIT, CLASSES = 48, 28, 4
HOW = ("dropped", "swapped", "shifted", "eroded")
SHARE = 0.2
"""Of the pictures, whose mask is wrong at one object."""


class Net(nn.Module):
    """Three resolutions, a 1x1 convolution, and bilinear upsampling."""

    def __init__(self, width: int = 10) -> None:
        super().__init__()
        sizes = (1, width, 2 * width, 4 * width)
        self.down = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(i, o, 3, padding=1),
                nn.BatchNorm2d(o),
                nn.ReLU(),
                nn.Conv2d(o, o, 3, padding=1),
                nn.BatchNorm2d(o),
                nn.ReLU(),
            )
            for i, o in pairwise(sizes)
        )
        self.up = nn.Sequential(
            nn.Conv2d(sum(sizes[1:]), 4 * width, 3, padding=1), nn.BatchNorm2d(4 * width), nn.ReLU()
        )
        self.head = nn.Conv2d(4 * width, CLASSES, 1)

    def forward(self, pictures: Float[Tensor, "b 1 h w"]) -> Float[Tensor, "b k h w"]:
        """The logits of each pixel."""
        at, found = F.avg_pool2d(pictures, 2) * 2, []
        for i, layer in enumerate(self.down):
            at = layer(at if i == 0 else F.max_pool2d(at, 2))
            found.append(F.interpolate(at, scale_factor=2**i, mode="bilinear") if i else at)
        logits = self.head(self.up(torch.cat(found, 1)))
        return F.interpolate(logits, scale_factor=2, mode="bilinear")


def canvases(n: int, random: np.random.Generator) -> tuple[np.ndarray, list[list[tuple[int, np.ndarray]]]]:
    """Noisy pictures [n, h, w], and the objects of each: the class and the pixels."""
    file = np.load(DATA / "images" / "mnist_10k.npz")
    known = file["y"] < CLASSES - 1
    digits, classes = file["x"][known], file["y"][known]
    pictures, objects = random.normal(0, 0.15, (n, SIDE, SIDE)), []
    for i in range(n):
        own = []
        for _ in range(random.integers(1, 4)):
            j = random.integers(len(digits))
            top, left = random.integers(0, SIDE - DIGIT + 1, 2)
            ink = digits[j].reshape(DIGIT, DIGIT) / 255.0
            here = np.zeros((SIDE, SIDE), bool)
            here[top : top + DIGIT, left : left + DIGIT] = binary_dilation(ink > 0.3)
            pictures[i, top : top + DIGIT, left : left + DIGIT] += ink
            own = [(c, where & ~here) for c, where in own]
            own.append((int(classes[j]) + 1, here))
        objects.append([(c, where) for c, where in own if where.sum() >= 30])
    return pictures.astype(np.float32), objects


def mask_of(objects: list[tuple[int, np.ndarray]]) -> np.ndarray:
    """The class of each pixel; 0 where there is no object."""
    found = np.zeros((SIDE, SIDE), np.int64)
    for c, where in objects:
        found[where] = c
    return found


def spoiled(
    objects: list[tuple[int, np.ndarray]], how: str, random: np.random.Generator
) -> list[tuple[int, np.ndarray]]:
    """The objects with an error at one of them, as in Lad and Mueller (ICML DMLR 2023, arXiv 2307.05080)."""
    i = random.integers(len(objects))
    c, where = objects[i]
    rest = objects[:i] + objects[i + 1 :]
    if how == "dropped":
        return rest
    if how == "swapped":
        return [*rest, (int((c - 1 + random.integers(1, CLASSES - 1)) % (CLASSES - 1)) + 1, where)]
    if how == "shifted":
        return [*rest, (c, np.roll(where, random.choice([-5, -4, 4, 5], 2), (0, 1)))]
    return [*rest, (c, binary_erosion(where, iterations=2))]


def trained(pictures: Tensor, masks: Tensor, seed: int, epochs: int) -> Net:
    """A network in evaluation mode."""
    torch.manual_seed(seed)
    net, generator = Net(), torch.Generator().manual_seed(seed)
    steps = epochs * (len(pictures) // 20)
    optimizer = torch.optim.AdamW(net.parameters(), 3e-3)
    rate = torch.optim.lr_scheduler.OneCycleLR(optimizer, 6e-3, steps)
    for _ in range(epochs):
        for rows in torch.randperm(len(pictures), generator=generator)[: len(pictures) // 20 * 20].split(20):
            optimizer.zero_grad()
            F.cross_entropy(net(pictures[rows]), masks[rows]).backward()
            optimizer.step()
            rate.step()
    return net.eval()


def held_out(pictures: Tensor, masks: Tensor, seed: int, epochs: int) -> Tensor:
    """Logits [n, k, h, w], each by the network that was trained on the other half."""
    logits = torch.empty(len(pictures), CLASSES, SIDE, SIDE)
    halves = torch.arange(len(pictures)).chunk(2)
    for own, other in (halves, halves[::-1]):
        net = trained(pictures[other], masks[other], seed, epochs)
        with torch.inference_mode():
            logits[own] = torch.cat([net(part) for part in pictures[own].split(50)])
    return logits


@dataclass(frozen=True, slots=True)
class Case:
    """Masks with errors, and what a network says that was not trained on them."""

    pictures: Float[Tensor, "n 1 h w"]
    given: Int64[Tensor, "n h w"]
    true: Int64[Tensor, "n h w"]
    logits: Float[Tensor, "n k h w"]
    how: Int64[np.ndarray, " n"]
    """The index of the kind of error in ``HOW``; -1 where the mask is right."""


def case(seed: int, share: float = SHARE, n: int = 400, epochs: int = 30) -> Case:
    """Pictures of which this share has a wrong mask, each kind of error as often as the others."""
    random = np.random.default_rng(seed)
    pictures, objects = canvases(n, random)
    how = np.where(random.random(n) < share, random.integers(0, len(HOW), n), -1)
    true = np.stack([mask_of(own) for own in objects])
    given = np.stack(
        [
            mask_of(own if kind < 0 else spoiled(own, HOW[kind], random))
            for own, kind in zip(objects, how, strict=True)
        ]
    )
    how[(given == true).all((1, 2))] = -1
    x, y = torch.from_numpy(pictures)[:, None], torch.from_numpy(given)
    return Case(x, y, torch.from_numpy(true), held_out(x, y, seed, epochs), how)


def masks(seed: int) -> Iterator[tuple[str, dict[str, float]]]:
    """A row for right masks, for all kinds of errors, and for each."""
    yield "none", Judged(case(seed, share=0.0)).figures()
    judged = Judged(case(seed))
    yield "all kinds", judged.figures()
    for kind, name in enumerate(HOW):
        yield name, judged.figures(kind)


class Judged:
    """What both tools say of the masks, by the same logits."""

    def __init__(self, found: Case) -> None:
        n = len(found.given)
        batch = GradientBatch(torch.arange(n), found.given, found.logits, torch.zeros(n), None, [])
        detector = LatentMask().detector()
        detector.held_out = True
        detector.fit([batch])
        assert detector.noise is not None
        cells = detector.cells(batch)
        self.how, self.pixels = found.how, (found.given != found.true).numpy()
        self.score = cells.score.numpy()
        count = int((cells.wrong.max(1).values > 0.5).sum())  # as ``budget: auto``
        self.flagged = flag(cells.score, count).numpy()
        pixels = found.logits.permute(0, 2, 3, 1).flatten(0, 2)
        own = detector.noise.pixels.judged(pixels, found.given.flatten())[0]
        self.own = own.view(found.given.shape).numpy()
        given, p = found.given.numpy(), found.logits.softmax(1).numpy()
        self.theirs = 1 - np.take_along_axis(p, given[:, None], 1)[:, 0]
        self.issues = find_label_issues(given, p, verbose=False, n_jobs=1)
        self.scores = [
            1 - get_label_quality_scores(given, p, method=method, verbose=False, n_jobs=1)[0]
            for method in ("softmin", "num_pixel_issues")
        ]

    def figures(self, kind: int | None = None) -> dict[str, float]:
        """Of all masks; or of those that are right or have one kind of error."""
        rows = np.ones(len(self.how), bool) if kind is None else np.isin(self.how, [-1, kind])
        bad, pixels = self.how[rows] >= 0, self.pixels[rows].ravel()
        flagged, issues = self.flagged[rows], self.issues[rows]
        found = {
            "wrong": bad.mean(),
            "flagged": flagged.mean(),
            "precision": bad[flagged].mean() if flagged.any() else np.nan,
            "flagged, cleanlab": issues.any((1, 2)).mean(),
        }
        if not bad.any():
            return found
        return found | {
            "F1, cleanlab": f1_score(bad, issues.any((1, 2))),
            "F1": f1_score(bad, flagged),
            "cleanlab": max(average_precision_score(bad, one[rows]) for one in self.scores),
            "ours": average_precision_score(bad, self.score[rows]),
            "pixels, cleanlab": average_precision_score(pixels, self.theirs[rows].ravel()),
            "pixels": average_precision_score(pixels, self.own[rows].ravel()),
            "F1 of pixels, cleanlab": f1_score(pixels, issues.ravel()),
            "F1 of pixels": f1_score(pixels, self.own[rows].ravel() > 0.5),
        }


if __name__ == "__main__":
    main([masks], __doc__)
