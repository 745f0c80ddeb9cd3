"""The head's per-sample gradients, from one forward pass without a backward pass.

The head is linear, so the gradient of a sample is the outer product of its residual and its features.
"""

from dataclasses import replace

import torch

from ogacli.base.precision import Precision, computing_in
from ogacli.data import Batch
from ogacli.gradients.batch import GradientBatch
from ogacli.gradients.layers.linear import Outer, Plain
from ogacli.gradients.layers.part import Part
from ogacli.gradients.loss_check import check_loss
from ogacli.gradients.neighbours import Neighbours
from ogacli.models.network import Model, Outputs
from ogacli.models.tasks import Task


class HeadGradients:
    """Computes per-sample gradients with respect to the head of a model."""

    def __init__(
        self,
        model: Model,
        task: Task,
        *,
        neighbours: Neighbours | None = None,
        bias: bool = True,
        precision: Precision = "float32",
    ) -> None:
        self.model = model
        self.task = task
        self._neighbours = neighbours
        self._bias = bias
        self._precision = precision
        self.parameters: dict[str, int] = {}
        self.piece: int | None = None
        """Samples in one forward pass of the network; a whole batch where None."""

    @torch.no_grad()
    def __call__(self, batch: Batch) -> GradientBatch:
        """The gradients of the samples of one batch, which is on the model's device.

        Raises:
            GradientError: The loss of a sample depends on the others; raised on the first batch.
        """
        if not self.parameters and self._precision != "float32":
            with computing_in("float32", batch.labels.device):  # the checks of the first batch need it
                self.model.outputs(batch)
        with computing_in(self._precision, batch.labels.device):
            outputs = self._outputs(batch)
        logits = outputs.logits.float()
        features = None if outputs.features is None else outputs.features.float()
        if self._neighbours is not None:
            logits = self._neighbours(batch.rows, features)
        if not self.parameters:
            check_loss(self.task, logits, batch.labels, getattr(self.model, "classes", 0))
        residual = self.task.residual(logits, batch.labels)
        part: Part = Plain(residual) if features is None else Outer(features, residual, outputs.bias)
        if not self.parameters:
            self.parameters = self._sizes(outputs)
        return GradientBatch(
            rows=batch.rows,
            labels=batch.labels,
            logits=logits,
            residual=residual,
            features=features,
            parts=[part],
            losses=self.task.loss(logits, batch.labels),
            returns_loss=self.task.returns_loss,
        )

    def _outputs(self, batch: Batch) -> Outputs:
        pieces = [self.model.outputs(piece) for piece in batch.split(self.piece or len(batch.rows))]
        first = replace(pieces[0], bias=pieces[0].bias and self._bias)
        if len(pieces) == 1:
            return first
        features = [piece.features for piece in pieces if piece.features is not None]
        return Outputs(
            logits=torch.cat([piece.logits for piece in pieces]),
            features=torch.cat(features) if features else None,
            bias=first.bias,
        )

    def _sizes(self, outputs: Outputs) -> dict[str, int]:
        k = outputs.logits.shape[1]
        if outputs.features is None:
            return {"logits": k}
        sizes = {f"{self.model.head_name}.weight": k * outputs.features.shape[1]}
        return sizes | {f"{self.model.head_name}.bias": k} if outputs.bias else sizes
