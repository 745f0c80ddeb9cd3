"""The ranking where nothing shows that wrong labels depend on the class alone.

In: the fitted label noise and the samples it was fitted to. Out: a ``Doubt``, which replaces the
probabilities of a wrong label by others in the order of the normalized margin.

Where wrong labels are those of samples that are hard to tell apart, the noise follows the model's own doubts:
the wrong class is a probable one, and a class that the model hardly considers is more likely its own mistake.
A transition matrix says the opposite. The margin, the probability of the best other class minus that of the
given one, ranks better then. The probabilities keep their values: the highest goes to the largest margin.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from ogacli.base.softmax import log_softmax, softmax
from ogacli.detectors.label_noise.candidates import Candidates
from ogacli.detectors.label_noise.model import LabelNoise

_KNOTS = 513
"""Quantiles of margins and probabilities that are kept."""
_WIDEST = 40.0
"""Bound of the log-odds."""


@dataclass(frozen=True, slots=True)
class Doubt:
    """The log-odds of a wrong label as a rising function of the margin; linear between the knots."""

    trust: float
    """Weight of the neighbours in the probabilities that the margin is taken of."""
    margins: Float[Tensor, " q"]
    odds: Float[Tensor, " q"]

    @classmethod
    def fitted(cls, noise: LabelNoise, seen: Candidates) -> "Doubt":
        """Match the quantiles of the margins with those of the probabilities of the label noise."""
        right = seen.of_label(noise.posterior_among(seen)).clamp(1e-15, 1)
        odds = -right.logit(eps=1e-15).clamp(-_WIDEST, _WIDEST)
        mixed = seen.own if seen.gap is None else seen.own + noise.trust * seen.gap
        p = softmax(seen.biased(mixed, mixed.new_zeros(seen.k)))
        own = seen.of_label(p)
        if seen.classes is None:
            others = p.scatter(1, seen.labels[:, None], 0.0)
        else:
            others = p[:, 1:-1]  # without the given label, and the sum of those that are no candidates
        places = torch.linspace(0, 1, _KNOTS, dtype=torch.float64, device=p.device)
        margins = torch.quantile(others.max(1).values - own, places)
        return cls(noise.trust, margins, torch.quantile(odds, places))

    def applied(
        self,
        true: Float[Tensor, "b k"],
        own: Float[Tensor, "b k"],
        near: Float[Tensor, "b k"],
        labels: Int64[Tensor, " b"],
    ) -> Float[Tensor, "b k"]:
        """Log-probabilities of the true class, with the probability of a wrong label by the margin.

        Args:
            true: Log-probabilities by the label noise.
            own: Log-probabilities by the model.
            near: Those by the neighbours.
            labels: The given labels.
        """
        index = labels[:, None]
        p = softmax((own + self.trust * (near - own)).double())
        given = p.gather(1, index)[:, 0]
        odds = self._odds(p.scatter(1, index, 0.0).max(1).values - given).to(true.dtype)
        others = log_softmax(true.scatter(1, index, -torch.inf))
        found = others + torch.nn.functional.logsigmoid(odds)[:, None]
        return found.scatter(1, index, torch.nn.functional.logsigmoid(-odds)[:, None])

    def _odds(self, margin: Float[Tensor, " b"]) -> Float[Tensor, " b"]:
        margins, odds = self.margins.to(margin.device), self.odds.to(margin.device)
        place = torch.searchsorted(margins, margin).clamp(1, len(margins) - 1)
        low, high = margins[place - 1], margins[place]
        share = ((margin - low) / (high - low).clamp_min(1e-12)).clamp(0, 1)
        # The last term keeps the order where many probabilities are equal, and beyond the knots.
        return odds[place - 1] + share * (odds[place] - odds[place - 1]) + 1e-6 * margin

    def state(self) -> dict[str, Tensor]:
        """As named tensors on the CPU."""
        trust = torch.tensor(self.trust, dtype=torch.float64)
        return {"trust": trust, "margins": self.margins.cpu(), "odds": self.odds.cpu()}

    @classmethod
    def of(cls, state: Mapping[str, Tensor]) -> "Doubt":
        """From what ``state`` returned."""
        return cls(float(state["trust"]), state["margins"], state["odds"])
