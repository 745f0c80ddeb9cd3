"""The probability that some class of a sample is wrongly given or forgotten, under a model of label noise."""

from collections.abc import Iterable, Mapping
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from ogacli.detectors import DetectorOptions, detectors
from ogacli.detectors._cells import CellDetector, Cells
from ogacli.detectors.label_noise.present import PresenceNoise
from ogacli.errors import DataError, GradientError
from ogacli.gradients import GradientBatch

_ENTRIES = 1 << 22
"""Labels that are held while fitting: 32 MB in float64. With more it sees no further samples."""


@detectors.register
class LatentLabelSet(DetectorOptions):
    """For any number of classes a sample: score = how probable it is that one of them is wrong or missing.

    Each class is a binary latent label with its own noise rates; see
    :mod:`ogacli.detectors.label_noise.present`.
    """

    fit_samples: Annotated[int, Field(ge=1)] = 20_000
    """How many samples it is fitted to, at most."""

    def detector(self) -> "LabelSet":
        """A detector that is not fitted yet."""
        return LabelSet(self)


class LabelSet(CellDetector):
    """A cell is a class."""

    def __init__(self, options: LatentLabelSet) -> None:
        self.options = options
        self.noise: PresenceNoise | None = None

    def fit_size(self, n: int) -> int:
        """All samples, up to ``fit_samples``."""
        return min(n, self.options.fit_samples)

    def fit(self, batches: Iterable[GradientBatch]) -> None:
        """Fit the noise rates of the classes.

        Raises:
            DataError: There is no sample.
            GradientError: Labels are not 0 or 1 for each class.
        """
        logits, labels = list[Tensor](), list[Tensor]()
        for batch in batches:
            _check(batch)
            logits.append(batch.logits.double())
            labels.append(batch.labels)
            del batch  # before the next one is computed
            if sum(one.numel() for one in logits) >= _ENTRIES:
                break
        if not logits:
            raise DataError("no sample to fit the label noise to", expected="at least one that can be read")
        self.noise = PresenceNoise.fitted(torch.cat(logits), torch.cat(labels))

    def cells(self, batch: GradientBatch) -> Cells:
        """For each class the probability that it is wrong, and the other value."""
        assert self.noise is not None, "fit or restore first"
        self.noise = self.noise.to(batch.logits.device)
        return Cells(self.noise.wrong(batch.logits, batch.labels), 1.0 - batch.labels.double())

    def state(self) -> dict[str, Tensor]:
        """The parameters."""
        return {} if self.noise is None else self.noise.state()

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Take over the parameters."""
        self.noise = PresenceNoise.of(state) if state else None


def _check(batch: GradientBatch) -> None:
    labels = batch.labels
    several = labels.ndim == 2 and not batch.returns_loss and labels.shape == batch.logits.shape
    if not several or not ((labels == 0) | (labels == 1)).all():
        raise GradientError(
            "takes samples with any number of classes",
            place="detector.name latent_label_set",
            found=f"labels {list(labels.shape)}, logits {list(batch.logits.shape)}",
            expected="a 0 or 1 for each class",
            hint="`latent_label` takes one class a sample, `latent_target` numbers",
        )
