"""Networks that exist as Python objects, for the functions of Python; YAML cannot name them.

In: a trained ``torch.nn.Module``, or a function that returns an untrained one. Out: a model source. The
user's module is left as it is.
"""

import copy
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from ogacli.base.options import Options
from ogacli.base.registry import described
from ogacli.base.wording import listed
from ogacli.data import Samples
from ogacli.data.images.boxes import BoxCounts
from ogacli.data.sources import MEMORY
from ogacli.errors import ConfigError
from ogacli.models.checkpoints import plain, sha256
from ogacli.models.checkpoints.snapshots import Checkpoint, Weights
from ogacli.models.detection import BoxNetwork
from ogacli.models.network import Model, Network
from ogacli.models.precision import taking_float32
from ogacli.models.sources import Fit, ModelSource, NetworkSource, checked
from ogacli.models.tasks import Task


class InMemory(ModelSource):
    """A trained network in memory."""

    module: Annotated[nn.Module, Field(exclude=True)]
    """Without wrappers, such as those of ``torch.compile``."""

    def load(self, samples: Samples) -> Model:
        """A copy of the network that shares its weights, in evaluation mode; of boxes a detector.

        Raises:
            ConfigError: The network cannot be copied.
            GradientError: A layer normalises by statistics of the batch.
        """
        outputs = samples.label_type.outputs(samples.labels, samples.classes)
        copied = shared_copy(self.module)
        if isinstance(samples.label_type, BoxCounts):
            return BoxNetwork(copied.float(), len(samples.classes))
        if any(tensor.dtype != torch.float32 for tensor in copied.parameters()):
            copied = taking_float32(copied, Fit.of(samples).example)
        return Network(copied, head=None, outputs=outputs)

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
    """A copy of a network whose parameters are new objects over the same memory; buffers are copied.

    Forward hooks are copied, as they may be a part of what the network computes (weight normalisation is).
    Backward hooks are left out, as they may change gradients.

    Raises:
        ConfigError: The network holds an object that cannot be copied.
    """
    memo: dict[int, object] = {}
    for layer in module.modules():
        for tensor in (
            *layer.parameters(recurse=False),
            *layer.buffers(recurse=False),
            *vars(layer).values(),
        ):
            if type(tensor) is nn.Parameter:
                shared = tensor.clone() if tensor.is_inference() else tensor.detach()
                memo[id(tensor)] = nn.Parameter(shared, requires_grad=False)
            elif isinstance(tensor, Tensor) and not isinstance(tensor, nn.Parameter):
                memo[id(tensor)] = tensor.detach().clone()  # deepcopy refuses tensors that were computed
    try:
        copied = copy.deepcopy(module, memo)
    except Exception as error:  # the network's own objects decide how they are copied
        raise ConfigError(
            "the network cannot be copied",
            place=class_name(module),
            found=f"{type(error).__name__}: {str(error).partition(chr(10))[0]}",
            expected="a torch.nn.Module that copy.deepcopy takes",
            hint="remove attributes such as locks, open files and computed tensors in lists",
        ) from error
    for layer in copied.modules():
        layer._backward_hooks.clear()
        layer._backward_pre_hooks.clear()
        for name, child in layer._modules.items():
            layer._modules[name] = None if child is None else plain(child)
    return copied


def class_name(thing: object) -> str:
    """The qualified name of a function or class, or else of the object's class."""
    named = thing if hasattr(thing, "__qualname__") else type(thing)
    return f"{named.__module__}.{named.__qualname__}"


def settings_of(samples: Samples, model: object, task: Task, **others: Any) -> dict[str, Any]:
    """The arguments of a Python function as the sections of a config, which the provenance keeps.

    Args:
        samples: The dataset.
        model: The network, a function that makes it, or the options of a model source.
        task: The loss.
        others: Further sections: further samples, options, or plain values.
    """
    sections = {"data": samples, "model": model, "loss": described(task, "name")} | others
    return {name: _section(value) for name, value in sections.items()}


def _section(value: Any) -> Any:
    if isinstance(value, ModelSource):
        return described(value, "source")
    if isinstance(value, Options):
        return value.plain()
    if isinstance(value, Samples):
        value = value.reader
    elif not (isinstance(value, nn.Module) or callable(value)):
        return value
    return {"source": MEMORY, "type": class_name(value)}


