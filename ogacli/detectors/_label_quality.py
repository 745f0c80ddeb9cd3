"""Label quality: scores computed from the predicted probabilities and the given label alone.

In: logits [b, k] and one class a sample. Out: 1 - quality of the label, float64.
"""

from abc import abstractmethod

import torch
from jaxtyping import Float
from torch import Tensor

from ogacli.base.registry import type_name
from ogacli.detectors import WITHOUT_CLASSES, Detector, DetectorOptions, Needs
from ogacli.errors import GradientError
from ogacli.gradients import GradientBatch


class LabelQualityOptions(DetectorOptions):
    """Base of the options; a subclass gives the formula."""

    @abstractmethod
    def suspicion(
        self, logs: Float[Tensor, "b k"], given: Float[Tensor, " b"], others: Float[Tensor, "b k"]
    ) -> Float[Tensor, " b"]:
        """The score of each sample; higher = more anomalous.

        Args:
            logs: Log-probabilities of the classes.
            given: Log-probabilities of the given labels.
            others: ``logs`` with -inf at the given labels.
        """

    def detector(self) -> "LabelQuality":
        """A detector that needs no fitting."""
        return LabelQuality(self)


class LabelQuality(Detector):
    """Scores each sample by the formula of its options."""

    def __init__(self, options: LabelQualityOptions) -> None:
        self.options = options

    def needs(self, batch: GradientBatch | None = None) -> Needs:
        """None of the gradient."""
        return Needs()

    def score(self, batch: GradientBatch) -> Float[Tensor, " b"]:
        """1 - quality of the label.

        Raises:
            GradientError: Samples do not have one class each, or there is a single class.
        """
        check_one_class_each(batch, type_name(self.options))
        logs = _log_softmax(batch.logits.double())
        index = batch.labels[:, None]
        others = logs.scatter(1, index, -torch.inf)
        return self.options.suspicion(logs, logs.gather(1, index)[:, 0], others)


def check_one_class_each(batch: GradientBatch, detector: str) -> None:
    """Check that each sample has one class, of two or more, and that the network returned logits.

    Args:
        batch: With labels and logits.
        detector: The name of the detector that needs it, for the message.

    Raises:
        GradientError: Samples do not have one class each, there is a single class, or the network returned
            its loss.
    """
    several = batch.labels.ndim != 1 or batch.labels.is_floating_point()
    if several or batch.returns_loss or batch.logits.shape[1] < 2:
        if batch.returns_loss:
            found = "a network that returns its loss, and no logits"
        elif not several:
            found = "a single class"
        else:
            found = (
                "several labels a sample, or numbers" if batch.labels.numel() else "samples without a class"
            )
        raise GradientError(
            "label quality takes one class a sample, of two or more",
            place=f"detector.name {detector}",
            found=found,
            hint=f"take `{WITHOUT_CLASSES}`, or another detector of gradients",
        )


def _log_softmax(logits: Float[Tensor, "b k"]) -> Float[Tensor, "b k"]:
    """Log-probabilities, exact even where a probability is so near 1 that its logarithm would round to 0."""
    highest, index = logits.max(1, keepdim=True)
    above = logits - highest
    others = above.exp().scatter(1, index, 0.0).sum(1, keepdim=True)
    return above - others.log1p()
