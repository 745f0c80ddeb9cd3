"""How labels came about: a true class, seen through a model, and turned into the given label by chance.

In: logits and given labels of samples, and what their neighbours are, where that is known. Out: a
``LabelNoise``, which knows for each sample how probable it is that the given label is wrong.

The given label y of a sample x is drawn as P(y | x) = sum_t P(t | x) Q[t, y]: the true class t follows the
model's probabilities at a temperature and class weights of their own, Q says how often class t is labelled y.
Where it is known how probable each class is among a sample's neighbours, P(t | x) is a logarithmic pool of
the two opinions (Heskes, NIPS 1997), whose mistakes are not the same. All of it is fitted to the given labels
alone, by expectation and maximisation (EM). Class-conditional noise is that of Natarajan et al. (NeurIPS
2013) and Northcutt et al. (JAIR 2021, arXiv 1911.00068).
"""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int64
from torch import Tensor

_ENTRIES = 1 << 22
"""Probabilities that are held while fitting: 32 MB in float64."""
_STEPS = 100
_PSEUDO = 30.0
"""Samples of each class that Q is worth before any was seen. They are labelled wrong at the rate of all
classes, any other class as likely."""
_LEAST = 0.1
"""The least share of wrong labels in a class of Q. Where a model has learned labels, or few are wrong, its
slight doubts would be lost in those about Q."""
_SHARPEST = 100.0
"""For models that are always right. They are never taken as less sure than they say: a network that is surer
than right has learned the wrong labels, too."""
_TRUST = (0.2, 0.6)
"""How much the neighbours are trusted at least and at most. A model that has learned the labels explains them
better than neighbours can, for no merit of its own."""
_STRIDE = 0.1
"""The most that the trust changes in one step."""
_CLOSE = 1e-5


@dataclass(frozen=True, slots=True)
class LabelNoise:
    """What stands between a model's logits and the given labels."""

    sharpness: float
    """One over the temperature of the model's probabilities of the true class; at least 1."""
    trust: float
    """The weight of the neighbours' opinion; 1 less it is that of the model's own."""
    weights: Float[Tensor, " k"]
    """Added to the sharpened logits: logarithms of what the true classes' shares are raised by."""
    transition: Float[Tensor, "k k"]
    """Q: rows are true classes, columns given labels; float64."""

    @classmethod
    def fitted(
        cls,
        logits: Float[Tensor, "n k"],
        labels: Int64[Tensor, " n"],
        around: Float[Tensor, "n k"] | None = None,
    ) -> "LabelNoise":
        """Fit to samples; of very many only the first, as many as fit in a bounded memory.

        Args:
            logits: Best of a model that did not learn these labels.
            labels: As given.
            around: The logarithm of how probable each class is among the neighbours of a sample; the model's
                own opinion where left out.
        """
        most = max(1, _ENTRIES // logits.shape[1])
        logits, labels = logits[:most], labels[:most]
        own, gap = _opinions(logits, None if around is None else around[:most])
        found, wrong = cls(1.0, 0.5, own.new_zeros(own.shape[1]), _even(own, 0.1)), 0.1
        for _ in range(_STEPS):
            before, last = found, wrong
            mixed = own + before.trust * gap
            true = before._true(mixed, labels).exp()
            counts = torch.zeros_like(before.transition).index_add_(0, labels, true).t()
            wrong = 1 - float(counts.diagonal().sum()) / len(labels)
            expected = _even(own, min(max(wrong, _LEAST), 1 - 1 / own.shape[1]))
            prior = before._prior(mixed).exp()
            sharpness = _sharper(before.sharpness, _newton(prior, true, mixed))
            trust = _trusted(before.trust, _newton(prior, true, before.sharpness * gap))
            weights = _weighted(sharpness, before.weights, mixed, true)
            found = cls(sharpness, trust, weights, _noisy(counts + _PSEUDO * expected))
            if (
                abs(wrong - last) < _CLOSE
                and abs(sharpness / before.sharpness - 1) < 100 * _CLOSE
                and abs(trust - before.trust) < 100 * _CLOSE
            ):
                break
        return found

    def to(self, device: torch.device) -> "LabelNoise":
        """The same on a device."""
        if self.transition.device == device:
            return self
        return replace(self, weights=self.weights.to(device), transition=self.transition.to(device))

    def true(
        self,
        logits: Float[Tensor, "b k"],
        labels: Int64[Tensor, " b"],
        around: Float[Tensor, "b k"] | None = None,
    ) -> Float[Tensor, "b k"]:
        """The logarithm of the probability of each class to be the true one, given the label; float64."""
        own, gap = _opinions(logits, around)
        return self._true(own + self.trust * gap, labels)

    def _prior(self, mixed: Tensor) -> Tensor:
        return torch.log_softmax(self.sharpness * mixed + self.weights, 1)

    def _true(self, mixed: Tensor, labels: Tensor) -> Tensor:
        return torch.log_softmax(self._prior(mixed) + self.transition.log()[:, labels].t(), 1)


def odds_of(true: Float[Tensor, "b k"], labels: Int64[Tensor, " b"]) -> Float[Tensor, " b"]:
    """The logarithm of P(the given label is wrong) / P(it is right).

    Args:
        true: The logarithm of the probability of each class to be the true one.
        labels: As given.
    """
    index = labels[:, None]
    return true.scatter(1, index, -torch.inf).logsumexp(1) - true.gather(1, index)[:, 0]


def _opinions(logits: Tensor, around: Tensor | None) -> tuple[Float[Tensor, "n k"], Float[Tensor, "n k"]]:
    """The model's opinion, and what has to be added to it to have the neighbours'."""
    own = torch.log_softmax(logits.double(), 1)
    return own, torch.zeros_like(own) if around is None else around.double() - own


def _newton(prior: Tensor, true: Tensor, along: Float[Tensor, "n k"]) -> float:
    """One Newton step, along a direction of the logits, to where the prior fits the true classes best."""
    mean = (prior * along).sum(1)
    slope = float(((true * along).sum(1) - mean).sum())
    curvature = float(((prior * along.square()).sum(1) - mean.square()).sum())
    return slope / curvature if curvature > 0 else 0.0


def _sharper(before: float, step: float) -> float:
    return min(max(before + step, before / 2, 1.0), before * 2, _SHARPEST)


def _trusted(before: float, step: float) -> float:
    least, most = _TRUST
    return min(max(before + min(max(step, -_STRIDE), _STRIDE), least), most)


def _even(own: Tensor, wrong: float) -> Float[Tensor, "k k"]:
    """The same share of each class labelled wrong, any other class as likely."""
    k = own.shape[1]
    found = own.new_full((k, k), wrong / (k - 1))
    return found.fill_diagonal_(1 - wrong)


def _weighted(sharpness: float, weights: Tensor, mixed: Tensor, true: Tensor) -> Float[Tensor, " k"]:
    """Class weights nearer to those at which each class is as frequent as the true one is."""
    now = torch.softmax(sharpness * mixed + weights, 1)
    moved = weights + ((true.sum(0) + 1) / (now.sum(0) + 1)).log()
    return moved - moved.mean()


def _noisy(counts: Float[Tensor, "k k"]) -> Float[Tensor, "k k"]:
    """Counts as shares of their row; but some of each class are labelled wrong, and no more than by chance.

    More would be another class under this one's name.
    """
    shares = counts / counts.sum(1, keepdim=True)
    right = shares.diagonal().clamp(1 / len(counts), 1 - _LEAST)
    others = shares.clone().fill_diagonal_(0)
    others *= ((1 - right) / others.sum(1))[:, None]
    return others + torch.diag(right)
