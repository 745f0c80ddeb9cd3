"""How probable it is that the given label is not the true class, which nobody has seen."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Annotated

import torch
from jaxtyping import Float, Int64
from pydantic import Field
from torch import Tensor

from ogacli.detectors import DetectorOptions, detectors
from ogacli.detectors._unfitted import OfAnswers, one_class_each
from ogacli.detectors.label_noise.model import LabelNoise, odds_of
from ogacli.detectors.label_noise.neighbours import Neighbourhood
from ogacli.errors import DataError
from ogacli.gradients import GradientBatch
from ogacli.models.neighbours.exact import compressed

_LOGITS = 1 << 24
"""Logits that are held while fitting: 64 MB. Of thousands of classes they are those of fewer samples."""
_NEIGHBOURS = "neighbours."
"""What the names of a neighbourhood's tensors begin with."""


@detectors.register
class LatentLabel(DetectorOptions):
    """Score = probability that the given label is wrong.

    It is that of a model of label noise whose temperature, class weights and rates of confusion are fitted to
    the model's answers, those to the nearest samples in feature space, and the given labels (EM); see
    :mod:`ogacli.detectors.label_noise.model`.
    """

    neighbours: Annotated[int, Field(ge=0)] = 20
    """How many of the nearest samples have a say, where features are known; 0 for none. Fewer where classes
    have fewer samples."""
    bank: Annotated[int, Field(ge=1)] = 10_000
    """They are looked for among at most so many."""
    fit_samples: Annotated[int, Field(ge=1)] = 20_000
    """How many samples it is fitted to."""
    seed: int = 0
    """Which."""

    def detector(self) -> "Latent":
        """A detector that is not fitted yet."""
        return Latent(self)


class Latent(OfAnswers):
    """Scores samples by a model of how their labels came about."""

    def __init__(self, options: LatentLabel) -> None:
        self.options = options
        self.noise: LabelNoise | None = None
        self.neighbourhood: Neighbourhood | None = None

    def fit_size(self, n: int) -> int:
        """As many as the options say."""
        return min(n, self.options.fit_samples)

    def fit(self, batches: Iterable[GradientBatch]) -> None:
        """Fit the model of the label noise: to the answers alone, and with what they make of the neighbours.

        Raises:
            DataError: There is no sample.
            GradientError: Samples do not have one class each, of several.
        """
        seen: list[GradientBatch] = []
        known = 0
        for batch in batches:
            one_class_each(batch, "latent_label")
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
        true = self.noise.true(logits[:bank], labels[:bank]).exp()
        self.neighbourhood = Neighbourhood.among(seen, true, most=self.options.neighbours)
        if self.neighbourhood is not None:
            around = torch.cat([self.neighbourhood(one) for one in seen])
            self.noise = LabelNoise.fitted(logits, labels, around)

    def score(self, batch: GradientBatch) -> Float[Tensor, " b"]:
        """From 0 to 1; float64."""
        return self.judge(self.beliefs(self.answers(batch), batch.labels), batch.labels)

    def answers(self, batch: GradientBatch) -> Float[Tensor, "b 2k"]:
        """The logarithm of how probable each class is to the model, and among the neighbours."""
        own = torch.log_softmax(batch.logits.double(), 1)
        if self.neighbourhood is None:
            return torch.cat([own, own], 1)
        self.neighbourhood = self.neighbourhood.to(batch.logits.device)
        return torch.cat([own, self.neighbourhood(batch).double()], 1)

    def refit(self, answers: Float[Tensor, "n 2k"], labels: Int64[Tensor, " n"]) -> None:
        """Fit the model of the label noise to answers of several models, such as folds."""
        size, n = self.fit_size(len(labels)), len(labels)
        some = torch.randperm(n, generator=torch.Generator().manual_seed(self.options.seed))[:size]
        here = some.to(labels.device)
        own, around = answers[here].chunk(2, 1)
        self.noise = LabelNoise.fitted(own, labels[here], around)

    def beliefs(self, answers: Float[Tensor, "b 2k"], labels: Int64[Tensor, " b"]) -> Float[Tensor, "b k"]:
        """The logarithm of the probability of each class to be the true one, given the label; float64."""
        assert self.noise is not None, "fit or restore first"
        self.noise = self.noise.to(answers.device)
        own, around = answers.chunk(2, 1)
        return self.noise.true(own, labels, around)

    def judge(self, beliefs: Float[Tensor, "b k"], labels: Int64[Tensor, " b"]) -> Float[Tensor, " b"]:
        """The probability that the given label is not the true class."""
        return odds_of(beliefs, labels).sigmoid()

    def finish(self, scores: Float[Tensor, " n"], labels: Int64[Tensor, " n"]) -> Float[Tensor, " n"]:
        """The scores as they are."""
        return scores

    def state(self) -> dict[str, Tensor]:
        """The model of the label noise, and the samples that may be neighbours."""
        assert self.noise is not None, "fit first"
        found = {
            "sharpness": torch.tensor(self.noise.sharpness, dtype=torch.float64),
            "trust": torch.tensor(self.noise.trust, dtype=torch.float64),
            "weights": self.noise.weights.cpu(),
            "transition": self.noise.transition.cpu(),
        }
        if self.neighbourhood is not None:
            found |= {f"{_NEIGHBOURS}{key}": value for key, value in self.neighbourhood.state().items()}
        return found

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Take what ``state`` gave."""
        self.noise = LabelNoise(
            float(state["sharpness"]), float(state["trust"]), state["weights"], state["transition"]
        )
        known = {
            key.removeprefix(_NEIGHBOURS): value
            for key, value in state.items()
            if key.startswith(_NEIGHBOURS)
        }
        self.neighbourhood = Neighbourhood.restored(known) if known else None