class Factory(NetworkSource):
    """A function that returns an untrained network, for trainings from Python."""

    make: Annotated[Callable[[], nn.Module], Field(exclude=True)]
    """Called under a fixed seed, once a training."""

    def build(self, fit: Fit) -> nn.Module:
        """A network with fresh weights.

        Raises:
            ConfigError: The function fails or returns something else.
        """
        try:
            module = self.make()
        except Exception as error:  # the user's code may raise anything
            raise ConfigError(
                "the function fails",
                place="model",
                found=f"{type(error).__name__}: {str(error).partition(chr(10))[0]}",
                expected="a call without arguments to return a new torch.nn.Module",
            ) from error
        return checked(module, "model")

    def fingerprints(self) -> dict[str, str]:
        """SHA-256 of each checkpoint, by the name of its file; the folder is a temporary one."""
        return {Path(path).name: sha256(path) for path in self.checkpoint_files()}


def source_of(
    model: nn.Module | Callable[[], nn.Module] | ModelSource, checkpoint: Weights | None = None
) -> ModelSource:
    """The model source of a trained network in memory; a model source is returned as it is.

    Args:
        model: The network; or with ``checkpoint`` a function that makes it.
        checkpoint: The file of its weights, several of one training, or folds.

    Raises:
        ConfigError: It is neither, or a network without weights or in TorchScript.
    """
    if checkpoint is not None:
        weights = Checkpoint.given({"checkpoint": checkpoint}, "model").checkpoint
        return network_source_of(model).model_copy(update={"checkpoint": weights})
    if isinstance(model, ModelSource):
        return model
    if isinstance(model, nn.Module):
        module = plain(model)
        _check_whole(module)
        _check_weights(module)
        return InMemory(module=module)
    raise ConfigError(
        "not a trained network",
        place="model",
        found=class_name(model),
        expected="a torch.nn.Module",
        hint="a function that makes a network is for trainings, and for scans with `checkpoint` or `folds`",
    )


def network_source_of(network: nn.Module | Callable[[], nn.Module] | ModelSource) -> NetworkSource:
    """The model source of a function that returns a network; a model source is returned as it is.

    Raises:
        ConfigError: It is a network, or something else.
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


def _check_whole(module: nn.Module) -> None:
    """Refuse networks whose weights are spread over several devices or processes.

    Raises:
        ConfigError: It was loaded with a ``device_map`` of several devices, or is sharded by FSDP.
    """
    devices = {str(device) for device in getattr(module, "hf_device_map", {}).values()}
    devices |= {str(parameter.device) for parameter in module.parameters()} - {"meta"}
    of_fsdp = any(class_name(layer).endswith("FullyShardedDataParallel") for layer in module.modules())
    if of_fsdp or any(class_name(parameter).endswith("DTensor") for parameter in module.parameters()):
        found = "weights sharded by FSDP"
    elif len(devices) > 1:
        found = f"weights on {listed(sorted(devices), 4)}, as by `device_map`"
    else:
        return
    raise ConfigError(
        "a network that is spread over several devices cannot be scanned",
        place="model",
        found=found,
        expected="all weights on one device, in each process",
        hint="load it whole, such as in bfloat16, and select adapters by `layers: lora`",
    )


def _check_weights(module: nn.Module) -> None:
    """Refuse networks whose weights cannot be read.

    Raises:
        ConfigError: A layer is TorchScript, or a lazy one that was never called; or tensors lie on the device
            ``meta``.
    """
    for name, layer in module.named_modules():
        if isinstance(layer, torch.jit.ScriptModule):
            raise ConfigError(
                "networks in TorchScript are read from their files",
                place=f"model: {name}" if name else "model",
                found=class_name(layer),
                expected="a torch.nn.Module that is neither scripted nor traced",
                hint="write all of it with torch.jit.save, and take `{source: torchscript, checkpoint: ..}`",
            )
    for name, tensor in (*module.named_parameters(), *module.named_buffers()):
        if is_lazy(tensor) or tensor.is_meta:
            raise ConfigError(
                "the network has no weights",
                place=f"model: {name}",
                found="a lazy layer that was never called"
                if is_lazy(tensor)
                else "a tensor on the device meta",
                expected="a trained network",
            )
