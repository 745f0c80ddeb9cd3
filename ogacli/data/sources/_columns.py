"""The columns of a table that hold ids and labels.

In: an Arrow table, the keys that name its columns, and a reader of the inputs. Out: ``Samples``. All sources
of tables have these keys.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated

import pyarrow as pa
import torch
from pydantic import Field, model_validator

from ogacli.base.wording import suggestion
from ogacli.data.ids import numbered
from ogacli.data.labels import (
    Classes,
    Target,
    Targets,
    class_targets,
    multi_label_targets,
    regression_targets,
)
from ogacli.data.reading import Reader
from ogacli.data.samples import Samples
from ogacli.data.sources import Source
from ogacli.errors import DataError

Label = str | Annotated[tuple[str, ...], Field(min_length=1)]
"""One column, or several."""


class Labelled(Source):
    """A source of tables with a row a sample; the config names the columns."""

    label: Label | None
    """The label's column: class names, or class indices from 0. A list of columns: 0 or 1 for each class, or
    the targets of a regression. A column of lists: several classes a sample."""
    truth: str | None = None
    """The column of the true classes, only for evaluation."""
    id: str | None = None
    """A column of unique values; by default samples are numbered from 0."""
    classes: Classes | None = None
    """The class names in the order of the model's outputs, or their number."""
    target: Target = "classes"
    """``regression`` where labels are numbers to be predicted."""
    separator: Annotated[str, Field(min_length=1)] | None = None
    """The text between two classes of a sample in the label column, such as ``|``."""

    @model_validator(mode="after")
    def _one_class_to_compare(self) -> "Labelled":
        several = not isinstance(self.label, str) or self.separator is not None
        if self.truth is not None and (self.target == "regression" or several):
            raise ValueError("`truth` needs one class a sample")
        return self

    @property
    def label_columns(self) -> tuple[str, ...]:
        """The columns that hold the label; none where there are no labels."""
        if self.label is None:
            return ()
        return (self.label,) if isinstance(self.label, str) else self.label

    def samples(
        self,
        table: pa.Table,
        place: str,
        reader: Reader,
        signature: str,
        names: Mapping[str, tuple[str, ...]] | None = None,
    ) -> Samples:
        """A sample for each row.

        Args:
            table: Has the columns of ids and labels.
            place: The table, for messages.
            reader: Of the inputs, by row.
            signature: A text that differs when the inputs do.
            names: Known class names, by column; ``classes`` in the config take precedence.

        Raises:
            DataError: A column is missing, or its labels do not fit.
        """
        ids = self.ids(table, place)
        targets = self._targets(table, ids, place, names or {})
        return Samples.from_targets(ids, targets, reader, signature)

    def ids(self, table: pa.Table, place: str) -> pa.StringArray:
        """The samples' ids.

        Raises:
            DataError: The table has no such column.
        """
        if self.id is None:
            return numbered(len(table))
        return column_of(table, self.id, place).cast(pa.string())

    def _targets(
        self, table: pa.Table, ids: pa.StringArray, place: str, names: Mapping[str, tuple[str, ...]]
    ) -> Targets:
        if self.label is None:
            return Targets(torch.zeros(len(table), 0), ())
        columns = {name: column_of(table, name, place) for name in self.label_columns}
        with DataError.within(f"{place}, column {', '.join(self.label_columns)}"):
            if self.target == "regression":
                return regression_targets(columns, ids)
            if not isinstance(self.label, str):
                return multi_label_targets(columns, ids, classes=self.classes)
            column = columns[self.label]
            classes = self.classes or names.get(self.label)
            if self.separator is not None or pa.types.is_nested(column.type):
                return multi_label_targets(column, ids, classes=classes, separator=self.separator)
            truth = None if self.truth is None else column_of(table, self.truth, place)
            return class_targets(column, ids, classes=classes, truth=truth)


def check_column(known: Sequence[str], name: str, place: str) -> None:
    """Check that there is a column of that name.

    Raises:
        DataError: There is none.
    """
    if name not in known:
        problem = f"no column {name!r}{suggestion(name, known)}"
        raise DataError(problem, place=place, found=", ".join(known))


def column_of(table: pa.Table, name: str, place: str) -> pa.Array:
    """A column as one array.

    Raises:
        DataError: There is none of that name.
    """
    check_column(table.column_names, name, place)
    found = table.column(name).combine_chunks()
    return found if isinstance(found, pa.Array) else pa.concat_arrays(found.chunks)
