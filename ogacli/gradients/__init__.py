"""Model + batch -> ``GradientBatch``: per-sample gradients that are computed only as far as asked."""

from typing import Annotated, Literal

from pydantic import Field

from ogacli.gradients.batch import GradientBatch
from ogacli.options import Options

__all__ = ["GradientBatch", "GradientOptions"]


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
