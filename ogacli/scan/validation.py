"""The mean gradient of validation samples, whose labels are right, for detectors that compare with it.

In: a setup with validation samples, and the model. Out: their mean gradient, [p].
"""

from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Tensor

from ogacli.base.progress import Progress
from ogacli.data.samples import check_features
from ogacli.errors import ConfigError, DataError
from ogacli.gradients import GradientBatch
from ogacli.gradients.feed import GradientFeed
from ogacli.gradients.products import mean_gradient
from ogacli.models import Model
from ogacli.scan.setup import Setup


def check_validation(setup: Setup, model: Model) -> None:
    """Check that the model can be applied to the validation samples.

    Raises:
        ConfigError: The model has outputs for the training samples alone.
        DataError: Their classes differ from those of the training samples.
    """
    if (validation := setup.validation) is None:
        return
    if not model.reads_inputs:
        raise ConfigError(
            "the model is a table of outputs, which has none for validation samples",
            place="validation",
            hint="leave the section out, or give the network and its checkpoint as `model`",
        )
    if validation.classes != setup.samples.classes:
        raise DataError(
            "the validation samples have other classes than the training samples",
            place="validation",
            found=", ".join(validation.classes[:10]) or "none",
            expected=", ".join(setup.samples.classes[:10]) or "none",
        )
    check_features(setup.samples, validation, "validation")


def mean_validation_gradient(
    setup: Setup, model: Model, device: torch.device, progress: Progress
) -> Float[Tensor, " p"]:
    """The mean gradient of the validation samples that can be read and whose gradient is finite.

    Raises:
        DataError: There is none.
    """
    assert setup.validation is not None
    n, lost = len(setup.validation), dict[int, str]()
    feed = GradientFeed(
        setup.validation, model, setup.task, setup.gradients, device=device, workers=setup.workers
    )

    def usable() -> Iterator[GradientBatch]:
        with progress.bar("validation", n) as advance:
            for batch in feed.finite(torch.arange(n), lost):
                advance(len(batch))
                yield batch
                del batch  # before the next one is computed

    mean = mean_gradient(usable())
    if mean is None:
        raise DataError(
            "none of the validation samples has a gradient",
            place="validation",
            found=next(iter(lost.values())),
        )
    return mean
