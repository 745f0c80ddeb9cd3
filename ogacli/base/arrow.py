"""Arrow arrays from numpy arrays and texts, and back, without a copy and without pandas.

In: numbers or booleans [n], or texts. Out: an Arrow array; or the other way round. ``pyarrow.array``,
``pyarrow.scalar`` and ``to_numpy`` import pandas where that is installed, which takes a third of a second and
40 MB; so does ``pyarrow.compute`` with a number or text in place of an array or ``value``.
"""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from jaxtyping import Bool, Shaped

_NUMBERS = {
    pa.from_numpy_dtype(kind): kind
    for kind in map(np.dtype, ("i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8"))
}
"""What Arrow's numbers are in numpy: in old versions of pyarrow, ``to_pandas_dtype`` imports pandas, too."""


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


def value(one: str | float) -> pa.Scalar:
    """A text or number, to be compared with an array or filled in."""
    return (texts([one]) if isinstance(one, str) else numbers(np.array([one])))[0]


def unpacked(array: pa.Array) -> Shaped[np.ndarray, " n"]:
    """The numbers or booleans of an array without nulls; numbers share their memory with it."""
    _, data = array.buffers()
    if pa.types.is_boolean(array.type):
        bits = np.frombuffer(data or b"", np.uint8)
        return np.unpackbits(bits, bitorder="little")[array.offset : array.offset + len(array)].astype(bool)
    kind = _NUMBERS.get(array.type) or np.dtype(array.type.to_pandas_dtype())
    return np.frombuffer(data or b"", kind)[array.offset : array.offset + len(array)]


def empty(schema: pa.Schema) -> pa.Table:
    """A table without rows."""
    return pa.table([pa.nulls(0, field.type) for field in schema], schema=schema)


def _joined(values: Sequence[bytes], kind: pa.DataType) -> pa.Array:
    ends = np.zeros(len(values) + 1, dtype=np.int32)
    np.cumsum([len(one) for one in values], out=ends[1:])
    buffers = [None, pa.py_buffer(ends), pa.py_buffer(b"".join(values))]
    return pa.Array.from_buffers(kind, len(values), buffers)


def _bits(values: Bool[np.ndarray, " n"]) -> pa.Buffer:
    return pa.py_buffer(np.packbits(values, bitorder="little"))
