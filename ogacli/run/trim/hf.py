"""The rows that stay, as a saved dataset of the library ``datasets``."""

from __future__ import annotations

from pathlib import Path

from ogacli.data.originals.huggingface import HuggingFace
from ogacli.run.trim import FolderFormat, formats
from ogacli.run.trim._rows import typed_rows
from ogacli.run.trim.job import Job


@formats.register
class Hf(FolderFormat):
    """A folder for ``datasets.load_from_disk``, with all columns and features."""

    def check(self, job: Job) -> None:
        """Refuse a source that does not read a dataset of the library."""
        if not isinstance(job.original, HuggingFace):
            raise job.without_rows("hf")

    def write(self, job: Job, folder: Path) -> None:
        """Write the rows, in the order of the dataset."""
        typed = typed_rows(job)
        rows = job.source().rows()
        assert rows is not None
        same = list(typed.columns) + [""] * (len(typed.added) - len(typed.columns))
        rows.save(typed.batches(), typed.schema, same, folder)
        job.added(typed.added)
