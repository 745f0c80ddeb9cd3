"""A latent class model of label noise: true class -> given label, fitted by EM.

In: logits and given labels of samples, and kNN class probabilities where features are known. Out: a
``LabelNoise``, which gives the posterior probability of each class to be the true one.

The given label y of a sample x has the distribution P(y | x) = sum_t P(t | x) Q[t, y]. The prior P(t | x) of
the true class t is the model's prediction with a temperature and a bias for each class; Q is the transition
matrix of class-conditional noise (Natarajan et al., NeurIPS 2013; Northcutt et al., JAIR 2021, arXiv
1911.00068). With neighbours, P(t | x) is a logarithmic opinion pool (Heskes, NIPS 1997) of the prediction and
the kNN probabilities, whose errors differ. All parameters are fitted to the given labels alone, by EM with
one Newton step for temperature and pool weight in each M step.

With many classes, it is fitted to the ``Candidates`` of each sample, its most probable classes, and Q is
uniform noise plus the counts of the pairs that occur (``Transition``). Neither grows with n k or k^2.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from ogacli.base.device import place_to_iterate
from ogacli.base.softmax import log_softmax, softmax
from ogacli.detectors.label_noise.calibration import newton_step, next_biases
from ogacli.detectors.label_noise.candidates import Candidates, comparable
from ogacli.detectors.label_noise.transition import LEAST, Pairs, Transition

_ENTRIES = 1 << 22
"""Probabilities that are held while fitting: 32 MB in float64."""
_STEPS = 500
"""Most iterations of EM. With two classes and many wrong labels it takes some hundred."""
_FLATTEST, _SHARPEST = 0.01, 100.0
"""Bounds of the inverse temperature; the upper one is for models that are always right."""
TRUST = (0.2, 0.6)
"""Bounds of the weight of the neighbours, unless others are given."""
_STRIDE = 0.1
"""The largest change of that weight in one iteration."""
_TRANSITION = "transition."
"""Begins the names of the tensors of the transition matrix."""
_SURE = 15.0
"""Log-odds of a probability of 1 - 3e-7."""
_CLOSE = 1e-5
"""EM has converged when the estimated share of wrong labels changes by less."""


@dataclass(frozen=True, slots=True)
class LabelNoise:
    """The fitted parameters of the model."""

    sharpness: float
    """Inverse temperature of the prior."""
    trust: float
    """Weight of the kNN log-probabilities in the pool; that of the model's own is 1 - trust."""
    weights: Float[Tensor, " k"]
    """Bias of each class, added to the scaled log-probabilities; sums to 0."""
    transition: Transition
    """Q: from the true class to the given label."""

    @classmethod
    def fitted_to(
        cls,
        seen: Candidates,
        *,
        trust: tuple[float, float] = TRUST,
        least_sharpness: float = 1.0,
        least_noise: float = LEAST,
        biased: bool = True,
        even: bool = False,
        start: "LabelNoise | None" = None,
    ) -> "LabelNoise":
        """Fit by EM to the candidates of samples; O(n e) an iteration for e entries a sample.

        Args:
            seen: The samples.
            trust: Bounds of the weight of the neighbours. The likelihood underrates them where the model has
                learned the labels, which it then explains better than neighbours can.
            least_sharpness: Lower bound of the inverse temperature, at least 1: a network that is more
                confident than accurate has learned the wrong labels as well.
            least_noise: Lower bound of the rate of wrong labels of each class.
            biased: Whether classes have biases; of two they are hard to tell from noise of one of them.
            even: Whether all classes have the same rate of wrong labels.
            start: The fit to begin with; as much noise of each class where left out.
        """
        device = seen.own.device
        seen = _iterated(seen)
        pairs, own = Pairs(seen), seen.own
        rates = partial(Transition.fitted, pairs, least=least_noise, even=even)
        if start is None:
            none = own.new_zeros(seen.k)
            uniform = rates(own.new_zeros(len(pairs.true)), none, 0.1)
            start = cls(least_sharpness, min(max(0.5, trust[0]), trust[1]), none, uniform)
        found, wrong = start.to(own.device), 0.1
        for _ in range(_STEPS):
            before, last = found, wrong
            mixed = _mixed(own, seen.gap, before.trust)
            prior = before._prior(seen, mixed)
            true = prior * pairs.probabilities(before.transition)
            true /= true.sum(1, keepdim=True)
            wrong = 1 - float(seen.of_label(true).sum()) / len(own)
            sharpness, weights = before._calibrated(seen, mixed, prior, true, least_sharpness)
            if not biased:
                weights = before.weights
            weight = before.trust
            if seen.gap is not None:
                along = before.sharpness * seen.gap
                weight = _next_trust(weight, newton_step(prior, (true * along).sum(1), along), trust)
            found = cls(sharpness, weight, weights, rates(pairs.counts(true), pairs.others(true), wrong))
            if (
                abs(wrong - last) < _CLOSE
                and abs(sharpness / before.sharpness - 1) < 100 * _CLOSE
                and abs(weight - before.trust) < 100 * _CLOSE
            ):
                break
        return found.to(device)

    @classmethod
    def without_noise(cls, seen: Candidates, trust: float) -> "LabelNoise":
        """The predictions calibrated to the given labels, as if all of these were right.

        Args:
            seen: The samples.
            trust: The weight of the neighbours.
        """
        device = seen.own.device
        seen = _iterated(seen)
        mixed, pairs = _mixed(seen.own, seen.gap, trust), Pairs(seen)
        found = cls(1.0, trust, mixed.new_zeros(seen.k), pairs.identity())
        true = pairs.probabilities(found.transition)
        for _ in range(_STEPS):
            before, prior = found, found._prior(seen, mixed)
            sharpness, weights = before._calibrated(seen, mixed, prior, true, _FLATTEST)
            found = replace(before, sharpness=sharpness, weights=weights)
            moved = float((weights - before.weights).abs().max())
            if max(moved, abs(sharpness / before.sharpness - 1)) < 100 * _CLOSE:
                break
        return found.to(device)

    def _prior(self, seen: Candidates, mixed: Float[Tensor, "n e"]) -> Float[Tensor, "n e"]:
        """The probability of each entry before the label is known, from the pooled log-probabilities."""
        return softmax(seen.biased(self.sharpness * mixed, self.weights))

    def _calibrated(
        self, seen: Candidates, mixed: Tensor, prior: Tensor, true: Float[Tensor, "n e"], least: float
    ) -> tuple[float, Float[Tensor, " k"]]:
        """One step of the inverse temperature, and one of the biases with that, towards the true classes."""
        step = newton_step(prior, (true * mixed).sum(1), mixed)
        sharpness = min(max(self.sharpness + step, self.sharpness / 2, least), 2 * self.sharpness, _SHARPEST)
        now = replace(self, sharpness=sharpness)._prior(seen, mixed)
        return sharpness, next_biases(self.weights, seen.per_class(now), seen.per_class(true))

    def log_likelihood(self, seen: Candidates) -> float:
        """Of the given labels; the sum over the samples that ``fitted_to`` looks at."""
        seen = _iterated(seen)
        here = self.to(seen.own.device)
        prior = here._prior(seen, _mixed(seen.own, seen.gap, here.trust))
        given = (prior * Pairs(seen).probabilities(here.transition)).sum(1)
        return float(given.clamp_min(torch.finfo(given.dtype).tiny).log().sum())

    def state(self) -> dict[str, Tensor]:
        """The parameters by name, on the CPU."""
        return {
            "sharpness": torch.tensor(self.sharpness, dtype=torch.float64),
            "trust": torch.tensor(self.trust, dtype=torch.float64),
            "weights": self.weights.cpu(),
            **{f"{_TRANSITION}{name}": value for name, value in self.transition.state().items()},
        }

    @classmethod
    def of(cls, state: Mapping[str, Tensor]) -> "LabelNoise":
        """From what ``state`` returned; further tensors are ignored."""
        transition = {
            name.removeprefix(_TRANSITION): state[name] for name in state if name.startswith(_TRANSITION)
        }
        return cls(
            float(state["sharpness"]), float(state["trust"]), state["weights"], Transition.of(transition)
        )

    def to(self, device: torch.device) -> "LabelNoise":
        """The same on a device; itself where it is there already."""
        if self.weights.device == device:
            return self
        return replace(self, weights=self.weights.to(device), transition=self.transition.to(device))

    def posterior(
        self,
        logits: Float[Tensor, "b k"],
        labels: Int64[Tensor, " b"],
        neighbours: Float[Tensor, "b k"] | None = None,
    ) -> Float[Tensor, "b k"]:
        """Log-probabilities log P(t | x, y) of the true class given the label.

        In float64; with more classes than ``candidates.ALL`` in float32.
        """
        own = comparable(logits)
        gap = None if neighbours is None else neighbours.to(own.dtype) - own
        mixed = self.sharpness * _mixed(own, gap, self.trust) + self.weights.to(own.dtype)
        return log_softmax(mixed + self.transition.logs_of(labels, own))

    def posterior_among(self, seen: Candidates) -> Float[Tensor, "n e"]:
        """The probability of each entry to be the true class given the label; float64."""
        mixed = self.sharpness * _mixed(seen.own, seen.gap, self.trust)
        logs = Pairs(seen).probabilities(self.transition).log()
        return softmax(seen.biased(mixed, self.weights) + logs)


