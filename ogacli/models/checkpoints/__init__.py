"""Checkpoints: a file of weights -> the weights of a module, and back; nothing in the file is executed.

In: a path or fsspec URL of a ``.safetensors`` file or of a state dict that ``torch.save`` wrote. A file is
told by its first bytes, not by its suffix. Out: a module that holds its weights, or one error that names
every tensor that does not fit.
"""

import hashlib
import json
import os
import pickle
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import fsspec
import torch
from safetensors import SafetensorError
from safetensors.torch import load, load_file
from torch import Tensor, nn

from ogacli.base.atomic import new_file
from ogacli.base.wording import cut
from ogacli.errors import CheckpointError
from ogacli.models.checkpoints.inert import read_around_objects
from ogacli.models.checkpoints.metadata import packed, read_metadata
from ogacli.models.checkpoints.tensor_names import is_counter, matched, missing, own_part

CONTAINERS = ("state_dict", "model_state_dict", "model")
"""Keys under which training scripts put the state dict, beside optimizer and epoch."""
_EXPECTED = "a .safetensors file, or a file of torch.save(model.state_dict(), ..)"
_CLASSES = "oga.classes"
"""What the names of the classes are called in a file's metadata."""
_SHOWN = 200
"""Characters of the names of classes that an error tells."""
_NAMED = 4
"""Tensors that an error names before it only counts."""


def load_weights(module: nn.Module, path: str) -> None:
    """Load the checkpoint at ``path`` into ``module``.

    Raises:
        CheckpointError: As :func:`read_weights` and :func:`put_weights`.
    """
    put_weights(module, read_weights(path), path)


def read_weights(path: str) -> dict[str, Tensor]:
    """The tensors of a checkpoint by name, on the CPU.

    Raises:
        CheckpointError: The file is missing, or is not weights; a pickle that would run code is refused.
    """
    with _opened(path) as file:
        start = file.read(9)
        file.seek(0)
        # A safetensors file starts with the length of its JSON header, 8 bytes, and the header itself.
        if start[8:9] == b"{" or path.endswith(".safetensors"):
            try:
                return load_file(path) if os.path.isfile(path) else load(file.read())
            except SafetensorError as error:
                raise CheckpointError(
                    "not a whole safetensors file",
                    place=path,
                    found=str(error),
                    hint="copy or save the file again; it may have been cut off",
                ) from None
        return _state_dict(_unpickled(file, path), path)


def put_weights(
    module: nn.Module, weights: Mapping[str, Tensor], path: str, *, partial: bool = False
) -> None:
    """Copy ``weights`` into ``module``; names are compared without the prefixes that wrappers add.

    Args:
        module: The network.
        weights: The tensors of a checkpoint.
        path: The checkpoint, for errors.
        partial: It holds the parameters that are trained, and nothing else.

    Raises:
        CheckpointError: Tensors are missing, unexpected or of another shape, each kind named; or hold NaN.
    """
    own = _trained(module) if partial else module.state_dict()
    weights = own_part(own, weights)
    found = matched(own, weights)
    misfits = [
        f"{name} {_shape(weights[theirs])}, not {_shape(own[name])}"
        for name, theirs in found.items()
        if own[name].shape != weights[theirs].shape
    ]
    parameters = dict(module.named_parameters())
    broken = [name for name, theirs in found.items() if name in parameters and weights[theirs].isnan().any()]
    if broken:
        raise CheckpointError(
            "the checkpoint holds values that are not numbers",
            place=path,
            found="; ".join(_listed("with NaN", broken)),
            hint="the training went astray: take an earlier checkpoint",
        )
    taken = set(found.values())
    unexpected = [name for name in weights if name not in taken and not is_counter(name)]
    lacking = missing(own, found)
    if lacking or unexpected or misfits:
        raise CheckpointError(
            f"the checkpoint does not fit the model ({type(module).__name__})",
            place=path,
            found="; ".join(
                [
                    *_listed("of another shape", misfits),
                    *_listed("missing", lacking),
                    *_listed("unexpected", unexpected),
                ]
            ),
            expected=f"the {len(own)} tensors of the model, such as {next(iter(own), 'none')!r}",
            hint=_hint(lacking, unexpected, misfits),
        )
    module.load_state_dict({name: weights[theirs] for name, theirs in found.items()}, strict=False)


def head_outputs(module: nn.Module, weights: Mapping[str, Tensor], outputs: int) -> int | None:
    """How many outputs the head in ``weights`` has, where that and only that differs from ``module``.

    Args:
        module: A network with ``outputs`` outputs.
        weights: The tensors of a checkpoint.
        outputs: What the head of ``module`` has.
    """
    own = module.state_dict()
    sizes = set()
    weights = own_part(own, weights)
    for name, found in matched(own, weights).items():
        ours, theirs = own[name], weights[found]
        if ours.shape == theirs.shape:
            continue
        if not ours.ndim or ours.ndim != theirs.ndim or ours.shape[1:] != theirs.shape[1:]:
            return None
        if ours.shape[0] != outputs:
            return None
        sizes.add(theirs.shape[0])
    return sizes.pop() if len(sizes) == 1 else None


