"""What tasks with a class at each of many places of a sample have in common: pixels, words."""

from typing import ClassVar

import torch

from ogacli.errors import GradientError
from ogacli.models.tasks import Labels, Logits, Task


class Places(Task):
    """Softmax over the classes, the second dimension of the logits, at each place."""

    places: ClassVar[str]
    """What they are called, in the plural."""

    def predictive(self, logits: Logits) -> Logits:
        """The probabilities of the classes at each place."""
        return logits.softmax(1)

    def logits_of(self, predictive: Logits) -> Logits:
        """Logarithms of probabilities; a probability of 0 is replaced by the smallest positive number."""
        return predictive.clamp_min(torch.finfo(predictive.dtype).tiny).log()

    def targets(self, logits: Logits, labels: Labels) -> Logits:
        """Unknown, as no sample has the places of another.

        Raises:
            GradientError: Always.
        """
        raise GradientError(
            f"{self.places} have no neighbours in other samples",
            place=self.place,
            hint="leave out `gradients.residual: neighbours`",
        )
