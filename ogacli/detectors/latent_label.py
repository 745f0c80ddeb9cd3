"""The posterior probability that the given label is not the true class, under a model of label noise."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Annotated

import torch
from jaxtyping import Float, Int64
from pydantic import Field
from torch import Tensor

from ogacli.detectors import DetectorOptions, LabelDetector, detectors
from ogacli.detectors._label_quality import check_one_class_each
from ogacli.detectors._state import prefixed, under
from ogacli.detectors.label_noise.knn import NeighbourProbabilities
from ogacli.detectors.label_noise.model import LabelNoise
from ogacli.errors import DataError
from ogacli.gradients import GradientBatch
from ogacli.models.neighbours.exact import compressed

_LOGITS = 1 << 24
"""Logits that are held while fitting: 64 MB. With thousands of classes fewer samples are fitted."""
_NEIGHBOURS = "neighbours."
"""Prefix of the names of the neighbours' tensors in the state."""


@detectors.register
class LatentLabel(DetectorOptions):
    """Score = posterior probability that the given label is wrong.

    The posterior is that of a latent class model whose temperature, class biases and transition matrix are
    fitted by EM to the predictions, the kNN class probabilities in feature space and the given labels; see
    :mod:`ogacli.detectors.label_noise.model`.
    """

    neighbours: Annotated[int, Field(ge=0)] = 20
    """Number of nearest neighbours in feature space, where the features are known; 0 for none. Fewer where
    classes have fewer samples."""
    bank: Annotated[int, Field(ge=1)] = 10_000
    """Neighbours are searched among at most so many samples."""
    fit_samples: Annotated[int, Field(ge=1)] = 20_000
    """How many samples it is fitted to, at most."""
    seed: int = 0
    """Seed of the choice of those samples."""

    def detector(self) -> "Latent":
        """A detector that is not fitted yet."""
        return Latent(self)


class Latent(LabelDetector):
    """Label noise model, and kNN class probabilities where features are known."""

    def __init__(self, options: LatentLabel) -> None:
        self.options = options
        self.noise: LabelNoise | None = None
        self.neighbours: NeighbourProbabilities | None = None

    def fit_size(self, n: int) -> int:
        """All samples, up to ``fit_samples``."""
        return min(n, self.options.fit_samples)

    def fit(self, batches: Iterable[GradientBatch]) -> None:
        """Fit the label noise to the predictions, and once more with the neighbours' posteriors added.

        Raises:
            DataError: There is no sample.
            GradientError: Samples do not have one class each, or there is a single class.
        """
        seen: list[GradientBatch] = []
        known = 0
        for batch in batches:
            check_one_class_each(batch, "latent_label")
            features = None if batch.features is None else compressed(batch.features)
            seen.append(replace(batch, features=features, parts=(), columns=None))
            known += batch.logits.numel()
            if known >= _LOGITS:
                break
        if not known:
            raise DataError("no sample to fit the label noise to", expected="at least one that can be read")
        logits, labels = torch.cat([one.logits for one in seen]), torch.cat([one.labels for one in seen])
        self.noise = LabelNoise.fitted(logits, labels)
        bank = self.options.bank
        true = self.noise.posterior(logits[:bank], labels[:bank]).exp()
        self.neighbours = NeighbourProbabilities.among(seen, true, most=self.options.neighbours)
        if self.neighbours is not None:
            near = torch.cat([self.neighbours(one) for one in seen])
            self.noise = LabelNoise.fitted(logits, labels, near)

    def evidence(self, batch: GradientBatch) -> Float[Tensor, "b 2k"]:
        """The predicted log-probabilities, then the kNN ones (the predicted ones again without); float64."""
        own = torch.log_softmax(batch.logits.double(), 1)
        if self.neighbours is None:
            return torch.cat([own, own], 1)
        self.neighbours = self.neighbours.to(batch.logits.device)
        return torch.cat([own, self.neighbours(batch).double()], 1)

    def refit(self, evidence: Float[Tensor, "n 2k"], labels: Int64[Tensor, " n"]) -> None:
        """Fit the label noise to the evidence of several models, on at most ``fit_samples`` samples."""
        size, n = self.fit_size(len(labels)), len(labels)
        some = torch.randperm(n, generator=torch.Generator().manual_seed(self.options.seed))[:size]
        here = some.to(labels.device)
        own, near = evidence[here].chunk(2, 1)
        self.noise = LabelNoise.fitted(own, labels[here], near)

    def true_class(
        self, evidence: Float[Tensor, "b 2k"], labels: Int64[Tensor, " b"]
    ) -> Float[Tensor, "b k"]:
        """The log-posterior of the true class given evidence and label; float64."""
        assert self.noise is not None, "fit or restore first"
        self.noise = self.noise.to(evidence.device)
        own, near = evidence.chunk(2, 1)
        return self.noise.posterior(own, labels, near)

    def state(self) -> dict[str, Tensor]:
        """The parameters of the label noise, and the samples that are searched for neighbours."""
        assert self.noise is not None, "fit first"
        found = {
            "sharpness": torch.tensor(self.noise.sharpness, dtype=torch.float64),
            "trust": torch.tensor(self.noise.trust, dtype=torch.float64),
            "weights": self.noise.weights.cpu(),
            "transition": self.noise.transition.cpu(),
        }
        if self.neighbours is not None:
            found |= prefixed(_NEIGHBOURS, self.neighbours.state())
        return found

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Take what ``state`` returned."""
        self.noise = LabelNoise(
            float(state["sharpness"]), float(state["trust"]), state["weights"], state["transition"]
        )
        known = under(_NEIGHBOURS, state)
        self.neighbours = NeighbourProbabilities.restored(known) if known else None
