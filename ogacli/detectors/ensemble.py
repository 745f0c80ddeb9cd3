"""Several detectors as one: the mean of where each one places a sample among others."""

import functools
from collections.abc import Iterable, Mapping
from typing import Annotated, Any

import torch
from jaxtyping import Float, Int64
from pydantic import BeforeValidator, Field, PlainSerializer, ValidationError
from torch import Tensor

from ogacli.base.registry import type_name
from ogacli.detectors import Comparing, Detector, DetectorOptions, LayeredOptions, detectors
from ogacli.detectors.norm import NormOptions
from ogacli.errors import DataError
from ogacli.gradients import GradientBatch
from ogacli.gradients.repeated import Repeated, first


def _member(value: Any) -> Any:
    """A name, or a section with ``name``, as the options of that detector."""
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
        raise ValueError("`layers` is for detectors of their own, not for one of several")
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
    """Names or sections of detectors."""
    compared: Annotated[int, Field(ge=2)] = 20_000
    """How many samples each one's scores are placed among."""
    seed: int = 0
    """Which."""

    def detector(self) -> "Together":
        """The detectors, not fitted yet."""
        return Together(self.of, self.compared)


class Together:
    """Detectors whose scores are averaged once each is a share of the samples."""

    def __init__(self, of: Iterable[DetectorOptions], compared: int) -> None:
        self.members: list[Detector] = [options.detector() for options in of]
        self.compared = compared
        self.sizes = [0] * len(self.members)
        self.known: list[Tensor] = []
        """The scores that each one gave the samples of the fit, ascending."""

    @property
    def wants_validation(self) -> bool:
        """Whether any of them does."""
        return any(isinstance(one, Comparing) and one.wants_validation for one in self.members)

    def see_validation(self, mean: Float[Tensor, " p"]) -> None:
        """Show it to those that want it."""
        for one in self.members:
            if isinstance(one, Comparing) and one.wants_validation:
                one.see_validation(mean)

    def fit_size(self, n: int) -> int:
        """What any of them needs, and enough to place scores among."""
        self.sizes = [one.fit_size(n) for one in self.members]
        return max(min(n, self.compared), *self.sizes)

    def fit(self, batches: Iterable[GradientBatch]) -> None:
        """Fit each, then score the samples with all.

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
        """The mean share."""
        assert self.known, "fit or restore first"
        self.known = [known.to(batch.residual.device) for known in self.known]
        shares = [
            share_below(known, one.score(batch).double())
            for known, one in zip(self.known, self.members, strict=True)
        ]
        return torch.stack(shares).mean(0)

    def finish(self, scores: Float[Tensor, " n"], labels: Int64[Tensor, " n"]) -> Float[Tensor, " n"]:
        """The scores as they are."""
        return scores

    def state(self) -> dict[str, Tensor]:
        """Of each one under its number, with the scores that others are placed among."""
        found = {f"{i}.known": known.cpu() for i, known in enumerate(self.known)}
        for i, one in enumerate(self.members):
            found |= {f"{i}.state.{key}": value for key, value in one.state().items()}
        return found

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Take what ``state`` gave."""
        self.known = [state[f"{i}.known"] for i in range(len(self.members))]
        for i, one in enumerate(self.members):
            prefix = f"{i}.state."
            one.restore(
                {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
            )


def share_below(known: Float[Tensor, " m"], scores: Float[Tensor, " b"]) -> Float[Tensor, " b"]:
    """For each score the share of the known ones, ascending, that lie below it.

    Between two known scores it rises in a straight line, and above the highest it goes on rising towards 1,
    so that scores which differ stay apart.
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