def _iterated(seen: Candidates) -> Candidates:
    """As many of the samples as are fitted to, where that is done."""
    seen = seen.part(slice(0, max(1, _ENTRIES // seen.own.shape[1])))
    return seen.to(place_to_iterate(seen.own))


def log_odds_wrong(true: Float[Tensor, "b k"], labels: Int64[Tensor, " b"]) -> Float[Tensor, " b"]:
    """The log-odds log P(label is wrong) / P(label is right).

    Args:
        true: Log-probabilities of the classes to be the true one.
        labels: The given labels.
    """
    index = labels[:, None]
    return true.scatter(1, index, -torch.inf).logsumexp(1) - true.gather(1, index)[:, 0]


def probability_wrong(true: Float[Tensor, "b k"], labels: Int64[Tensor, " b"]) -> Float[Tensor, " b"]:
    """The probability that the given label is wrong; float64.

    Log-odds above ``_SURE`` grow with their logarithm only, so that very probable ones keep their order:
    beyond log-odds of 37 a probability is rounded to 1.

    Args:
        true: Log-probabilities of the classes to be the true one.
        labels: The given labels.
    """
    odds = log_odds_wrong(true, labels).double()
    beyond = odds.clamp_min(_SURE) - _SURE
    return (odds - beyond + beyond.log1p()).sigmoid()


def _mixed(own: Float[Tensor, "n e"], gap: Float[Tensor, "n e"] | None, trust: float) -> Float[Tensor, "n e"]:
    """The pool of the log-probabilities of the model and of the neighbours; the model's own without these."""
    return own if gap is None else own + trust * gap


def _next_trust(before: float, step: float, bounds: tuple[float, float]) -> float:
    least, most = bounds
    return min(max(before + min(max(step, -_STRIDE), _STRIDE), least), most)
