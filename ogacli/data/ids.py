"""The ids of samples: strings, unique and stable; and errors that name a sample by its id."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from torch import Tensor

from ogacli.errors import DataError


def numbered(n: int) -> pa.StringArray:
    """Ids for samples that have none: ``"0"``, ``"1"``, .."""
    return pa.array(np.arange(n)).cast(pa.string())


def check_ids(ids: pa.StringArray) -> None:
    """Check that no id is missing or occurs twice.

    Raises:
        DataError: One is, or does.
    """
    if ids.null_count:
        raise DataError("an id is missing", place=f"row {ids.is_null().index(True).as_py()}")
    counts = ids.value_counts()
    repeated = counts.filter(pc.greater(counts.field("counts"), 1))
    if len(repeated):
        raise DataError(
            f"{len(repeated)} ids occur more than once",
            found=", ".join(repr(name) for name in repeated.field("values")[:5].to_pylist()),
            expected="unique ids",
            hint="name a column of unique values as `id`, or leave `id` out to number the samples",
        )


def joined(texts: Any) -> Iterator[bytes]:
    """The texts of an Arrow array separated by zero bytes, some thousands at a time, to be hashed."""
    for start in range(0, len(texts), 1 << 16):
        yield "\0".join(texts.slice(start, 1 << 16).to_pylist()).encode()


def sample_place(ids: pa.StringArray, row: int) -> str:
    """How a message names the sample of a row."""
    return f"sample {ids[row].as_py()!r}"


def refuse(
    bad: pa.BooleanArray,
    problem: str,
    ids: pa.StringArray,
    values: Any = None,
    *,
    expected: str | None = None,
    hint: str | None = None,
) -> None:
    """Raise an error for the first bad sample, with the number of the others.

    Args:
        bad: Whether each sample is bad.
        problem: What is wrong with a bad one.
        ids: Of the samples.
        values: An Arrow array or tensor with the value of each sample, for the message.
        expected: What a good value is.
        hint: The next step.

    Raises:
        DataError: A sample is bad.
    """
    count = pc.sum(bad).as_py() or 0
    if count:
        row = bad.index(True).as_py()
        found = None
        if values is not None:
            found = repr(values[row].tolist() if isinstance(values, Tensor) else values[row].as_py())
        raise DataError(
            problem + (f", as in {count - 1} more samples" if count > 1 else ""),
            place=sample_place(ids, row),
            found=found,
            expected=expected,
            hint=hint,
        )
