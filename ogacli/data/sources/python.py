"""Samples from a function of the user's own: anything that torch would call a map-style dataset.

In: ``factory(**args)``, which returns an object with ``len()`` and ``[i]`` -> ``(inputs, label)``. Out:
``Samples`` whose inputs are tensors, mappings of tensors, or texts.
"""

import hashlib
import json
from typing import Any, ClassVar

from pydantic import Field

from ogacli.base.options import Location
from ogacli.base.user_code import called
from ogacli.data.items import ItemReader, is_dataset, label_targets, own_labels
from ogacli.data.labels import Classes, Target
from ogacli.data.samples import Samples, numbered
from ogacli.data.sources import Source, sources
from ogacli.errors import ConfigError, DataError


@sources.register
class Python(Source):
    """What a function of the user's own returns."""

    factory: str
    """``package.module:name`` of a function or class, in a module in ``folder`` or in the current folder."""
    args: dict[str, Any] = Field(default={})
    """What it is called with."""
    folder: Location = Field(default=".", validate_default=True)
    """Where modules are looked for first; the config's own folder where left out."""
    classes: Classes | None = None
    """The class names in the order of the model's outputs, or how many there are; by default the dataset's
    own ``classes``."""
    target: Target = "classes"
    """``regression`` where labels are numbers to be predicted."""

    runs_code: ClassVar[bool] = True

    def load(self) -> Samples:
        """All samples; ids are their indices.

        Labels are the dataset's ``targets`` or ``labels`` where it has such a list, and otherwise read one by
        one.
        """
        dataset = self._dataset()
        n = len(dataset)
        if n == 0:
            raise DataError("the dataset is empty", place=self._place)
        ids = numbered(n)
        known = getattr(dataset, "classes", None)
        names = self.classes or (tuple(map(str, known)) if isinstance(known, list | tuple) else None)
        try:
            targets = label_targets(own_labels(dataset), ids, target=self.target, classes=names)
        except DataError as error:
            raise DataError(str(error), place=self._place) from None
        called = json.dumps([self.factory, self.args, n], sort_keys=True, default=str)
        return targets.samples(ids, ItemReader(dataset), hashlib.sha256(called.encode()).hexdigest())

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
