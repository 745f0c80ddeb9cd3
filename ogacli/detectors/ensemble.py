"""Several detectors as one: the mean of the ranks that each one gives a sample.

A rank is the share of a fixed set of samples that score lower, so that detectors of different units add up.
"""

import functools
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any

import torch
from jaxtyping import Float
from pydantic import BeforeValidator, Field, PlainSerializer, ValidationError
from torch import Tensor

from ogacli.base.registry import type_name
from ogacli.detectors import Detector, DetectorOptions, LayeredOptions, Needs, detectors
from ogacli.detectors._state import prefixed, under
from ogacli.detectors.norm import NormOptions
from ogacli.errors import DataError
from ogacli.gradients import GradientBatch
from ogacli.gradients.repeated import Repeated, first


def _member(value: Any) -> Any:
    """The options of a detector from its name, or from a section with ``name``."""
    if isinstance(value, DetectorOptions):
        return value
    section = {"name": value} if isinstance(value, str) else value
    if not isinstance(section, dict) or "name" not in section:
        raise ValueError("each of `of` is a detector's name, or a section with `name`")
    name = str(section["name"])
    try:
        found = detectors.get(name).model_validate({k: v for k, v in section.items() if k != "name"})
    except ValidationError as error:
        told = (f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors())
        raise ValueError(f"{name}: {'; '.join(told)}") from None
    if isinstance(found, LayeredOptions) and found.layers is not None:
        raise ValueError("`layers` is for a detector by itself, not for one of several")
    if isinstance(found, NormOptions) and found.per_class:
        raise ValueError("`per_class` ranks need all samples at once, so they cannot be one of several")
    return found


def _section(options: DetectorOptions) -> dict[str, Any]:
    return {"name": type_name(options)} | options.model_dump(mode="json", exclude_none=True)


Member = Annotated[DetectorOptions, BeforeValidator(_member), PlainSerializer(_section)]


@detectors.register
class Ensemble(DetectorOptions):
    """Score = mean over several detectors of the share of samples that score lower, from 0 to 1."""

    of: tuple[Member, ...] = Field(
        default_factory=lambda: (_member("l2"), _member("latent_label")), min_length=1
    )
    """The detectors, each by its name or as a section."""
    compared: Annotated[int, Field(ge=2)] = 20_000
    """Size of the set of samples that scores are ranked among."""
    seed: int = 0
    """Seed of the choice of those samples."""

    def detector(self) -> "Together":
        """The detectors together, not fitted yet."""
        return Together(self.of, self.compared)


class Together(Detector):
    """Averages the ranks of several detectors."""

    def __init__(self, of: Iterable[DetectorOptions], compared: int) -> None:
        self.members: list[Detector] = [options.detector() for options in of]
        self.compared = compared
        self.sizes = [0] * len(self.members)
        self.known: list[Tensor] = []
        """The scores of the samples of the fit by each detector, ascending."""

    @property
    def wants_validation(self) -> bool:
        """Whether any of them wants it."""
        return any(one.wants_validation for one in self.members)

    def see_validation(self, mean: Float[Tensor, " p"]) -> None:
        """Pass it to those that want it."""
        for one in self.members:
            if one.wants_validation:
                one.see_validation(mean)

    def needs(self, batch: GradientBatch | None = None) -> Needs:
        """What all of them need together."""
        return Needs.union(one.needs(batch) for one in self.members)

    def fit_size(self, n: int) -> int:
        """The most that any of them needs, and at least ``compared``."""
        self.sizes = [one.fit_size(n) for one in self.members]
        return max(min(n, self.compared), *self.sizes)

    def fit(self, batches: Iterable[GradientBatch]) -> None:
        """Fit each detector, then score the first ``compared`` samples with all of them.

        Raises:
            DataError: There is no sample.
        """
        for one, size in zip(self.members, self.sizes, strict=True):
            if size:
                one.fit(Repeated(functools.partial(first, batches, size)))
        found: list[list[Tensor]] = [[] for _ in self.members]
        for batch in first(batches, self.compared):
            for one, scores in zip(self.members, found, strict=True):
                scores.append(one.score(batch).double())
        if not found[0]:
            raise DataError("no sample to compare scores with", expected="at least one that can be read")
        self.known = [torch.cat(scores).sort().values for scores in found]

    def score(self, batch: GradientBatch) -> Float[Tensor, " b"]:
        """The mean rank, from 0 to 1; float64."""
        assert self.known, "fit or restore first"
        self.known = [known.to(batch.residual.device) for known in self.known]
        shares = [
            share_below(known, one.score(batch).double())
            for known, one in zip(self.known, self.members, strict=True)
        ]
        return torch.stack(shares).mean(0)

    def state(self) -> dict[str, Tensor]:
        """The state of each detector under its number, with the scores of the samples of the fit."""
        found = {f"{i}.known": known.cpu() for i, known in enumerate(self.known)}
        for i, one in enumerate(self.members):
            found |= prefixed(f"{i}.state.", one.state())
        return found

    def join(self, states: Sequence[Mapping[str, Tensor]]) -> None:
        """Let each detector take its own."""
        for i, one in enumerate(self.members):
            one.join([under(f"{i}.state.", state) for state in states])

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Take what ``state`` returned."""
        self.known = [state[f"{i}.known"] for i in range(len(self.members))]
        for i, one in enumerate(self.members):
            one.restore(under(f"{i}.state.", state))


def share_below(known: Float[Tensor, " m"], scores: Float[Tensor, " b"]) -> Float[Tensor, " b"]:
    """The share of known scores below each score, from 0 to 1; strictly increasing.

    Between two known scores it is interpolated linearly, and beyond the highest and lowest it tends to 1 and
    0, so that different scores have different shares.

    Args:
        known: Ascending.
        scores: Any.
    """
    m = len(known)
    below = torch.searchsorted(known, scores)
    low, high = known[(below - 1).clamp_min(0)], known[below.clamp_max(m - 1)]
    widths = [known[-1] - known[m // 2], known[-1] - known[0], torch.ones_like(known[0])]
    width = next(one for one in widths if one > 0)
    inside = (scores - low) / (high - low).clamp_min(torch.finfo(known.dtype).tiny)
    beyond = (scores - known[-1]) / (scores - known[-1] + width)
    under = (known[0] - scores) / (known[0] - scores + width)
    steps = torch.where(below == 0, -under.clamp_min(0), torch.where(below == m, beyond, inside))
    return (below + steps + 1) / (m + 2)
