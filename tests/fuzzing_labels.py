"""Hostile files that hold labels beside the samples: COCO, YOLO, masks, and tables of annotators.

In: bytes. Out: samples that were read and shown, or an ``OgaError``; like the targets of ``fuzzing.py``.
"""

import shutil
import tempfile
from functools import cache
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from ogacli.data.samples import Samples
from ogacli.data.unreadable import Unreadable

CLASSES = ("ant", "bee", "cat")
N = 3


@cache
def _place() -> Path:
    """A folder with pictures of 8 x 6 pixels, masks, text files and a table of labels."""
    memory = Path("/dev/shm")
    folder = Path(tempfile.mkdtemp(prefix="oga-fuzz-", dir=memory if memory.is_dir() else None))
    for i in range(N):
        for name, value in (("images", np.zeros((6, 8, 3))), ("masks", np.full((6, 8), i))):
            (folder / name).mkdir(exist_ok=True)
            Image.fromarray(value.astype(np.uint8)).save(folder / name / f"{i}.png")
    (folder / "labels").mkdir()
    return folder


def clear() -> None:
    """Remove the folder."""
    shutil.rmtree(_place(), ignore_errors=True)
    _place.cache_clear()


def _shown(samples: Samples) -> Samples:
    """The samples, once all are read and shown."""
    samples.read(list(range(len(samples))))
    for position in range(len(samples)):
        try:
            samples.reader.preview(position)
        except Unreadable:
            continue
    return samples


def coco(content: bytes) -> object:
    """The JSON file of COCO."""
    from ogacli.data.sources.coco import Coco

    file = _place() / "coco.json"
    file.write_bytes(content)
    return _shown(Coco(annotations=str(file), root=str(_place() / "images")).open())


def yolo(content: bytes) -> object:
    """A text file of YOLO; or the file of class names, where the first byte is odd."""
    from ogacli.data.sources.yolo import Yolo

    names = bool(content[:1]) and content[0] % 2 == 1
    boxes, classes = _place() / "labels" / "0.txt", _place() / ("names.yaml" if names else "names.txt")
    boxes.write_bytes(b"1 .5 .5 .2 .2\n" if names else content[1:])
    classes.write_bytes(content[1:] if names else "\n".join(CLASSES).encode())
    return _shown(Yolo(root=str(_place() / "images"), labels=str(boxes.parent), names=str(classes)).open())


def mask(content: bytes) -> object:
    """A mask."""
    from ogacli.data.sources.segmentation import Segmentation

    (_place() / "masks" / "0.png").write_bytes(content)
    images, masks = (str(_place() / name) for name in ("images", "masks"))
    return _shown(Segmentation(images=images, masks=masks, classes=CLASSES, ignore_index=255).open())


def annotators(content: bytes) -> object:
    """A table of annotators, of the format that the first byte says."""
    from ogacli.data.labels.annotations import annotated, class_names

    path = _place() / f"voices.{('csv', 'jsonl', 'parquet')[content[0] % 3 if content else 0]}"
    path.write_bytes(content[1:])
    samples = Samples.of([torch.zeros(2)] * N, labels=[0, 1, 2], classes=CLASSES, ids=list("xyz"))
    class_names(str(path))
    return annotated(samples, path).annotations
