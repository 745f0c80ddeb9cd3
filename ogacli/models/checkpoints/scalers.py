"""The steps before a model in a pipeline of scikit-learn, as an offset and a factor for each feature.

In: fitted scalers, or a ``ColumnTransformer`` of scalers and one-hot encoders. Out: a ``Scale`` of such
columns as the data source ``table`` makes: numbers as they are, and a 0 or 1 for each category.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float64

from ogacli.errors import CheckpointError

SCALERS = ("StandardScaler", "MinMaxScaler", "MaxAbsScaler", "RobustScaler")
_HINT = (
    "apply the steps to the data beforehand and export the model alone, or export probabilities for "
    "`model: {source: precomputed}`"
)


@dataclass(frozen=True, slots=True)
class Scale:
    """(inputs - center) * scale, feature by feature."""

    center: Float64[np.ndarray, " h"]
    scale: Float64[np.ndarray, " h"]
    names: tuple[str, ...] | None
    """The name of each feature, where the step knows it; a category is ``column=value``."""


def scale_of_all(steps: Sequence[Any]) -> Scale | None:
    """Several steps, one after the other, as one; None without any.

    Raises:
        CheckpointError: One of them is not affine.
    """
    found: Scale | None = None
    for step in steps:
        then = scale_of(step)
        if found is not None:
            then = Scale(found.center + then.center / found.scale, found.scale * then.scale, found.names)
        found = then
    return found


def scale_of(step: Any) -> Scale:
    """One step before the model.

    Raises:
        CheckpointError: It is not affine, or not known.
    """
    kind = type(step).__name__
    names = getattr(step, "feature_names_in_", None)
    if kind == "ColumnTransformer":
        return _joined([_part(*one) for one in step.transformers_ if one[1] != "drop"])
    if kind in SCALERS and not getattr(step, "clip", False):
        # An affine map is determined by its values at 0 and 1.
        width = int(step.n_features_in_)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # warnings that an array has no column names
            zero, one = np.asarray(step.transform(np.stack([np.zeros(width), np.ones(width)])))
        return Scale(-zero / (one - zero), one - zero, None if names is None else tuple(map(str, names)))
    raise CheckpointError(
        "this step of the pipeline is not known",
        place=kind,
        expected=f"one of {', '.join(SCALERS)} (without `clip`), or a ColumnTransformer of these and of "
        "OneHotEncoder (without `drop`)",
        hint=_HINT,
    )


def _part(name: str, step: Any, columns: Any) -> Scale:
    """One entry of a ``ColumnTransformer``."""
    chosen = [columns] if isinstance(columns, str) else list(columns)
    called = tuple(chosen) if all(isinstance(column, str) for column in chosen) else None
    if type(step).__name__ == "OneHotEncoder" and step.drop is None and not _merges(step):
        values = [[_value(value) for value in found] for found in step.categories_]
        width = sum(map(len, values))
        if called is not None:
            called = tuple(f"{c}={v}" for c, found in zip(called, values, strict=True) for v in found)
        return Scale(np.zeros(width), np.ones(width), called)
    # In newer versions of scikit-learn "passthrough" is a FunctionTransformer without a function.
    if step == "passthrough" or getattr(step, "func", step) is None:
        return Scale(np.zeros(len(chosen)), np.ones(len(chosen)), called)
    found = scale_of(step)
    return Scale(found.center, found.scale, called)


def _merges(encoder: Any) -> bool:
    """Whether rare categories share a column."""
    return any(found is not None for found in getattr(encoder, "infrequent_categories_", []))


def _joined(parts: list[Scale]) -> Scale:
    names = [part.names for part in parts]
    known = None if None in names else tuple(name for found in names for name in found or ())
    return Scale(
        np.concatenate([part.center for part in parts]),
        np.concatenate([part.scale for part in parts]),
        known,
    )


def _value(value: Any) -> str:
    """The name of a category, as in a column of a table."""
    value = getattr(value, "item", lambda: value)()
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
