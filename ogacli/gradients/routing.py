"""Find the activations whose rows a network picks by their values, as a mixture of experts does.

In: the torch functions of a forward pass, one after the other. Out: whether a tensor holds picked rows. Which
row of such a tensor belongs to which sample changes from batch to batch, so that no fixed dimension is that
of the samples.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.weak import WeakIdKeyDictionary

_PICKS = frozenset(("nonzero", "argwhere", "masked_select", "unique", "unique_consecutive"))
"""Functions whose output has as many rows as the values decide."""
_ORDERS = frozenset(("sort", "argsort", "msort"))
"""Functions whose output names rows in an order that the values decide."""


class Routing:
    """The tensors of one forward pass that hold picked rows, or name them."""

    def __init__(self) -> None:
        self._picked: WeakIdKeyDictionary = WeakIdKeyDictionary()

    def holds(self, tensors: Sequence[Tensor]) -> bool:
        """Whether one of the tensors does."""
        return any(tensor in self._picked for tensor in tensors)

    def see(self, func: Any, args: tuple[Any, ...], given: Sequence[Tensor], output: Any) -> None:
        """Note what a function returned.

        Args:
            func: The function.
            args: Its positional arguments.
            given: All tensors among its arguments, of which not all are constants.
            output: What it returned.
        """
        name = func.__name__
        if name.endswith("_") and not name.endswith("__"):
            return  # rows are put back into a tensor of all samples
        if _picks(name, args) or self.holds(given):
            found = list(_tensors(output))
        elif name in _ORDERS:
            found = [one for one in _tensors(output) if not one.is_floating_point()]
        else:
            return
        for tensor in found:
            self._picked[tensor] = True


def called_in_one(one: Sequence[tuple[Any, ...]], other: Sequence[tuple[Any, ...]]) -> set[int]:
    """The parameters that one of two passes calls and the other does not, as experts without samples.

    Args:
        one: The calls of a pass: the function, then the ``id`` of each parameter among the arguments.
        other: Those of another pass.

    Returns:
        Their ``id``; empty where the passes differ in something else.
    """
    more, less = Counter(one) - Counter(other), Counter(other) - Counter(one)
    here, there = ({key for call in calls for key in call[1:]} for calls in (more, less))
    nameless = any(len(call) == 1 for call in (*more, *less))
    return set() if nameless or here & there else here | there


def _picks(name: str, args: tuple[Any, ...]) -> bool:
    if name == "__getitem__":
        index = args[1] if isinstance(args[1], tuple) else (args[1],)
        return any(isinstance(part, Tensor) and part.dtype == torch.bool for part in index)
    return name in _PICKS or (name == "where" and len(args) == 1)


def _tensors(output: Any) -> Iterator[Tensor]:
    if isinstance(output, Tensor):
        yield output
    elif isinstance(output, tuple | list):
        for one in output:
            yield from _tensors(one)
