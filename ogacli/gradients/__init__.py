"""Model + batch -> ``GradientBatch``: per-sample gradients that are computed only as far as asked."""

from collections.abc import Mapping
from typing import Annotated, Literal, Protocol

from pydantic import Field

from ogacli.data import Batch
from ogacli.gradients.batch import GradientBatch
from ogacli.gradients.head import HeadGradients
from ogacli.losses import Loss
from ogacli.models.network import Model
from ogacli.options import Options

__all__ = ["GradientBatch", "GradientOptions", "Gradients", "capture"]


class Gradients(Protocol):
    """Computes the per-sample gradients of batches."""

    @property
    def parameters(self) -> Mapping[str, int]:
        """The selected parameters and the size of each, in the order of the coordinates.

        For the head it is known once a batch has been computed.
        """
        ...

    def __call__(self, batch: Batch) -> GradientBatch:
        """The gradients of a batch that lies on the model's device."""
        ...


class GradientOptions(Options):
    """The ``gradients:`` section: which gradient, and how it is computed."""

    layers: Literal["head"] = "head"
    """Which parameters: ``head``, the last linear layer."""
    batch_size: Annotated[int, Field(ge=1)] | Literal["auto"] = "auto"
    """Samples a batch; results do not depend on it."""
    device: str = "auto"
    """``cpu``, ``cuda``, ``cuda:1``, ``mps``; ``auto`` takes a GPU where there is one."""
    precision: Literal["float32"] = "float32"
    """Of the forward pass."""


def capture(model: Model, loss: Loss, options: GradientOptions) -> Gradients:
    """What computes the gradients that the options ask for."""
    return HeadGradients(model, loss)
