"""The ``validation:`` section: samples whose labels are right, for detectors that hold others against them.

In: the section and the model. Out: its samples, and their mean gradient, [p].
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from ogacli.base.progress import Progress
from ogacli.errors import ConfigError, DataError
from ogacli.gradients import GradientBatch
from ogacli.gradients.products import mean_gradient
from ogacli.scan.collect import Collector, finite

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ogacli.data import Samples
    from ogacli.data.sources import Source
    from ogacli.gradients.feed import GradientFeed
    from ogacli.models import Model


def open_validation(
    source: Source,
    training: Samples,
    model: Model,
    prepare: Callable[[Samples], Samples] = lambda samples: samples,
) -> Samples:
    """The validation samples.

    Args:
        source: The section.
        training: The samples that are scanned.
        model: What answers for both.
        prepare: What the model's source does to samples.

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
    found = prepare(source.open())
    if found.classes != training.classes:
        raise DataError(
            "the validation samples have other classes than the training samples",
            place="validation",
            found=", ".join(found.classes[:10]) or "none",
            expected=", ".join(training.classes[:10]) or "none",
        )
    return found


def mean_validation_gradient(feed: GradientFeed, progress: Progress) -> Float[Tensor, " p"]:
    """The mean gradient of the samples that can be read and whose gradient is finite.

    Args:
        feed: The gradients of the validation samples.
        progress: Told how far it is.

    Raises:
        DataError: There is none.
    """
    n = len(feed.samples)
    collector = Collector(n, (), feed.device)

    def usable() -> Iterator[GradientBatch]:
        with progress.bar("validation", n) as advance:
            for batch in feed(torch.arange(n), collector):
                advance(len(batch))
                yield batch.select(finite(batch).nonzero()[:, 0])

    mean = mean_gradient(usable())
    if mean is None:
        raise DataError(
            "none of the validation samples has a gradient",
            place="validation",
            found=next(iter(collector.quarantined.values()), "non-finite gradients"),
        )
    return mean
