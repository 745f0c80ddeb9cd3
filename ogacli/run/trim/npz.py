"""The rows of arrays that stay: one npz file, or a folder of npy files."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
from jaxtyping import Shaped

from ogacli.base.wording import cut
from ogacli.data.files.npy import Rows, are_packed, write_rows
from ogacli.data.originals.arrays import Arrays
from ogacli.errors import DataError
from ogacli.run.label_kind import parts_of
from ogacli.run.trim import FileFormat, FolderFormat, formats
from ogacli.run.trim.chosen import WEIGHT, Chosen, check_rows, free_name
from ogacli.run.trim.job import Job
from ogacli.run.trim.notation import Notation, zero_one
from ogacli.run.trim.numbers import new_numbers

_SHOWN = 200
"""Characters of the names that an error shows."""


@formats.register
class Npz(FileFormat):
    """All arrays, packed as in the source; those without a row a sample are written whole."""

    suffixes = (".npz",)

    def check(self, job: Job) -> None:
        """Refuse samples that are no rows of arrays."""
        if not isinstance(job.original, Arrays):
            raise job.without_rows("npz")

    def write(self, job: Job, file: IO[bytes]) -> None:
        """Write one array after the other."""
        original = job.original
        assert isinstance(original, Arrays)
        with zipfile.ZipFile(file, "w", _packed(original)) as archive:

            @contextmanager
            def entry(name: str) -> Iterator[IO[bytes]]:
                with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                    yield member

            _write(job, original, entry)


@formats.register_as("npy")
class Npy(FolderFormat):
    """A folder with a file for each array: ``x.npy``, ``y.npy``, .."""

    def check(self, job: Job) -> None:
        """Refuse samples that are no rows of arrays."""
        if not isinstance(job.original, Arrays):
            raise job.without_rows("npy")

    def write(self, job: Job, folder: Path) -> None:
        """Write one array after the other."""
        original = job.original
        assert isinstance(original, Arrays)

        @contextmanager
        def entry(name: str) -> Iterator[IO[bytes]]:
            with (folder / f"{Path(name).name}.npy").open("wb") as file:
                yield file

        _write(job, original, entry)


def _packed(original: Arrays) -> int:
    """How the arrays of the source are packed."""
    if original.path is None:
        return zipfile.ZIP_STORED
    return zipfile.ZIP_DEFLATED if are_packed(original.path) else zipfile.ZIP_STORED


def _write(job: Job, original: Arrays, entry: Any) -> None:
    """Write each array; with new labels also the old ones, and with weights these."""
    chosen, arrays = job.chosen, original.arrays()
    label, place = original.label_name, original.files()[0]
    if label not in arrays:
        raise DataError(f"no array {label!r}", place=place, found=cut(", ".join(arrays), _SHOWN))
    if not arrays[label].shape:
        raise DataError("a single value, not a row a sample", place=f"{place}: {label}")
    n = arrays[label].shape[0]
    check_rows(place, n, chosen)
    made: dict[str, Shaped[np.ndarray, "m ..."]] = {}
    if chosen.before:
        old = arrays[label][chosen.positions]
        try:
            made[label] = _relabelled(old, arrays[label], chosen)
        except (ValueError, TypeError, OverflowError, IndexError) as error:
            raise DataError(
                "the new labels do not fit into the array", place=f"{place}: {label}", found=str(error)
            ) from None
        made[chosen.column(label, list(arrays))] = old
    if chosen.weights is not None:
        made[free_name(WEIGHT, [*arrays, *made])] = chosen.weights
    with job.progress.bar("writing arrays", len({**arrays, **made})) as advance:
        for name in {**arrays, **made}:
            with entry(name) as file:
                _write_one(file, made.get(name), arrays, name, n, chosen)
            advance(1)
    job.added([name for name in made if name not in arrays])


def _write_one(
    file: IO[bytes],
    made: Shaped[np.ndarray, "m ..."] | None,
    arrays: Mapping[str, Rows],
    name: str,
    n: int,
    chosen: Chosen,
) -> None:
    if made is None and (not arrays[name].shape or arrays[name].shape[0] != n):
        made = arrays[name][...]
    if made is None:
        write_rows(file, arrays[name], chosen.positions)
        return
    whole = io.BytesIO()
    np.lib.format.write_array(whole, made, allow_pickle=False)
    file.write(whole.getbuffer())


def _relabelled(
    old: Shaped[np.ndarray, "m ..."], source: Rows, chosen: Chosen
) -> Shaped[np.ndarray, "m ..."]:
    """The labels, with new ones for some rows."""
    rows = [row for row, one in enumerate(chosen.positions.tolist()) if one in chosen.labels]
    names = [chosen.labels[one] for one in chosen.positions[rows].tolist()]
    if not chosen.classes:
        new = old.copy()
        for row, digits in zip(rows, names, strict=True):
            before = old[row].reshape(-1).tolist()
            new[row] = np.array(new_numbers(parts_of(digits), before), old.dtype).reshape(old.shape[1:])
        return new
    if old.ndim > 1:
        new = old.copy()
        for row, name in zip(rows, names, strict=True):
            on = parts_of(name)
            flat = [zero_one(one in on, old.flat[0].item()) for one in chosen.classes]
            new[row] = np.array(flat, old.dtype).reshape(old.shape[1:])
        return new
    notation = Notation(chosen.classes, {name: _plain(source[at]) for name, at in chosen.examples.items()})
    values = [notation.of(name, _plain(old[row])) for row, name in zip(rows, names, strict=True)]
    if old.dtype.kind == "U":
        width = max([old.dtype.itemsize // 4, *map(len, values)])
        new = old.astype(f"U{width}")
    elif old.dtype.kind == "S":
        values = [value.encode() for value in values]
        new = old.astype(f"S{max([old.dtype.itemsize, *map(len, values)])}")
    else:
        new = old.copy()
    new[rows] = values
    return new


def _plain(value: Any) -> Any:
    found = value.item() if hasattr(value, "item") else value
    return found.decode() if isinstance(found, bytes) else found
