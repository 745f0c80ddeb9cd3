"""Whether a dataset is still the one that was scanned.

In: a run, and its source or a dataset in memory. Out: nothing; an error where the dataset is another one; or
why that could not be found out.
"""

from __future__ import annotations

import glob
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from ogacli.data.originals import Original, is_unchanged
from ogacli.errors import ConfigError, DataError, OgaError, RunError
from ogacli.run.directory import Run

if TYPE_CHECKING:  # reading a run needs no torch
    from ogacli.data import Samples
    from ogacli.data.sources import Source

_PROBED = 32
"""Items of a dataset without a list of labels whose labels are compared."""


def check_fingerprint(samples: Samples, run: Run) -> None:
    """Compare the samples of a source with those that were scanned.

    Raises:
        DataError: They differ.
    """
    scanned = run.provenance["dataset"]
    if samples.fingerprint != scanned["fingerprint"]:
        raise DataError(
            "the dataset has changed since the scan",
            place=str(run.path),
            found=f"{len(samples):,} samples, fingerprint {samples.fingerprint[:12]}",
            expected=f"{scanned['samples']:,} samples, fingerprint {scanned['fingerprint'][:12]}",
            hint="scan it again, then trim",
        )


def compare_source(run: Run, source: Source | None, original: Original | None, *, needed: bool) -> str | None:
    """Compare the source of a run with what was scanned.

    Files with the names, sizes, times or content that they had when they were scanned are not opened.
    Otherwise the samples are read, which imports torch.

    Args:
        run: The run.
        source: The source, where not that of the run's own config.
        original: The files of the source.
        needed: Whether rows of the source will be written.

    Returns:
        Why it could not be compared; None where it was.

    Raises:
        OgaError: It has changed; or it cannot be opened, and is needed.
    """
    section = run.config.get("data")
    if source is None and not needed and (gone := _gone(section)) is not None:
        return f"{gone}: no such file or folder"
    if original is not None and is_unchanged(original, run.provenance["dataset"].get("stamp")):
        return None

    from ogacli.data.sources import source_of  # imports torch

    try:
        opened = source or source_of(section, run.config_file)
        samples = opened.open()
    except (ConfigError, RunError, DataError) as error:
        if source is not None or needed:
            raise
        return _reason(error)
    check_fingerprint(samples, run)
    return None


def _gone(section: Any) -> str | None:
    """The first local path in a data section that does not exist; its last part may be a pattern."""
    paths = (
        [value for value in section.values() if isinstance(value, str)] if isinstance(section, dict) else []
    )
    return next((path for path in paths if Path(path).is_absolute() and not _there(Path(path))), None)


def _there(path: Path) -> bool:
    """Whether there is a path, a file that matches a pattern, or the archive that a folder is in."""
    if glob.has_magic(path.name):
        return any(path.parent.glob(path.name))
    return path.exists() or any(folder.is_file() for folder in path.parents)


def _reason(error: OgaError) -> str:
    return str(error).partition("\n")[0]


def check_dataset(dataset: Any, run: Run) -> None:
    """Compare the length, the labels and, of arrays, the hash of a dataset with those that were scanned.

    Raises:
        DataError: It is another one.
    """
    positions = np.asarray(run.scores.column("position"), dtype=np.int64)
    scanned = run.provenance["dataset"]
    n, needed = len(dataset), int(positions.max()) + 1
    expected = scanned.get("source_rows", needed)
    if n < needed:
        raise DataError(
            "the dataset is smaller than the one that was scanned",
            found=f"{n} samples",
            expected=f"{expected}" if expected >= needed else f"at least {needed}",
        )
    if n != expected:
        raise _another(run, f"{n:,} samples", f"{expected:,} samples")
    _check_inputs(dataset, run, scanned)
    data = run.config.get("data")
    changed = isinstance(data, dict) and (data.get("flip") or data.get("manifest"))
    if not changed and pa.types.is_string(_plain(run.scores.schema.field("label").type)):
        _check_labels(dataset, run, positions)


def _plain(kind: pa.DataType) -> pa.DataType:
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def _check_inputs(dataset: Any, run: Run, scanned: Mapping[str, Any]) -> None:
    """Compare arrays, where the scan was one of arrays in memory."""
    from torch import Tensor
    from torch.utils.data import TensorDataset

    from ogacli.data.arrays import digest
    from ogacli.data.items import label_array

    array = dataset.tensors[0] if isinstance(dataset, TensorDataset) else dataset
    data = run.config.get("data")
    reader = data.get("type") if isinstance(data, dict) else None
    if not isinstance(array, Tensor | np.ndarray) or not str(reader).endswith(".ArrayReader"):
        return
    found, expected = digest(label_array(array)), scanned.get("inputs")
    if expected is not None and found != expected:
        raise _another(run, f"inputs with the hash {found[:12]}", expected[:12])


def _check_labels(dataset: Any, run: Run, positions: np.ndarray) -> None:
    """Compare the labels of a dataset, all of a list or those of some items, with the labels of the run."""
    from ogacli.data.items import first_labels, own_classes

    names = [one.name for one in run.summary.classes]
    own = own_classes(dataset) or ()
    given = run.scores.column("label")
    found = first_labels(dataset, positions.tolist(), _PROBED)
    for row, label in found.items():
        name = given[row].as_py()
        known = {str(label)}
        if isinstance(label, int | np.integer):
            known |= {list_[label] for list_ in (names, own) if 0 <= label < len(list_)}
        if name not in known:
            place = f"position {positions[row]}, sample {run.scores.column('id')[row].as_py()!r}"
            raise _another(run, f"label {label!r}", repr(name), place=place)


def _another(run: Run, found: str, expected: str, place: str | None = None) -> DataError:
    return DataError(
        "the dataset is not the one that was scanned, or has changed since",
        place=place or str(run.path),
        found=found,
        expected=expected,
        hint="give the whole dataset that was scanned, in the same order; or scan this one",
    )
