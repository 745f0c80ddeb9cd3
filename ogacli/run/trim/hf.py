"""The rows of the samples that stay, as a dataset of the library ``datasets``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from ogacli.base.progress import Progress
from ogacli.base.registry import type_name
from ogacli.errors import RunError
from ogacli.run.trim import FolderFormat, formats

if TYPE_CHECKING:  # reading a run needs no torch
    from ogacli.data import Samples
    from ogacli.data.sources import Source


@formats.register
class Hf(FolderFormat):
    """A folder for ``datasets.load_from_disk``, with the new labels. Needs ``Source.rows``."""

    def check(self, source: Source) -> None:
        """Refuse a source that does not read a dataset of the library."""
        if source.rows() is None:
            raise RunError(
                "only a dataset of the library `datasets` can be written as one",
                place="--format hf",
                found=f"data.source {type_name(source)}",
                expected="a source that reads such a dataset, such as huggingface",
                hint="take another --format",
            )

    def write(
        self, source: Source, samples: Samples, stays: pa.Table, folder: Path, progress: Progress
    ) -> int:
        """Write the rows, in the order of the dataset."""
        rows, labels = source.rows(), stays.column("new_label").to_pylist()
        assert rows is not None
        if rows.label is None and any(label is not None for label in labels):
            raise RunError(
                "labels of several columns cannot be replaced", place="--decisions", found="relabel"
            )
        rows.save(stays.column("position").to_pylist(), labels, folder)
        return 0
