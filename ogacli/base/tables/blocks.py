"""``Blocks``: the rows of a table with typed columns, read some at a time, as often as they are asked for.

Types, the encoding and the decimal mark need all of a file; they are found block by block as well, and are
those of a reading at once.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pyarrow as pa


@dataclass(frozen=True, slots=True)
class Blocks:
    """All rows of a table, in order."""

    schema: pa.Schema
    read: Callable[[], Iterator[pa.RecordBatch]]
    """Begins at the first row."""

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        """The rows from the first one on."""
        return self.read()


class NotByBlocks(Exception):
    """The blocks do not show what the whole table is, or whether it is one."""
