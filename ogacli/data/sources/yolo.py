"""Pictures with boxes, annotated in the form of YOLO: a text file a picture."""

import numpy as np
import pyarrow as pa
from pydantic import model_validator

from ogacli.base.options import Location
from ogacli.data.files import open_files
from ogacli.data.files.listing import counted
from ogacli.data.images.boxes import BoxedReader
from ogacli.data.images.yolo import read_boxes, read_names
from ogacli.data.labels import Classes
from ogacli.data.originals.yolo import picture_names, text_name, text_root
from ogacli.data.samples import Samples
from ogacli.data.sources import Source, sources
from ogacli.data.sources._boxed import boxed_samples
from ogacli.errors import DataError


@sources.register
class Yolo(Source):
    """A sample is a picture below ``root`` with any number of boxes, also none; its id is its name there.

    Boxes are cut off at the edge of the picture.
    """

    root: Location
    """The folder of the pictures; or a zip archive or fsspec URL."""
    labels: Location | None = None
    """The folder of the text files, named as the pictures; by default ``root`` with its last ``images``
    replaced by ``labels``. A picture without a text file has no boxes."""
    classes: Classes | None = None
    """The class names, or their number."""
    names: Location | None = None
    """In place of ``classes``: a text file with a class name a line, or a YAML file with ``names``."""
    truth: Location | None = None
    """A folder of text files with the true boxes; only for evaluation."""

    @model_validator(mode="after")
    def _named(self) -> "Yolo":
        if (self.classes is None) == (self.names is None):
            raise ValueError("give the class names: either `classes: [..]` or a file `names`")
        return self

    def load(self) -> Samples:
        """All pictures below the root."""
        files, texts = (open_files(root, self.bounds) for root in (self.root, self._texts))
        pictures = picture_names(files.names())
        if not pictures:
            raise DataError("no pictures", place=self.root, found="no file with a suffix of a picture")
        classes = self.classes or read_names(str(self.names))
        lists, lost = read_boxes(texts, self._texts, pictures, len(classes))
        own = set(map(text_name, pictures))
        alone = [name for name in texts.names() if name.endswith(".txt") and name not in own]
        alone = [name for name in alone if not name.endswith("classes.txt")]
        notes = [counted("text file|text files", alone, "{was} left out, without a picture")] if alone else []
        names, unknown = pa.array(pictures, pa.string()), np.zeros((len(pictures), 2), dtype=np.int64)
        truth = None
        if self.truth is not None:
            truth, _ = read_boxes(open_files(self.truth, self.bounds), self.truth, pictures, len(classes))
        reader = BoxedReader(
            files, names, lists, unknown, truth=truth, limits=self.bounds, notes=notes, lost=lost
        )
        return boxed_samples(reader, classes, files.signature(names))

    @property
    def _texts(self) -> str:
        return text_root(self.root, self.labels)
