"""What is said of a sample's nearest neighbours in feature space, in place of what is said of the sample.

In: the features and answers of all samples, seen in one pass. Out: for any batch the logits that stand for
the mean answer of each sample's neighbours, itself left out. A residual taken there shows a wrong label also
where the model has learned it by heart: the neighbours have labels of their own.
"""

from typing import Annotated, Literal

import torch
from jaxtyping import Float, Int64
from pydantic import Field
from torch import Tensor

from ogacli.base.options import Options
from ogacli.errors import ConfigError, DataError, GradientError
from ogacli.gradients.batch import GradientBatch
from ogacli.models.neighbours.exact import Bank, Search, compressed, mean_of
from ogacli.models.tasks.losses import Loss


class NeighbourOptions(Options):
    """The ``gradients.neighbours:`` section, for ``residual: neighbours``."""

    count: Annotated[int, Field(ge=1)] = 20
    """How many neighbours answer for a sample."""
    of: Literal["predictions", "labels"] = "predictions"
    """What they answer: what the model predicts of them, or their given labels."""
    bank: Annotated[int, Field(ge=2)] = 50_000
    """Neighbours are looked for among at most so many samples, drawn at random from a larger dataset."""
    search: Search = "exact"
    """``faiss``: approximate, on the CPU, for a bank of several hundred thousand; `pip install
    'ogacli[faiss]'`."""
    dim: Annotated[int, Field(ge=1)] = 128
    """Features of more numbers are projected at random to so many."""
    seed: int = 0
    """Of the two."""


class Neighbours:
    """Who is near whom, and what each of them answers."""

    def __init__(self, options: NeighbourOptions, loss: Loss, n: int) -> None:
        """An empty bank.

        Args:
            options: How many neighbours, and of what.
            loss: What its logits stand for.
            n: How many samples there are.

        Raises:
            ConfigError: The loss is not taken at logits.
        """
        if loss.options.name == "output":
            raise ConfigError(
                "a model that returns its loss has no answers that neighbours could give",
                place="gradients.residual",
                found="neighbours",
                expected="loss",
            )
        self.options = options
        self.loss = loss
        generator = torch.Generator().manual_seed(options.seed)
        self.rows = torch.randperm(n, generator=generator)[: options.bank].sort().values
        """The samples that may be in the bank, ascending."""
        self._seen: list[tuple[Tensor, Tensor, Tensor]] = []
        self._bank: Bank | None = None
        self._answers = torch.empty(0)

    def see(self, batch: GradientBatch) -> None:
        """Put the samples of a batch into the bank, those that are not finite left out.

        Raises:
            GradientError: The model has no features, or its loss no such answers.
        """
        features = self._projected(batch.features)
        if self.options.of == "labels":
            answers = self.loss.targets(batch.logits, batch.labels)
        else:
            answers = self.loss.answers(batch.logits)
        good = (features.isfinite().all(1) & answers.isfinite().all(1)).nonzero()[:, 0]
        self._seen.append((batch.rows[good.cpu()], features[good], answers[good]))

    def close(self) -> None:
        """All samples were seen.

        Raises:
            DataError: None of them could be read.
        """
        if not self._seen:
            raise DataError(
                "none of the samples that neighbours are looked for among can be read",
                place="gradients.neighbours.bank",
                found=f"{len(self.rows):,} samples, such as number {int(self.rows[0])}",
            )
        rows, features, answers = (torch.cat(parts) for parts in zip(*self._seen, strict=True))
        self._seen.clear()
        self._bank = Bank(rows, features, self.options.search)
        self._answers = answers

    def __call__(
        self, rows: Int64[Tensor, " b"], features: Float[Tensor, "b h"] | None
    ) -> Float[Tensor, "b k"]:
        """The logits that stand for the neighbours' mean answer; NaN where there is no neighbour.

        Raises:
            GradientError: The model has no features.
        """
        assert self._bank is not None, "close first"
        near = self._bank.nearest(rows, self._projected(features), self.options.count)
        return self.loss.logits(mean_of(self._answers, *near))

    def _projected(self, features: Float[Tensor, "b h"] | None) -> Float[Tensor, "b d"]:
        if features is None:
            raise GradientError(
                "without features there are no neighbours",
                place="gradients.residual neighbours",
                found="a model that gives its answers only",
                hint="give `features:` beside the probabilities, or take `residual: loss`",
            )
        return compressed(features, self.options.dim, self.options.seed)
