"""Label noise of samples with any number of classes: each class is a binary latent label.

In: logits and given labels, 0 or 1 for each class. Out: ``PresenceNoise``, which gives the probability that
a class is wrongly given or forgotten.

A class c is present (t = 1) with the probability sigmoid(s_c z_c + b_c). It is given although absent with the
rate g_c, and left out although present with the rate f_c. Sharpness s, biases b and rates maximise the
likelihood of the given labels, by EM with one Newton step for s and b in each M step. Sharpness and rates of
a class are shrunk to those of all classes, so that rare classes have them too. A class is forgotten, or given
wrongly, more often than others where rates of its own raise the likelihood by more than the Bayesian
information criterion asks; its rates are hardly shrunk, and those of all are without it. Where the labels
are nearly as probable without any noise, or where the predictions hardly tell samples with a class from those
without it, they show none, and no class is more probably wrong than right; nor is one that all samples have,
or none.
"""

import math
from dataclasses import dataclass, fields, replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ogacli.base.device import place_to_iterate
from ogacli.base.tensor_fields import TensorFields

_STEPS = 200
"""Most iterations of EM."""
_CLOSE = 1e-4
"""EM has converged when sharpness and rates change by less."""
_POOL = 1000.0
"""Samples by whose weight the rates of a class are those of all classes."""
_OWN_POOL = 30.0
"""The same for a class with rates of its own."""
_SHARPNESS_POOL = 30.0
"""Weight of the sharpness of all classes in that of each, as an amount of information."""
_RIDGE = 10.0
"""Pulls the bias of a class to 0, as so many samples of the largest variance would."""
_FLATTEST, _SHARPEST = 0.5, 100.0
"""Bounds of the sharpness. Only without noise it may be less than 1, as a model needs that is too sure."""
_LEAST, _MOST = 1e-6, 0.5
"""Bounds of the rates."""
_LARGEST_BIAS = 5.0
_MISFIT = 0.0006
"""Label noise is shown where it raises the logarithm of the likelihood by more than this for each label,
beside what the Bayesian information criterion asks. On clean labels the mistakes of a model raised it by up
to 0.001 (`benchmarks/kinds.py`), noise by more but for a model that hardly tells classes apart."""

_TELLS = 0.6
"""Area under the ROC curve, over all classes, below which a model tells nothing. It was 0.69 to 0.98 in
`benchmarks/kinds.py`, seeds 0 and 1, and is 0.5 by chance, where noise would explain all labels."""


