"""Csv files -> blocks of typed rows.

The types of the blocks give those of the columns, in one look over the file; further looks find the decimal
mark where columns of text hold numbers, and codes such as ``007`` among the labels.
"""

import io
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from ogacli.base.tables import NAMELESS, opened, written
from ogacli.base.tables.blocks import Blocks, NotByBlocks
from ogacli.base.tables.csv_file import is_plain, without_sep
from ogacli.base.tables.dialect import Dialect, as_utf8, delimiter_of, encoding_of
from ogacli.errors import DataError

_HEAD, _BLOCK = 1 << 20, 1 << 18
"""Bytes."""
_TEXT = pa.string()


class _File:
    """A csv file that is read again and again."""

    def __init__(self, path: str, usual: str, given: Dialect) -> None:
        self.path = path
        with opened(path) as file:
            self.encoding = given.encoding or encoding_of(file, path)
            head, _ = as_utf8(file.read(_HEAD), path, self.encoding)
        content, named = without_sep(head)
        self.skipped = int(named is not None)
        self.delimiter = given.delimiter or named or delimiter_of(content, path, usual)
        with self._stream({}, ".") as first:
            self.names: list[str] = first.schema.names
        if len(set(self.names)) < len(self.names):
            raise NotByBlocks

    @contextmanager
    def _stream(
        self, types: Mapping[str, pa.DataType], decimal: str, only: Sequence[str] = ()
    ) -> Iterator[pyarrow.csv.CSVStreamingReader]:
        encoding = "utf8" if self.encoding in ("utf-8", "utf-8-sig") else self.encoding
        read = pa.csv.ReadOptions(skip_rows=self.skipped, block_size=_BLOCK, encoding=encoding)
        convert = pa.csv.ConvertOptions(
            column_types=types, decimal_point=decimal, include_columns=list(only) or None
        )
        with opened(self.path) as file:
            yield pa.csv.open_csv(file, read, self._parse(self.delimiter), convert)

    def _parse(self, delimiter: str) -> pyarrow.csv.ParseOptions:
        return pa.csv.ParseOptions(delimiter=delimiter, newlines_in_values=True)

    def typed(self, types: Mapping[str, pa.DataType], decimal: str) -> Iterator[pa.RecordBatch]:
        """The rows.

        Raises:
            DataError: The file is another one than at the look for the types.
        """
        try:
            with self._stream(types, decimal) as stream:
                yield from stream
        except (pa.ArrowException, UnicodeError) as error:
            found = str(error).partition("\n")[0]
            raise DataError("does not parse", place=self.path, found=found) from None

    def texts(self, only: Sequence[str] = ()) -> Iterator[pa.RecordBatch]:
        """The rows, or some columns of them, as texts."""
        with self._stream(dict.fromkeys(self.names, _TEXT), ".", only) as stream:
            yield from stream

    def types(self, text: Collection[str], decimal: str) -> dict[str, pa.DataType]:
        """The type of each column, some of which are texts."""
        found = {name: _TEXT if name in text else pa.null() for name in self.names}
        convert = pa.csv.ConvertOptions(column_types=dict.fromkeys(text, _TEXT), decimal_point=decimal)
        for block in self.texts():
            again = io.BytesIO()
            pa.csv.write_csv(block, again)
            again.seek(0)
            schema = pa.csv.read_csv(again, parse_options=self._parse(","), convert_options=convert).schema
            found = {name: _together(kind, schema.field(name).type) for name, kind in found.items()}
        return found


def csv_blocks(
    path: str, usual: str, *, text: Collection[str], labels: Collection[str], given: Dialect
) -> Blocks:
    """The rows of a csv file, with the types that ``read_csv`` gives them; arguments as there.

    Raises:
        DataError: There are several ways to read it.
        NotByBlocks: It does not parse; or only all cells of a column at once show its type.
    """
    try:
        return _blocks(_File(path, usual, given), text, labels, given)
    except (pa.ArrowException, UnicodeError):
        raise NotByBlocks from None


def _blocks(file: _File, text: Collection[str], labels: Collection[str], given: Dialect) -> Blocks:
    decimal: str = given.decimal or "."
    types = file.types(text, decimal)
    if given.decimal is None and _has_commas(file, types):
        decimal = ","
        types = file.types(text, decimal)
    exact = {name for name in labels if name in types and name not in text and not is_plain(types[name])}
    exact -= {name for name in exact if pa.types.is_integer(types[name]) and not _has_codes(file, name)}
    types |= dict.fromkeys(exact, _TEXT)
    names = [name if name.strip() else f"{NAMELESS}{i}" for i, name in enumerate(file.names, 1)]
    schema = pa.schema(zip(names, types.values(), strict=True))

    def read() -> Iterator[pa.RecordBatch]:
        for block in file.typed(types, decimal):
            columns = [
                _without_missing(column) if name in exact else column
                for name, column in zip(file.names, block.columns, strict=True)
            ]
            yield pa.RecordBatch.from_arrays(columns, schema=schema)

    return Blocks(schema, read)


def _together(one: pa.DataType, other: pa.DataType) -> pa.DataType:
    """The type of a column of which two blocks have these types."""
    kinds = {one, other} - {pa.null()}
    if _TEXT in kinds:
        return _TEXT
    if kinds == {pa.int64(), pa.float64()}:
        return pa.float64()
    if len(kinds) > 1:
        raise NotByBlocks
    return kinds.pop() if kinds else pa.null()


def _has_commas(file: _File, types: Mapping[str, pa.DataType]) -> bool:
    """Whether cells show decimal commas, and none shows a decimal point."""
    names = [name for name, kind in types.items() if kind == _TEXT]
    texts = _tallies(file, names)
    if not any(one.ambiguous for one in texts) and not any("," in one.marks() for one in texts):
        return False
    floats = [name for name, kind in types.items() if pa.types.is_floating(kind)]
    return {mark for one in texts + _tallies(file, floats) for mark in one.marks()} == {","}


def _tallies(file: _File, names: Sequence[str]) -> list[written.Tally]:
    found = {name: written.Tally() for name in names}
    for block in file.texts(names) if names else ():
        for name, tally in found.items():
            tally.add(block.column(name))
    return list(found.values())


def _has_codes(file: _File, name: str) -> bool:
    return any(written.have_leading_zeros(block.column(name)) for block in file.texts([name]))


def _without_missing(texts: Any) -> Any:
    """Texts that stand for no value, as Arrow reads columns of other types, are null."""
    missing = pc.is_in(texts, value_set=pa.array(pa.csv.ConvertOptions().null_values))
    return pc.if_else(missing, pa.scalar(None, _TEXT), texts)
