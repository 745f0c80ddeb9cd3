"""Pictures and masks, for semantic segmentation: two folders, or a table with a column of each."""

from pathlib import PurePosixPath
from typing import Annotated

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field, model_validator

from ogacli.base.options import Location
from ogacli.base.tables import read_table
from ogacli.base.wording import listed
from ogacli.data.files import Tree, open_files
from ogacli.data.files.listing import counted
from ogacli.data.images import Transform
from ogacli.data.images.masks import MaskedImageReader, MaskFiles, occurring
from ogacli.data.labels import Classes, Targets
from ogacli.data.labels.label_types import PixelClasses
from ogacli.data.originals.image_folder import SUFFIXES
from ogacli.data.samples import Samples
from ogacli.data.sources import Source, sources
from ogacli.data.sources._columns import column_of
from ogacli.errors import DataError

_MASK = ".png"
"""The suffix of a mask that is missing, for its name in a reason."""


@sources.register
class Segmentation(Source):
    """A mask a picture: the class of each pixel, as grey values or a palette.

    Give either ``images`` and ``masks``, or ``path`` with the columns ``image`` and ``mask``. A picture whose
    mask is missing, of another size, without any class, or with classes beyond ``classes`` is quarantined.
    """

    images: Location | None = None
    """The folder of the pictures, or a zip archive (``photos.zip``, ``photos.zip/train``) or fsspec URL."""
    masks: Location | None = None
    """The folder of the masks, of the same names but for the suffix."""
    path: Location | None = None
    """A csv, jsonl or parquet file with a row a picture."""
    image: str = "image"
    """Its column of the names of pictures."""
    mask: str = "mask"
    """Its column of the names of masks."""
    root: Location | None = None
    """The folder, archive or URL that both are relative to; by default the table's folder."""
    truth: Location | None = None
    """The folder of the true masks, only to evaluate."""
    true_mask: str | None = None
    """The column of the names of the true masks, only to evaluate."""
    classes: Classes
    """The class names in the order of the model's outputs, or their number."""
    ignore_index: Annotated[int, Field(ge=0)] | None = None
    """The value of pixels without a class, such as 255; the loss leaves them out."""
    transform: Transform = Transform()
    """``{resize, crop, mean, std, grayscale}``, or ``imagenet`` or ``cifar10``; as in training. Masks are
    resized and cropped alike."""

    @model_validator(mode="after")
    def _fits(self) -> "Segmentation":
        if (self.images is None) != (self.masks is None):
            raise ValueError("`images` and `masks` belong together: the folders of pictures and of masks")
        if (self.images is None) == (self.path is None):
            raise ValueError("give either `images` and `masks`, or `path`: a table of the names of both")
        if self.truth and self.path:
            raise ValueError("`truth` is a folder beside `masks`; in a table name a column as `true_mask`")
        if self.true_mask and self.images:
            raise ValueError("`true_mask` is a column of `path`; beside `masks` name a folder as `truth`")
        return self

    def load(self) -> Samples:
        """All pictures; ids are their names."""
        return self._from_folders() if self.path is None else self._from_table(self.path)

    def _from_folders(self) -> Samples:
        assert self.images is not None
        assert self.masks is not None
        files, masks = open_files(self.images, self.bounds), open_files(self.masks, self.bounds)
        listing = files.listing()
        names = sorted(name for name in listing.names if name.lower().endswith(SUFFIXES))
        if not names:
            raise DataError(
                "no image files",
                place=self.images,
                found="; ".join([listed(listing.names, 5) or "nothing", *listing.notes]),
                expected=f"files with a suffix of {', '.join(SUFFIXES)}",
            )
        of_masks, others = _beside(masks, names)
        notes = listing.notes
        if others:
            notes += (counted("mask belongs|masks belong", others, "to no picture and {was} left out"),)
        found = [pa.array(of_masks, pa.string())]
        trees = [masks]
        if self.truth is not None:
            trees.append(open_files(self.truth, self.bounds))
            found.append(pa.array(_beside(trees[1], names)[0], pa.string()))
        return self._samples(files, pa.array(names, pa.string()), trees, found, notes)

    def _from_table(self, path: str) -> Samples:
        columns = [self.image, self.mask, *([self.true_mask] if self.true_mask else [])]
        table = read_table(path, text=columns)
        if not len(table):
            raise DataError("the table has no rows", place=path)
        names, *masks = (pc.fill_null(column_of(table, name, path).cast(pa.string()), "") for name in columns)
        files = open_files(self.root or path.rpartition("/")[0] or ".", self.bounds)
        return self._samples(files, names, [files] * len(masks), masks)

    def _samples(
        self,
        files: Tree,
        names: pa.StringArray,
        trees: list[Tree],
        masks: list[pa.StringArray],
        notes: tuple[str, ...] = (),
    ) -> Samples:
        """The samples.

        Args:
            files: The pictures.
            names: Of each sample.
            trees: Of the masks, and of the true ones where they are known.
            masks: The names of both.
            notes: What was found beside the samples.
        """
        k = len(self.classes)
        both = [
            MaskFiles(
                tree, own, self.transform, classes=k, ignore_index=self.ignore_index, limits=self.bounds
            )
            for tree, own in zip(trees, masks, strict=True)
        ]
        found = occurring(*both)
        if len(found.unusable) == len(names):
            raise DataError(
                "no mask can be used",
                place=f"sample {names[0].as_py()!r}, the first of {len(names)}",
                found=found.unusable[0],
                hint="check `masks` (or `mask`), `classes` and `ignore_index`",
            )
        targets = Targets(found.classes, self.classes, found.true, found.differs)
        reader = MaskedImageReader(files, names, *both, notes=notes)
        signature = "".join(
            one.signature(own) for one, own in zip([files, *trees], [names, *masks], strict=True)
        )
        return Samples.from_targets(names, targets, reader, signature, label_type=PixelClasses())


def _beside(masks: Tree, names: list[str]) -> tuple[list[str], list[str]]:
    """The mask of each picture, by its name without suffix; and the masks of no picture."""
    known = {_stem(name): name for name in sorted(masks.names(), reverse=True) if not name.endswith("/")}
    wanted = [_stem(name) for name in names]
    others = sorted(known[stem] for stem in known.keys() - set(wanted))
    return [known.get(stem, stem + _MASK) for stem in wanted], others


def _stem(name: str) -> str:
    return str(PurePosixPath(name).with_suffix(""))
