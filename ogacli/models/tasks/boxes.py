"""Object detection: the network returns the parts of its loss, such as those of classes and of places."""

from ogacli.models.tasks import tasks
from ogacli.models.tasks.tokens import Output


@tasks.register_as("boxes")
class Boxes(Output):
    """The loss of a picture is the sum of the losses that the detector returns for this picture alone."""

    deciding = "latent_boxes"
