"""Object detectors: networks that find boxes in pictures, as torchvision has them.

In: such a network. Out: ``BoxNetwork``, which gives the parts of the loss of a picture and the boxes that are
found in it; and ``BoxLosses``, the same network as one that returns its loss, for trainings.

Called with pictures and targets in train mode, the network returns a mapping of losses; in evaluation mode,
called with pictures, it returns boxes, labels and scores. Class i of the data is label i + 1 of the network,
as torchvision counts the background as label 0.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from ogacli.base.device import out_of_memory
from ogacli.base.seeding import seeded
from ogacli.data import Batch
from ogacli.data.images.boxes import Boxed
from ogacli.errors import GradientError
from ogacli.models.checks import check_layers
from ogacli.models.network import Outputs
from ogacli.models.outputs import first_line

_SIDE = 800
"""Pixels of a side of a picture, where the network does not say to which size it is made."""
_LEAST_SCORE = 0.01
"""Boxes that are found with a lower score are left out."""


class Found(NamedTuple):
    """The boxes that a network finds in a picture, on the CPU."""

    boxes: Float[Tensor, "q 4"]
    """Left, top, right and bottom, in pixels."""
    classes: Int64[Tensor, " q"]
    scores: Float[Tensor, " q"]
    """From 0 to 1."""


class BoxNetwork:
    """A detector in evaluation mode, its parameters frozen."""

    reads_inputs = True
    head_name = ""

    def __init__(self, module: nn.Module, classes: int) -> None:
        """Freeze a network.

        Args:
            module: The detector.
            classes: Number of classes; boxes of further ones are left out.

        Raises:
            GradientError: A layer normalises by statistics of the batch.
        """
        self.module = module.eval().requires_grad_(False)
        self.classes = classes
        check_layers(module)
        for layer in module.modules():
            if isinstance(threshold := getattr(layer, "score_thresh", None), float):
                setattr(layer, "score_thresh", min(threshold, _LEAST_SCORE))  # noqa: B010
        _settle_scales(module)

    def to(self, device: torch.device) -> None:
        """Move the weights to a device."""
        self.module.to(device)

    def outputs(self, batch: Batch) -> Outputs:
        """The parts of the loss of each picture, in place of logits; without features."""
        with torch.no_grad():
            losses = torch.cat([self.losses(picture) for picture in batch.inputs])
        return Outputs(losses, None, bias=False)

    def losses(self, picture: Boxed) -> Float[Tensor, "1 parts"]:
        """The parts of the loss of one picture, with what autograd needs where gradients are enabled.

        Statistics of batch norms are used and not changed. What the network draws at random, such as the
        anchors that count, is drawn under one seed for every picture, so that the loss of a picture depends
        on neither the others nor their order.

        Raises:
            GradientError: The network cannot be called with a picture and its boxes.
        """
        with giving_losses(self.module), seeded(0, picture.picture.device):
            return torch.stack(_called(self.module, [picture]))[None]

    @torch.no_grad()
    def found(self, picture: Boxed) -> Found:
        """The boxes that the network finds, whatever boxes the picture has."""
        (result,) = self.module([_pixels(picture)])
        labels = result["labels"].cpu()
        known = (labels > 0) & (labels <= self.classes)
        return Found(result["boxes"].cpu()[known], labels[known] - 1, result["scores"].cpu()[known])


class BoxLosses(nn.Module):
    """A detector as a network that returns parts of its loss, [b, parts]; for trainings.

    In train mode torchvision's networks divide by sums over the batch, so that each row is the mean.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, pictures: Sequence[Boxed]) -> Float[Tensor, "b parts"]:
        """The parts of the loss of the batch, once for each picture."""
        return torch.stack(_called(self.model, pictures)).expand(len(pictures), -1)


@contextmanager
def giving_losses(module: nn.Module) -> Iterator[None]:
    """A context in which a detector in evaluation mode returns its losses.

    Only the network itself and torchvision's own parts of detectors are in train mode. Batch norms and
    dropouts are not, nor is the transform, which would draw a size.
    """
    from torchvision.models import detection

    def returns_losses(layer: nn.Module) -> bool:
        own = any(cls.__module__.startswith(detection.__name__) for cls in type(layer).__mro__)
        return own and not isinstance(layer, detection.transform.GeneralizedRCNNTransform)

    changed = [layer for layer in module.modules() if layer is module or returns_losses(layer)]
    for layer in changed:
        layer.training = True
    try:
        yield
    finally:
        for layer in changed:
            layer.training = False


def _settle_scales(module: nn.Module) -> None:
    """Let torchvision find the scales of feature maps on a square picture.

    It takes them from the first picture that it sees, and rounds them wrongly for a narrow one.
    """
    from torchvision.ops import MultiScaleRoIAlign

    poolers = [layer for layer in module.modules() if isinstance(layer, MultiScaleRoIAlign)]
    if any(pooler.scales is None for pooler in poolers):
        side = max(getattr(getattr(module, "transform", None), "min_size", (_SIDE,)))
        with torch.no_grad():
            module([torch.zeros(3, side, side)])


def _called(module: nn.Module, pictures: Sequence[Boxed]) -> list[Tensor]:
    """The losses of a detector in train mode.

    Raises:
        GradientError: It cannot be called, or returns something else.
    """
    targets = [{"boxes": one.boxes, "labels": one.classes + 1} for one in pictures]
    try:
        losses: Any = module([_pixels(one) for one in pictures], targets)
    except Exception as error:  # the user's code may raise anything
        if out_of_memory(error):
            raise
        raise GradientError(
            "the network cannot be called with pictures and boxes",
            place=type(module).__name__,
            found=first_line(error),
            expected="a detector such as torchvision's, with at least one label more than there are classes",
            hint="check `model`, and that label 0 is the background",
        ) from error
    if isinstance(losses, dict) and losses and all(isinstance(one, Tensor) for one in losses.values()):
        return list(losses.values())
    raise GradientError(
        "the network does not return its losses",
        place=type(module).__name__,
        found=type(losses).__name__,
        expected="in train mode a mapping of losses, as of torchvision's detectors",
    )


def _pixels(picture: Boxed) -> Float[Tensor, "3 h w"]:
    return picture.picture.float() / 255
