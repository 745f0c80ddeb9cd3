"""A latent class model of label noise: true class -> given label, fitted by EM.

In: logits and given labels of samples, and kNN class probabilities where features are known. Out: a
``LabelNoise``, which gives the posterior probability of each class to be the true one.

The given label y of a sample x has the distribution P(y | x) = sum_t P(t | x) Q[t, y]. The prior P(t | x) of
the true class t is the model's prediction with a temperature and a bias for each class; Q is the transition
matrix of class-conditional noise (Natarajan et al., NeurIPS 2013; Northcutt et al., JAIR 2021, arXiv
1911.00068). With neighbours, P(t | x) is a logarithmic opinion pool (Heskes, NIPS 1997) of the prediction and
the kNN probabilities, whose errors differ. All parameters are fitted to the given labels alone, by EM with
one Newton step for temperature and pool weight in each M step.
"""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int64
from torch import Tensor

_ENTRIES = 1 << 22
"""Probabilities that are held while fitting: 32 MB in float64."""
_STEPS = 500
"""Most iterations of EM."""
_PSEUDO = (10**1.5, 10**2.0, 10**2.5, 10**3.0, 10**3.5, 10**4.0)
"""Pseudo-counts of each row of Q: so many samples that are labelled wrong at the rate of all classes, with
all other classes equally likely. The fewest are taken that a likelihood ratio test does not reject."""
_REJECTED = 3.84 / 2
"""Half of the 95 % quantile of chi-squared with one degree of freedom."""
_LEAST = 0.1
"""Lower bound of the rate of wrong labels in each row of Q. Where the model has learned the labels, or few
are wrong, its small doubts would otherwise be lost in the uncertainty of Q."""
_SHARPEST = 100.0
"""Upper bound of the inverse temperature, for models that are always right. The lower bound is 1: a network
that is more confident than accurate has learned the wrong labels as well."""
_TRUST = (0.2, 0.6)
"""Bounds of the weight of the neighbours. The likelihood underrates them where the model has learned the
labels, which it then explains better than neighbours can."""
_STRIDE = 0.1
"""The largest change of that weight in one iteration."""
_CLOSE = 1e-5
"""EM has converged when the estimated share of wrong labels changes by less."""


