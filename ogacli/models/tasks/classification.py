"""One class a sample: cross-entropy."""

from typing import Annotated

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from pydantic import Field
from torch import Tensor

from ogacli.base.softmax import log_softmax, softmax
from ogacli.errors import GradientError
from ogacli.models.tasks import Labels, Logits, Task, tasks


@tasks.register_as("cross_entropy")
class Classification(Task):
    """Softmax over the logits and cross-entropy with the given class."""

    deciding = "latent_label"

    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """The share of each target that is spread evenly over all classes."""

    def loss(self, logits: Logits, labels: Labels) -> Float[Tensor, " b"]:
        """The cross-entropy of each sample.

        Raises:
            GradientError: The labels are not one class a sample, or the logits not one row a sample.
        """
        classes, smoothing = self._classes(logits, labels), self.label_smoothing
        if smoothing or logits.requires_grad:
            return F.cross_entropy(logits, classes, reduction="none", label_smoothing=smoothing)
        return F.nll_loss(log_softmax(logits), classes, reduction="none")

    @torch.no_grad()
    def residual(self, logits: Logits, labels: Labels) -> Float[Tensor, "b k"]:
        """Softmax minus the target distribution.

        For the given class that difference cancels to zero in confident samples, so it is computed as minus
        the sum of the others.

        Raises:
            GradientError: The labels are not one class a sample, or the logits not one row a sample.
        """
        residual = softmax(logits)
        if self.label_smoothing:
            residual = residual - self.label_smoothing / logits.shape[1]
        index = self._classes(logits, labels)[:, None]
        others = residual.scatter(1, index, 0.0).sum(1, keepdim=True)
        return residual.scatter(1, index, -others)

    def predictive(self, logits: Logits) -> Float[Tensor, "b k"]:
        """The probabilities of the classes."""
        return softmax(logits)

    def logits_of(self, predictive: Float[Tensor, "b k"]) -> Float[Tensor, "b k"]:
        """Logarithms of probabilities; a probability of 0 is replaced by the smallest positive number."""
        return predictive.clamp_min(torch.finfo(predictive.dtype).tiny).log()

    def targets(self, logits: Logits, labels: Labels) -> Float[Tensor, "b k"]:
        """1 for the given class, 0 for the others.

        Raises:
            GradientError: The labels are not one class a sample, or the logits not one row a sample.
        """
        return F.one_hot(self._classes(logits, labels), logits.shape[1]).to(logits.dtype)

    def class_probabilities(self, logits: Logits) -> Float[Tensor, "b k"] | None:
        """Softmax of the logits; None where there is only one."""
        return self.predictive(logits) if logits.shape[1] > 1 else None

    def _classes(self, logits: Logits, labels: Labels) -> Int64[Tensor, " b"]:
        if labels.ndim != 1 or labels.is_floating_point():
            raise GradientError(
                "cross-entropy takes one class a sample",
                place=self.place,
                found=f"labels {list(labels.shape)} of {str(labels.dtype).removeprefix('torch.')}",
                hint="use `loss: bce_with_logits` for several classes a sample, `loss: mse` for a regression",
            )
        if logits.ndim != 2:
            raise GradientError(
                "cross-entropy takes one row of logits a sample",
                place=self.place,
                found=f"logits {list(logits.shape)}",
                expected=f"[{len(labels)}, classes]",
            )
        return labels
