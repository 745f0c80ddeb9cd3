"""``Relation``: how related queries are to training samples, or to groups of them, by each method."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Relation:
    """Scores by method; higher = more related, NaN where a gradient is missing. The first method decides."""

    single: Mapping[str, Float[Tensor, "q n"]]
    """Methods that score single training samples."""
    grouped: Mapping[str, Float[Tensor, "q g"]]
    """Methods that score groups."""
    groups: tuple[str, ...]
    group_of: Int64[Tensor, " n"]
    related: Bool[Tensor, "q n"] | None
    """Which training samples are truly related, where that is known."""

    def each_sample(self) -> dict[str, Float[Tensor, "q n"]]:
        """The scores by all methods; a method that scores groups gives a sample the score of its group."""
        return {name: scores[:, self.group_of] for name, scores in self.grouped.items()} | dict(self.single)

    def each_group(self) -> dict[str, Float[Tensor, "q g"]]:
        """The scores by all methods; a method that scores samples gives a group the mean over its samples."""
        members = [self.group_of == g for g in range(len(self.groups))]
        return dict(self.grouped) | {
            name: torch.stack([scores[:, rows].nanmean(1) for rows in members], 1)
            for name, scores in self.single.items()
        }

    def ranked(self, top: int) -> tuple[dict[str, Tensor], Int64[Tensor, "q k"]]:
        """The scores that are listed, and the groups or samples with the highest ones of the first method."""
        scores = self.each_group() if self.groups else self.each_sample()
        first = next(iter(scores.values()))
        order = first.nan_to_num(-torch.inf).argsort(dim=1, descending=True, stable=True)
        return scores, order if self.groups else order[:, :top]
