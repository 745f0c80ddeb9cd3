"""``Columns``: the use of the columns of a table, made by a source, shown by terminal, summary and report."""

from dataclasses import dataclass, field

from ogacli.base.wording import cut, listed, number

_FEATURES, _LEFT_OUT = 12, 8
"""Names that are shown."""
_SHOWN = 80


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A column that is not used."""

    name: str
    why: str


@dataclass(frozen=True, slots=True)
class Columns:
    """The columns of a table that are inputs, those that are not, and what is unusual about the table."""

    features: tuple[str, ...] = ()
    """Columns, in order; none where the inputs are texts or images."""
    inputs: int = 0
    """Numbers a sample: a list, or a category, is more than one."""
    left_out: tuple[LeftOut, ...] = ()
    notes: tuple[str, ...] = field(default=())
    """Sentences without full stop."""

    def lines(self) -> list[str]:
        """The features, and the columns that are left out, as shown to users."""
        lines = []
        if self.features:
            noun = "1 feature" if len(self.features) == 1 else f"{number(len(self.features))} features"
            width = f" ({number(self.inputs)} numbers)" if self.inputs != len(self.features) else ""
            names = [cut(name, _SHOWN) for name in self.features]
            lines.append(f"{noun}{width}: {listed(names, _FEATURES)}")
        if self.left_out:
            reasons = [f"{cut(one.name, _SHOWN)} ({one.why})" for one in self.left_out]
            lines.append(f"left out: {listed(reasons, _LEFT_OUT)}")
        return lines
