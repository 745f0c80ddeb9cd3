"""Pictures and texts, and ways to change them that leave them nearly the same.

In: rows of the data sets at hand. Out: pictures, changed ones, and the groups of near-duplicates. Used by
``benchmarks/inputs.py`` as well.
"""

import io
import os
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageEnhance

from ogacli.data.near import groups_of
from ogacli.data.sketches import sketched

DATA = Path(os.environ.get("OGA_DATA", Path(__file__).parents[2] / "shared" / "data"))


def cifar(rows: range) -> list[Image.Image]:
    with zipfile.ZipFile(DATA / "cifar10n" / "images_train.zip") as archive:
        return [Image.open(io.BytesIO(archive.read(f"{i:05d}.jpg"))).convert("RGB") for i in rows]


def mnist(rows: range) -> list[Image.Image]:
    with np.load(DATA / "images" / "mnist_10k.npz") as arrays:
        return [Image.fromarray(one) for one in arrays["x"][rows.start : rows.stop]]


def tensors(pictures: Sequence[Image.Image]) -> torch.Tensor:
    arrays = [np.asarray(one, np.float32).reshape(*one.size[::-1], -1) for one in pictures]
    return torch.from_numpy(np.stack(arrays).transpose(0, 3, 1, 2)) / 255


def compressed(picture: Image.Image) -> Image.Image:
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=50)
    return Image.open(file)


def resized(picture: Image.Image) -> Image.Image:
    width, height = picture.size
    small = picture.resize((3 * width // 4, 3 * height // 4), Image.Resampling.BILINEAR)
    return small.resize((width, height), Image.Resampling.BILINEAR)


def moved(picture: Image.Image) -> Image.Image:
    return picture.transform(picture.size, Image.Transform.AFFINE, (1, 0, 1, 0, 1, 1))


def cropped(picture: Image.Image) -> Image.Image:
    width, height = picture.size
    return picture.crop((2, 2, width - 2, height - 2)).resize((width, height), Image.Resampling.BILINEAR)


def darker(picture: Image.Image) -> Image.Image:
    return ImageEnhance.Brightness(picture).enhance(0.7)


def paler(picture: Image.Image) -> Image.Image:
    return ImageEnhance.Contrast(picture).enhance(0.6)


def of_another_word(text: str) -> str:
    words = text.split()
    words[len(words) // 2] = "otherwise"
    return " ".join(words)


def groups(inputs: object) -> torch.Tensor:
    """The first sample of the group of each."""
    kind, sketches = sketched(inputs)
    return groups_of(torch.full((len(sketches),), kind, dtype=torch.uint8), sketches)
