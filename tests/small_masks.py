"""Small pictures with masks in a folder, and a network of them."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn

from ogacli.data import Samples
from ogacli.data.sources.segmentation import Segmentation

CLASSES = ("ground", "cat", "dog")
SIDE, WRONG = 16, 4
"""The first masks are wrong at an object: it is forgotten, or has another class, by turns."""


def write_masks(folder: Path, n: int = 30) -> dict[str, Any]:
    """Writes pictures, masks without classes in the first row, and true masks; returns the data section."""
    random = np.random.default_rng(0)
    for i in range(n):
        true = np.zeros((SIDE, SIDE), np.uint8)
        for c in (1, 2):
            top, left = random.integers(1, SIDE - 6, 2)
            true[top : top + 6, left : left + 6] = c
        pixels = random.integers(0, 60, (SIDE, SIDE, 3), dtype=np.uint8)
        for c in (1, 2):
            pixels[..., c][true == c] += 150
        given = true.copy()
        if i < WRONG:
            given[true == 2] = i % 2
        given[0] = 255
        for name, values in (("images", pixels), ("masks", given), ("true", true)):
            (folder / name).mkdir(exist_ok=True, parents=True)
            Image.fromarray(values).save(folder / name / f"{i:02d}.png")
    return {
        "source": "segmentation",
        "images": str(folder / "images"),
        "masks": str(folder / "masks"),
        "truth": str(folder / "true"),
        "classes": list(CLASSES),
        "ignore_index": 255,
    }


def open_masks(folder: Path, n: int = 30) -> Samples:
    """The samples of such a folder."""
    section = write_masks(folder, n)
    return Segmentation.model_validate({k: v for k, v in section.items() if k != "source"}).open()


class Pixels(nn.Module):
    """Tells the classes by colour; logits are upsampled from half the resolution."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.body = nn.Conv2d(3, 6, 3, padding=1)
            self.head = nn.Conv2d(6, len(CLASSES), 1)

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        found = F.avg_pool2d(torch.relu(self.body(pictures)), 2)
        return F.interpolate(self.head(found), scale_factor=2, mode="bilinear")


def trained(samples: Samples, steps: int = 120, seed: int = 0) -> Pixels:
    """A network after some steps on all samples."""
    network, batch = Pixels(seed), samples.read(range(len(samples)))
    optimizer = torch.optim.Adam(network.parameters(), 0.05)
    for _ in range(steps):
        optimizer.zero_grad()
        F.cross_entropy(network(batch.inputs), batch.labels, ignore_index=-100).backward()
        optimizer.step()
    return network
