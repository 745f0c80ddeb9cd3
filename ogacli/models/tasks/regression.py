"""Regression: squared error."""

from jaxtyping import Float
from torch import Tensor

from ogacli.models.tasks import Labels, Logits, Task, tasks


@tasks.register_as("mse")
class Regression(Task):
    """The squared difference of each output and its target, summed over the outputs."""

    deciding = "latent_target"

    def loss(self, logits: Logits, labels: Labels) -> Float[Tensor, " b"]:
        """The sum of each sample's squared errors.

        Raises:
            GradientError: There is not one target an output.
        """
        return (logits - self.targets(logits, labels)).square().flatten(1).sum(1)
