"""A streamed dataset of the library ``datasets``, read once and in order.

In: a stream and the columns that are needed. Out: a dataset of these columns in a temporary file, which is
removed at the end of the process. A scan looks at some rows again: to fit, for neighbours, for the report.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow as pa

from ogacli.base.user_code import optional
from ogacli.errors import DataError

_TOGETHER = 256
"""Rows that are in memory together."""
_kept: list[TemporaryDirectory[str]] = []


def copied(stream: Any, columns: Sequence[str], place: str, *, limit: int | None = None) -> Any:
    """The rows of a stream on disk.

    Args:
        stream: An ``IterableDataset``.
        columns: Which of its columns.
        place: Its name, for messages.
        limit: Only the first so many rows are read.

    Raises:
        DataError: It cannot be read, or the disk is full.
    """
    library = optional("datasets", "hf", "data.source huggingface")
    from datasets.arrow_writer import ArrowWriter

    folder = TemporaryDirectory(prefix="oga-")
    _kept.append(folder)
    file = str(Path(folder.name, "rows.arrow"))
    with _told(place, library):
        some = stream.select_columns(list(columns))
        if some.features is None:
            some = some._resolve_features()
        for name, kind in some.features.items():
            if isinstance(kind, library.Image):  # as they are, not decoded
                some = some.cast_column(name, library.Image(decode=False))
        if limit is not None:
            some = some.take(limit)
        with ArrowWriter(features=some.features, path=file) as writer:
            for rows in some.with_format("arrow").iter(batch_size=_TOGETHER):
                writer.write_table(rows)
            writer.finalize()
        return library.Dataset.from_file(file)


@contextmanager
def _told(place: str, library: Any) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError, pa.ArrowException, library.exceptions.DatasetsError) as error:
        raise DataError(
            "the stream cannot be read to its end",
            place=place,
            found=f"{type(error).__name__}: {error}".splitlines()[0],
            hint="scan again, or read the first rows only by `limit`; TMPDIR names the folder of its copy",
        ) from None
