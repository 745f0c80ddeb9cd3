"""scikit-learn's linear and MLP models, alone or behind other steps, as a network with a linear head."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ogacli.base.tables import opened
from ogacli.base.wording import listed
from ogacli.data import Preview, Reader, Samples
from ogacli.data.arrays import ArrayReader
from ogacli.errors import CheckpointError, DataError
from ogacli.models import Network
from ogacli.models.checkpoints import unnamed
from ogacli.models.checkpoints.estimators import Coefficients, coefficients, read_coefficients, save_estimator
from ogacli.models.checkpoints.snapshots import Weights
from ogacli.models.sources import CheckpointSource, sources

__all__ = ["Sklearn", "save_estimator"]

_EXPORT = (
    "where the model is at hand: `from ogacli.models.sources.sklearn import save_estimator; "
    'save_estimator(model, "model.safetensors")`'
)


@sources.register
class Sklearn(CheckpointSource):
    """A linear model or multi-layer perceptron of scikit-learn that has been fitted."""

    checkpoint: Weights
    """A file that ``ogacli.models.sources.sklearn.save_estimator(model, path)`` wrote: numbers only; or a
    pickle or joblib file, with ``trust``. Several, or folds, as for networks."""
    trust: bool = False
    """Load a pickle, which may run any code that is in it."""

    def prepare(self, samples: Samples) -> Samples:
        """The samples, with missing values where the pipeline fills them."""
        path = self.checkpoint_files()[0]
        fill = self._coefficients(path).fill
        if fill is None or not isinstance(samples.reader, ArrayReader):
            return samples
        fill = _fed(self._coefficients(path), samples, path).fill
        assert fill is not None
        return replace(samples, reader=WithGaps(samples.reader, ~fill.isnan()))

    def load(self, samples: Samples) -> Network:
        """The estimator as a network, its features and classes in the order of the samples.

        Raises:
            CheckpointError: The file cannot be read or is not trusted, holds another kind of model, or was
                fitted on other features or classes.
        """
        path = self.file()
        found = _fed(self._coefficients(path), samples, path)
        if found.classes is not None:
            found = _in_order(found, found.classes, samples.classes, path)
        outputs = samples.label_type.outputs(samples.labels, samples.classes)
        return Network(found.network(), head=None, outputs=outputs)

    def names_classes(self, samples: Samples) -> bool:
        """Whether the names of the classes that it was fitted on are those of the samples."""
        known = self._coefficients(self.file()).classes
        return bool(samples.classes) and known is not None and set(samples.classes) <= set(known)

    def _coefficients(self, path: str) -> Coefficients:
        with opened(path) as file:
            content: bytes = file.read()
        if content[8:9] == b"{":
            return read_coefficients(content, path)
        if self.trust:
            return coefficients(_unpickled(path))
        raise CheckpointError(
            "not a file of coefficients, and a pickle is not loaded without `trust`: it may run any code",
            place=path,
            hint=f"{_EXPORT}; or set `trust: true` if you trust the file",
        )


class WithGaps(Reader):
    """Rows of an array, of which some columns may be missing.

    Args:
        reader: Of the array.
        allowed: Whether each column may be NaN.
    """

    in_memory = True

    def __init__(self, reader: ArrayReader, allowed: Bool[Tensor, " h"]) -> None:
        self.reader = reader
        self.allowed = allowed
        self.columns = reader.columns

    @property
    def notes(self) -> tuple[str, ...]:
        """Those of the reader."""
        return self.reader.notes

    def read(self, positions: Sequence[int]) -> tuple[Float[Tensor, "b h"] | None, Mapping[int, str]]:
        """The rows; those with other values that are not finite are quarantined."""
        _, failures = self.reader.read(positions)
        if not failures:
            return self.reader.read(positions)
        rows = np.asarray(self.reader.inputs[np.asarray(positions, dtype=np.int64)], dtype=np.float32)
        found = torch.from_numpy(rows).flatten(1)
        good = (found.isfinite() | (found.isnan() & self.allowed)).all(1)
        lost = {i: failures[i] for i in (~good).nonzero()[:, 0].tolist()}
        return (found[good] if good.any() else None), lost

    def preview(self, position: int) -> Preview:
        """That of the reader."""
        return self.reader.preview(position)


def _unpickled(path: str) -> Any:
    """The estimator in a pickle of joblib or of Python."""
    import joblib

    try:
        with opened(path) as file:
            return joblib.load(file)
    except Exception as error:  # the file runs code of its own, which may raise anything
        raise CheckpointError(
            "cannot be unpickled",
            place=path,
            found=f"{type(error).__name__}: {error}",
            hint=_EXPORT,
        ) from error


def _fed(found: Coefficients, samples: Samples, path: str) -> Coefficients:
    """The coefficients with inputs in the order of the samples' features."""
    columns: Sequence[str] = getattr(samples.reader, "columns", ())
    names = found.features or ()
    if not columns or tuple(columns) == names or (not names and len(columns) == found.width):
        return found
    if sorted(columns) == sorted(names) and len(set(names)) == len(names):
        order = [names.index(name) for name in columns]
        changed: dict[str, Any] = {
            name: None if (values := getattr(found, name)) is None else values[order]
            for name in ("center", "scale", "fill")
        }
        if found.mix is not None:
            changed["mix"] = found.mix[:, order]
        else:
            changed["weights"] = (found.weights[0][:, order], *found.weights[1:])
        return replace(found, features=tuple(columns), **changed)
    lost = [name for name in names if name not in columns]
    raise CheckpointError(
        f"fitted on {found.width} features, not on these {len(columns)}",
        place=path,
        found=listed([name for name in columns if name not in names] or columns),
        expected=listed(lost or names) if names else f"{found.width} features without names",
        hint=_feature_hint(lost, columns),
    )


def _feature_hint(lost: Sequence[str], columns: Sequence[str]) -> str:
    """The hint where the samples lack features."""
    encoded = dict.fromkeys(name.partition("=")[0] for name in lost if "=" in name)
    known = [name for name in encoded if any(column.startswith(f"{name}=") for column in columns)]
    if known:
        return f"give all categories as in training: `categorical: {{{known[0]}: [category, ..]}}`"
    if encoded:
        return (
            f"name {listed(list(encoded))} under `data.categorical`, which makes a feature of each category"
        )
    return "name the columns that it was fitted on as `data.features`"


def _in_order(found: Coefficients, known: Sequence[str], classes: Sequence[str], path: str) -> Coefficients:
    """The coefficients with outputs in the order of the samples' classes, further classes last."""
    if not classes:
        raise DataError(
            "the model is a classifier, but the samples have no classes",
            place=path,
            found=listed(known),
            hint="drop `target: regression`, or take a regression model",
        )
    if unnamed(known) and not set(known) & set(classes):
        known = [*classes, *known[len(classes) :]]  # fitted on class indices
    lost = [name for name in classes if name not in known]
    if lost or len(known) > len(found.weights[-1]):
        raise CheckpointError(
            "classes in the data that the model has not seen",
            place=path,
            found=listed(lost or classes),
            expected=listed(found.classes or ()),
            hint="check the label column, or fit the model on this data",
        )
    order = [known.index(name) for name in (*classes, *(name for name in known if name not in classes))]
    return replace(
        found,
        weights=(*found.weights[:-1], found.weights[-1][order]),
        biases=(*found.biases[:-1], found.biases[-1][order]),
    )
