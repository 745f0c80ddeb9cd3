"""Label noise of pixels and of objects, one class each: the parts of masks, or boxes.

In: logits and given classes. Out: ``ClassNoise``, which gives the probability of each class to be the true
one. The model of noise is that of :mod:`ogacli.detectors.label_noise.model`: a temperature, class biases and
a transition matrix, fitted by EM.
"""

import math
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from ogacli.base.tensor_fields import TensorFields
from ogacli.detectors.label_noise.candidates import Candidates, log_probabilities
from ogacli.detectors.label_noise.disagreement import Disagreement
from ogacli.detectors.label_noise.model import LabelNoise
from ogacli.detectors.label_noise.signals import CALIBRATED
from ogacli.detectors.label_noise.transition import FREE, LEAST

_AGREES = 0.2
"""Cohen's kappa of predicted and given classes of parts below which a model has learned too little to tell
anything: 0.27 after two epochs of a network that reaches 0.63, 0 to 0.05 without training
(`benchmarks/masks.py`, seed 0)."""
_LOWEST, _HALVINGS = -15.0, 40
"""Logarithm of the smallest factor of the rates that is tried, and steps of the search for it."""


@dataclass(frozen=True, slots=True)
class ClassNoise(TensorFields):
    """The fitted parameters; float64."""

    sharpness: Float[Tensor, ""]
    """Inverse temperature of the predictions."""
    bias: Float[Tensor, " k"]
    """Of each class, added to the scaled log-probabilities."""
    logs: Float[Tensor, "k k"]
    """Logarithm of the probability of each given class (column) where the true one is known (row)."""

    @classmethod
    def fitted(
        cls, logits: Float[Tensor, "n k"], given: Int64[Tensor, " n"], least_noise: float = LEAST
    ) -> "ClassNoise":
        """Fit by EM; O(n k) an iteration.

        Args:
            logits: Best by a model that was not trained on the given classes.
            given: The given classes.
            least_noise: Lower bound of the rate of wrong ones in each class.
        """
        noise, k = (
            LabelNoise.fitted_to(Candidates.of(logits, given), least_noise=least_noise),
            logits.shape[1],
        )
        every = torch.arange(k, device=given.device)
        logs = noise.transition.logs_of(every, logits.new_zeros(k, k, dtype=torch.float64)).t()
        sharpness = torch.tensor(noise.sharpness, dtype=torch.float64, device=given.device)
        return cls(sharpness, noise.weights, logs.contiguous())

    def true(self, logits: Float[Tensor, "n k"], given: Int64[Tensor, " n"]) -> Float[Tensor, "n k"]:
        """The probability of each class to be the true one, float64."""
        return (self.sharpness * log_probabilities(logits) + self.bias + self.logs.t()[given]).softmax(1)

    def at_most(self, share: float, logits: Float[Tensor, "n k"], given: Int64[Tensor, " n"]) -> "ClassNoise":
        """The same with lower rates, where more than this share of the given classes would be wrong.

        All odds of a wrong class are divided by one number; itself where no more are wrong.
        """
        if self._wrong(logits, given) <= share:
            return self
        low, high = _LOWEST, 0.0
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            below = self.divided(middle)._wrong(logits, given) <= share
            low, high = (middle, high) if below else (low, middle)
        return self.divided(low)

    def divided(self, log: float) -> "ClassNoise":
        """The same with rates of wrong classes times exp(log)."""
        right = torch.eye(len(self.logs), dtype=torch.bool, device=self.logs.device)
        others = (self.logs + log).masked_fill(right, -torch.inf)
        return replace(self, logs=others.where(~right, torch.log1p(-others.exp().sum(1, keepdim=True))))

    def _wrong(self, logits: Float[Tensor, "n k"], given: Int64[Tensor, " n"]) -> float:
        """The share of the given classes that are expected to be wrong."""
        return float(self.judged(logits, given)[0].mean())

    def judged(
        self, logits: Float[Tensor, "n k"], given: Int64[Tensor, " n"]
    ) -> tuple[Float[Tensor, " n"], Int64[Tensor, " n"]]:
        """The probability that the given class is wrong, and the most probable other one."""
        others = self.true(logits, given).scatter(1, given[:, None], 0.0)
        return others.sum(1), others.argmax(1)


def without_mistakes(
    noise: ClassNoise, logits: Float[Tensor, "n k"], given: Int64[Tensor, " n"], *, held_out: bool
) -> ClassNoise:
    """The noise without what is no noise, but mistakes of the model: these become fewer where it is surest.

    So no more given classes are wrong than contradict the model where it is surest, at the upper end of the
    interval of their share; and none where the model predicts hardly more of them than chance. A model that
    has learned the given classes tells nothing of that kind.

    Args:
        noise: Fitted to these.
        logits: The predictions.
        given: The given classes.
        held_out: Whether the model was not trained on them.
    """
    seen = Candidates.of(logits, given)
    found = Disagreement.of(seen.own, seen)
    if found.kappa < _AGREES:
        return noise.divided(-math.inf)
    if not held_out and found.inverse_temperature > CALIBRATED:
        return noise
    return noise.at_most(found.most, logits, given)


def noise_of_objects(
    logits: Float[Tensor, "n k"], given: Int64[Tensor, " n"], *, held_out: bool
) -> ClassNoise:
    """The noise of the classes of whole objects, without mistakes of the model.

    Args:
        logits: The predictions.
        given: The given classes.
        held_out: Whether the model was not trained on them.
    """
    noise = ClassNoise.fitted(logits, given, FREE)
    return without_mistakes(noise, logits, given, held_out=held_out)
