"""The rows of a table of texts."""

from ogacli.data.originals import originals
from ogacli.data.originals._table_file import TableFile


@originals.register
class Text(TableFile):
    """One row a sample."""

    tags: str | None = None
    """The column of the tags of words."""

    @property
    def label_columns(self) -> tuple[str, ...]:
        """That of the label, or of the tags."""
        return super().label_columns if self.tags is None else (self.tags,)
