"""An array in several npy files, one below the other.

In: a pattern such as ``p-{000..009}.npy`` or ``p-*.npy``. Out: ``Rows``, of which each file is mapped as a
single one would be.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Shaped

from ogacli.data.files.npy import Rows, open_array
from ogacli.data.files.shards import is_pattern, shard_paths
from ogacli.errors import DataError


class Joined:
    """Arrays of the same columns, one below the other."""

    def __init__(self, parts: Sequence[Rows]) -> None:
        self._parts = parts
        self._ends = np.cumsum([part.shape[0] for part in parts])
        self.shape = (int(self._ends[-1]), *parts[0].shape[1:])
        self.dtype = np.result_type(*(part.dtype for part in parts))

    def __getitem__(self, rows: Any, /) -> Shaped[np.ndarray, "..."]:
        """Some rows, an index of them or a slice."""
        if not isinstance(rows, np.ndarray):
            rows = np.arange(self.shape[0])[rows]
        found = np.empty((len(rows), *self.shape[1:]), self.dtype)
        owner = np.searchsorted(self._ends, rows, side="right")
        for number in np.unique(owner):
            own = owner == number
            start = self._ends[number] - self._parts[number].shape[0]
            found[own] = self._parts[number][rows[own] - start]
        return found


def open_rows(path: str) -> Rows:
    """The array in an npy file, or in all files of a pattern.

    Raises:
        DataError: As ``open_array``; or the files differ in their columns.
    """
    if not is_pattern(path):
        return open_array(path)
    paths = shard_paths(path)
    parts = [open_array(one) for one in paths]
    for one, part in zip(paths, parts, strict=True):
        if not part.shape or part.shape[1:] != parts[0].shape[1:] or part.dtype.kind != parts[0].dtype.kind:
            raise DataError(
                "the files of an array differ in their columns",
                place=one,
                found=f"{list(part.shape)} of {part.dtype}",
                expected=f"{list(parts[0].shape)} of {parts[0].dtype}, as {paths[0]}, with any rows",
            )
    return Joined(parts)
