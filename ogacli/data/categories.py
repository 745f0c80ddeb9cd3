"""Columns of categories as numbers: a 0 or 1 for each category, or their numbers.

In: a column of a table, and its categories where these are given. Out: numbers [n, f] and their names.
"""

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Float32

from ogacli.errors import DataError

Encoding = Literal["one_hot", "codes"]
"""``one_hot``: a 0 or 1 for each category; ``codes``: the category's number, from 0."""
Categories = tuple[str, ...] | Mapping[str, tuple[str, ...]]
"""The columns, or the categories of each column in order."""

_MOST = 1000
"""Most categories of one column; a column with more is an id or a text."""


def encoded(
    name: str, column: pa.Array, categories: Categories, encoding: Encoding
) -> tuple[Float32[np.ndarray, "n f"], tuple[str, ...]]:
    """One column of categories as numeric columns, and their names; NaN where a value is no category.

    Raises:
        DataError: The column has too many different values to be one of categories.
    """
    texts = column.cast(pa.string())
    known = categories[name] if isinstance(categories, Mapping) else _occurring(name, texts)
    codes = pc.index_in(texts, value_set=pa.array(known, pa.string()), skip_nulls=True)
    numbers = codes.cast(pa.float32()).fill_null(float("nan")).to_numpy(zero_copy_only=False)
    if encoding == "codes":
        return np.asarray(numbers)[:, None], (name,)
    ones = (numbers[:, None] == np.arange(len(known))).astype(np.float32)
    ones[np.isnan(numbers)] = np.nan
    return ones, tuple(f"{name}={category}" for category in known)


def _occurring(name: str, texts: pa.StringArray) -> Sequence[str]:
    """The values that occur, sorted; numbers by their size."""
    values = [value for value in texts.unique().to_pylist() if value]
    if len(values) > _MOST:
        raise DataError(
            f"column {name!r} has {len(values):,} different values",
            expected=f"at most {_MOST:,} categories",
            hint="remove columns of ids or texts from `categorical`",
        )
    numeric = all(value.isdecimal() for value in values)
    return sorted(values, key=lambda value: (int(value), value) if numeric else (0, value))
