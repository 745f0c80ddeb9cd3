"""The steps before a model in a pipeline of scikit-learn, as plain arithmetic on its inputs.

In: fitted scalers, imputers and one-hot encoders, also in a ``ColumnTransformer``. Out: a ``Scale`` of such
columns as the data source ``table`` makes: numbers as they are, and a 0 or 1 for each category.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Float64

from ogacli.errors import CheckpointError

SCALERS = ("StandardScaler", "MinMaxScaler", "MaxAbsScaler", "RobustScaler")
_HINT = (
    "apply the steps to the data beforehand and export the model alone, or export probabilities for "
    "`model: {source: precomputed}`"
)
Names = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Scale:
    """Missing inputs are filled; then (inputs - center) * scale, feature by feature; then the mix."""

    center: Float64[np.ndarray, " h"]
    scale: Float64[np.ndarray, " h"]
    names: Names | None
    """The name of each feature, where the step knows it; a category is ``column=value``."""
    fill: Float64[np.ndarray, " h"] | None = None
    """In place of missing inputs; NaN for features that are never filled."""
    mix: Float64[np.ndarray, "to h"] | None = None
    """The features of the model as sums of these features: 0 or 1, where categories have no column of their
    own, or several have one."""
    offset: Float64[np.ndarray, " to"] | None = None
    """Added after the mix."""

    @property
    def outputs(self) -> int:
        """The number of features that the model reads."""
        return len(self.center) if self.mix is None else len(self.mix)

    def then(self, after: "Scale") -> "Scale":
        """This one followed by another, which fills no outputs of a mix and mixes nothing itself."""
        if self.mix is not None and self.offset is not None:
            mix, offset = after.scale[:, None] * self.mix, (self.offset - after.center) * after.scale
            return replace(self, mix=mix, offset=offset)
        fill = self.fill
        if after.fill is not None:
            later = after.fill / self.scale + self.center
            fill = later if fill is None else np.where(np.isnan(fill), later, fill)
        center = self.center + after.center / self.scale
        return replace(self, center=center, scale=self.scale * after.scale, fill=fill)


def scale_of_all(steps: Sequence[Any], called: Names | None = None) -> Scale | None:
    """Several steps, one after the other, as one; None without any.

    Args:
        steps: The steps.
        called: The names of the columns that the first one takes.

    Raises:
        CheckpointError: One of them is no such arithmetic.
    """
    waiting = [step for step in flat(steps) if not _passes(step)]
    found: Scale | None = None
    encoded = False
    while waiting:
        step = waiting.pop(0)
        if _kind(step) == "SimpleImputer" and waiting and _kind(waiting[0]) == "OneHotEncoder":
            then = _one_hot(waiting.pop(0), _names(step, called), filled=step)
        else:
            then = scale_of(step, called)
        if (found is not None and then.mix is not None) or (encoded and then.fill is not None):
            raise _unknown(step)
        encoded = encoded or _kind(step) in ("OneHotEncoder", "ColumnTransformer")
        found = then if found is None else found.then(then)
    return found


def scale_of(step: Any, called: Names | None = None) -> Scale:
    """One step before the model.

    Raises:
        CheckpointError: It is no such arithmetic, or not known.
    """
    kind, names = _kind(step), _names(step, called)
    if kind == "ColumnTransformer":
        return _joined([_part(*one) for one in step.transformers_ if one[1] != "drop"])
    if kind == "OneHotEncoder":
        return _one_hot(step, names)
    if kind == "SimpleImputer" and _fills_each(step):
        fill = np.asarray(step.statistics_, dtype=np.float64)
        return Scale(np.zeros(len(fill)), np.ones(len(fill)), names, fill)
    if kind in SCALERS and not getattr(step, "clip", False):
        # An affine map is determined by its values at 0 and 1.
        width = int(step.n_features_in_)
        zero, one = _transformed(step, np.stack([np.zeros(width), np.ones(width)]))
        return Scale(-zero / (one - zero), one - zero, names)
    raise _unknown(step)


def _unknown(step: Any) -> CheckpointError:
    return CheckpointError(
        "this step of the pipeline is not known",
        place=_kind(step),
        expected=f"one of {', '.join(SCALERS)} (without `clip`), SimpleImputer (of NaN, without "
        "`add_indicator`), OneHotEncoder as the first of its columns, or a ColumnTransformer of these",
        hint=_HINT,
    )


def _part(name: str, step: Any, columns: Any) -> Scale:
    """One entry of a ``ColumnTransformer``."""
    chosen = [columns] if isinstance(columns, str) else list(columns)
    called = tuple(chosen) if all(isinstance(column, str) for column in chosen) else None
    found = scale_of_all([step], called)
    plain = Scale(np.zeros(len(chosen)), np.ones(len(chosen)), called)
    return plain if found is None else found


def flat(steps: Sequence[Any]) -> list[Any]:
    """The steps, with those of a pipeline in its place."""
    found: list[Any] = []
    for step in steps:
        found += flat([one for _, one in step.steps]) if _kind(step) == "Pipeline" else [step]
    return found


def _passes(step: Any) -> bool:
    """Whether a step leaves its columns as they are."""
    # In newer versions of scikit-learn "passthrough" is a FunctionTransformer without a function.
    return (
        step is None or (isinstance(step, str) and step == "passthrough") or getattr(step, "func", 0) is None
    )


def _fills_each(imputer: Any) -> bool:
    """Whether an imputer of numbers fills NaN, and keeps each column as one."""
    missing = imputer.missing_values
    if imputer.add_indicator or not (isinstance(missing, float) and np.isnan(missing)):
        return False
    try:
        return bool(np.isfinite(np.asarray(imputer.statistics_, dtype=np.float64)).all())
    except (TypeError, ValueError):  # texts
        return False


def _one_hot(encoder: Any, called: Names | None, filled: Any = None) -> Scale:
    """A one-hot encoder, on a 0 or 1 for each of its categories.

    Args:
        encoder: Categories without a column of their own, or with a common one, are allowed.
        called: The names of its columns.
        filled: The imputer before it, if there is one.
    """
    if filled is not None and filled.add_indicator:
        raise _unknown(filled)
    categories = [list(found) for found in encoder.categories_]
    width = sum(map(len, categories))
    names = None
    if called is not None:
        names = tuple(f"{c}={_value(v)}" for c, found in zip(called, categories, strict=True) for v in found)
    fill = None
    if filled is not None:
        known = zip(filled.statistics_, categories, strict=True)
        fill = np.array([float(value == one) for value, found in known for one in found])
    found = Scale(np.zeros(width), np.ones(width), names, fill)
    if encoder.drop is None and not _merges(encoder):
        return found
    return replace(found, **_mixed(encoder, categories))


def _mixed(encoder: Any, categories: Sequence[Sequence[Any]]) -> dict[str, Any]:
    """The mix and the offset of an encoder, from its outputs for each category."""
    first = [found[0] for found in categories]
    rows = [first]
    for i, found in enumerate(categories):
        rows += [[*first[:i], one, *first[i + 1 :]] for one in found]
    base, *outputs = _transformed(encoder, np.array(rows, dtype=object))
    mix, start, offset = [], 0, base.copy()
    for found in categories:
        block = np.stack(outputs[start : start + len(found)])
        own = (block != block[0]).any(0)  # the columns of this feature: they depend on its category
        mix.append(np.where(own, block, 0.0).T)
        offset[own] = 0.0
        start += len(found)
    return {"mix": np.concatenate(mix, 1), "offset": offset}


def _transformed(step: Any, rows: Any) -> Float64[np.ndarray, "n to"]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # warnings that an array has no column names
        found = step.transform(rows)
    return np.asarray(found.toarray() if hasattr(found, "toarray") else found, dtype=np.float64)


def _merges(encoder: Any) -> bool:
    """Whether rare categories share a column."""
    return any(found is not None for found in getattr(encoder, "infrequent_categories_", []))


def _joined(parts: Sequence[Scale]) -> Scale:
    names = [part.names for part in parts]
    known = None if None in names else tuple(name for found in names for name in found or ())
    joined = Scale(
        np.concatenate([part.center for part in parts]),
        np.concatenate([part.scale for part in parts]),
        known,
    )
    if any(part.fill is not None for part in parts):
        nothing = [np.full(len(part.center), np.nan) if part.fill is None else part.fill for part in parts]
        joined = replace(joined, fill=np.concatenate(nothing))
    if any(part.mix is not None for part in parts):
        from scipy.linalg import block_diag

        mix = block_diag(*(np.eye(part.outputs) if part.mix is None else part.mix for part in parts))
        offsets = [np.zeros(part.outputs) if part.offset is None else part.offset for part in parts]
        joined = replace(joined, mix=mix, offset=np.concatenate(offsets))
    return joined


def _kind(step: Any) -> str:
    return type(step).__name__


def _names(step: Any, called: Names | None) -> Names | None:
    """The names of a step's columns: as they were called before, or as the step knows them."""
    own = getattr(step, "feature_names_in_", None)
    return called if called is not None or own is None else tuple(map(str, own))


def _value(value: Any) -> str:
    """The name of a category, as in a column of a table."""
    value = getattr(value, "item", lambda: value)()
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
