"""The columns of a table that hold ids and labels, and the file that the table is read from.

In: an Arrow table, the keys that name its columns, and a reader of the inputs. Out: ``Samples``. All sources
of tables have these keys.
"""

import codecs
from collections.abc import Collection, Mapping, Sequence
from typing import Annotated, Literal

import pyarrow as pa
import torch
from pydantic import AfterValidator, Field, model_validator

from ogacli.base.options import Location
from ogacli.base.tables import ReadTable, read_file
from ogacli.base.tables.columns import Columns
from ogacli.base.tables.dialect import Dialect
from ogacli.base.wording import suggestion
from ogacli.data.ids import numbered
from ogacli.data.labels import (
    Classes,
    ClassOrder,
    Target,
    Targets,
    class_targets,
    look_up,
    regression_targets,
)
from ogacli.data.labels.annotations import annotated_by_columns, class_names
from ogacli.data.labels.label_lists import Lists, multi_label_targets
from ogacli.data.labels.list_columns import holds_lists
from ogacli.data.reading import Reader
from ogacli.data.samples import Samples
from ogacli.data.sources import Source
from ogacli.errors import DataError

Label = str | Annotated[tuple[str, ...], Field(min_length=1)]
"""One column, or several."""


def _encoding(name: str) -> str:
    try:
        return codecs.lookup(name).name
    except LookupError:
        raise ValueError(f"no such encoding: {name!r}, but such as utf-8, latin-1 or utf-16") from None


class TableFile(Source):
    """The keys of every source that reads one table from a file."""

    path: Location
    """The csv, tsv, jsonl or parquet file; a path or fsspec URL."""
    delimiter: Annotated[str, Field(min_length=1, max_length=1)] | None = None
    """Of a csv file: the sign between columns. Commas, semicolons, tabs and bars are found out."""
    encoding: Annotated[str, AfterValidator(_encoding)] | None = None
    """Of a csv or jsonl file, such as ``latin-1``. UTF-8, UTF-16, and in csv also latin-1 are found out."""
    decimal: Literal[".", ","] | None = None
    """The decimal mark of numbers in a csv file, or in columns of text; found out where the cells show it."""

    def read(self, *, text: Collection[str], labels: Collection[str]) -> ReadTable:
        """The table, and how its file is written.

        Args:
            text: Columns that are read as text.
            labels: Columns of labels, whose names are spelled as in the file.

        Raises:
            DataError: It cannot be read, can be read in several ways, or has no rows.
        """
        given = Dialect(self.delimiter, self.encoding, self.decimal)
        found = read_file(self.path, text=text, labels=labels, given=given, limits=self.bounds)
        if not len(found.table):
            raise DataError("the table has no rows", place=self.path)
        return found


