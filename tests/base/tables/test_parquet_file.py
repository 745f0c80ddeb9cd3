"""Parquet files that are read a part at a time."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet

from ogacli.base.tables.parquet_file import open_parquet, read_batches
from ogacli.errors import DataError


def test_parts_that_were_read_are_given_back(tmp_path: Path) -> None:
    """Recent versions of pyarrow keep what was read ahead of all row groups until the file is closed."""
    path = tmp_path / "t.parquet"
    rng = np.random.default_rng(0)
    table = pa.table({name: rng.normal(size=400_000) for name in "abcdef"})
    pa.parquet.write_table(table, path, row_group_size=10_000)
    size = table.nbytes
    del table
    before = pa.total_allocated_bytes()
    with open_parquet(path, str(path), DataError) as file:
        held = [
            pa.total_allocated_bytes() - before
            for _ in read_batches(file, path.stat().st_size, str(path), DataError)
        ]
    assert max(held) < size / 2