def save_weights(
    module: nn.Module, path: str | Path, *, partial: bool = False, classes: Sequence[str] = ()
) -> None:
    """Write the weights of ``module`` as safetensors, whole or not at all.

    Tensors that share memory are written once each, so that any reader finds every name. A ``partial`` file
    holds the parameters that are trained, and nothing else. ``classes`` are the names of its outputs, for
    :func:`trained_classes`.
    """
    module = plain(module)
    weights = {
        name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, tensor in (_trained(module) if partial else module.state_dict()).items()
        if isinstance(tensor, Tensor)
    }
    metadata = {"format": "pt"} | ({_CLASSES: json.dumps(classes)} if classes else {})
    with new_file(Path(path), overwrite=True) as file:
        file.writelines(packed(weights, metadata))


def trained_classes(path: str) -> tuple[str, ...]:
    """The classes that a checkpoint of ``oga train`` was trained on; none where it does not say."""
    with _opened(path) as file:
        found = read_metadata(file).get(_CLASSES)
    return tuple(json.loads(found)) if found else ()


def check_classes(path: str, classes: Sequence[str]) -> None:
    """See that a checkpoint of ``oga train`` was trained on these classes, in this order.

    Classes that only have numbers for names are not compared.

    Raises:
        CheckpointError: It was not.
    """
    trained = trained_classes(path)
    if trained == tuple(classes) or unnamed(trained) or unnamed(classes):
        return
    shown = ", ".join(trained)
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


def _trained(module: nn.Module) -> dict[str, Tensor]:
    """The parameters that are not frozen."""
    return {name: parameter for name, parameter in module.named_parameters() if parameter.requires_grad}


def plain(module: nn.Module) -> nn.Module:
    """``module`` without the wrappers of ``torch.compile`` and data parallelism."""
    while True:
        inner = getattr(module, "_orig_mod", None)
        if isinstance(module, nn.DataParallel | nn.parallel.DistributedDataParallel):
            inner = module.module
        if not isinstance(inner, nn.Module):
            return module
        module = inner


def sha256(path: str) -> str:
    """The SHA-256 of a file's bytes.

    Raises:
        CheckpointError: The file cannot be read.
    """
    digest = hashlib.sha256()
    with _opened(path) as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


# --- file -> state dict -------------------------------------------------------------------------------


@contextmanager
def _opened(path: str) -> Iterator[Any]:
    try:
        file = fsspec.open(path, "rb").open()
    except (FileNotFoundError, IsADirectoryError):
        raise CheckpointError(
            "no such checkpoint", place=path, hint="check the path; `oga train` writes one an epoch"
        ) from None
    except (OSError, ValueError, ImportError) as error:
        raise CheckpointError("cannot be opened", place=path, found=str(error)) from None
    with file:
        yield file


def _unpickled(file: Any, path: str) -> Any:
    try:
        with warnings.catch_warnings():
            # Of pickle protocols and old formats: such a file is either loaded whole or refused.
            warnings.simplefilter("ignore")
            return torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        file.seek(0)
        if file.read(2)[:1] not in (b"P", b"\x80"):
            raise _no_checkpoint(
                path, "bytes that are neither safetensors nor a file of torch.save"
            ) from None
        file.seek(0)
        if (around := read_around_objects(file)) is not None:
            return around
        # torch explains at length how to switch the check off; that is not what a user should do here.
        refused = re.search(r"Trying to [^\n]+|Unsupported [^\n]+", str(error))
        raise CheckpointError(
            "not a plain state dict: it holds Python objects, and loading those would run their code",
            place=path,
            found=refused[0][:200] if refused else "a pickle",
            expected=_EXPECTED,
            hint="where you trust the file, load it in Python and save model.state_dict() again",
        ) from None
    except (RuntimeError, EOFError, ValueError, LookupError) as error:
        found = str(error).partition("\n")[0] or type(error).__name__
        if "TorchScript" in found:
            hint = "say `model: {source: torchscript}`, which needs no other key than `checkpoint`"
            raise _no_checkpoint(path, "a whole network in TorchScript", hint) from None
        raise _no_checkpoint(path, found) from None


def _no_checkpoint(path: str, found: str, hint: str | None = None) -> CheckpointError:
    return CheckpointError("not a checkpoint", place=path, found=found, expected=_EXPECTED, hint=hint)


def _state_dict(found: Any, path: str) -> dict[str, Tensor]:
    """The state dict in what ``torch.load`` returned, taken out of the usual containers."""
    while isinstance(found, Mapping):
        inner = [found[key] for key in CONTAINERS if isinstance(found.get(key), Mapping)]
        if not inner:
            break
        found = inner[0]
    weights = (
        {str(name): value for name, value in found.items() if isinstance(value, Tensor)}
        if isinstance(found, Mapping)
        else {}
    )
    if not weights:
        keys = ", ".join(map(str, list(found)[:8])) if isinstance(found, Mapping) else type(found).__name__
        raise CheckpointError(
            "no state dict in the file",
            place=path,
            found=keys or "an empty dict",
            expected=f"names and tensors, alone or under one of {', '.join(CONTAINERS)}",
        )
    return weights


# --- what an error says -------------------------------------------------------------------------------


def _shape(tensor: Tensor) -> list[int]:
    return list(tensor.shape)


def _listed(noun: str, names: Sequence[str]) -> list[str]:
    if not names:
        return []
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return [f"{len(names)} {noun}: {', '.join(names[:_NAMED])}{more}"]


def _hint(lacking: Sequence[str], unexpected: Sequence[str], misfits: Sequence[str]) -> str:
    if lacking and unexpected and not misfits:
        return (
            "the names differ: the file belongs to another architecture; check `model.source` and its options"
        )
    return "check that `model` describes the network that was saved"
