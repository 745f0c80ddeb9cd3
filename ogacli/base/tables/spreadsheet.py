"""Tables that a spreadsheet program shows as they are, and does not run. In: a table. Out: a table.

Such programs run a cell that begins with ``=``, ``+``, ``-`` or ``@``, also after a tab or in full width. An
apostrophe before it makes the cell a text.
"""

import pyarrow as pa
import pyarrow.compute as pc

_FORMULA = r"^[\s\x00-\x1f]*[=+\-@\x{ff1d}\x{ff0b}\x{ff0d}\x{ff20}]"
_NUMBER = r"^[+-]?(\d+([.,]\d*)?|[.,]\d+)([eE][+-]?\d+)?$"


def spreadsheet_safe(table: pa.Table) -> pa.Table:
    """The table with an apostrophe before each text that a spreadsheet would run; numbers stay.

    Names of columns are treated likewise. Texts in lists and structs are not looked at: csv has neither.
    """
    for i, column in enumerate(table.columns):
        kind = column.type
        plain = column.cast(kind.value_type) if pa.types.is_dictionary(kind) else column
        if pa.types.is_string(plain.type) or pa.types.is_large_string(plain.type):
            table = table.set_column(i, table.column_names[i], _quoted(plain))
    names = _quoted(pa.chunked_array([table.column_names], pa.string()))
    return table.rename_columns(names.to_pylist())


def _quoted(texts: pa.ChunkedArray) -> pa.ChunkedArray:
    runs = pc.and_not(pc.match_substring_regex(texts, _FORMULA), pc.match_substring_regex(texts, _NUMBER))
    return pc.if_else(
        runs, pc.binary_join_element_wise(pa.scalar("'", texts.type), texts, pa.scalar("", texts.type)), texts
    )
