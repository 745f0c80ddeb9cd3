"""Originals whose labels stand in columns."""

from ogacli.data.originals import Original


class Labelled(Original):
    """A row a sample, with its label in one column or in several."""

    label: str | tuple[str, ...] | None = None
    """The columns of the labels."""
    separator: str | None = None
    """The text between two classes of a sample."""

    @property
    def label_columns(self) -> tuple[str, ...]:
        """The columns that hold the label; none where there is none to replace."""
        if self.label is None:
            return ()
        return (self.label,) if isinstance(self.label, str) else self.label
