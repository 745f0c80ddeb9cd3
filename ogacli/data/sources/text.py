"""Texts, pairs of texts, prompts and completions, or tagged words: columns of a csv, jsonl or parquet file.

Inputs are a list of strings, or of pairs of strings. The model turns them into numbers, as the tokenizer
belongs to its weights.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import ClassVar, Protocol

import pyarrow as pa
import pyarrow.compute as pc
import torch
from jaxtyping import Int64
from pydantic import model_validator
from torch import Tensor

from ogacli.base import wording
from ogacli.base.tables.columns import Columns
from ogacli.data.ids import joined
from ogacli.data.labels.list_columns import as_lists
from ogacli.data.reading import Preview, Reader
from ogacli.data.samples import Samples
from ogacli.data.sources import sources
from ogacli.data.sources._columns import Label, Labelled, TableFile, column_of
from ogacli.data.tagged import tagged
from ogacli.errors import DataError

_SHOWN, _SHOWN_FIRST = 2000, 140
"""Characters of a text in a preview; of the first text of a pair, so that the second is seen as well."""
_CHUNK = 1 << 16
_LISTS = pa.list_(pa.string())


class Texts(Labelled):
    """The keys of every source of texts."""

    text: str | tuple[str, str] | None = None
    """The text's column; two columns where a sample is a pair of texts."""
    prompt: str | None = None
    """For language models: the column of the text before the completion; may be empty in some rows."""
    completion: str | None = None
    """For language models: the column of the text that is learned."""
    words: str | None = None
    """For taggers: the column of lists of words."""
    tags: str | None = None
    """For taggers: the column of lists of tags, one a word: names, or class indices from 0."""
    label: Label | None = None
    """The label's column, as in ``table``. May be left out where there is a ``completion``, whose tokens are
    the labels; where it is given there, it groups the samples and does not enter the loss. ``words`` have
    ``tags`` instead."""

    inputs: ClassVar[tuple[str, ...]] = ("text", "completion", "words")
    """The keys of which exactly one is given: the inputs."""

    @model_validator(mode="after")
    def _one_kind(self) -> "Texts":
        if sum(getattr(self, name) is not None for name in self.inputs) != 1:
            raise ValueError(f"give one of {', '.join(f'`{name}`' for name in self.inputs)}")
        if self.prompt is not None and self.completion is None:
            raise ValueError("`prompt` needs `completion`")
        if (self.words is None) != (self.tags is None):
            raise ValueError("`words` and `tags` go together")
        if self.words is not None and self.label is not None:
            raise ValueError("tagged words have no `label` beside their tags")
        if self.truth is not None and self.label is None and self.words is None and self.annotators is None:
            raise ValueError("`truth` needs a `label`, or `tags`")
        if all(one is None for one in (self.label, self.completion, self.words, self.annotators)):
            raise ValueError("`label` is missing: the column of the labels")
        return self

    @property
    def text_columns(self) -> tuple[str, ...]:
        """The columns that are read as text, in the order of the pair."""
        if self.text is not None:
            return (self.text,) if isinstance(self.text, str) else self.text
        return tuple(name for name in (self.prompt, self.completion) if name is not None)

    def tagged(
        self,
        table: pa.Table,
        place: str,
        names: Mapping[str, tuple[str, ...]] | None = None,
        columns: Columns | None = None,
    ) -> Samples:
        """A sample for each row of words and tags.

        Args:
            table: Has the columns.
            place: The table, for messages.
            names: Known class names, by column; ``classes`` in the config take precedence.
            columns: The use of the table's columns.

        Raises:
            DataError: A column is missing, or does not hold lists of words or tags.
        """
        assert self.words is not None
        assert self.tags is not None
        words, tags = (column_of(table, name, place) for name in (self.words, self.tags))
        ids = self.ids(table, place)
        true = [column_of(table, name, place) for name in self.truth_columns]
        with DataError.within(place):
            classes = self.classes or (names or {}).get(self.tags)
            reader, targets = tagged(words, tags, ids, classes=classes, truth=true[0] if true else None)
            columns_of_lists = [as_lists(one, ids).cast(_LISTS) for one in (words, tags)]
        lists = (pc.fill_null(pc.binary_join(one, "\0"), "") for one in columns_of_lists)
        return Samples.from_targets(ids, targets, reader, _digest(lists), columns)

    def reader(self, columns: Mapping[str, "Column"]) -> tuple[Reader, str]:
        """The reader of these columns, and their signature."""
        signature = _digest(columns.values())
        if self.completion is None:
            return TextReader(columns), signature
        if self.prompt is None:
            nothing = pa.array([""], pa.string()).take(pa.array([0] * len(next(iter(columns.values())))))
            columns = {"": nothing, **columns}
        return TextReader(columns, may_be_empty=self.prompt or ""), signature


