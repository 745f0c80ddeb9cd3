"""The ids of samples: strings, unique and stable; and errors that name a sample by its id."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias, overload

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ogacli.base.arrow import numbers, texts
from ogacli.errors import DataError

_NOTHING_AFTER_ZERO = tuple(texts(["", "\0"]))
"""What is joined with each text, and the separator: a zero byte comes after each."""


@dataclass(frozen=True, slots=True)
class RowNumbers:
    """The ids ``"0"``, ``"1"``, .. of samples that have none, which take no memory.

    What is used of a ``pyarrow.StringArray`` works alike.
    """

    n: int
    begin: int = 0

    null_count = 0
    type = pa.string()

    def __len__(self) -> int:
        return self.n

    @overload
    def __getitem__(self, row: int) -> pa.StringScalar: ...
    @overload
    def __getitem__(self, row: slice) -> pa.StringArray: ...
    def __getitem__(self, row: int | slice) -> pa.StringScalar | pa.StringArray:
        if isinstance(row, slice):
            return _numbers(np.arange(self.n)[row] + self.begin)
        return pa.scalar(str(range(self.begin, self.begin + self.n)[row]))

    def slice(self, offset: int, length: int | None = None) -> RowNumbers:
        """Some of them, in sequence."""
        left = max(0, self.n - offset)
        return RowNumbers(left if length is None else min(length, left), self.begin + offset)

    def take(self, rows: pa.Array) -> pa.StringArray:
        """Those of some rows; null where the row is."""
        return pc.add(rows.cast(pa.int64()), pa.scalar(self.begin, pa.int64())).cast(pa.string())

    def to_pylist(self) -> list[str]:
        """As texts."""
        return [*map(str, range(self.begin, self.begin + self.n))]

    def joined(self) -> bytes:
        """As texts that are separated by zero bytes."""
        ended = pc.binary_join_element_wise(self.arrow(), *_NOTHING_AFTER_ZERO)
        _, ends, data = ended.buffers()
        return memoryview(data)[: np.frombuffer(ends, np.int32)[self.n] - 1].tobytes()

    def arrow(self) -> pa.StringArray:
        """As an Arrow array."""
        return _numbers(np.arange(self.begin, self.begin + self.n))

    def cast(self, kind: pa.DataType) -> RowNumbers:
        """Themselves, as they are texts."""
        assert kind == pa.string()
        return self


Ids: TypeAlias = "pa.StringArray | RowNumbers"
"""Unique and stable, [n]."""


def arrow_ids(ids: Ids) -> pa.StringArray:
    """Ids as an Arrow array."""
    return ids.arrow() if isinstance(ids, RowNumbers) else ids


def _numbers(values: np.ndarray[Any, np.dtype[np.int64]]) -> pa.StringArray:
    return numbers(values).cast(pa.string())


def numbered(n: int) -> pa.StringArray:
    """Ids for samples that have none: ``"0"``, ``"1"``, .."""
    return RowNumbers(n).arrow()


def check_ids(ids: Ids) -> None:
    """Check that no id is missing or occurs twice.

    Raises:
        DataError: One is, or does.
    """
    if isinstance(ids, RowNumbers):
        return
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
    """Ids, or other texts, separated by zero bytes, some thousands at a time, to be hashed."""
    for start in range(0, len(texts), 1 << 16):
        some = texts.slice(start, 1 << 16)
        yield some.joined() if isinstance(some, RowNumbers) else "\0".join(some.to_pylist()).encode()


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
            value = values[row]
            found = repr(value.as_py() if isinstance(value, pa.Scalar) else value.tolist())
        raise DataError(
            problem + (f", as in {count - 1} more samples" if count > 1 else ""),
            place=sample_place(ids, row),
            found=found,
            expected=expected,
            hint=hint,
        )
