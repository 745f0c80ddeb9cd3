"""Label noise of masks: of single pixels, and of parts, the connected pixels of one class.

In: logits and given classes. Out: ``MaskNoise``, a ``ClassNoise`` for pixels and one for parts.

Pixels of an object are wrong together, and a network mistakes whole objects: single pixels tell which parts
of a mask are doubtful, but how often classes are wrong is fitted to parts.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from ogacli.detectors.label_noise.class_noise import ClassNoise, noise_of_objects


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
        *,
        held_out: bool,
    ) -> "MaskNoise":
        """Fit to pixels, and to parts where there are any.

        Args:
            logits: Of pixels.
            given: Their given classes.
            part_logits: The mean logits of parts.
            part_given: Their given classes.
            held_out: Whether the model was not trained on these masks.
        """
        pixels = ClassNoise.fitted(logits, given)
        if not len(part_given):
            return cls(pixels, pixels)
        return cls(pixels, noise_of_objects(part_logits, part_given, held_out=held_out))

    def to(self, device: torch.device) -> "MaskNoise":
        """The same on a device; parts are judged on the CPU."""
        return MaskNoise(self.pixels.to(device), self.parts.to(torch.device("cpu")))
