"""Image files in one folder a class, as in torchvision's ``ImageFolder``: ``root/class/*.png``."""

from pathlib import Path

import pyarrow as pa
import torch

from ogacli.base.options import Location
from ogacli.data.files import open_files
from ogacli.data.images import SUFFIXES, ImageReader, Transform
from ogacli.data.labels import Classes, Targets
from ogacli.data.samples import Samples
from ogacli.data.sources import Source, sources
from ogacli.errors import DataError


@sources.register
class ImageFolder(Source):
    """One folder a class; the classes and the order of the samples are those of torchvision."""

    root: Location
    """The folder, or a zip archive (``photos.zip``, ``photos.zip/train``) or fsspec URL of that layout."""
    classes: Classes | None = None
    """The folders' names in the order of the model's outputs; by default sorted."""
    transform: Transform = Transform()
    """``{resize, crop, mean, std, grayscale}``, or ``imagenet`` or ``cifar10``; as in training."""

    def includes(self, folder: Path) -> bool:
        """A folder below the root is a class, or part of one."""
        return folder.is_relative_to(Path(self.root).resolve())

    def load(self) -> Samples:
        """All image files; ids are the paths below the root."""
        files = open_files(self.root)
        every = files.names()
        classes = self.classes or tuple(sorted({name.partition("/")[0] for name in every if "/" in name}))
        names = [name for name in every if name.lower().endswith(SUFFIXES) and "/" in name]
        if not names:
            raise DataError(
                "no image files in folders",
                place=self.root,
                found=", ".join(every[:5]) or "nothing",
                expected=f"class/image, with a suffix of {', '.join(SUFFIXES)}",
            )
        names.sort(key=_order)
        index = {name: i for i, name in enumerate(classes)}
        strange = next((name for name in names if name.partition("/")[0] not in index), None)
        if strange is not None:
            raise DataError(
                "a folder that `classes` does not name",
                place=f"sample {strange!r}",
                expected=f"one of {', '.join(classes[:12])}",
            )
        ids = pa.array(names, pa.string())
        labels = torch.tensor([index[name.partition("/")[0]] for name in names])
        reader = ImageReader(files, ids, self.transform)
        targets = Targets(labels, classes, class_order="given" if self.classes else "sorted")
        return Samples.from_targets(ids, targets, reader, files.signature(ids))


def _order(name: str) -> tuple[str, str, str]:
    """By class, then by folder, then by file, so that positions are those of torchvision's ImageFolder."""
    folder, _, file = name.rpartition("/")
    return name.partition("/")[0], folder, file
