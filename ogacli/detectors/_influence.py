"""What the influence methods share: influence of a sample by its gradient, ``g' A v``.

A is an approximation of the inverse curvature (``influence/curvature.py``). v is the mean gradient of
validation or training samples, or the sample's own gradient (self-influence). The score is **higher for more
harmful** samples: against a mean gradient it is minus the inner product.
"""

from abc import abstractmethod
from collections.abc import Iterable, Mapping
from typing import Annotated, Literal

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from ogacli.detectors import Detector, DetectorOptions
from ogacli.detectors._state import prefixed, under
from ogacli.detectors.influence.curvature import InverseCurvature, no_sample
from ogacli.detectors.influence.quadratic_form import Held, QuadraticForm, joined
from ogacli.errors import ConfigError, GradientError
from ogacli.gradients import GradientBatch
from ogacli.gradients.layers.linear import Outer, Plain
from ogacli.gradients.products import blocks, dots, mean_gradient

_HELD = 1 << 28
"""Gradient entries that self-influence may hold where a layer's gradient has no two factors: 1 GiB."""


class InfluenceOptions(DetectorOptions):
    """Base of the options of the influence methods."""

    against: Literal["auto", "validation", "training", "self"] = "auto"
    """What a sample's gradient is compared with: the mean gradient of the ``validation:`` section or of the
    training samples, or the sample itself; ``auto`` is the validation section where there is one, else the
    training samples."""
    fit_samples: Annotated[int, Field(ge=1)] = 10_000
    """How many training samples the curvature, or the mean training gradient, is computed from."""
    seed: int = 0
    """Seed of the choice of those samples."""

    @property
    def column(self) -> str:
        """The detector's name, followed by ``against`` unless that is ``auto``."""
        return super().column + ("" if self.against == "auto" else f"_{self.against}")

    @abstractmethod
    def inverse(self) -> InverseCurvature:
        """The approximation of the inverse curvature."""

    def detector(self) -> "Influence":
        """A detector that is not fitted yet."""
        return Influence(self, self.inverse())


class Influence(Detector):
    """Scores samples by their influence."""

    def __init__(self, options: InfluenceOptions, inverse: InverseCurvature) -> None:
        self.options = options
        self.inverse = inverse
        self.direction: Tensor | None = None
        """A v; v before ``fit``; None for self-influence."""
        self.forms: list[QuadraticForm] = []
        """Of each block, for self-influence."""

    @property
    def wants_validation(self) -> bool:
        """Whether it compares with validation samples where there are any."""
        return self.options.against in ("auto", "validation")

    def see_validation(self, mean: Float[Tensor, " p"]) -> None:
        """Take the mean validation gradient as v."""
        self.direction = mean

    def fit_size(self, n: int) -> int:
        """``fit_samples``; 0 where v is known and A is the identity.

        Raises:
            ConfigError: ``against: validation``, but there is no validation gradient.
        """
        if self.options.against == "validation" and self.direction is None:
            raise ConfigError(
                "there is nothing to compare the samples with",
                place="detector.against",
                found="validation",
                expected="a section `validation: {source: ..}` of samples whose labels are right",
                hint="add one, or say `against: training` or `against: self`",
            )
        known = self.direction is not None or self.options.against == "self"
        return 0 if known and not self.inverse.fitted else min(n, self.options.fit_samples)

    def fit(self, batches: Iterable[GradientBatch]) -> None:
        """Compute A v, or the quadratic form of each block.

        Raises:
            DataError: There is no sample.
            GradientError: The gradients that self-influence must hold do not fit in memory.
        """
        if self.options.against == "self":
            self._fit_forms(batches)
            return
        vector = mean_gradient(batches) if self.direction is None else self.direction
        if vector is None:
            raise no_sample()
        self.direction = self.inverse.direction(batches, vector)

    def score(self, batch: GradientBatch) -> Float[Tensor, " b"]:
        """Self-influence ``g' A g``, or minus the inner product ``g' A v``; float64."""
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

    def state(self) -> dict[str, Tensor]:
        """The direction, or the quadratic form of each block."""
        if self.direction is not None:
            return {"direction": self.direction.cpu()}
        found: dict[str, Tensor] = {}
        for i, form in enumerate(self.forms):
            found |= prefixed(f"{i}.", {name: tensor.cpu() for name, tensor in form.state().items()})
        return found

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Take what ``state`` returned."""
        self.direction = state.get("direction")
        numbers = sorted({int(key.partition(".")[0]) for key in state if "." in key})
        self.forms = [QuadraticForm.restored(under(f"{i}.", state)) for i in numbers]

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
            raise no_sample()
        self.forms = [self.inverse.form(joined(own)) for own in held]
