"""The network at the start of its training.

In: a model source and samples. Out: a module with fresh weights, or with those of ``train.start``.
"""

import torch
from torch import nn

from ogacli.base.registry import type_name
from ogacli.base.seeding import seeded
from ogacli.data import Samples
from ogacli.errors import ConfigError
from ogacli.models.sources import Fit, ModelSource, NetworkSource


def trainable(source: ModelSource) -> NetworkSource:
    """The source, as one that builds networks.

    Raises:
        ConfigError: It does not build any.
    """
    if not isinstance(source, NetworkSource):
        raise ConfigError("this model cannot be trained", place="model.source", found=repr(type_name(source)))
    return source


def new_network(
    source: NetworkSource, samples: Samples, *, start: str | None, seed: int, device: torch.device
) -> nn.Module:
    """A network that fits the samples, built under a fixed seed; the global random state is restored.

    Args:
        source: Builds the network; its ``checkpoint`` is not read.
        samples: The training samples.
        start: The checkpoint to start from; None for fresh weights.
        seed: The seed of fresh weights.
        device: The device of the training.

    Raises:
        CheckpointError: The checkpoint does not fit the network or the samples.
    """
    with seeded(seed, device):
        module = source.model_copy(update={"checkpoint": start}).network(Fit.of(samples))
    if start is None:
        source.fit_inputs(module, samples)
    return module
