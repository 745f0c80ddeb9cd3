"""Per-sample gradients of an object detector: one forward and one backward pass a picture.

In: a ``BoxNetwork`` and the selected parameters. Out: a function from batches to ``GradientBatch``es.
A detector divides its losses by sums over all boxes of a batch, so that the loss of a picture is that of a
batch of this picture alone.
"""

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from ogacli.base.precision import Precision, computing_in
from ogacli.data import Batch
from ogacli.data.images.boxes import Boxed
from ogacli.errors import GradientError
from ogacli.gradients.batch import Columns, GradientBatch, Objects
from ogacli.gradients.fallback import trainable
from ogacli.gradients.kept import Kept
from ogacli.gradients.layers.part import Part
from ogacli.gradients.layers.plain import Plain
from ogacli.gradients.selection import selected
from ogacli.models.detection import BoxNetwork
from ogacli.models.tasks import Task

_HEADS = (
    ("roi_heads.box_predictor.*",),
    ("head.*.cls_logits.*", "head.*.bbox_reg.*", "head.*.bbox_ctrness.*"),
    ("head.*",),
)
"""The last layers of torchvision's detectors: of Faster R-CNN; of RetinaNet and FCOS; of SSD."""


class PictureGradients:
    """Computes per-sample gradients of a detector.

    Args:
        network: The detector.
        task: Of the samples, for the sum over the parts of the loss.
        layers: ``head``, the layers that classify boxes and place them; ``all``; or patterns of names.
        precision: Of the forward and backward pass.

    Raises:
        GradientError: No parameter has such a name.
    """

    notes: Sequence[str] = ()

    def __init__(
        self,
        network: BoxNetwork,
        task: Task,
        layers: str | Sequence[str],
        *,
        precision: Precision = "float32",
    ) -> None:
        self.network = network
        self.task = task
        self.selection: Mapping[str, nn.Parameter] = selected(
            network.module, _patterns(network.module, layers)
        )
        self.parameters = {name: parameter.numel() for name, parameter in self.selection.items()}
        self._precision = precision
        self._columns = Columns(list(self.parameters.values()))
        self._reduction: tuple[tuple[int, ...], Sequence[Int64[Tensor, " f"]]] | None = None

    def reduce_to(self, orders: Sequence[int], coords: Int64[Tensor, " f"]) -> None:
        """Reduce the gradient of each picture to these norms and coordinates; the batches have no others.

        Args:
            orders: 1, 2, both or none.
            coords: Ascending and each once, on the network's device.
        """
        local = {index: inside for index, _, inside in self._columns.split(coords)}
        self._reduction = tuple(orders), [local.get(i, coords[:0]) for i in range(len(self.parameters))]

    def __call__(self, batch: Batch) -> GradientBatch:
        """The gradients of the pictures of one batch, which lies on the network's device.

        Raises:
            GradientError: The network does not return losses, or none depends on the selected parameters.
        """
        with torch.inference_mode(False), computing_in(self._precision, batch.labels.device):
            each = [self._of_one(picture) for picture in batch.inputs]
            found = [self.network.found(picture) for picture in batch.inputs]
        losses = torch.cat([own for own, _ in each])
        several = zip(*(parts for _, parts in each), strict=True)
        return GradientBatch(
            rows=batch.rows,
            labels=batch.labels,
            logits=losses,
            residual=self.task.residual(losses, batch.labels),
            features=None,
            parts=[_joined(parts) for parts in several],
            columns=self._columns,
            losses=self.task.loss(losses, batch.labels),
            returns_loss=True,
            objects=[
                Objects(one.boxes.cpu(), one.classes.cpu(), *boxes)
                for one, boxes in zip(batch.inputs, found, strict=True)
            ],
        )

    def _of_one(self, picture: Boxed) -> tuple[Float[Tensor, "1 parts"], list[Part]]:
        """Losses and gradient of one picture."""
        parameters = list(self.selection.values())
        with trainable(parameters), torch.enable_grad():
            losses = self.network.losses(picture)
            total = losses.sum()
            if not total.requires_grad:
                raise GradientError(
                    "the loss depends on none of the selected parameters",
                    place=next(iter(self.selection)),
                    hint="select layers that the network uses, in `gradients.layers`",
                )
            gradients = torch.autograd.grad(total, parameters, allow_unused=True)
        parts: list[Part] = []
        for i, (parameter, gradient) in enumerate(zip(parameters, gradients, strict=True)):
            row = parameter.new_zeros(1, parameter.numel()) if gradient is None else gradient.reshape(1, -1)
            part: Part = Plain(row.float())
            if self._reduction is not None:
                orders, coords = self._reduction
                part = Kept.of(part, orders, coords[i])
            parts.append(part)
        return losses.detach().float(), parts


def _joined(parts: Sequence[Part]) -> Part:
    """The gradients of one parameter, a picture after the other."""
    if all(isinstance(part, Plain) for part in parts):
        return Plain(torch.cat([part.values for part in parts if isinstance(part, Plain)]))
    return Kept.joined([part for part in parts if isinstance(part, Kept)])


def _patterns(module: nn.Module, layers: str | Sequence[str]) -> str | list[str]:
    """The patterns with ``head`` spelt out, as far as it is known."""
    named = [layers] if isinstance(layers, str) else list(layers)
    if "head" not in named:
        return layers if isinstance(layers, str) else named
    known = [name for name, _ in module.named_parameters()]
    heads = (head for head in _HEADS if any(fnmatchcase(name, head[0]) for name in known))
    head = next(heads, ())
    there = [pattern for pattern in head if any(fnmatchcase(name, pattern) for name in known)]
    if not there:
        raise GradientError(
            "the head of this detector is not known",
            place="gradients.layers 'head'",
            expected="all, or patterns of the names of its last layers",
        )
    return [one for name in named for one in (there if name == "head" else [name])]
