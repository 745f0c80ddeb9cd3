"""Numbers to be predicted: squared error."""

from jaxtyping import Float, Shaped
from torch import Tensor

from ogacli.models.tasks import Task, tasks


@tasks.register_as("mse")
class Regression(Task):
    """The squared difference of each output and its target, summed over the outputs."""

    def loss(self, logits: Float[Tensor, "b k ..."], labels: Shaped[Tensor, "b ..."]) -> Float[Tensor, " b"]:
        """The sum of each sample's squared errors.

        Raises:
            GradientError: There is not one target an output.
        """
        return (logits - self.targets(logits, labels)).square().flatten(1).sum(1)
