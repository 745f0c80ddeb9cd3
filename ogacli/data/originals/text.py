"""The rows of a table of texts."""

from ogacli.data.originals import originals
from ogacli.data.originals._table_file import TableFile


@originals.register
class Text(TableFile):
    """One row a sample."""
