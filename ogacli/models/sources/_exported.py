"""A table of outputs that another framework exported, one row a sample.

In: a csv, jsonl or parquet file, whose columns are named like classes, and the samples. Out: a matrix whose
rows are the rows of the source, and whose columns are in the order of the classes.
"""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Float

from ogacli.base.tables import column_names, read_table
from ogacli.base.wording import listed
from ogacli.data import Samples
from ogacli.data.ids import arrow_ids
from ogacli.errors import DataError

ID = "id"
"""The column of sample ids, where there is one."""

Matrix = Float[np.ndarray, "n w"]


def read_exported(path: str, samples: Samples, *, outputs: bool) -> Matrix:
    """The numbers of a table.

    Args:
        path: The file.
        samples: Rows are matched with these by the column ``id``, or are all rows of the source in its order.
        outputs: Whether columns are outputs of a model, which are matched with classes by name.

    Raises:
        DataError: A sample or a class is missing, an id occurs twice, or a column does not hold numbers.
    """
    table = read_table(path, text=(ID,))
    names = [name for name in table.column_names if name != ID]
    if outputs:
        names = in_class_order(names, samples.classes, path)
    values = _numbers(table, names, path)
    if ID not in table.column_names:
        return values
    rows = _rows(table.column(ID).combine_chunks(), samples, path)
    found = np.full((samples.source_rows, len(names)), np.nan, np.float32)
    found[samples.positions.numpy()] = values[rows]
    return found


def names_classes(path: str, classes: Sequence[str]) -> bool:
    """Whether the columns of a table have the names of the classes."""
    return bool(classes) and set(classes) <= set(column_names(path))


def in_class_order(names: Sequence[str], classes: Sequence[str], path: str) -> list[str]:
    """The columns in the order of the classes, further ones last; as they are where none is named so.

    Raises:
        DataError: Only some classes have a column.
    """
    lost = [name for name in classes if name not in names]
    if len(lost) == len(classes):
        return list(names)
    if lost:
        raise DataError(
            "a class has no column",
            place=path,
            found=listed(names),
            expected=f"a column for each of {listed(lost)} as well",
            hint="name the columns as the classes of the data",
        )
    return [*classes, *(name for name in names if name not in classes)]


def _numbers(table: pa.Table, names: Sequence[str], path: str) -> Matrix:
    for name in names:
        kind = table.schema.field(name).type
        if not _is_number(kind) and not pa.types.is_null(kind):
            raise DataError(f"column {name!r} does not hold numbers", place=path, found=kind)
    columns = [pc.cast(table.column(name), pa.float32(), safe=False).to_numpy() for name in names]
    return np.stack(columns, 1) if columns else np.empty((len(table), 0), np.float32)


def _rows(ids: pa.StringArray, samples: Samples, path: str) -> np.ndarray:
    """The row of each sample in the table."""
    if pc.count_distinct(ids).as_py() < len(ids):
        twice = pc.value_counts(ids).to_pylist()
        first = next(entry["values"] for entry in twice if entry["counts"] > 1)
        raise DataError("an id occurs twice", place=path, found=repr(first))
    rows = pc.index_in(arrow_ids(samples.ids), value_set=ids)
    if rows.null_count:
        first = pc.index(rows.is_null(), True).as_py()
        raise DataError(
            "samples of the data have no row",
            place=path,
            found=f"{rows.null_count:,} of {len(samples):,} ids are missing, such as "
            f"{samples.ids[first].as_py()!r}; there are ids such as {ids[0].as_py()!r}",
            expected="the ids of the data, in any order",
            hint="export the outputs of this dataset, or name its column of ids as `id` in the data section",
        )
    found: np.ndarray = rows.to_numpy()
    return found


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind))
