"""The rows of a dataset of the library ``datasets``, as record batches; and such batches as a saved dataset.

In: the dataset. Out: its rows, a part at a time; or a folder for ``datasets.load_from_disk``.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow as pa

from ogacli.base.user_code import optional
from ogacli.errors import DataError

_TOGETHER = 1000


@dataclass(frozen=True, slots=True)
class Rows:
    """The rows of a source's dataset."""

    dataset: Any
    """A ``datasets.Dataset``; position i is its row i."""
    label: str | None
    """The column of the labels; None where labels are in several columns, or in none."""

    @property
    def schema(self) -> pa.Schema:
        """The columns, with the features of the library as metadata."""
        found: pa.Schema = self.dataset.features.arrow_schema
        return found

    def batches(self) -> Iterator[pa.RecordBatch]:
        """All rows, in order.

        Raises:
            DataError: The files of the dataset are damaged.
        """
        try:
            for part in self.dataset.with_format("arrow").iter(batch_size=_TOGETHER):
                yield from part.cast(self.schema).combine_chunks().to_batches()
        except (pa.ArrowException, OSError, ValueError) as error:
            found = str(error).partition("\n")[0]
            raise DataError("the dataset does not parse", place="data.path", found=found) from None

    def class_values(self) -> dict[str, int]:
        """The number of each class, where the dataset names its classes."""
        feature = None if self.label is None else self.dataset.features.get(self.label)
        names = getattr(getattr(feature, "feature", feature), "names", None)
        return {} if names is None else {name: i for i, name in enumerate(names)}

    def save(
        self, batches: Iterable[pa.RecordBatch], schema: pa.Schema, same: Sequence[str], folder: Path
    ) -> None:
        """Write rows with the features of this dataset.

        Args:
            batches: The rows.
            schema: Their columns: those of the dataset, and added ones.
            same: For each added column the column whose feature it has; empty for plain values.
            folder: The folder to write.
        """
        library = optional("datasets", "hf", "data.source huggingface")
        features = self.dataset.features.copy()
        for field, like in zip(list(schema)[len(features) :], same, strict=True):
            plain = library.features.features.generate_from_arrow_type(field.type)
            features[field.name] = features[like] if like else plain
        with silent(), TemporaryDirectory(prefix=".rows-", dir=folder.parent) as beside:
            file = str(Path(beside, "rows.arrow"))
            with library.arrow_writer.ArrowWriter(path=file, features=features) as writer:
                for batch in batches:
                    writer.write_table(pa.Table.from_batches([batch]).cast(features.arrow_schema))
                writer.finalize()
            info = self.dataset.info.copy()
            info.features, info.splits = features, None
            library.Dataset.from_file(file, info=info).save_to_disk(str(folder))


@contextmanager
def silent() -> Iterator[None]:
    """Switch off the progress bars of the library."""
    library = optional("datasets", "hf", "data.source huggingface")
    shown = not library.are_progress_bars_disabled()
    library.disable_progress_bars()
    try:
        yield
    finally:
        if shown:
            library.enable_progress_bars()
