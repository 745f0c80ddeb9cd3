"""Columns of categories -> numbers, in an order that does not depend on the order of the rows.

In: Arrow columns of text, and maybe the categories that a model was trained on. Out: a matrix and the name of
each of its columns. A value that is missing or no category becomes NaN, so that its sample is quarantined.
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
"""Categories of one column; more than that is an id or a text."""


def encode(
    name: str, column: pa.Array, categories: Categories, encoding: Encoding
) -> tuple[Float32[np.ndarray, "n f"], list[str]]:
    """The numbers of one column, and what each of them is called.

    Raises:
        DataError: The column has too many different values to be one of categories.
    """
    texts = column.cast(pa.string())
    known = categories[name] if isinstance(categories, Mapping) else _found(name, texts)
    codes = pc.index_in(texts, value_set=pa.array(known, pa.string()), skip_nulls=True)
    numbers = codes.cast(pa.float32()).fill_null(float("nan")).to_numpy(zero_copy_only=False)
    if encoding == "codes":
        return np.asarray(numbers)[:, None], [name]
    ones = (numbers[:, None] == np.arange(len(known))).astype(np.float32)
    ones[np.isnan(numbers)] = np.nan
    return ones, [f"{name}={category}" for category in known]


def _found(name: str, texts: pa.StringArray) -> Sequence[str]:
    """The values that occur, sorted; numbers by their size."""
    found = [value for value in texts.unique().to_pylist() if value]
    if len(found) > _MOST:
        raise DataError(
            f"column {name!r} has {len(found):,} different values",
            expected=f"at most {_MOST:,} categories",
            hint="take an id or a text out of `categorical`",
        )
    numeric = all(value.isdecimal() for value in found)
    return sorted(found, key=lambda value: (int(value), value) if numeric else (0, value))
