"""A value for each sample from a table that names the samples by their files.

In: a table with a column of names and one of values, and the ids of the samples, which are paths. Out: the
values in the order of the samples.
"""

from collections import Counter
from collections.abc import Sequence

import pyarrow as pa

from ogacli.base.tables import column_names, read_table
from ogacli.base.wording import listed
from ogacli.data.ids import sample_place
from ogacli.errors import DataError

_NAMES = ("file", "id", "file_name", "filename", "path", "image", "name")
"""Columns that hold the names."""


def named_values(path: str, ids: pa.StringArray, column: str) -> pa.StringArray:
    """The value of each sample, as text.

    A name in the table is the path of a file below the root, or its last part where that is unique.

    Args:
        path: The table, with the columns ``file`` and ``column``; or with two columns, the names first.
        ids: The paths of the samples.
        column: The name of the column of the values.

    Raises:
        DataError: The table has no such columns, a sample is not in it, or is in it twice.
    """
    known = column_names(path)
    table = read_table(path, text=known)
    by_name, by_value = _columns(known, path, column)
    wanted = ids.to_pylist()
    short = Counter(name.rpartition("/")[2] for name in wanted)
    whole = {name.rpartition("/")[2]: name for name in wanted} | {name: name for name in wanted}
    found: dict[str, str | None] = {}
    rows = zip(table.column(by_name).to_pylist(), table.column(by_value).to_pylist(), strict=True)
    for number, (name, value) in enumerate(rows, 1):
        plain = (name or "").replace("\\", "/").removeprefix("./")
        sample = whole.get(plain)
        if sample is None:
            continue  # a file that is no sample
        if sample != plain and short[plain] > 1:
            raise DataError("several files have this name", place=f"{path}: row {number}", found=plain,
                            expected="the path below the root, such as class/name")  # fmt: skip
        if sample in found:
            raise DataError("a file is named twice", place=f"{path}: row {number}", found=plain)
        found[sample] = value
    _check_all(wanted, found, table.column(by_name).to_pylist(), path, column, ids)
    return pa.array([found[name] for name in wanted], pa.string())


def _columns(known: Sequence[str], path: str, column: str) -> tuple[str, str]:
    """The columns of the names and of the values."""
    names = [name for name in _NAMES if name in known]
    if names and column in known:
        return names[0], column
    if len(known) == 2:
        return known[0], known[1]
    raise DataError(
        "no columns of file names and values", place=path, found=listed(known), expected=f"file, {column}"
    )


def _check_all(
    wanted: Sequence[str],
    found: dict[str, str | None],
    names: Sequence[str],
    path: str,
    column: str,
    ids: pa.StringArray,
) -> None:
    missing = [i for i, name in enumerate(wanted) if name not in found]
    if missing:
        raise DataError(
            f"{len(missing):,} of {len(wanted):,} files have no {column}",
            place=f"{path}: {sample_place(ids, missing[0])}",
            found=f"rows such as {names[0]!r}" if names else "no rows",
            expected="a row for each image, named by its path below the root",
        )
