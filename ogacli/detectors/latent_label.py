"""The posterior probability that the given label is not the true class, under a model of label noise."""

from collections.abc import Iterable, Mapping
from typing import Annotated

import torch
from jaxtyping import Float, Int64
from pydantic import Field
from torch import Tensor

from ogacli.detectors import DetectorOptions, LabelDetector, detectors
from ogacli.detectors._label_quality import check_one_class_each
from ogacli.detectors._state import prefixed, under
from ogacli.detectors.label_noise.candidates import AT_ONCE, Candidates, log_probabilities
from ogacli.detectors.label_noise.doubt import Doubt
from ogacli.detectors.label_noise.knn import NeighbourProbabilities
from ogacli.detectors.label_noise.model import LabelNoise
from ogacli.detectors.label_noise.signals import Signals, fitted
from ogacli.detectors.label_noise.transition import LEAST
from ogacli.errors import DataError
from ogacli.gradients import GradientBatch
from ogacli.models.neighbours.exact import compressed

_ENTRIES = 1 << 22
"""Candidates that are held while fitting: 32 MB in float64. With more it sees no further samples."""
_READ = 1 << 25
"""Probabilities that are looked at while fitting: with 12,000 classes those of 2,800 samples."""
_NEIGHBOURS, _DOUBT = "neighbours.", "doubt."
"""Prefixes of the names of their tensors in the state."""


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

    least_noise: float = LEAST
    """Lower bound of the rate of wrong labels of each class; set before ``fit``."""

    def __init__(self, options: LatentLabel) -> None:
        self.options = options
        self.noise: LabelNoise | None = None
        self.neighbours: NeighbourProbabilities | None = None
        self.doubt: Doubt | None = None
        self._signals: Signals | None = None

    @property
    def signals(self) -> Signals | None:
        """What tells label noise from the model's own mistakes; None until fitted."""
        return self._signals

    def fit_size(self, n: int) -> int:
        """All samples, up to ``fit_samples``."""
        return min(n, self.options.fit_samples)

    def fit(self, batches: Iterable[GradientBatch]) -> None:
        """Fit the label noise to the predictions, and once more with the neighbours' posteriors added.

        Raises:
            DataError: There is no sample.
            GradientError: Samples do not have one class each, or there is a single class.
        """
        candidates: list[Candidates] = []
        rows, features = list[Tensor](), list[Tensor]()
        known = read = 0
        for batch in batches:
            check_one_class_each(batch, "latent_label")
            candidates.append(Candidates.of(batch.logits, batch.labels))
            rows.append(batch.rows)
            if batch.features is not None:
                features.append(compressed(batch.features))
            known += candidates[-1].own.numel()
            read += batch.logits.numel()
            del batch  # before the next one is computed
            if known >= _ENTRIES or read >= _READ:
                break
        if not known:
            raise DataError("no sample to fit the label noise to", expected="at least one that can be read")
        seen = Candidates.joined(candidates)
        candidates.clear()
        if features:
            seen = self._with_neighbours(seen, torch.cat(rows), torch.cat(features))
        self._fit(seen, held_out=self.held_out)

    def _fit(self, seen: Candidates, *, held_out: bool) -> None:
        self.noise, self._signals = fitted(seen, held_out=held_out, least_noise=self.least_noise)
        self.doubt = None
        if self._signals.doubtful:
            self.doubt = Doubt.fitted(self.noise, seen.scaled(self._signals.calibration))

    def _with_neighbours(
        self, seen: Candidates, rows: Int64[Tensor, " n"], features: Float[Tensor, "n d"]
    ) -> Candidates:
        """The samples with kNN probabilities, from a first fit without; unchanged with too few samples."""
        bank, size = slice(0, self.options.bank), max(1, AT_ONCE // seen.k)
        some = seen.part(bank)
        true, most = LabelNoise.fitted_to(seen).posterior_among(some), self.options.neighbours
        self.neighbours = NeighbourProbabilities.among(rows[bank], features[bank], some, true, most)
        if self.neighbours is None:
            return seen
        blocks = [slice(start, start + size) for start in range(0, len(rows), size)]
        near = self.neighbours
        parts = [seen.part(one).with_neighbours(near.of(rows[one], features[one])) for one in blocks]
        return Candidates.joined(parts)

    def evidence(self, batch: GradientBatch) -> Float[Tensor, "b 2k"]:
        """The predicted log-probabilities, then the kNN ones (the predicted ones again without).

        In float64; with more than ``label_noise.candidates.ALL`` classes in float32.
        """
        own = log_probabilities(batch.logits)
        if self.neighbours is None:
            return torch.cat([own, own], 1)
        self.neighbours = self.neighbours.to(batch.logits.device)
        return torch.cat([own, self.neighbours(batch).to(own.dtype)], 1)

    def true_class_of(self, batch: GradientBatch) -> Float[Tensor, "b k"]:
        """The log-posterior of the true class of a batch."""
        if self.neighbours is not None or self.doubt is not None:
            return super().true_class_of(batch)
        assert self.noise is not None, "fit or restore first"
        self.noise = self.noise.to(batch.logits.device)
        return self.noise.posterior(self._calibration * batch.logits, batch.labels)

    def refit(self, evidence: Float[Tensor, "n 2k"], labels: Int64[Tensor, " n"]) -> None:
        """Fit the label noise to the evidence of several models, on at most ``fit_samples`` samples."""
        size, n = self.fit_size(len(labels)), len(labels)
        some = torch.randperm(n, generator=torch.Generator().manual_seed(self.options.seed))[:size]
        here = some.to(labels.device)
        own, near = evidence[here].chunk(2, 1)
        seen = Candidates.of(own, labels[here])
        if not torch.equal(own, near):
            seen = seen.with_neighbours(near)
        self._fit(seen, held_out=True)

    def true_class(
        self, evidence: Float[Tensor, "b 2k"], labels: Int64[Tensor, " b"]
    ) -> Float[Tensor, "b k"]:
        """The log-posterior of the true class given evidence and label; float64."""
        assert self.noise is not None, "fit or restore first"
        self.noise = self.noise.to(evidence.device)
        own, near = evidence.chunk(2, 1)
        own = self._calibration * own
        found = self.noise.posterior(own, labels, near)
        return found if self.doubt is None else self.doubt.applied(found, own, near, labels)

    @property
    def _calibration(self) -> float:
        return 1.0 if self._signals is None else self._signals.calibration

    def state(self) -> dict[str, Tensor]:
        """The parameters of the label noise, and the samples that are searched for neighbours."""
        assert self.noise is not None, "fit first"
        found = self.noise.state()
        if self.doubt is not None:
            found |= prefixed(_DOUBT, self.doubt.state())
        if self._signals is not None:
            found["signals"] = torch.tensor(self._signals.numbers(), dtype=torch.float64)
        if self.neighbours is not None:
            found |= prefixed(_NEIGHBOURS, self.neighbours.state())
        return found

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Take what ``state`` returned."""
        self.noise = LabelNoise.of(state)
        if (numbers := state.get("signals")) is not None:
            self._signals = Signals.of_numbers(numbers.tolist())
        doubt = under(_DOUBT, state)
        self.doubt = Doubt.of(doubt) if doubt else None
        known = under(_NEIGHBOURS, state)
        self.neighbours = NeighbourProbabilities.restored(known) if known else None
