"""Object detection: the network returns the parts of its loss, such as those of classes and of places."""

import torch

from ogacli.data import Preview, Samples
from ogacli.data.images.boxes import Boxed, drawn
from ogacli.models.detection import BoxNetwork
from ogacli.models.network import Model
from ogacli.models.tasks import tasks
from ogacli.models.tasks.tokens import Output

_SURE = 0.5
"""Boxes that are found with a lower score are not drawn."""


@tasks.register_as("boxes")
class Boxes(Output):
    """The loss of a picture is the sum of the losses that the detector returns for this picture alone."""

    deciding = "latent_boxes"

    def preview(self, model: Model, samples: Samples, row: int, device: torch.device) -> Preview:
        """The picture with its given boxes, beside the same with the boxes that the network finds.

        Raises:
            Unreadable: It cannot be read.
        """
        batch = samples.read_one(row)
        assert isinstance(model, BoxNetwork), "a detector"
        (one,) = batch.inputs
        found = model.found(Boxed(*(part.to(device) for part in one)))
        sure = found.scores >= _SURE
        panels = (one.boxes, one.classes), (found.boxes[sure], found.classes[sure])
        return drawn(one.picture, panels, samples.classes)
