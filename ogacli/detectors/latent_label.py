"""How probable it is that the given label is not the true class, which nobody has seen."""

from collections.abc import Iterable, Mapping
from typing import Annotated

import torch
from jaxtyping import Float, Int64
from pydantic import Field
from torch import Tensor

from ogacli.detectors import DetectorOptions, detectors
from ogacli.detectors._unfitted import OfAnswers, one_class_each
from ogacli.errors import DataError
from ogacli.gradients import GradientBatch
from ogacli.label_noise import LabelNoise


@detectors.register
class LatentLabel(DetectorOptions):
    """Score = probability that the given label is wrong.

    It is that of a model of label noise whose temperature, class weights and rates of confusion are fitted to
    the model's answers and the given labels (EM); see :mod:`ogacli.label_noise`.
    """

    fit_samples: Annotated[int, Field(ge=1)] = 50_000
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

    def fit_size(self, n: int) -> int:
        """As many as the options say."""
        return min(n, self.options.fit_samples)

    def fit(self, batches: Iterable[GradientBatch]) -> None:
        """Fit the model of the label noise.

        Raises:
            DataError: There is no sample.
            GradientError: Samples do not have one class each, of several.
        """
        logits, labels = [], []
        for batch in batches:
            one_class_each(batch, "latent_label")
            logits.append(batch.logits)
            labels.append(batch.labels)
        if not logits:
            raise DataError("no sample to fit the label noise to", expected="at least one that can be read")
        self.noise = LabelNoise.fitted(torch.cat(logits), torch.cat(labels))

    def score(self, batch: GradientBatch) -> Float[Tensor, " b"]:
        """From 0 to 1; float64."""
        assert self.noise is not None, "fit or restore first"
        self.noise = self.noise.to(batch.logits.device)
        return self.noise.odds(batch.logits, batch.labels).sigmoid()

    def judge(self, logits: Float[Tensor, "n k"], labels: Int64[Tensor, " n"]) -> Float[Tensor, " n"]:
        """Of several models, such as folds."""
        size, n = self.fit_size(len(labels)), len(labels)
        some = torch.randperm(n, generator=torch.Generator().manual_seed(self.options.seed))[:size]
        here = some.to(labels.device)
        self.noise = LabelNoise.fitted(logits[here], labels[here])
        return self.noise.odds(logits, labels).sigmoid()

    def finish(self, scores: Float[Tensor, " n"], labels: Int64[Tensor, " n"]) -> Float[Tensor, " n"]:
        """The scores as they are."""
        return scores

    def state(self) -> dict[str, Tensor]:
        """The model of the label noise."""
        assert self.noise is not None, "fit first"
        return {
            "sharpness": torch.tensor(self.noise.sharpness, dtype=torch.float64),
            "weights": self.noise.weights.cpu(),
            "transition": self.noise.transition.cpu(),
        }

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Take what ``state`` gave."""
        self.noise = LabelNoise(float(state["sharpness"]), state["weights"], state["transition"])
