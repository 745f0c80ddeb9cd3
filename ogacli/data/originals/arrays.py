"""The rows of arrays in npy files, or in one npz file."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import field_validator

from ogacli.base.options import Location, locate
from ogacli.data.files.npy import Rows, open_array, open_arrays
from ogacli.data.originals import Original, originals

_KEYS = ("x", "y", "truth", "ids")


@originals.register
class Arrays(Original):
    """Arrays whose first dimension is the samples."""

    path: Location | None = None
    """As in the source."""
    x: str | None = None
    """As in the source."""
    y: str
    """As in the source."""
    truth: str | None = None
    """As in the source."""
    ids: str | None = None
    """As in the source."""

    @field_validator(*_KEYS, mode="before")
    @classmethod
    def _located(cls, value: Any, info: Any) -> Any:
        if isinstance(value, str) and info.data.get("path") is None:
            return locate(value, (info.context or {}).get("base", Path.cwd()))
        return value

    def files(self) -> Sequence[str]:
        """The npz file, or the npy files."""
        if self.path is not None:
            return (self.path,)
        return tuple(dict.fromkeys(file for key in _KEYS if (file := getattr(self, key)) is not None))

    @property
    def own_format(self) -> str:
        """One npz file, or a folder of npy files."""
        return "npy" if self.path is None else "npz"

    @property
    def label_name(self) -> str:
        """The name of the array of labels among :meth:`arrays`."""
        return "y" if self.path is None else self.y

    def arrays(self) -> Mapping[str, Rows]:
        """All arrays of the npz file; or the npy files, named as their keys.

        Raises:
            DataError: One cannot be read.
        """
        if self.path is None:
            given = {key: getattr(self, key) for key in _KEYS}
            return {key: open_array(file) for key, file in given.items() if file is not None}
        return open_arrays(self.path, self.bounds)
