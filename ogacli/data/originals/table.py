"""The rows of a table."""

from ogacli.data.originals import originals
from ogacli.data.originals._table_file import TableFile


@originals.register
class Table(TableFile):
    """One row a sample."""

    image: str | None = None
    """As in the source."""

    @property
    def has_inputs(self) -> bool:
        """Not where the table names image files."""
        return self.image is None
