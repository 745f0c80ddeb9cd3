"""Networks in memory, for the functions of Python; they cannot be named in YAML.

In: a ``torch.nn.Module`` with trained weights. Out: a model that shares its weights, and leaves the module
as it is.
"""

import copy
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from ogacli.data import Samples
from ogacli.errors import ConfigError
from ogacli.models.checkpoints import sha256
from ogacli.models.checkpoints.snapshots import Weights
from ogacli.models.network import Network
from ogacli.models.sources import Fit, ModelSource, NetworkSource


class InMemory(ModelSource):
    """A network that lies in memory."""

    module: Annotated[nn.Module, Field(exclude=True)]
    """With trained weights."""
    head: str | None = None
    """The name of the last linear layer, where it is not found by itself."""

    def load(self, samples: Samples) -> Network:
        """A copy of the network that shares its weights, in evaluation mode."""
        return Network(shared_copy(self.module), head=self.head, outputs=Fit.of(samples).outputs)

    def fingerprints(self) -> dict[str, str]:
        """SHA-256 of the weights, under the name of the network's class."""
        digest = hashlib.sha256()
        for name, value in sorted(self.module.state_dict().items()):
            if isinstance(value, Tensor):
                digest.update(f"{name} {value.dtype} {list(value.shape)}".encode())
                flat = value.detach().cpu().contiguous().flatten()
                digest.update(flat.view(torch.uint8).numpy().tobytes())
        return {f"{class_name(self.module)} in memory": digest.hexdigest()}


def shared_copy(module: nn.Module) -> nn.Module:
    """A copy of a network whose parameters and buffers are new objects over the same memory."""
    memo: dict[int, object] = {}
    for parameter in module.parameters():
        memo[id(parameter)] = nn.Parameter(parameter.detach(), requires_grad=False)
    for buffer in module.buffers():
        memo[id(buffer)] = buffer.detach()
    return copy.deepcopy(module, memo)


def class_name(thing: object) -> str:
    """The qualified name of an object's class."""
    return f"{type(thing).__module__}.{type(thing).__qualname__}"


class Factory(NetworkSource):
    """A function that makes an untrained network, for trainings from Python; it cannot be named in YAML."""

    make: Annotated[Callable[[], nn.Module], Field(exclude=True)]
    """Called under a seed, once a training."""

    def build(self, fit: Fit) -> nn.Module:
        """A network with fresh weights."""
        return self.make()

    def fingerprints(self) -> dict[str, str]:
        """SHA-256 of each checkpoint, under its name alone: the folder is a temporary one."""
        return {Path(path).name: sha256(path) for path in self.checkpoint_files()}


def source_of(
    model: nn.Module | Callable[[], nn.Module] | ModelSource, checkpoint: Weights | None = None
) -> ModelSource:
    """A trained network in memory as a model source; options of a source as they are.

    Args:
        model: The network; or with ``checkpoint`` a function that makes it.
        checkpoint: The file of its weights, several of one training, or folds.

    Raises:
        ConfigError: It is neither.
    """
    if checkpoint is not None:
        return network_source_of(model).model_copy(update={"checkpoint": checkpoint})
    if isinstance(model, ModelSource):
        return model
    if isinstance(model, nn.Module):
        return InMemory(module=model)
    raise ConfigError(
        "not a trained network",
        place="model",
        found=class_name(model),
        expected="a torch.nn.Module",
        hint="a function that makes a network is for trainings, and for scans with `checkpoint` or `folds`",
    )


def network_source_of(network: nn.Module | Callable[[], nn.Module] | ModelSource) -> NetworkSource:
    """A function that makes a network as a model source; options of a source as they are.

    Raises:
        ConfigError: It is a network that exists already, or something else.
    """
    if isinstance(network, NetworkSource):
        return network
    if callable(network) and not isinstance(network, nn.Module):
        return Factory(make=network)
    raise ConfigError(
        "a training begins with fresh weights",
        place="model",
        found=class_name(network),
        expected="a function without arguments that returns a new torch.nn.Module",
    )
