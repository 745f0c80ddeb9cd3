"""torchvision's dataset classes, from files on disk."""

import inspect
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Int64
from PIL import Image
from pydantic import Field

from ogacli.base.options import Location
from ogacli.base.special_files import refuse_special_in
from ogacli.base.wording import suggestion
from ogacli.data.ids import RowNumbers
from ogacli.data.images import PictureReader, Pixels, Transform, decoding, thumbnail
from ogacli.data.items import label_targets, own_classes, own_labels
from ogacli.data.labels import Classes
from ogacli.data.reading import Preview
from ogacli.data.samples import Samples
from ogacli.data.sources import Source, sources
from ogacli.data.unreadable import Unreadable
from ogacli.errors import DataError

_UNPICKLED = ("LSUN", "LSUNClass")
"""Classes that load a pickle without a check; the pickles of CIFAR are compared with known checksums."""


@sources.register
class Torchvision(Source):
    """A dataset of images with one class each, by the name of its class in ``torchvision.datasets``."""

    name: str
    """Such as ``CIFAR10``, ``MNIST``, ``Flowers102``."""
    root: Location
    """The folder of the dataset's files, also for downloads."""
    split: str | None = None
    """``train`` or ``test``, or another split of the dataset; by default the default of its class."""
    args: dict[str, Any] = Field(default_factory=dict)
    """Further arguments of the dataset's class."""
    download: bool = False
    """Download missing files."""
    classes: Classes | None = None
    """The class names in the order of the model's outputs; by default those of the dataset."""
    transform: Transform = Transform()
    """``{resize, crop, mean, std, grayscale}``, or ``imagenet`` or ``cifar10``; as in training."""

    def load(self) -> Samples:
        """All samples of the split; ids are their indices in the dataset."""
        dataset = self._dataset()
        n = len(dataset)
        if n == 0:
            raise DataError("the dataset is empty", place=f"{self.name} in {self.root}")
        ids = RowNumbers(n)
        labels = _labels(dataset, self.name)
        own = _class_names(dataset, labels)
        targets = label_targets(labels, ids, target="classes", classes=self.classes, own=own)
        signature = f"{self.name} {self.split} {self.args}"
        return Samples.from_targets(ids, targets, DatasetReader(dataset, self.transform), signature)

    def _dataset(self) -> Any:
        """An instance of the dataset's class."""
        from torchvision import datasets

        cls = getattr(datasets, self.name, None) if self.name in datasets.__all__ else None
        if cls is None:
            near = suggestion(self.name, datasets.__all__)
            raise DataError(f"torchvision has no dataset {self.name!r}{near}", place="data.name")
        if self.name in _UNPICKLED:
            raise DataError(
                f"torchvision unpickles a file in the folder of {self.name}, which may run any code",
                place="data.name",
                found=self.name,
                hint="write its images as files, and use `source: image_folder`",
            )
        known = inspect.signature(cls).parameters
        given = dict(self.args) | self._split(known)
        if "download" in known:
            given["download"] = self.download
        elif self.download:
            raise DataError(f"torchvision cannot download {self.name}", place="data.download")
        refuse_special_in(self.root, DataError)
        try:
            return cls(self.root, **given)
        except (RuntimeError, OSError, ValueError, TypeError, ImportError) as error:
            hint = "check `root`" + (" or set `download: true`" if "download" in known else "")
            raise DataError(
                f"{self.name} cannot be opened", place=self.root, found=str(error).strip(), hint=hint
            ) from None

    def _split(self, known: Mapping[str, Any]) -> dict[str, Any]:
        if self.split is None:
            return {}
        if "split" in known:
            return {"split": self.split}
        if "train" in known and self.split in ("train", "test"):
            return {"train": self.split == "train"}
        raise DataError(
            f"{self.name} has no split {self.split!r}",
            place="data.split",
            expected="train or test" if "train" in known else "no `split`",
            hint=f"its arguments are {', '.join(known)}; give them as `args`",
        )


class DatasetReader(PictureReader):
    """Reads the images of a torchvision dataset."""

    def __init__(self, dataset: Any, transform: Transform) -> None:
        self.dataset = dataset
        super().__init__(len(dataset), transform)

    def decode(self, positions: Sequence[int]) -> Iterator[Pixels | Unreadable]:
        """Each image in turn."""
        for position in positions:
            try:
                image = self._image(position)
                with decoding():
                    pixels: Pixels | Unreadable = self.transform.pixels(image)
            except Unreadable as reason:
                pixels = reason
            yield pixels

    def preview(self, position: int) -> Preview:
        """The image, made small."""
        return thumbnail(self._image(position))

    def _image(self, position: int) -> Image.Image:
        with decoding():
            image = self.dataset[position][0]
        if not isinstance(image, Image.Image):
            raise Unreadable(f"a {type(image).__name__}, no image")
        return image


def _labels(dataset: Any, name: str) -> Int64[np.ndarray, " n"]:
    labels = own_labels(dataset, lists=("targets", "labels", "_labels"))
    if labels.ndim != 1 or not np.issubdtype(labels.dtype, np.integer):
        raise DataError(
            f"{name} does not have one class a sample",
            found=f"labels of shape {list(labels.shape)}, {labels.dtype}",
            hint="give its arguments as `args`, or use another source",
        )
    return labels.astype(np.int64)


def _class_names(dataset: Any, labels: Int64[np.ndarray, " n"]) -> tuple[str, ...]:
    """The dataset's names for 0 to k-1; numbers where it has no names that fit."""
    names = own_classes(dataset) or ()
    k = int(labels.max()) + 1
    return names if len(names) >= k and len(set(names)) == len(names) else tuple(str(i) for i in range(k))
