"""Samples from a map-style dataset of torch that a function of the user returns.

In: ``factory(**args)``, which returns an object with ``len()`` and ``[i]`` -> ``(inputs, label)``. Out:
``Samples`` whose inputs are tensors, mappings of tensors, or texts.
"""

import hashlib
import json
from typing import Any, ClassVar

from pydantic import Field

from ogacli.base.options import Location
from ogacli.base.user_code import called
from ogacli.data.ids import RowNumbers
from ogacli.data.items import ItemReader, is_dataset, label_targets, own_classes, own_labels
from ogacli.data.labels import Classes, Target
from ogacli.data.samples import Samples
from ogacli.data.sources import Source, sources
from ogacli.errors import ConfigError, DataError


@sources.register
class Python(Source):
    """The dataset that a function of the user returns."""

    factory: str
    """``package.module:name`` of a function or class, in a module in ``folder`` or in the current folder."""
    args: dict[str, Any] = Field(default={})
    """Its arguments."""
    folder: Location = Field(default=".", validate_default=True)
    """The folder that is searched first for the module; by default the folder of the config."""
    classes: Classes | None = None
    """The class names in the order of the model's outputs, or their number; by default the
    ``classes`` of the dataset."""
    target: Target = "classes"
    """``regression`` where labels are numbers to be predicted."""

    runs_code: ClassVar[bool] = True

    def load(self) -> Samples:
        """All samples; ids are their indices.

        Labels are the dataset's list ``targets`` or ``labels``; without one, every item is read.
        """
        dataset = self._dataset()
        n = len(dataset)
        if n == 0:
            raise DataError("the dataset is empty", place=self._place)
        ids = RowNumbers(n)
        own = own_classes(dataset)
        with DataError.within(self._place):
            targets = label_targets(
                own_labels(dataset), ids, target=self.target, classes=self.classes, own=own
            )
        call = json.dumps([self.factory, self.args, n], sort_keys=True, default=str)
        signature = hashlib.sha256(call.encode()).hexdigest()
        return Samples.from_targets(ids, targets, ItemReader(dataset), signature)

    @property
    def _place(self) -> str:
        return f"data.factory {self.factory}"

    def _dataset(self) -> Any:
        dataset = called(self.factory, self.args, self.folder, place=self._place, returns="a dataset")
        if not is_dataset(dataset):
            raise ConfigError(
                "the factory does not return a dataset",
                place=self._place,
                found=type(dataset).__name__,
                expected="something with len() and [i], such as a torch.utils.data.Dataset",
            )
        return dataset