@dataclass(frozen=True, slots=True)
class LabelNoise:
    """The fitted parameters of the model."""

    sharpness: float
    """Inverse temperature of the prior; at least 1."""
    trust: float
    """Weight of the kNN log-probabilities in the pool; that of the model's own is 1 - trust."""
    weights: Float[Tensor, " k"]
    """Bias of each class, added to the scaled log-probabilities; sums to 0."""
    transition: Float[Tensor, "k k"]
    """Q, float64: rows are true classes, columns given labels, rows sum to 1."""

    @classmethod
    def fitted(
        cls,
        logits: Float[Tensor, "n k"],
        labels: Int64[Tensor, " n"],
        neighbours: Float[Tensor, "n k"] | None = None,
    ) -> "LabelNoise":
        """Fit by EM; O(n k^2) an iteration. Of very many samples only the first are used.

        Args:
            logits: Predictions, best those of a model that was not trained on these labels.
            labels: The given labels.
            neighbours: kNN log-probabilities of the classes; the model's own where left out.
        """
        most = max(1, _ENTRIES // logits.shape[1])
        logits, labels = logits[:most], labels[:most]
        own, gap = _pooled(logits, None if neighbours is None else neighbours[:most])
        found, wrong = cls(1.0, 0.5, own.new_zeros(own.shape[1]), _uniform_noise(own, 0.1)), 0.1
        for _ in range(_STEPS):
            before, last = found, wrong
            mixed = own + before.trust * gap
            true = before._posterior(mixed, labels).exp()
            counts = torch.zeros_like(before.transition).index_add_(0, labels, true).t()
            wrong = 1 - float(counts.diagonal().sum()) / len(labels)
            expected = _uniform_noise(own, min(max(wrong, _LEAST), 1 - 1 / own.shape[1]))
            prior = before._prior(mixed).exp()
            sharpness = _next_sharpness(before.sharpness, _newton_step(prior, true, mixed))
            trust = _next_trust(before.trust, _newton_step(prior, true, before.sharpness * gap))
            weights = _next_weights(sharpness, before.weights, mixed, true)
            found = cls(sharpness, trust, weights, _transition(counts, expected))
            if (
                abs(wrong - last) < _CLOSE
                and abs(sharpness / before.sharpness - 1) < 100 * _CLOSE
                and abs(trust - before.trust) < 100 * _CLOSE
            ):
                break
        return found

    def to(self, device: torch.device) -> "LabelNoise":
        """The same on a device; itself where it is there already."""
        if self.transition.device == device:
            return self
        return replace(self, weights=self.weights.to(device), transition=self.transition.to(device))

    def posterior(
        self,
        logits: Float[Tensor, "b k"],
        labels: Int64[Tensor, " b"],
        neighbours: Float[Tensor, "b k"] | None = None,
    ) -> Float[Tensor, "b k"]:
        """Log-probabilities log P(t | x, y) of the true class given the label; float64."""
        own, gap = _pooled(logits, neighbours)
        return self._posterior(own + self.trust * gap, labels)

    def _prior(self, mixed: Tensor) -> Tensor:
        return torch.log_softmax(self.sharpness * mixed + self.weights, 1)

    def _posterior(self, mixed: Tensor, labels: Tensor) -> Tensor:
        return torch.log_softmax(self._prior(mixed) + self.transition.log()[:, labels].t(), 1)


def log_odds_wrong(true: Float[Tensor, "b k"], labels: Int64[Tensor, " b"]) -> Float[Tensor, " b"]:
    """The log-odds log P(label is wrong) / P(label is right).

    Args:
        true: Log-probabilities of the classes to be the true one.
        labels: The given labels.
    """
    index = labels[:, None]
    return true.scatter(1, index, -torch.inf).logsumexp(1) - true.gather(1, index)[:, 0]


def _pooled(logits: Tensor, neighbours: Tensor | None) -> tuple[Float[Tensor, "n k"], Float[Tensor, "n k"]]:
    """The model's log-probabilities, and those of the neighbours less the model's (0 without neighbours)."""
    own = torch.log_softmax(logits.double(), 1)
    return own, torch.zeros_like(own) if neighbours is None else neighbours.double() - own


def _newton_step(prior: Tensor, true: Tensor, along: Float[Tensor, "n k"]) -> float:
    """One Newton step of the expected log-likelihood of the prior, along a direction of its logits."""
    mean = (prior * along).sum(1)
    slope = float(((true * along).sum(1) - mean).sum())
    curvature = float(((prior * along.square()).sum(1) - mean.square()).sum())
    return slope / curvature if curvature > 0 else 0.0


def _next_sharpness(before: float, step: float) -> float:
    return min(max(before + step, before / 2, 1.0), before * 2, _SHARPEST)


def _next_trust(before: float, step: float) -> float:
    least, most = _TRUST
    return min(max(before + min(max(step, -_STRIDE), _STRIDE), least), most)


def _next_weights(sharpness: float, weights: Tensor, mixed: Tensor, true: Tensor) -> Float[Tensor, " k"]:
    """Class biases moved towards those at which the prior has the class frequencies of the posterior."""
    now = torch.softmax(sharpness * mixed + weights, 1)
    moved = weights + ((true.sum(0) + 1) / (now.sum(0) + 1)).log()
    return moved - moved.mean()


def _uniform_noise(own: Tensor, wrong: float) -> Float[Tensor, "k k"]:
    """The transition matrix of uniform noise: a share of each class is wrong, all other classes as likely."""
    k = own.shape[1]
    found = own.new_full((k, k), wrong / (k - 1))
    return found.fill_diagonal_(1 - wrong)


def _transition(counts: Float[Tensor, "k k"], expected: Float[Tensor, "k k"]) -> Float[Tensor, "k k"]:
    """Counts and pseudo-counts as shares of their row, with the diagonal between 1 / k and 1 - ``_LEAST``.

    A diagonal below 1 / k would mean that the class has the label of another.
    """
    likelihoods = {size: _log_likelihood(counts, size * expected) for size in _PSEUDO}
    pseudo = min(size for size in _PSEUDO if likelihoods[size] >= max(likelihoods.values()) - _REJECTED)
    sums = counts + pseudo * expected
    shares = sums / sums.sum(1, keepdim=True)
    right = shares.diagonal().clamp(1 / len(counts), 1 - _LEAST)
    others = shares.clone().fill_diagonal_(0)
    others *= ((1 - right) / others.sum(1))[:, None]
    return others + torch.diag(right)


def _log_likelihood(counts: Float[Tensor, "k k"], prior: Float[Tensor, "k k"]) -> float:
    """Of the counts of each row, whose probabilities are drawn from a Dirichlet distribution.

    For whole counts the logarithm of the Dirichlet-multinomial distribution, without the number of orders.
    """
    beta = lambda a: torch.lgamma(a).sum(1) - torch.lgamma(a.sum(1))  # noqa: E731
    return float((beta(counts + prior) - beta(prior)).sum())
