"""Tasks: loss, residual and probabilities for one kind of label; one file a task.

In: the ``loss:`` section, the logits of a batch and its labels. Out: a loss and a residual a sample,
probabilities where the task has any, and a preview of a sample. A new task is a new file here with one class
under ``@tasks.register``.
"""

from abc import abstractmethod
from typing import ClassVar

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from ogacli.base.options import Options
from ogacli.base.registry import Registry, type_name
from ogacli.data import Preview, Samples
from ogacli.errors import GradientError
from ogacli.models.network import Model

Logits = Float[Tensor, "b k ..."]
"""What a network returns; also what has its shape, such as residuals."""
Labels = Shaped[Tensor, "b ..."]


class Task(Options):
    """The task that the model was trained for; the fields of a subclass are keys of the ``loss:`` section."""

    deciding: ClassVar[str | None] = None
    """The name of the detector that decides by default: it judges this kind of label."""
    returns_loss: ClassVar[bool] = False
    """True where the network returns no logits, but its loss, in parts that are added up."""
    of_pixels: ClassVar[bool] = False
    """True where the network returns logits of each pixel, [b, k, h, w]; its head is then a convolution."""

    @property
    def place(self) -> str:
        """The key in the config that an error names."""
        return f"loss.name {type_name(self)}"

    @abstractmethod
    def loss(self, logits: Logits, labels: Labels) -> Float[Tensor, " b"]:
        """The loss of each sample, from its own logits and label alone; not averaged over samples.

        Raises:
            GradientError: The labels do not fit the task or the logits.
        """

    def residual(self, logits: Logits, labels: Labels) -> Logits:
        """The gradient of each sample's loss with respect to its logits; by autograd unless overridden.

        Raises:
            GradientError: As :meth:`loss`, or the loss does not depend on the logits.
        """
        with torch.inference_mode(False), torch.enable_grad():
            own = logits.detach().clone().requires_grad_()
            total = self.loss(own, labels.clone() if labels.is_inference() else labels).sum()
            if not total.requires_grad:
                raise GradientError("the loss does not depend on the logits", place=self.place)
            (residual,) = torch.autograd.grad(total, own)
        return residual

    def predictive(self, logits: Logits) -> Logits:
        """The prediction: probabilities, or the logits themselves for tasks without probabilities."""
        return logits

    def logits_of(self, predictive: Logits) -> Logits:
        """The inverse of :meth:`predictive`; finite also for probabilities of 0 and 1."""
        return predictive

    def targets(self, logits: Logits, labels: Labels) -> Logits:
        """The value of :meth:`predictive` at which the labels are met; one number a logit unless overridden.

        Raises:
            GradientError: The labels do not fit the task, or no such value is known.
        """
        if labels.numel() != logits.numel():
            raise GradientError(
                "the loss takes one target a logit",
                place=self.place,
                found=f"labels {list(labels.shape)}, logits {list(logits.shape)}",
                hint="use `loss: cross_entropy` for one class a sample",
            )
        return labels.to(logits.dtype).reshape(logits.shape)

    def class_probabilities(self, logits: Logits) -> Float[Tensor, "b k"] | None:
        """The probability of each class; None where samples do not have exactly one class."""
        return None

    def label_probability(self, logits: Logits, labels: Labels) -> Float[Tensor, " b"] | None:
        """The probability of each sample's given label; None where samples do not have one class each."""
        if labels.ndim != 1 or labels.is_floating_point():
            return None
        probabilities = self.class_probabilities(logits)
        return None if probabilities is None else probabilities.gather(1, labels[:, None])[:, 0]

    def preview(self, model: Model, samples: Samples, row: int, device: torch.device) -> Preview:
        """A sample as it is shown to a person.

        Args:
            model: On the device.
            samples: As the model reads them.
            row: Which of them.
            device: Where to compute.

        Raises:
            Unreadable: It cannot be read.
        """
        return samples.reader.preview(int(samples.positions[row]))


tasks: Registry[type[Task]] = Registry("ogacli.models.tasks", "loss")
