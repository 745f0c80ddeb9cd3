"""Pictures with boxes, annotated in the form of COCO: a JSON file and a folder of pictures."""

import pyarrow as pa
from pydantic import model_validator

from ogacli.base.options import Location
from ogacli.data.files import open_files
from ogacli.data.images.boxes import BoxedReader
from ogacli.data.images.coco import read_coco
from ogacli.data.labels import Classes
from ogacli.data.samples import Samples
from ogacli.data.sources import Source, sources
from ogacli.data.sources._boxed import boxed_samples


@sources.register
class Coco(Source):
    """A sample is a picture with any number of boxes, also none; its id is the name of its file.

    Boxes are cut off at the edge of the picture. Annotations of several objects at once (``iscrowd``) are
    left out.
    """

    annotations: Location
    """The JSON file; a path or fsspec URL."""
    root: Location
    """The folder that the file names are relative to; or a zip archive or fsspec URL."""
    classes: Classes | None = None
    """The names of the categories in the order of the model's outputs; by default by ascending id."""
    by_id: bool = False
    """Whether the output of a category is its id, as in torchvision's networks for COCO, whose ids have
    gaps."""
    truth: Location | None = None
    """A file of the same form with the true boxes; only for evaluation."""

    @model_validator(mode="after")
    def _one_order(self) -> "Coco":
        if self.by_id and self.classes is not None:
            raise ValueError(
                "`classes` and `by_id` both give the order of the classes: leave out one of them"
            )
        return self

    def load(self) -> Samples:
        """All pictures that the file names."""
        found = read_coco(self.annotations, classes=self.classes, by_id=self.by_id)
        files, names = open_files(self.root, self.bounds), pa.array(found.names, pa.string())
        crowds = f"annotations of several objects at once (iscrowd) were left out: {found.crowds:,}"
        truth = None
        if self.truth is not None:
            truth = read_coco(self.truth, classes=found.classes, like=found.names).lists
        reader = BoxedReader(
            files,
            names,
            found.lists,
            found.sizes,
            truth=truth,
            limits=self.bounds,
            notes=[crowds] if found.crowds else [],
        )
        return boxed_samples(reader, found.classes, files.signature(names))
