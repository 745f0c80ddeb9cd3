"""Per-sample gradients of the head of a network that returns logits of each pixel.

The head is a convolution, often 1x1 and followed by upsampling, so that its gradient is no single product of
residual and features. It is found on the first batch; the backward pass ends at its output.
"""

from collections.abc import Sequence

from jaxtyping import Int64
from torch import Tensor

from ogacli.base.precision import Precision
from ogacli.data import Batch
from ogacli.gradients.batch import GradientBatch
from ogacli.gradients.capture import LayerGradients
from ogacli.models.head import name_of
from ogacli.models.network import Network
from ogacli.models.pixel_head import find_pixel_head
from ogacli.models.tasks import Task


class PixelHeadGradients(LayerGradients):
    """Computes per-sample gradients with respect to the last convolution.

    Args:
        network: In evaluation mode, its parameters frozen.
        task: The loss.
        bias: With the bias, where there is one.
        precision: Of the forward and backward pass.
    """

    def __init__(self, network: Network, task: Task, *, bias: bool, precision: Precision) -> None:
        super().__init__(network, task, {}, precision=precision)
        self._bias = bias

    def __call__(self, batch: Batch) -> GradientBatch:
        """The gradients of the samples of one batch, which lies on the network's device.

        Raises:
            GradientError: The network has no such head, or per-sample gradients cannot be computed; raised
                on the first batch.
        """
        if not self.selection:
            module = self.network.module
            head = find_pixel_head(module, batch.split(1)[0].inputs, self.network.named_head)
            parameters = dict(head.named_parameters(name_of(module, head), recurse=False))
            if not self._bias:
                parameters = {name: one for name, one in parameters.items() if one is not head.bias}
            self._select(parameters)
        return super().__call__(batch)

    def reduce_to(self, orders: Sequence[int], coords: Int64[Tensor, " f"]) -> None:
        """Keep the factors: there are no other layers that need the memory."""
