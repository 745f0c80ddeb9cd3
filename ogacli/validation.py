"""The ``validation:`` section: samples whose labels are right, for detectors that hold others against them.

In: the section, the model, and what computes gradients. Out: the mean validation gradient, [p].
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from ogacli.data.loader import batches
from ogacli.errors import ConfigError, DataError
from ogacli.findings import finite
from ogacli.gradients import GradientBatch, Gradients
from ogacli.gradients.products import mean_gradient
from ogacli.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ogacli.data import Samples, Source
    from ogacli.models import Model


def open_validation(source: Source, training: Samples, model: Model) -> Samples:
    """The validation samples.

    Args:
        source: The section.
        training: The samples that are scanned.
        model: What answers for both.

    Raises:
        ConfigError: The model is a table of answers for the training samples alone.
        DataError: They cannot be opened, or have other classes than the training samples.
    """
    if not model.reads_inputs:
        raise ConfigError(
            "the model is a table of answers, which has none for validation samples",
            place="validation",
            hint="leave the section out, or give the network and its checkpoint as `model`",
        )
    found = source.open()
    if found.classes != training.classes:
        raise DataError(
            "the validation samples have other classes than the training samples",
            place="validation",
            found=", ".join(found.classes[:10]) or "none",
            expected=", ".join(training.classes[:10]) or "none",
        )
    return found


def mean_validation_gradient(
    samples: Samples,
    gradients: Gradients,
    *,
    batch_size: int,
    device: torch.device,
    workers: int | Literal["auto"],
    progress: Progress,
) -> Float[Tensor, " p"]:
    """The mean gradient of the samples that can be read and whose gradient is finite.

    Raises:
        DataError: There is none.
    """
    reasons: dict[int, str] = {}

    def usable() -> Iterator[GradientBatch]:
        rows = torch.arange(len(samples))
        with progress.bar("validation", len(samples)) as advance:
            for batch in batches(samples, rows, batch_size, workers=workers, pin=device.type == "cuda"):
                reasons.update(batch.quarantined)
                advance(len(batch.rows) + len(batch.quarantined))
                if len(batch.rows):
                    found = gradients(batch.to(device))
                    yield found.select(finite(found).nonzero()[:, 0])

    mean = mean_gradient(usable())
    if mean is None:
        raise DataError(
            "none of the validation samples has a gradient",
            place="validation",
            found=next(iter(reasons.values()), "non-finite gradients"),
        )
    return mean
