"""Label noise of masks: of single pixels, and of parts, the connected pixels of one class.

In: logits and given classes. Out: ``ClassNoise``, which gives the probability of each class to be the true
one; and ``MaskNoise``, one for pixels and one for parts.

The model of noise is that of :mod:`ogacli.detectors.label_noise.model`: a temperature, class biases and a
transition matrix, fitted by EM. Pixels of an object are wrong together, and a network mistakes whole objects:
single pixels tell which parts of a mask are doubtful, but how often classes are wrong is fitted to parts.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from ogacli.base.tensor_fields import TensorFields
from ogacli.detectors.label_noise.candidates import Candidates, log_probabilities
from ogacli.detectors.label_noise.model import LabelNoise
from ogacli.detectors.label_noise.transition import FREE, LEAST


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

    def judged(
        self, logits: Float[Tensor, "n k"], given: Int64[Tensor, " n"]
    ) -> tuple[Float[Tensor, " n"], Int64[Tensor, " n"]]:
        """The probability that the given class is wrong, and the most probable other one."""
        others = self.true(logits, given).scatter(1, given[:, None], 0.0)
        return others.sum(1), others.argmax(1)


@dataclass(frozen=True, slots=True)
class MaskNoise:
    """The noise of pixels, by which doubtful regions are found, and of parts, by which these are judged."""

    pixels: ClassNoise
    parts: ClassNoise

    @classmethod
    def fitted(
        cls,
        logits: Float[Tensor, "n k"],
        given: Int64[Tensor, " n"],
        part_logits: Float[Tensor, "q k"],
        part_given: Int64[Tensor, " q"],
    ) -> "MaskNoise":
        """Fit to pixels, and to parts where there are any."""
        pixels = ClassNoise.fitted(logits, given)
        if not len(part_given):
            return cls(pixels, pixels)
        return cls(pixels, ClassNoise.fitted(part_logits, part_given, FREE))

    def to(self, device: torch.device) -> "MaskNoise":
        """The same on a device; parts are judged on the CPU."""
        return MaskNoise(self.pixels.to(device), self.parts.to(torch.device("cpu")))
