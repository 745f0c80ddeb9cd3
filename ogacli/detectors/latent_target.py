"""The probability that a target of a regression is wrong, under a mixture of residuals."""

from collections.abc import Iterable, Mapping
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from ogacli.detectors import DetectorOptions, detectors
from ogacli.detectors._cells import CellDetector, Cells
from ogacli.detectors.label_noise.target import TargetNoise
from ogacli.errors import DataError, GradientError
from ogacli.gradients import GradientBatch

_ENTRIES = 1 << 22
"""Targets that are held while fitting: 32 MB in float64. With more it sees no further samples."""


@detectors.register
class LatentTarget(DetectorOptions):
    """For a regression: score = probability that the target is wrong; of several, mostly the most doubtful.

    A target is right up to the model's residual, or belongs to another sample, or is broadly off; see
    :mod:`ogacli.detectors.label_noise.target`.
    """

    fit_samples: Annotated[int, Field(ge=1)] = 20_000
    """How many samples it is fitted to, at most."""

    def detector(self) -> "Target":
        """A detector that is not fitted yet."""
        return Target(self)


class Target(CellDetector):
    """A cell is a target; the prediction is suggested in its place."""

    def __init__(self, options: LatentTarget) -> None:
        self.options = options
        self.noise: TargetNoise | None = None

    def fit_size(self, n: int) -> int:
        """All samples, up to ``fit_samples``."""
        return min(n, self.options.fit_samples)

    def fit(self, batches: Iterable[GradientBatch]) -> None:
        """Fit the mixture.

        Raises:
            DataError: There is no sample.
            GradientError: Labels are no targets.
        """
        predictions, targets = list[Tensor](), list[Tensor]()
        for batch in batches:
            given = _targets(batch)
            targets.append(given)
            predictions.append(batch.logits.reshape(given.shape).double())
            del batch  # before the next one is computed
            if sum(one.numel() for one in targets) >= _ENTRIES:
                break
        if not targets:
            raise DataError("no sample to fit the residuals to", expected="at least one that can be read")
        self.noise = TargetNoise.fitted(torch.cat(predictions), torch.cat(targets))

    def cells(self, batch: GradientBatch) -> Cells:
        """For each target the probability that it is wrong, and the prediction."""
        assert self.noise is not None, "fit or restore first"
        self.noise = self.noise.to(batch.logits.device)
        targets = _targets(batch)
        predictions = batch.logits.reshape(targets.shape).double()
        return Cells(self.noise.wrong(predictions, targets), predictions)

    def state(self) -> dict[str, Tensor]:
        """The parameters."""
        return {} if self.noise is None else self.noise.state()

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Take over the parameters."""
        self.noise = TargetNoise.of(state) if state else None


def _targets(batch: GradientBatch) -> Tensor:
    """The targets [b, m], float64."""
    labels = batch.labels
    if batch.returns_loss or not labels.is_floating_point() or labels.numel() != batch.logits.numel():
        raise GradientError(
            "takes numbers to be predicted",
            place="detector.name latent_target",
            found=f"labels {list(labels.shape)} of {str(labels.dtype).removeprefix('torch.')}",
            expected="one number for each output",
            hint="`latent_label` takes one class a sample, `latent_label_set` several",
        )
    return labels.double() if labels.ndim == 2 else labels.double()[:, None]
