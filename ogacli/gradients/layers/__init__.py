"""Rules for the per-sample gradients of parameters: one file a family of torch functions.

A *rule* belongs to functions of torch, such as ``torch.nn.functional.linear``, and not to module types, so
that it holds wherever the function is called. It is called after the backward pass with the ``Reading`` and
the arguments of the function. For each parameter among them it yields a ``Part``, whose coordinates run over
the parameter as ``parameter.flatten()`` does:

    @reads(torch.nn.functional.linear)
    def linear(reading, input, weight, bias=None):
        if reading.wants(bias):
            yield bias, Plain(reading.gradient.flatten(1, -2).sum(1))

A rule for another function is another file here; other packages add theirs by an entry point in the group
``ogacli.gradients.layers``.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeGuard

from jaxtyping import Float, Shaped
from torch import Tensor

from ogacli.base.registry import Registry
from ogacli.gradients.layers.axis import SampleAxis
from ogacli.gradients.layers.part import Part


class NotCovered(Exception):
    """Raised by a rule that does not cover these arguments; the fallback then computes the gradients."""


@dataclass(frozen=True, slots=True)
class Reading:
    """One call of a function with parameters among its arguments, after the backward pass."""

    gradient: Float[Tensor, "b ..."]
    """Gradient of each sample's loss with respect to the output of the call, samples first."""
    b: int
    """Number of samples."""
    rank: int
    """Dimensions of the output; the gradient has one more where samples and positions shared a dimension."""
    axis: SampleAxis
    """The dimension of the samples in the output."""
    wanted: frozenset[int]
    """``id`` of each argument whose gradient is needed."""

    def wants(self, tensor: Tensor | None) -> TypeGuard[Tensor]:
        """Whether the gradient of this argument is needed."""
        return tensor is not None and id(tensor) in self.wanted

    def first(self, tensor: Shaped[Tensor, "..."]) -> Shaped[Tensor, "b ..."]:
        """An argument with the same dimensions as the output, samples moved to the front."""
        if not self.axis.fits(tensor.shape, self.b):
            raise NotCovered(f"an argument of shape {list(tensor.shape)} for {self.b} samples")
        return self.axis.first(tensor, self.b)


Rule = Callable[..., Iterator[tuple[Tensor, Part]]]

_rules: dict[Any, Rule] = {}
_families: Registry[Any] = Registry("ogacli.gradients.layers", "layer family")


def reads(*functions: Any) -> Callable[[Rule], Rule]:
    """Decorator: register the rule of these functions."""

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