class Labelled(Source):
    """A source of tables with a row a sample; the config names the columns."""

    label: Label | None
    """The label's column: class names, or class indices from 0. A list of columns: 0 or 1 for each class, or
    the targets of a regression. A column of lists: several classes a sample."""
    annotators: Location | Annotated[tuple[str, ...], Field(min_length=2)] | None = None
    """The labels of several annotators: a table with the columns ``id``, ``annotator`` and ``label``; or two
    or more columns of this table, one an annotator, empty where there is no label. The label of a sample is
    their consensus, and ``label`` then may be left out, or name one of the columns."""
    truth: Label | None = None
    """The column of the true labels, or columns where ``label`` has several; only for evaluation."""
    id: str | None = None
    """A column of unique values; by default samples are numbered from 0."""
    classes: Classes | None = None
    """The class names in the order of the model's outputs, or their number."""
    target: Target = "classes"
    """``regression`` where labels are numbers to be predicted."""
    separator: Annotated[str, Field(min_length=1)] | None = None
    """The text between two classes of a sample in the label column, such as ``|``."""
    lists: Lists | None = None
    """The meaning of a label column of lists: ``classes``, the classes of each sample, or ``zero_one``, a 0
    or 1 for each class in order. Needed only where the lists can be read in both ways."""

    @model_validator(mode="after")
    def _as_many_truths(self) -> "Labelled":
        if self.truth is not None and len(self.truth_columns) != max(1, len(self.label_columns)):
            raise ValueError(f"`truth` needs as many columns as the label: {max(1, len(self.label_columns))}")
        return self

    @property
    def label_columns(self) -> tuple[str, ...]:
        """The columns that hold the label; none where there are no labels."""
        return _several(self.label)

    @property
    def truth_columns(self) -> tuple[str, ...]:
        """The columns that hold the true labels; none where they are not known."""
        return _several(self.truth)

    @property
    def name_columns(self) -> frozenset[str]:
        """The columns that hold class names, which are spelled as in the file."""
        if self.target == "regression" or not isinstance(self.label, str):
            return frozenset()
        return frozenset({*self.label_columns, *self.truth_columns})

    def samples(
        self,
        table: pa.Table,
        place: str,
        reader: Reader,
        signature: str,
        names: Mapping[str, tuple[str, ...]] | None = None,
        *,
        ids: pa.StringArray | None = None,
        columns: Columns | None = None,
    ) -> Samples:
        """A sample for each row.

        Args:
            table: Has the columns of ids and labels.
            place: The table, for messages.
            reader: Of the inputs, by row.
            signature: A text that differs when the inputs do.
            names: Known class names, by column; ``classes`` in the config take precedence.
            ids: Of the rows; by default as the config has them.
            columns: The use of the table's columns.

        Raises:
            DataError: A column is missing, or its labels do not fit.
        """
        ids = self.ids(table, place) if ids is None else ids
        targets = self._targets(table, ids, place, names or {})
        samples = Samples.from_targets(ids, targets, reader, signature, columns)
        if isinstance(self.annotators, tuple):
            voices = {name: column_of(table, name, place) for name in self.annotators}
            with DataError.within(f"{place}, `annotators`"):
                samples = annotated_by_columns(samples, voices)
        return samples

    def ids(self, table: pa.Table, place: str) -> pa.StringArray:
        """The samples' ids.

        Raises:
            DataError: The table has no such column.
        """
        if self.id is None:
            return numbered(len(table))
        return column_of(table, self.id, place).cast(pa.string())

    def _unlabelled(self, table: pa.Table, ids: pa.StringArray, place: str) -> Targets:
        """Classes without labels: the consensus of the annotators comes in their place."""
        named, true = self.annotators or (), [column_of(table, name, place) for name in self.truth_columns]
        voices = named if isinstance(named, str) else [column_of(table, one, place) for one in named]
        names = tuple(self.classes or class_names(voices, true))
        truth = look_up("truth", true[0], ids, names) if true else None
        order: ClassOrder = "given" if self.classes else "sorted"
        return Targets(torch.zeros(len(table), dtype=torch.int64), names, truth, class_order=order)

    def _targets(
        self, table: pa.Table, ids: pa.StringArray, place: str, names: Mapping[str, tuple[str, ...]]
    ) -> Targets:
        if self.label is None and self.annotators is not None:
            return self._unlabelled(table, ids, place)
        if self.label is None:
            return Targets(torch.zeros(len(table), 0), ())
        columns, true = (
            {name: column_of(table, name, place) for name in named}
            for named in (self.label_columns, self.truth_columns)
        )
        with DataError.within(f"{place}, column {', '.join(self.label_columns)}"):
            if self.target == "regression":
                mark = getattr(self, "decimal", None)
                return regression_targets(columns, ids, truth=true or None, mark=mark)
            if not isinstance(self.label, str):
                return multi_label_targets(columns, ids, classes=self.classes, truth=true or None)
            column, truth = columns[self.label], next(iter(true.values()), None)
            classes = self.classes or names.get(self.label)
            if self.separator is not None or pa.types.is_nested(column.type) or holds_lists(column):
                return multi_label_targets(
                    column, ids, classes=classes, separator=self.separator, lists=self.lists, truth=truth
                )
            return class_targets(column, ids, classes=classes, truth=truth)


def _several(named: Label | None) -> tuple[str, ...]:
    if named is None:
        return ()
    return (named,) if isinstance(named, str) else named


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
