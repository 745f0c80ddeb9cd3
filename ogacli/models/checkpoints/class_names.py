"""Compare the names that a model has for its outputs with the classes of a dataset.

In: both lists of names. Out: whether they name the same classes in the same order; an error where the order
differs.
"""

import json
import re
from collections.abc import Sequence

from ogacli.base.wording import cut
from ogacli.errors import CheckpointError
from ogacli.models.checkpoints.writing import unnamed

_GENERIC = re.compile(r"LABEL_\d+")
_LISTED, _SHOWN = 200, 300
"""Names that a message has in a line to copy, and characters of a list to read."""


def proper(names: Sequence[str]) -> tuple[str, ...]:
    """The names; none where they are only numbers, such as ``LABEL_0``."""
    generic = unnamed(names) or all(_GENERIC.fullmatch(name) for name in names)
    return () if generic else tuple(names)


def same_order(names: Sequence[str], classes: Sequence[str], place: str, *, listed: str = "") -> bool:
    """Whether names of outputs are the classes, in their order; further names may follow.

    Capitals make no difference. False where the model has no names, or other ones.

    Args:
        names: Of the outputs, in their order.
        classes: Of the dataset.
        place: Where the names come from, for the message.
        listed: What prints the names, where there are too many for a message.

    Raises:
        CheckpointError: The model has these names in another order.
    """
    theirs, ours = [name.casefold() for name in names], [name.casefold() for name in classes]
    if not ours or not set(ours) <= set(theirs):
        return False
    if ours == theirs[: len(ours)]:
        return True
    few = len(names) <= _LISTED and len(set(theirs)) == len(theirs)
    raise CheckpointError(
        "the network's classes are in another order than those of the data",
        place=place,
        found=cut(", ".join(names), _SHOWN),
        expected=cut(", ".join(classes), _SHOWN),
        hint=f"add `classes: {json.dumps(_spelled(names, classes), ensure_ascii=False)}` to the data section"
        if few or not listed
        else f"list all {len(names):,} names in that order as `classes` in the data section: {listed}",
    )


def _spelled(names: Sequence[str], classes: Sequence[str]) -> list[str]:
    """The names, spelled as in the data where it has them."""
    ours = {name.casefold(): name for name in classes}
    return [ours.get(name.casefold(), name) for name in names]
