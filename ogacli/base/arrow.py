"""Arrow arrays from numpy arrays and texts, without a copy and without pandas.

In: numbers or booleans [n], or texts. Out: an Arrow array. ``pyarrow.array`` imports pandas where that is
installed, which takes a third of a second and 40 MB.
"""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from jaxtyping import Bool, Shaped


def numbers(values: Shaped[np.ndarray, " n"], null: Bool[np.ndarray, " n"] | None = None) -> pa.Array:
    """An array of numbers or booleans; numbers share their memory with it.

    Args:
        values: The numbers.
        null: Which of them are null.
    """
    valid = None if null is None or not null.any() else _bits(~null)
    if values.dtype == np.bool_:
        return pa.Array.from_buffers(pa.bool_(), len(values), [valid, _bits(values)])
    native = np.ascontiguousarray(values, values.dtype.newbyteorder("="))
    kind = pa.from_numpy_dtype(native.dtype)
    return pa.Array.from_buffers(kind, len(native), [valid, pa.py_buffer(native)])


def texts(values: Sequence[str]) -> pa.StringArray:
    """An array of texts, none of them null."""
    return _joined([value.encode() for value in values], pa.string())


def contents(values: Sequence[bytes]) -> pa.BinaryArray:
    """An array of bytes, none of them null."""
    return _joined(values, pa.binary())


def _joined(values: Sequence[bytes], kind: pa.DataType) -> pa.Array:
    ends = np.zeros(len(values) + 1, dtype=np.int32)
    np.cumsum([len(one) for one in values], out=ends[1:])
    buffers = [None, pa.py_buffer(ends), pa.py_buffer(b"".join(values))]
    return pa.Array.from_buffers(kind, len(values), buffers)


def _bits(values: Bool[np.ndarray, " n"]) -> pa.Buffer:
    return pa.py_buffer(np.packbits(values, bitorder="little"))