@sources.register
class Text(Texts, TableFile):
    """One row a sample."""

    def load(self) -> Samples:
        """All rows."""
        labels = {*self.label_columns, *self.truth_columns}
        found = self.read(text={*self.text_columns, self.id or ""} - labels - {""}, labels=self.name_columns)
        table, columns = found.table, Columns(notes=found.notes) if found.notes else None
        if self.words is not None:
            return self.tagged(table, self.path, columns=columns)
        texts = {name: text_column(table, name, self.path) for name in self.text_columns}
        return self.samples(table, self.path, *self.reader(texts), columns=columns)


class Column(Protocol):
    """Texts by row, without nulls."""

    def __len__(self) -> int: ...

    def take(self, rows: pa.Array) -> pa.Array:
        """The texts of some rows."""
        ...

    def slice(self, offset: int, length: int) -> pa.Array:
        """The texts of rows that follow one another."""
        ...


class TextReader(Reader):
    """Reads texts, or pairs of texts, that lie in memory.

    Args:
        columns: The texts by the name of their column; one column, or two where samples are pairs.
        may_be_empty: The column in which texts may be empty.
    """

    in_memory = True

    def __init__(self, columns: Mapping[str, Column], *, may_be_empty: str | None = None) -> None:
        self.columns = dict(columns)
        self.may_be_empty = may_be_empty

    def read(
        self, positions: Sequence[int]
    ) -> tuple[list[str] | list[tuple[str, ...]] | None, dict[int, str]]:
        """The texts; a row without a text is quarantined."""
        found: list[tuple[str, ...]] = []
        failures = {}
        for i, texts in enumerate(self._rows(positions)):
            lacking = self._lacking(texts)
            if lacking is None:
                found.append(texts)
            else:
                failures[i] = f"no text in column {lacking}"
        if not found:
            return None, failures
        return ([texts[0] for texts in found] if len(self.columns) == 1 else found), failures

    def lengths(self, positions: Int64[Tensor, " m"]) -> Int64[Tensor, " m"]:
        """The number of characters."""
        found = torch.zeros(len(positions), dtype=torch.int64)
        for start in range(0, len(positions), _CHUNK):
            here = slice(start, start + _CHUNK)
            index = pa.array(positions[here].numpy())
            for column in self.columns.values():
                counts = pc.utf8_length(column.take(index)).to_numpy(zero_copy_only=False)
                found[here] += torch.from_numpy(counts.astype("int64"))
        return found

    def preview(self, position: int) -> Preview:
        """The text; of a pair both texts, one a line."""
        *first, last = next(self._rows([position]))
        shown = [wording.cut(text.strip(), _SHOWN_FIRST) for text in first]
        shown.append(wording.cut(last.strip(), _SHOWN))
        return Preview("text", "\n".join(text for text in shown if text).encode())

    def _rows(self, positions: Sequence[int]) -> Iterator[tuple[str, ...]]:
        index = pa.array(positions, pa.int64())
        return zip(*(column.take(index).to_pylist() for column in self.columns.values()), strict=True)

    def _lacking(self, texts: tuple[str, ...]) -> str | None:
        """The first column with an empty text that must not be empty; None where there is none."""
        for name, text in zip(self.columns, texts, strict=True):
            if not text.strip() and name != self.may_be_empty:
                return name
        return None


def text_column(table: pa.Table, name: str, place: str) -> pa.StringArray:
    """A column of texts; missing texts become empty.

    Raises:
        DataError: The table has no such column, or it does not hold texts.
    """
    column = column_of(table, name, place)
    if pa.types.is_null(column.type):
        column = column.cast(pa.string())
    if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
        raise DataError(f"column {name!r} holds no text", place=place, found=column.type, expected="strings")
    return pc.fill_null(column, "")


def _digest(columns: Iterable[Column]) -> str:
    digest = hashlib.sha256()
    for column in columns:
        for part in joined(column):
            digest.update(part + b"\0")
    return digest.hexdigest()