@dataclass(frozen=True, slots=True)
class PresenceNoise(TensorFields):
    """The fitted parameters; float64."""

    sharpness: Float[Tensor, " k"]
    bias: Float[Tensor, " k"]
    given: Float[Tensor, " k"]
    """Rate at which a class is given although it is absent."""
    forgotten: Float[Tensor, " k"]
    """Rate at which a class is left out although it is present."""
    clean: Float[Tensor, " k"]
    """1 where the labels show no noise, else 0; the same for all classes without rates of their own, but for
    those that all samples have, or none."""

    @classmethod
    def fitted(cls, logits: Float[Tensor, "n k"], labels: Float[Tensor, "n k"]) -> "PresenceNoise":
        """Fit by EM; O(n k) an iteration.

        Args:
            logits: Predictions, best those of a model that was not trained on these labels.
            labels: 0 or 1.
        """
        device = place_to_iterate(labels)
        z, y = finite(logits).to(device), labels.double().to(device)
        none = z.new_zeros(z.shape[1])
        start = cls(none + 1, none, none + 0.05, none + 0.05, none)
        found = start._maximised(z, y, none > 0)
        alone = start._maximised(z, y, none == 0)
        gain = alone._likelihood(z, y) - found._likelihood(z, y)
        own = gain > math.log(len(z))  # half of the criterion, for two parameters
        if own.any():
            both = {one.name: (getattr(alone, one.name), getattr(found, one.name)) for one in fields(cls)}
            mixed = cls(**{name: torch.where(own, *pair) for name, pair in both.items()})
            found = mixed._maximised(z, y, own)
        right = start._maximised(z, y, none > 0, noise=False)
        gain = (found._likelihood(z, y) - right._likelihood(z, y))[~own]
        count = max(1, len(z) * len(gain))
        few = gain.sum() < math.log(count) + _MISFIT * count
        constant = (y == y[:1]).all(0)  # no sample shows what the other value looks like
        silent = _told_apart(z, y) < _TELLS
        return replace(found, clean=none + (few & ~own | constant | silent)).to(labels.device)

    def _maximised(
        self, z: Float[Tensor, "n k"], y: Float[Tensor, "n k"], own: Bool[Tensor, " k"], *, noise: bool = True
    ) -> "PresenceNoise":
        """The parameters of the highest likelihood, from these on.

        Args:
            z: The logits.
            y: The labels.
            own: Which classes have rates of their own.
            noise: Whether labels may be wrong.
        """
        found = self
        for _ in range(_STEPS):
            before = found
            prior = before._prior(z)
            present = before._present(prior, y)
            given = _rates((1 - present) * y, 1 - present, own, _MOST if noise else _LEAST)
            forgotten = _rates(present * (1 - y), present, own, _MOST if noise else _LEAST)
            sharpness = _stepped(before.sharpness, present - prior, prior, z, 1.0 if noise else _FLATTEST)
            prior = (sharpness * z + before.bias).sigmoid()
            slope = (present - prior).sum(0) - _RIDGE * before.bias
            bias = before.bias + slope / ((prior * (1 - prior)).sum(0) + _RIDGE)
            bias = bias.clamp(-_LARGEST_BIAS, _LARGEST_BIAS)
            found = replace(before, sharpness=sharpness, bias=bias, given=given, forgotten=forgotten)
            moved = [given - before.given, forgotten - before.forgotten, sharpness / before.sharpness - 1]
            if torch.cat(moved).abs().max() < _CLOSE:
                break
        return found

    def wrong(self, logits: Float[Tensor, "b k"], labels: Float[Tensor, "b k"]) -> Float[Tensor, "b k"]:
        """The probability that a class is wrongly given (label 1) or forgotten (label 0)."""
        y = labels.double()
        present = self._present(self._prior(finite(logits)), y)
        wrong = torch.where(y > 0, 1 - present, present)
        return torch.where(self.clean > 0, wrong / 2, wrong)

    def suggested(
        self, logits: Float[Tensor, "b k"], labels: Float[Tensor, "b k"]
    ) -> tuple[Float[Tensor, "b k"], Float[Tensor, "b k"]]:
        """The other one of 0 and 1, without margins."""
        return 1.0 - labels, torch.zeros_like(labels)

    def _prior(self, z: Float[Tensor, "b k"]) -> Float[Tensor, "b k"]:
        """The probability that each class is present, before its label is known."""
        return (self.sharpness * z + self.bias).sigmoid()

    def _present(self, prior: Float[Tensor, "b k"], y: Float[Tensor, "b k"]) -> Float[Tensor, "b k"]:
        """The probability that each class is present, given the label."""
        present, absent = self._joint(prior, y)
        return present / (present + absent)

    def _joint(
        self, prior: Float[Tensor, "b k"], y: Float[Tensor, "b k"]
    ) -> tuple[Float[Tensor, "b k"], Float[Tensor, "b k"]]:
        """The probabilities of the label together with the presence, and with the absence, of each class."""
        if_present = torch.where(y > 0, 1 - self.forgotten, self.forgotten)
        if_absent = torch.where(y > 0, self.given, 1 - self.given)
        return prior * if_present, (1 - prior) * if_absent

    def _likelihood(self, z: Float[Tensor, "n k"], y: Float[Tensor, "n k"]) -> Float[Tensor, " k"]:
        """The logarithm of the likelihood of the labels of each class."""
        present, absent = self._joint(self._prior(z), y)
        return (present + absent).log().sum(0)


def finite(logits: Float[Tensor, "b k"]) -> Float[Tensor, "b k"]:
    """In float64; a logit of infinity is as certain as 50."""
    return logits.double().clamp(-50.0, 50.0)


def _told_apart(z: Float[Tensor, "n k"], y: Float[Tensor, "n k"]) -> float:
    """How often a sample with a class has a larger logit than one without it; 1/2 by chance.

    The area under the ROC curve (Mann-Whitney, ties count half), over the pairs of all classes; 1 without
    any.
    """
    columns = z.t().contiguous()
    ordered = columns.sort(1).values
    rank = torch.searchsorted(ordered, columns) + torch.searchsorted(ordered, columns, right=True)
    having = y.sum(0)
    pairs = (having * (len(y) - having)).sum()
    above = ((rank.t() + 1) / 2 * y).sum(0) - having * (having + 1) / 2
    return float(above.sum() / pairs) if pairs else 1.0


def _rates(
    wrong: Float[Tensor, "n k"], of: Float[Tensor, "n k"], own: Bool[Tensor, " k"], most: float
) -> Float[Tensor, " k"]:
    """The share of ``wrong`` in ``of`` for each class, shrunk to that of all classes; at most ``most``."""
    wrong, of = wrong.sum(0), of.sum(0)
    those = ~own if not own.all() else own
    pooled = (wrong[those].sum() + 0.5) / (of[those].sum() + 1)
    pool = torch.where(own, _OWN_POOL, _POOL).to(of.dtype)
    return ((wrong + pool * pooled) / (of + pool)).clamp(_LEAST, most)


def _stepped(sharpness: Tensor, slope: Tensor, prior: Tensor, z: Tensor, least: float) -> Float[Tensor, " k"]:
    """One Newton step of each sharpness, which at most halves or doubles it; then the shrinkage."""
    information = (prior * (1 - prior) * z.square()).sum(0).clamp_min(1e-12)
    step = (slope * z).sum(0) / information
    alone = (sharpness + step).clamp(min=sharpness / 2, max=2 * sharpness)
    mean = (information * alone).sum() / information.sum()
    shrunk = (information * alone + _SHARPNESS_POOL * mean) / (information + _SHARPNESS_POOL)
    return shrunk.clamp(least, _SHARPEST)
