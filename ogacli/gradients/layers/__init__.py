"""What a call that reads parameters leaves of each sample's gradient: one small file a family of functions.

A *rule* belongs to functions of torch, such as ``torch.nn.functional.linear``, and not to module types:
whatever module, or free code, calls the function, the rule holds. It is called after the backward pass with
the ``Reading`` and the arguments that the function was called with, and yields, for each parameter among
them, the ``Part`` whose coordinates run over that parameter as ``parameter.flatten()`` does:

    @reads(torch.nn.functional.linear)
    def linear(reading, input, weight, bias=None):
        if reading.wants(bias):
            yield bias, Plain(reading.gradient.flatten(1, -2).sum(1))

A rule for a further function is a further file here; other packages offer theirs by an entry point in the
group ``ogacli.gradients.layers``.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

from jaxtyping import Float, Shaped
from torch import Tensor

from ogacli.base.registry import Registry
from ogacli.gradients.layers.axis import SampleAxis
from ogacli.gradients.layers.part import Part


class NotCovered(Exception):
    """Raised by a rule for arguments that it does not know; the parameters are then left to the fallback."""


@dataclass(frozen=True, slots=True)
class Reading:
    """One call that read parameters, after the backward pass."""

    gradient: Float[Tensor, "b ..."]
    """Of each sample's loss with respect to what the call returned, samples first."""
    b: int
    """How many samples."""
    rank: int
    """Dimensions of what the call returned; the gradient has one more where a dimension was shared."""
    axis: SampleAxis
    """Where the samples are in what the call returned."""
    wanted: frozenset[int]
    """``id`` of each argument whose gradient is asked for."""

    def wants(self, tensor: Tensor | None) -> bool:
        """Whether the gradient of this argument is asked for."""
        return tensor is not None and id(tensor) in self.wanted

    def first(self, tensor: Shaped[Tensor, "..."]) -> Shaped[Tensor, "b ..."]:
        """An argument whose dimensions are those of the output, with the samples first."""
        if not self.axis.fits(tensor.shape, self.b):
            raise NotCovered(f"an argument of shape {list(tensor.shape)} for {self.b} samples")
        return self.axis.first(tensor, self.b)


Rule = Callable[..., Iterator[tuple[Tensor, Part]]]

_rules: dict[Any, Rule] = {}
_families: Registry[Any] = Registry("ogacli.gradients.layers", "layer family")


def reads(*functions: Any) -> Callable[[Rule], Rule]:
    """Decorator: the rule of these functions."""

    def register(rule: Rule) -> Rule:
        _rules.update(dict.fromkeys(functions, rule))
        return rule

    return register


def rule_of(function: Any) -> Rule | None:
    """The rule of a function; None where there is none."""
    _load()
    return _rules.get(function)


@cache
def _load() -> None:
    _families.names()
