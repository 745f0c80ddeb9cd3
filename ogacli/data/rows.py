"""Write rows of a dataset of the library ``datasets`` to a folder.

In: the dataset and the positions of rows. Out: a folder for ``datasets.load_from_disk``.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from ogacli.base.user_code import optional


@dataclass(frozen=True, slots=True)
class Rows:
    """The rows of a source's dataset."""

    dataset: Any
    """A ``datasets.Dataset``; position i is its row i."""
    label: str | None
    """The column of the labels; None where labels are in several columns, or in none."""

    def save(self, positions: Sequence[int], labels: Sequence[str | None], folder: Path) -> None:
        """Write some rows.

        Args:
            positions: The rows, in this order.
            labels: The new label of each; None where it is unchanged. All are None where ``label`` is None.
            folder: The folder to write.
        """
        with silent():
            chosen = self.dataset.select(positions)
            if self.label is not None and any(label is not None for label in labels):
                chosen = _relabelled(chosen, self.label, labels)
            chosen.save_to_disk(str(folder))


def _relabelled(rows: Any, column: str, new: Sequence[str | None]) -> Any:
    """The rows with some labels replaced; the type and place of the column are kept."""
    feature, old = rows.features[column], rows[column]
    names = getattr(feature, "names", None)

    def typed(label: str) -> Any:
        if names is not None:
            return feature.str2int(label)
        return pa.scalar(label).cast(feature.pa_type).as_py()

    values = [before if label is None else typed(label) for before, label in zip(old, new, strict=True)]
    changed = rows.remove_columns(column).add_column(column, values, feature=feature)
    return changed.select_columns(rows.column_names)


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
