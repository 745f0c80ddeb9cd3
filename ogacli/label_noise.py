"""How labels came about: a true class, seen through a model, and turned into the given label by chance.

In: logits and given labels of samples. Out: a ``LabelNoise``, which knows for each sample how probable it is
that the given label is wrong.

The given label y of a sample x is drawn as P(y | x) = sum_t P(t | x) Q[t, y]: the true class t follows the
model's probabilities at a temperature and class weights of their own, Q says how often class t is labelled y.
All three are fitted to the given labels alone, by expectation and maximisation (EM). Class-conditional noise
is that of Natarajan et al. (NeurIPS 2013) and Northcutt et al. (JAIR 2021, arXiv 1911.00068).
"""

from dataclasses import dataclass

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
_CLOSE = 1e-5


@dataclass(frozen=True, slots=True)
class LabelNoise:
    """What stands between a model's logits and the given labels."""

    sharpness: float
    """One over the temperature of the model's probabilities of the true class; at least 1."""
    weights: Float[Tensor, " k"]
    """Added to the sharpened logits: logarithms of what the true classes' shares are raised by."""
    transition: Float[Tensor, "k k"]
    """Q: rows are true classes, columns given labels; float64."""

    @classmethod
    def fitted(cls, logits: Float[Tensor, "n k"], labels: Int64[Tensor, " n"]) -> "LabelNoise":
        """Fit to samples; of very many only the first, as many as fit in a bounded memory.

        Args:
            logits: Best of a model that did not learn these labels.
            labels: As given.
        """
        most = max(1, _ENTRIES // logits.shape[1])
        logits, labels = _centred(logits[:most]), labels[:most]
        found, wrong = cls(1.0, logits.new_zeros(logits.shape[1]), _even(logits, 0.1)), 0.1
        for _ in range(_STEPS):
            true = found._true(logits, labels).exp()
            counts = torch.zeros_like(found.transition).index_add_(0, labels, true).t()
            before = wrong, found.sharpness
            wrong = 1 - float(counts.diagonal().sum()) / len(labels)
            expected = _even(logits, min(max(wrong, _LEAST), 1 - 1 / logits.shape[1]))
            sharpness = found._sharpened(logits, true)
            found = cls(
                sharpness,
                _weighted(sharpness, found.weights, logits, true),
                _noisy(counts + _PSEUDO * expected),
            )
            if abs(wrong - before[0]) < _CLOSE and abs(sharpness / before[1] - 1) < 100 * _CLOSE:
                break
        return found

    def to(self, device: torch.device) -> "LabelNoise":
        """The same on a device."""
        if self.transition.device == device:
            return self
        return LabelNoise(self.sharpness, self.weights.to(device), self.transition.to(device))

    def true(self, logits: Float[Tensor, "b k"], labels: Int64[Tensor, " b"]) -> Float[Tensor, "b k"]:
        """The logarithm of the probability of each class to be the true one, given the label; float64."""
        return self._true(_centred(logits), labels)

    def odds(self, logits: Float[Tensor, "b k"], labels: Int64[Tensor, " b"]) -> Float[Tensor, " b"]:
        """The logarithm of P(the given label is wrong) / P(it is right)."""
        logs, index = self.true(logits, labels), labels[:, None]
        return logs.scatter(1, index, -torch.inf).logsumexp(1) - logs.gather(1, index)[:, 0]

    def _true(self, centred: Tensor, labels: Tensor) -> Tensor:
        before = torch.log_softmax(self.sharpness * centred + self.weights, 1)
        return torch.log_softmax(before + self.transition.log()[:, labels].t(), 1)

    def _sharpened(self, logits: Tensor, true: Tensor) -> float:
        """One Newton step towards the sharpness at which the probabilities fit the true classes best."""
        now = torch.softmax(self.sharpness * logits + self.weights, 1)
        mean = (now * logits).sum(1)
        slope = float(((true * logits).sum(1) - mean).sum())
        curvature = float(((now * logits.square()).sum(1) - mean.square()).sum())
        step = slope / curvature if curvature > 0 else 0.0
        return min(max(self.sharpness + step, self.sharpness / 2, 1.0), self.sharpness * 2, _SHARPEST)


def _centred(logits: Tensor) -> Tensor:
    logits = logits.double()
    return logits - logits.max(1, keepdim=True).values


def _even(logits: Tensor, wrong: float) -> Float[Tensor, "k k"]:
    """The same share of each class labelled wrong, any other class as likely."""
    k = logits.shape[1]
    found = logits.new_full((k, k), wrong / (k - 1))
    return found.fill_diagonal_(1 - wrong)


def _weighted(sharpness: float, weights: Tensor, logits: Tensor, true: Tensor) -> Float[Tensor, " k"]:
    """Class weights nearer to those at which each class is as frequent as the true one is."""
    now = torch.softmax(sharpness * logits + weights, 1)
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
