"""Any number of classes a sample: binary cross-entropy."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from ogacli.models.tasks import Labels, Logits, Task, tasks


@tasks.register_as("bce_with_logits")
class MultiLabel(Task):
    """A sigmoid of each logit; binary cross-entropy with 0 or 1 for each class, summed over the classes."""

    deciding = "latent_label_set"

    def loss(self, logits: Logits, labels: Labels) -> Float[Tensor, " b"]:
        """The sum of each sample's binary cross-entropies.

        Raises:
            GradientError: There is not one label a logit.
        """
        targets = self.targets(logits, labels)
        # A logit of minus infinity has no loss where the class is absent; 0 * infinity would be NaN.
        absent, present = F.softplus(logits), F.softplus(-logits)
        mixed = targets * present + (1 - targets) * absent
        losses = torch.where(targets == 0, absent, torch.where(targets == 1, present, mixed))
        return losses.flatten(1).sum(1)

    @torch.no_grad()
    def residual(self, logits: Logits, labels: Labels) -> Logits:
        """Sigmoid minus label; sigmoid(z) - 1 is computed as -sigmoid(-z), which does not cancel to zero.

        Raises:
            GradientError: There is not one label a logit.
        """
        targets = self.targets(logits, labels)
        return (1 - targets) * logits.sigmoid() - targets * (-logits).sigmoid()

    def predictive(self, logits: Logits) -> Logits:
        """The probability that each class is one of the sample's."""
        return logits.sigmoid()

    def logits_of(self, predictive: Logits) -> Logits:
        """Log odds; a probability of 0 or 1 is moved by the smallest positive number."""
        tiny = torch.finfo(predictive.dtype).tiny
        return predictive.clamp_min(tiny).log() - (1 - predictive).clamp_min(tiny).log()
