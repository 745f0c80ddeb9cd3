"""Weights of a module -> a safetensors file, with the names of its classes, and the check of these names.

In: a module, or the path of a checkpoint and the classes of a dataset. Out: a file; or an error where the
classes differ.
"""

import json
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from ogacli.base.atomic import new_file
from ogacli.base.wording import cut
from ogacli.errors import CheckpointError
from ogacli.models.checkpoints.matching import trained
from ogacli.models.checkpoints.metadata import names_in, packed, read_metadata
from ogacli.models.checkpoints.reading import opened

_CLASSES = "oga.classes"
"""The key of the class names in a file's metadata."""
_SHOWN = 200
"""Characters of class names that an error shows."""


def save_weights(
    module: nn.Module, path: str | Path, *, partial: bool = False, classes: Sequence[str] = ()
) -> None:
    """Write the weights of a module as safetensors, whole or not at all.

    Tensors that share memory are written once each, so that any reader finds every name.

    Args:
        module: The network; wrappers are removed.
        path: The file; replaced where there is one.
        partial: Write the trainable parameters only.
        classes: The names of its outputs, which :func:`trained_classes` reads.
    """
    module = plain(module)
    weights = {
        name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, tensor in (trained(module) if partial else module.state_dict()).items()
        if isinstance(tensor, Tensor)
    }
    metadata = {"format": "pt"} | ({_CLASSES: json.dumps(classes)} if classes else {})
    with new_file(Path(path), overwrite=True) as file:
        file.writelines(packed(weights, metadata))


def trained_classes(path: str) -> tuple[str, ...]:
    """The classes that a checkpoint of ``oga train`` was trained on; empty where the file names none.

    Raises:
        CheckpointError: The file cannot be read or is damaged.
    """
    with opened(path) as file:
        found = read_metadata(file, path)
    return names_in(found, _CLASSES, path) or ()


def check_classes(path: str, classes: Sequence[str]) -> None:
    """Check that a checkpoint of ``oga train`` was trained on these classes, in this order.

    Classes that only have numbers for names are not compared.

    Raises:
        CheckpointError: It was not.
    """
    trained_on = trained_classes(path)
    if trained_on == tuple(classes) or unnamed(trained_on) or unnamed(classes):
        return
    shown = ", ".join(trained_on)
    named = f": `classes: [{shown}]`" if len(shown) < _SHOWN else " by `classes`"
    raise CheckpointError(
        "the checkpoint was trained on other classes than the data has, or on them in another order",
        place=path,
        found=cut(", ".join(classes), _SHOWN),
        expected=cut(shown, _SHOWN),
        hint=f"name them in that order{named} under `data:`",
    )


def unnamed(classes: Sequence[str]) -> bool:
    """Whether classes have only their numbers for names, or there are none."""
    return list(classes) == [str(i) for i in range(len(classes))]


def plain(module: nn.Module) -> nn.Module:
    """``module`` without the wrappers of ``torch.compile`` and data parallelism."""
    while True:
        inner = getattr(module, "_orig_mod", None)
        if isinstance(module, nn.DataParallel | nn.parallel.DistributedDataParallel):
            inner = module.module
        if not isinstance(inner, nn.Module):
            return module
        module = inner
