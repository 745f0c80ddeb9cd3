"""Influence of a sample by its gradient: ``g' A v``, with A an approximate inverse of the curvature.

In: gradients of training samples, and either the mean gradient v of samples that are known to be good, or
nothing (self-influence, v = g). Out: a score; **higher = more harmful**, so against a mean gradient it is
minus the inner product. The curvature is the empirical Fisher matrix of the samples that are fitted, one
block a parameter: G = 1/m sum_i g_i g_i', with damping as in Kwon et al. (ICLR 2024, arXiv 2310.00902):
lambda = damping * mean_i |g_i|^2 / p of the block.
"""

from abc import abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal, Protocol

import torch
from jaxtyping import Float, Int64
from pydantic import Field
from torch import Tensor

from ogacli.detectors import DetectorOptions
from ogacli.detectors.influence.form import Form, Held, joined
from ogacli.errors import ConfigError, DataError, GradientError
from ogacli.gradients import GradientBatch
from ogacli.gradients.layers.linear import Outer, Plain
from ogacli.gradients.products import blocks, dots, mean_gradient, squares

_HELD = 1 << 28
"""Gradient entries that self-influence may hold where a layer's gradient has no two factors: 1 GiB."""


class InfluenceOptions(DetectorOptions):
    """What the influence methods have in common."""

    against: Literal["auto", "validation", "training", "self"] = "auto"
    """What a sample's gradient is held against: the mean gradient of the ``validation:`` section or of the
    training samples, or the sample itself; ``auto`` is the validation section where there is one, else the
    training samples."""
    fit_samples: Annotated[int, Field(ge=1)] = 10_000
    """How many training samples the curvature, or the mean training gradient, is taken from."""
    seed: int = 0
    """Which samples those are."""

    @property
    def column(self) -> str:
        """With what it is held against, where that is said."""
        return super().column + ("" if self.against == "auto" else f"_{self.against}")

    @abstractmethod
    def inverse(self) -> "Inverse":
        """The approximation of the inverse curvature."""

    def detector(self) -> "Influence":
        """A detector that has seen nothing yet."""
        return Influence(self, self.inverse())


class Inverse(Protocol):
    """A = an approximation of (G + lambda)^-1, block by block."""

    fitted: ClassVar[bool]
    """False for the identity, which no sample need be seen for."""

    def direction(self, batches: Iterable[GradientBatch], vector: Float[Tensor, " p"]) -> Float[Tensor, " p"]:
        """A v; goes through the batches as often as it must."""
        ...

    def form(self, held: Held) -> Form:
        """``g' A g`` of one block, given the gradients that it is fitted to."""
        ...


@dataclass(frozen=True, slots=True)
class Curvature:
    """How steep each block is over the fitted samples."""

    steepness: Float[Tensor, " l"]
    """Mean squared norm of the gradients: the trace of G."""
    damping: Float[Tensor, " l"]
    """lambda."""
    sizes: tuple[int, ...]
    """Parameters in each block."""
    count: int
    """Samples."""

    @classmethod
    def measured(cls, batches: Iterable[GradientBatch], damping: float) -> "Curvature":
        """In one pass over the batches.

        Raises:
            DataError: There is no sample.
        """
        total, count = torch.zeros(1), 0
        sizes: tuple[int, ...] = ()
        for batch in batches:
            found = squares(batch).sum(0)
            total, count = found + (total if count else 0), count + len(batch)
            sizes = tuple(part.p for part in blocks(batch))
        if not count:
            raise _no_sample()
        steepness = total / count
        return cls(steepness, damping * steepness / torch.tensor(sizes).to(steepness), sizes, count)

    def only_steep(self, values: Float[Tensor, "... l"]) -> Float[Tensor, "... l"]:
        """The values, but 0 for blocks on which no loss depends: there is nothing to invert."""
        return torch.where(self.steepness > 0, values, 0.0)


