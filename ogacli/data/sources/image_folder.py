"""Image files in one folder a class, as in torchvision's ``ImageFolder``: ``root/class/*.png``."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

import pyarrow as pa
import torch

from ogacli.base.options import Location
from ogacli.base.wording import listed
from ogacli.data.files import open_files
from ogacli.data.files.listing import Listing, counted
from ogacli.data.images import ImageReader, Transform
from ogacli.data.labels import Classes, ClassOrder, Targets, class_targets
from ogacli.data.named_values import named_values
from ogacli.data.originals.image_folder import SUFFIXES, other_names, sample_names
from ogacli.data.samples import Samples
from ogacli.data.sources import Source, sources
from ogacli.errors import DataError


@sources.register
class ImageFolder(Source):
    """One folder a class; the classes and the order of the samples are those of torchvision.

    Hidden names, such as ``.ipynb_checkpoints`` and ``Thumbs.db``, are neither classes nor samples.
    """

    root: Location
    """The folder, or a zip archive (``photos.zip``, ``photos.zip/train``) or fsspec URL of that layout."""
    classes: Classes | None = None
    """The folders' names in the order of the model's outputs; by default sorted."""
    truth: Location | None = None
    """A table with a row an image, only to evaluate: its name (``file``) and its true class (``truth``)."""
    transform: Transform = Transform()
    """``{resize, crop, mean, std, grayscale}``, or ``imagenet`` or ``cifar10``; as in training."""

    def includes(self, folder: Path) -> bool:
        """A folder below the root is a class, or part of one."""
        return folder.is_relative_to(Path(self.root).resolve())

    def load(self) -> Samples:
        """All image files; ids are the paths below the root."""
        files = open_files(self.root, self.bounds)
        found = files.listing()
        images = [name for name in found.names if name.lower().endswith(SUFFIXES)]
        names = sample_names(found)
        folders = sorted({name.partition("/")[0] for name in found.names if "/" in name})
        if not names:
            raise DataError(
                "no image files in folders",
                place=self.root,
                found="; ".join([listed(found.names, 5) or "nothing", *found.notes]),
                expected=f"class/image, with a suffix of {', '.join(SUFFIXES)}",
            )
        ids = pa.array(names, pa.string())
        others = other_names(found)
        notes = _notes(found, images, names, folders, others)
        targets = self._targets(ids, names, self.classes or tuple(folders))
        reader = ImageReader(files, ids, self.transform, limits=self.bounds, notes=notes, others=others)
        return Samples.from_targets(ids, targets, reader, files.signature(ids))

    def _targets(self, ids: pa.StringArray, names: Sequence[str], classes: tuple[str, ...]) -> Targets:
        """The class of each image, and its true one where there is a table of them."""
        index = {name: i for i, name in enumerate(classes)}
        strange = next((name for name in names if name.partition("/")[0] not in index), None)
        if strange is not None:
            raise DataError(
                "a folder that `classes` does not name",
                place=f"sample {strange!r}",
                expected=f"one of {', '.join(classes[:12])}",
            )
        labels = torch.tensor([index[name.partition("/")[0]] for name in names])
        order: ClassOrder = "given" if self.classes else "sorted"
        if self.truth is None:
            return Targets(labels, classes, class_order=order)
        true = named_values(self.truth, ids, "truth")
        with DataError.within(self.truth):
            given = pa.array([name.partition("/")[0] for name in names], pa.string())
            return replace(class_targets(given, ids, classes=classes, truth=true), class_order=order)


def _notes(
    found: Listing, images: Sequence[str], names: Sequence[str], folders: Sequence[str], others: list[str]
) -> tuple[str, ...]:
    """What was found beside the samples."""
    notes = list(found.notes)
    loose = [name for name in images if "/" not in name]
    if loose:
        notes.append(counted("image lies|images lie", loose, "in no folder of a class and {was} left out"))
    used = {name.partition("/")[0] for name in names}
    empty = [name for name in folders if name not in used]
    if empty:
        notes.append(counted("class folder holds|class folders hold", empty, "no images"))
    if others:
        suffixes = Counter(PurePosixPath(name).suffix.lower() or "none" for name in others)
        kinds = [f"{suffix} {count:,}" for suffix, count in suffixes.most_common()]
        noun = "file has|files have"
        notes.append(counted(noun, others, f"another suffix ({listed(kinds, 5)}) and {{was}} not read"))
    return tuple(notes)
