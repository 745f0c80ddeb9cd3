"""Model + batch -> ``GradientBatch``: per-sample gradients, of which only what is needed is computed."""

from typing import Annotated, Literal

from pydantic import Field

from ogacli.base.options import Options
from ogacli.base.precision import Precision
from ogacli.errors import GradientError
from ogacli.gradients.batch import GradientBatch as GradientBatch
from ogacli.gradients.capture import LayerGradients as LayerGradients
from ogacli.gradients.head import HeadGradients as HeadGradients
from ogacli.gradients.neighbours import NeighbourOptions
from ogacli.gradients.neighbours import Neighbours as Neighbours
from ogacli.gradients.pictures import PictureGradients as PictureGradients
from ogacli.gradients.pixel_head import PixelHeadGradients
from ogacli.gradients.selection import selected
from ogacli.models.detection import BoxNetwork
from ogacli.models.network import Model, Network
from ogacli.models.tasks import Task

Gradients = HeadGradients | LayerGradients | PictureGradients
"""Computes the per-sample gradients of batches that are on the model's device."""


class GradientOptions(Options):
    """The ``gradients:`` section: which gradients are computed, and how."""

    layers: str | Annotated[list[str], Field(min_length=1)] = "head"
    """Which parameters: ``head``, the last linear layer, or of object detectors the last layers that classify
    boxes and place them; ``all``; ``lora``, those of adapters; or patterns of their names, such as
    ``layer4.*`` or ``[head, lora]``."""
    bias: bool = True
    """For the head: with its bias, where it has one."""
    residual: Literal["loss", "neighbours"] = "loss"
    """Where the gradient of the loss with respect to the logits is taken: ``loss``, at the model's logits for
    the sample; ``neighbours``, at the mean prediction for the sample's nearest neighbours in feature space.
    The latter finds wrong labels that the model has memorised, as long as the features still tell the classes
    apart."""
    neighbours: NeighbourOptions = NeighbourOptions()
    """Of ``residual: neighbours``."""
    batch_size: Annotated[int, Field(ge=1)] | Literal["auto"] = "auto"
    """Samples of a forward pass; results do not depend on it."""
    device: str = "auto"
    """``cpu``, ``cuda``, ``cuda:1``; ``auto`` takes a GPU where there is one."""
    precision: Precision = "float32"
    """Of the forward and backward pass. ``bfloat16`` is quicker on a GPU, and so is ``tf32``, float32 rounded
    to 10 bits; the flagged samples and those near the cut are then scored once more in ``float32``."""
    deterministic: bool = False
    """On a GPU: the same bits at every run, by slower algorithms where torch has them. Convolutions of cuDNN
    are deterministic in any case, and so is all that runs on the CPU."""
    fold: bool = True
    """For the head: merge batch norms into convolutions and use channels last, where the logits of the first
    batch stay the same up to rounding."""
    compile: bool = False
    """For the head: run the network under ``torch.compile``; pays on large datasets."""


def capture(
    model: Model, task: Task, options: GradientOptions, neighbours: Neighbours | None = None
) -> Gradients:
    """The computation of the gradients that the options select.

    Args:
        model: The model.
        task: The loss.
        options: Which parameters, and how.
        neighbours: Replaces each sample's logits by the mean prediction of its nearest neighbours.

    Raises:
        GradientError: The model is a table of logits without layers, or no parameter has such a name.
    """
    if options.layers == "head" and task.of_pixels and isinstance(model, Network):
        return PixelHeadGradients(model, task, bias=options.bias, precision=options.precision)
    if isinstance(model, BoxNetwork):
        return PictureGradients(model, task, options.layers, precision=options.precision)
    if options.layers == "head":
        if isinstance(model, Network):
            model.quicken(fold=options.fold, compile=options.compile)
        return HeadGradients(
            model, task, neighbours=neighbours, bias=options.bias, precision=options.precision
        )
    if not isinstance(model, Network):
        raise GradientError(
            "this model has no layers, only logits",
            place=f"gradients.layers {options.layers!r}",
            expected="head",
            hint="give the network and its checkpoint as `model` to look at other layers",
        )
    selection = selected(model.module, options.layers)
    return LayerGradients(model, task, selection, neighbours=neighbours, precision=options.precision)
