"""Class names that differ from the labels in a few characters: blanks, case, leading zeros.

In: the names, and the labels as text. Out: an error, a note, or the next step of a message.
"""

import re
from collections.abc import Sequence

import pyarrow as pa

from ogacli.base.wording import listed, scalar
from ogacli.errors import DataError

_LISTED = 20
"""Class names that a message lists."""


def whole(name: str) -> bool:
    """Whether a name is a whole number."""
    return re.fullmatch(r"-?\d+", name) is not None


def listed_names(names: Sequence[str]) -> str:
    """The key ``classes`` with these names, as it is written in a config."""
    shown = ", ".join(map(scalar_of, names[:_LISTED]))
    return f"`classes: [{shown}{', ..' if len(names) > _LISTED else ''}]`"


def scalar_of(name: str) -> str:
    """A class name in YAML; negative numbers need no quotes."""
    return name if re.fullmatch(r"-[1-9]\d*", name) else scalar(name)


def check_blanks(names: Sequence[str]) -> tuple[str, ...]:
    """Notes on class names with blanks around them, and on names that differ only in case.

    Args:
        names: The names that occur in the labels.

    Raises:
        DataError: Names differ only in such blanks.
    """
    notes = []
    stripped: dict[str, list[str]] = {}
    cased: dict[str, list[str]] = {}
    for name in names:
        stripped.setdefault(name.strip(), []).append(name)
        cased.setdefault(name.strip().casefold(), []).append(name)
    same = next((group for group in stripped.values() if len(group) > 1), None)
    if same is not None:
        raise DataError(
            "class names differ only in the blanks around them",
            found=listed([repr(name) for name in same]),
            hint="remove the blanks from the labels; or, if these are different classes, list all `classes`",
        )
    blank = [repr(name) for name in names if name != name.strip()]
    if blank:
        notes.append(f"class names have blanks around them: {listed(blank, 4)}")
    same = next((group for group in cased.values() if len(group) > 1), None)
    if same is not None:
        notes.append(f"class names differ only in case: {listed([repr(name) for name in same], 4)}")
    return tuple(notes)


def hint_on_spelling(labels: pa.Array, unknown: pa.Array, names: Sequence[str]) -> str | None:
    """How to spell ``classes`` so that they are those of the labels; None where that is not known.

    Args:
        labels: As text.
        unknown: Which labels are none of the names.
        names: The names that the user gave.
    """
    occurring = labels.unique().to_pylist()
    strange = labels.filter(unknown).unique().to_pylist()
    if not strange:
        return None
    if any(name.strip() in names or name.strip() in occurring for name in strange if name != name.strip()):
        shown = listed([repr(name) for name in strange if name != name.strip()], 4)
        return f"remove the blanks around labels in the table: {shown}"
    spelled = {_bare(name): name for name in reversed(occurring)}
    corrected = [name if name in occurring else spelled.get(_bare(name), name) for name in names]
    if all(map(whole, occurring)) and any(name.startswith("-") for name in strange):
        return f"where these are classes, list them: {listed_names(sorted(occurring, key=int))}"
    if not set(strange) <= set(corrected) or len(set(corrected)) < len(corrected):
        return None
    return f"spell them as the labels do: {listed_names(corrected)}"


def _bare(name: str) -> str:
    """The name without what may be spelled in several ways."""
    try:
        return f"{float(name):.15g}"
    except ValueError:
        return name.strip().casefold()
