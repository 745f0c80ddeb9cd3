"""The kept part of a dataset, for training.

In: a dataset, and a run or the positions that ``oga trim`` wrote. Out: a ``torch.utils.data.Subset``.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ogacli.base.special_files import refuse_special
from ogacli.errors import DataError
from ogacli.run.directory import Run
from ogacli.run.trim.fates import Options, fates_of
from ogacli.run.trim.manifest import budget_given
from ogacli.run.trim.unchanged import check_dataset
from ogacli.verdict.budget import Budget

if TYPE_CHECKING:  # reading a run needs no torch
    from torch.utils.data import Dataset, Subset


def load_kept(
    dataset: Dataset[Any], kept: Run | str | Path, *, budget: Budget | str | float | None = None
) -> Subset[Any]:
    """The kept part of a dataset, for training.

    Args:
        dataset: The dataset that was scanned, whole and in the same order. Its length, labels and arrays are
            compared with the run.
        kept: A run, a run directory, or the npy file that ``oga trim --format indices`` wrote, with which the
            length alone is compared.
        budget: For a run: flag another share of the samples than the scan did.

    Raises:
        DataError: The dataset is not the one that was scanned.
    """
    from torch.utils.data import Subset

    n = len(dataset)  # type: ignore[arg-type]
    if isinstance(kept, str | Path) and Path(kept).suffix == ".npy":
        positions = _load_positions(Path(kept), n)
    else:
        run = Run.open(kept)
        check_dataset(dataset, run)
        fates = fates_of(run, Options(budget_given(budget)))
        positions = fates.position[fates.staying]
    if len(positions) and positions.max() >= n:
        raise DataError(
            "the dataset is smaller than the one that was scanned",
            found=f"{n} samples",
            expected=f"at least {positions.max() + 1}",
        )
    return Subset(dataset, positions.tolist())


def _load_positions(path: Path, n: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    """The positions in a file, which may hold the number of rows of the source, too: then n."""
    refuse_special(path, DataError)
    try:
        with path.open("rb") as file:
            found: np.ndarray[Any, Any] = np.load(file, allow_pickle=False)
            rows = int(np.load(file, allow_pickle=False).item()) if file.peek(1) else None
    except (OSError, ValueError, EOFError) as error:
        raise DataError("cannot be read as positions", place=str(path), found=str(error)) from None
    if found.ndim != 1 or not np.issubdtype(found.dtype, np.integer):
        raise DataError(
            "not positions",
            place=str(path),
            found=f"{found.dtype} {list(found.shape)}",
            expected="what `oga trim --format indices` wrote",
        )
    if rows is not None and n != rows:
        raise DataError(
            "the dataset is not the one that was scanned",
            place=str(path),
            found=f"{n:,} samples",
            expected=f"{rows:,} samples",
            hint="give the whole dataset that was scanned, in the same order",
        )
    return found