class Influence:
    """Scores samples by their influence."""

    def __init__(self, options: InfluenceOptions, inverse: Inverse) -> None:
        self.options = options
        self.inverse = inverse
        self.direction: Tensor | None = None
        """A v, or v before ``fit``."""
        self.forms: list[Form] = []

    @property
    def wants_validation(self) -> bool:
        """Whether it can make use of validation gradients."""
        return self.options.against in ("auto", "validation")

    def see_validation(self, mean: Float[Tensor, " p"]) -> None:
        """Take the mean validation gradient; before ``fit``."""
        self.direction = mean

    def fit_size(self, n: int) -> int:
        """``fit_samples``, or none where the gradients are held against one another as they are.

        Raises:
            ConfigError: ``against: validation``, but no validation gradients were seen.
        """
        if self.options.against == "validation" and self.direction is None:
            raise ConfigError(
                "there is nothing to hold the samples against",
                place="detector.against",
                found="validation",
                expected="a section `validation: {source: ..}` of samples whose labels are right",
                hint="add one, or say `against: training` or `against: self`",
            )
        known = self.direction is not None or self.options.against == "self"
        return 0 if known and not self.inverse.fitted else min(n, self.options.fit_samples)

    def fit(self, batches: Iterable[GradientBatch]) -> None:
        """Find what the samples are held against.

        Raises:
            DataError: There is no sample.
            GradientError: Self-influence would have to hold too much.
        """
        if self.options.against == "self":
            self._fit_forms(batches)
            return
        vector = mean_gradient(batches) if self.direction is None else self.direction
        if vector is None:
            raise _no_sample()
        self.direction = self.inverse.direction(batches, vector)

    def score(self, batch: GradientBatch) -> Float[Tensor, " b"]:
        """Self-influence, or minus the inner product; float64."""
        device = batch.residual.device
        if self.options.against != "self":
            assert self.direction is not None, "fit or restore first"
            self.direction = self.direction.to(device)
            return -dots(batch, self.direction).sum(1)
        if not self.inverse.fitted:
            return batch.norm(2).square()
        assert self.forms, "fit or restore first"
        self.forms = [form.to(device) for form in self.forms]
        return torch.stack(
            [form.of(part, len(batch)) for form, part in zip(self.forms, blocks(batch), strict=True)]
        ).sum(0)

    def finish(self, scores: Float[Tensor, " n"], labels: Int64[Tensor, " n"]) -> Float[Tensor, " n"]:
        """The scores as they are."""
        return scores

    def state(self) -> dict[str, Tensor]:
        """The direction, or the quadratic form of each block."""
        if self.direction is not None:
            return {"direction": self.direction.cpu()}
        return {
            f"{i}.{name}": tensor.cpu()
            for i, form in enumerate(self.forms)
            for name, tensor in form.state().items()
        }

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Take what ``state`` gave."""
        self.direction = state.get("direction")
        parts: dict[int, dict[str, Tensor]] = {}
        for key, tensor in state.items():
            index, dot, name = key.partition(".")
            if dot:
                parts.setdefault(int(index), {})[name] = tensor
        self.forms = [Form.restored(parts[i]) for i in sorted(parts)]

    def _fit_forms(self, batches: Iterable[GradientBatch]) -> None:
        held: list[list[Held]] = []
        entries = 0
        for batch in batches:
            parts = blocks(batch)
            held = held or [[] for _ in parts]
            each = sum(part.p for part in parts if not isinstance(part, Outer))
            entries += each * len(batch)
            if entries > _HELD:
                raise GradientError(
                    "self-influence would hold too many gradient entries of the fitted samples",
                    place="detector.against: self",
                    found=f"{each:,} for each of {self.options.fit_samples:,} samples",
                    expected=f"at most {_HELD:,} in all",
                    hint=f"set `fit_samples` to {max(1, _HELD // each):,} or less, or select fewer layers",
                )
            for own, part in zip(held, parts, strict=True):
                own.append(part if isinstance(part, Outer) else Plain(part.dense()))
        if not held:
            raise _no_sample()
        self.forms = [self.inverse.form(joined(own)) for own in held]


def _no_sample() -> DataError:
    return DataError("no sample to fit to", expected="at least one that can be read")
