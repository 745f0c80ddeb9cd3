"""One isolation forest of all samples and, where samples are compared within classes, one for each class.

In: a ``GradientBatch``. Out: scores by the forest of each sample's class.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from ogacli.detectors.forest.forest import Forest
from ogacli.gradients import GradientBatch

_ALL = "all"
"""The name of the forest of all samples in the state."""


@dataclass(frozen=True, slots=True)
class Forests:
    """A forest of all samples and those of the classes."""

    whole: Forest
    classes: Mapping[int, Forest] = field(default_factory=dict)
    """By given label; a class with fewer than two samples has none. Empty unless compared within classes."""

    def score(self, batch: GradientBatch) -> Float[Tensor, " b"]:
        """Scores by the forest of each sample's label, or by the whole where it has none; 0 to 1, float64."""
        if not self.classes:
            return self.whole.score(batch)
        found = torch.empty(len(batch), dtype=torch.float64, device=batch.residual.device)
        for label in torch.unique(batch.labels).tolist():
            here = (batch.labels == label).nonzero()[:, 0]
            found[here] = self.classes.get(label, self.whole).score(batch.select(here))
        return found

    def coordinates(self) -> Int64[Tensor, " f"]:
        """The coordinates of all inner nodes, ascending, each once; on the CPU."""
        forests = (self.whole, *self.classes.values())
        coords: Tensor = torch.unique(torch.cat([one.coordinate[one.left > 0].cpu() for one in forests]))
        return coords

    def joined(self, other: "Forests") -> "Forests":
        """The trees of both; the other one has the same classes."""
        classes = {label: Forest.merged([one, other.classes[label]]) for label, one in self.classes.items()}
        return Forests(Forest.merged([self.whole, other.whole]), classes)

    def halves(self) -> tuple["Forests", "Forests"]:
        """The trees with even and with odd numbers."""
        even, odd = self.whole.halves()
        evens, odds = {}, {}
        for label, one in self.classes.items():
            evens[label], odds[label] = one.halves()
        return Forests(even, evens), Forests(odd, odds)

    def to(self, device: torch.device) -> "Forests":
        """The same on a device; itself where it is there already."""
        if self.whole.left.device == device:
            return self
        classes = {label: forest.to(device) for label, forest in self.classes.items()}
        return Forests(self.whole.to(device), classes)

    def state(self) -> dict[str, Tensor]:
        """The arrays of the forests under ``all.`` and under ``<label>.`` of each class, on the CPU."""
        named = {_ALL: self.whole} | {str(label): forest for label, forest in self.classes.items()}
        arrays = {name: forest.state() for name, forest in named.items()}
        return {f"{name}.{key}": value for name, own in arrays.items() for key, value in own.items()}

    @classmethod
    def of(cls, state: Mapping[str, Tensor]) -> "Forests":
        """From what ``state`` returned."""
        parts: dict[str, dict[str, Tensor]] = {}
        for key, value in state.items():
            name, _, array = key.partition(".")
            parts.setdefault(name, {})[array] = value
        return cls(Forest.of(parts.pop(_ALL)), {int(name): Forest.of(part) for name, part in parts.items()})
