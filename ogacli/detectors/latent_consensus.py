"""The true class of samples that several annotators labelled, with the model as one more voice."""

from collections.abc import Iterable, Mapping
from typing import Annotated

import torch
from jaxtyping import Float, Int64
from pydantic import Field
from torch import Tensor

from ogacli.base.device import sent
from ogacli.data import Samples
from ogacli.data.labels.annotations import Annotations
from ogacli.data.labels.consensus import CLOSE, STEPS, Confusions, consensus
from ogacli.detectors import DetectorOptions, LabelDetector, detectors
from ogacli.detectors._label_quality import check_one_class_each
from ogacli.detectors.label_noise.calibration import newton_step, next_biases
from ogacli.detectors.label_noise.candidates import log_probabilities
from ogacli.errors import DataError
from ogacli.gradients import GradientBatch

_SHARPEST = 10.0
_BIAS = 5.0
"""Bound of the biases of the classes."""
_SURE = -30.0
"""A model is not believed to be surer than this log-probability: one class that it excludes, and an annotator
names, would outweigh all other samples in the calibration."""


@detectors.register
class LatentConsensus(DetectorOptions):
    """For labels by several annotators: score = posterior probability that the consensus is wrong.

    The true class has the model's prediction, with a temperature and class biases, as its prior; each
    annotator has a confusion matrix (Dawid and Skene, 1979). All are fitted together by EM.
    """

    fit_samples: Annotated[int, Field(ge=1)] = 50_000
    """How many samples the model's voice is fitted to, at most."""

    def detector(self) -> "Consensus":
        """A detector that is not fitted yet."""
        return Consensus(self)


class Consensus(LabelDetector):
    """Annotators with confusion matrices, and the model."""

    def __init__(self, options: LatentConsensus) -> None:
        self.options = options
        self.annotations: Annotations | None = None
        """Of all samples."""
        self.confusions: Confusions | None = None
        self._sharpness = 1.0
        self._weights = torch.zeros(0, dtype=torch.float64)

    def see_samples(self, samples: Samples) -> None:
        """Take the annotations."""
        self.annotations = samples.annotations

    def fit_size(self, n: int) -> int:
        """All samples, up to ``fit_samples``."""
        return min(n, self.options.fit_samples)

    def fit(self, batches: Iterable[GradientBatch]) -> None:
        """Fit the confusion matrices and the model's calibration.

        Raises:
            DataError: There is no sample.
            GradientError: Samples do not have one class each.
        """
        rows, logits, labels = list[Tensor](), list[Tensor](), list[Tensor]()
        for batch in batches:
            check_one_class_each(batch, "latent_consensus")
            rows.append(batch.rows)
            labels.append(batch.labels)
            logits.append(_own(batch).cpu())
            del batch  # before the next one is computed
        if not rows:
            raise DataError("no sample to fit the consensus to", expected="at least one that can be read")
        own, given = torch.cat(logits), self._given(torch.cat(rows), torch.cat(labels))
        self._fit(own, given)

    def _given(self, rows: Int64[Tensor, " b"], labels: Int64[Tensor, " b"]) -> Annotations:
        """The annotations of some samples; where there is one label each, those of a single annotator."""
        if self.annotations is not None:
            return self.annotations.select(rows)
        labels = labels.cpu()
        return Annotations(torch.zeros_like(labels[:, None]).int(), labels[:, None].short(), ("label",))

    def _fit(self, own: Float[Tensor, "n k"], given: Annotations) -> None:
        """EM; the calibration takes one Newton step in each iteration."""
        k, voters = own.shape[1], len(given.names)
        true = consensus(given.annotator, given.labels, k, voters)
        self._weights = own.new_zeros(k)
        alone = true
        for _ in range(STEPS):
            before = true
            self.confusions = Confusions.fitted(given.annotator, given.labels, true, voters)
            votes = self.confusions.log_likelihood(given.annotator, given.labels)
            # By the annotators alone, as the model would confirm itself.
            alone = (((alone.sum(0) + 1) / (len(own) + k)).log() + votes).softmax(1)
            self._calibrate(own, alone)
            true = (self._calibrated(own) + votes).softmax(1)
            if float((true - before).abs().max()) < CLOSE:
                break

    def _calibrate(self, own: Float[Tensor, "n k"], true: Float[Tensor, "n k"]) -> None:
        """One Newton step of the sharpness towards the classes, and one step of the biases."""
        prior = self._calibrated(own).softmax(1)
        low, high = max(self._sharpness / 2, 1e-3), min(_SHARPEST, 2 * self._sharpness)
        step = newton_step(prior, (true * own).sum(1), own)
        self._sharpness = min(max(self._sharpness + step, low), high)
        prior = self._calibrated(own).softmax(1)
        self._weights = next_biases(self._weights, prior.sum(0), true.sum(0)).clamp(-_BIAS, _BIAS)

    def _calibrated(self, own: Float[Tensor, "b k"]) -> Float[Tensor, "b k"]:
        """The logarithm of the prior, up to a constant."""
        return self._sharpness * own + sent(self._weights, own.device)

    def evidence(self, batch: GradientBatch) -> Float[Tensor, "b 2k"]:
        """The calibrated log-probabilities, then the log-likelihoods of the annotations; float64."""
        assert self.confusions is not None, "fit or restore first"
        own = _own(batch)
        given = self._given(batch.rows, batch.labels)
        votes = self.confusions.log_likelihood(given.annotator, given.labels)
        return torch.cat([self._calibrated(own).log_softmax(1), sent(votes.to(own.dtype), own.device)], 1)

    def refit(self, evidence: Float[Tensor, "n 2k"], labels: Int64[Tensor, " n"]) -> None:
        """Nothing: each fold is calibrated by itself, and the annotators are the same."""

    def true_class(
        self, evidence: Float[Tensor, "b 2k"], labels: Int64[Tensor, " b"]
    ) -> Float[Tensor, "b k"]:
        """The log-posterior of the true class; it does not depend on the label, which is a consensus."""
        own, votes = evidence.double().chunk(2, 1)
        return (own + votes).log_softmax(1)

    def state(self) -> dict[str, Tensor]:
        """The confusion matrices and the calibration."""
        assert self.confusions is not None, "fit first"
        sharpness = torch.tensor(self._sharpness, dtype=torch.float64)
        return {"sharpness": sharpness, "weights": self._weights.cpu(), **self.confusions.state()}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Take what ``state`` returned."""
        self._sharpness, self._weights = float(state["sharpness"]), state["weights"]
        self.confusions = Confusions.of(state)


def _own(batch: GradientBatch) -> Float[Tensor, "b k"]:
    """The model's log-probabilities, float64."""
    return log_probabilities(batch.logits).double().clamp_min(_SURE)
