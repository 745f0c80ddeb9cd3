"""Detectors whose score is a function of what the model says of each sample, so that nothing is fitted."""

from abc import abstractmethod
from collections.abc import Iterable, Mapping

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from ogacli.base.registry import type_name
from ogacli.detectors import WITHOUT_CLASSES, DetectorOptions
from ogacli.errors import GradientError
from ogacli.gradients import GradientBatch


class OfAnswers:
    """Looks at the model's answers, and asks for none of the gradient's coordinates."""

    def coordinates(self, batch: GradientBatch) -> Int64[Tensor, " f"] | None:
        """None at all."""
        return self.scored().to(batch.residual.device)

    def scored(self) -> Int64[Tensor, " f"]:
        """None at all."""
        return torch.empty(0, dtype=torch.int64)


class UnfittedOptions(DetectorOptions):
    """A detector that is its own score."""

    @abstractmethod
    def score(self, batch: GradientBatch) -> Float[Tensor, " b"]:
        """The score of each sample; higher = more anomalous."""

    def detector(self) -> "Unfitted":
        """A detector that needs no fitting."""
        return Unfitted(self)


class Unfitted(OfAnswers):
    """Scores as its options say."""

    def __init__(self, options: UnfittedOptions) -> None:
        self.options = options

    def fit_size(self, n: int) -> int:
        """None."""
        return 0

    def fit(self, batches: Iterable[GradientBatch]) -> None:
        """Nothing to fit."""

    def score(self, batch: GradientBatch) -> Float[Tensor, " b"]:
        """The scores."""
        return self.options.score(batch)

    def finish(self, scores: Float[Tensor, " n"], labels: Int64[Tensor, " n"]) -> Float[Tensor, " n"]:
        """The scores as they are."""
        return scores

    def state(self) -> dict[str, Tensor]:
        """Nothing was fitted."""
        return {}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Nothing to restore."""


class LabelQualityOptions(UnfittedOptions):
    """A score from the model's probabilities and the given label."""

    def score(self, batch: GradientBatch) -> Float[Tensor, " b"]:
        """1 minus the quality of the label.

        Raises:
            GradientError: Samples do not have one class each, of several.
        """
        one_class_each(batch, type_name(self))
        logs = _log_softmax(batch.logits.double())
        index = batch.labels[:, None]
        others = logs.scatter(1, index, -torch.inf)
        return self.suspicion(logs, logs.gather(1, index)[:, 0], others)

    @abstractmethod
    def suspicion(
        self, logs: Float[Tensor, "b k"], given: Float[Tensor, " b"], others: Float[Tensor, "b k"]
    ) -> Float[Tensor, " b"]:
        """The score.

        Args:
            logs: Logarithms of the probabilities.
            given: Those of the given labels.
            others: ``logs`` with -inf at the given labels.
        """


def one_class_each(batch: GradientBatch, detector: str) -> None:
    """See that the labels are what label quality can be told of.

    Raises:
        GradientError: Samples do not have one class each, of several.
    """
    several = batch.labels.ndim != 1 or batch.labels.is_floating_point()
    if several or batch.logits.shape[1] < 2:
        if not several:
            found = "a single class"
        elif batch.labels.numel():
            found = "several labels a sample, or numbers"
        else:
            found = "samples without a class"
        raise GradientError(
            "label quality takes one class a sample, of two or more",
            place=f"detector.name {detector}",
            found=found,
            hint=f"take `{WITHOUT_CLASSES}`, or another detector of gradients",
        )


def _log_softmax(logits: Float[Tensor, "b k"]) -> Float[Tensor, "b k"]:
    """Exact also where a probability is so near 1 that its logarithm would be rounded to 0."""
    highest, index = logits.max(1, keepdim=True)
    above = logits - highest
    others = above.exp().scatter(1, index, 0.0).sum(1, keepdim=True)
    return above - others.log1p()
