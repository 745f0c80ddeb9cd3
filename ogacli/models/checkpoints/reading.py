"""Files of weights -> tensors by name; nothing in the file is executed.

In: a path or fsspec URL. The format is recognised by the first bytes, not by the suffix. Out: a state dict on
the CPU.
"""

import hashlib
import os
import pickle
import re
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import fsspec
import torch
from safetensors import SafetensorError
from safetensors.torch import load, load_file
from torch import Tensor

from ogacli.base.limits import USUAL
from ogacli.base.special_files import refuse_special
from ogacli.data.files.zip_directory import read_directory
from ogacli.errors import CheckpointError
from ogacli.models.checkpoints.inert import read_around_objects

CONTAINERS = ("state_dict", "model_state_dict", "model")
"""Keys under which training scripts put the state dict, beside optimizer and epoch."""
_UNLOADABLE = (SafetensorError, OSError, ValueError, TypeError, RuntimeError, OverflowError, MemoryError)
"""What the library raises for damaged files, and torch for shapes that do not fit."""
_EXPECTED = "a .safetensors file, or a file of torch.save(model.state_dict(), ..)"


def read_weights(path: str) -> dict[str, Tensor]:
    """The tensors of a checkpoint by name, on the CPU.

    Raises:
        CheckpointError: The file is missing, or is not weights; a pickle that would run code is refused.
    """
    with opened(path) as file:
        weights = _tensors(file, path)
        check_plain(weights, file.seek(0, os.SEEK_END), path)
        return weights


def check_plain(weights: Mapping[str, Tensor], packed: int, path: str) -> None:
    """Check that tensors hold their values one after the other.

    Args:
        weights: By name.
        packed: Bytes of the file.
        path: The file, for messages.

    Raises:
        CheckpointError: One is sparse, quantized or without values, or stands for far more values than the
            file holds, as one number may be repeated for all of them.
    """
    for name, one in weights.items():
        if (kind := _odd(one)) is not None:
            raise CheckpointError(
                "weights of a kind that cannot be loaded",
                place=f"{path}: {name}",
                found=kind,
                expected="dense tensors",
                hint="convert them before they are saved, such as by .to_dense() or .dequantize()",
            )
    size = sum(one.numel() * one.element_size() for one in weights.values())
    USUAL.check_unpacked(size, packed, path, CheckpointError)


def _odd(one: Tensor) -> str | None:
    """Of which kind a tensor is that does not hold its values one after the other; None for all others."""
    if one.is_nested:
        return "a nested tensor"
    if one.is_quantized:
        return "a quantized tensor"
    if one.layout != torch.strided:
        return f"a sparse tensor ({str(one.layout).removeprefix('torch.')})"
    if one.is_meta:
        return "a shape without values (device meta)"
    return None


def _tensors(file: Any, path: str) -> dict[str, Tensor]:
    """What an open file holds, of whatever kind."""
    start = file.read(9)
    file.seek(0)
    # A safetensors file starts with the length of its JSON header, 8 bytes, and the header itself.
    if start[8:9] == b"{" or path.endswith(".safetensors"):
        try:
            return load_file(path) if os.path.isfile(path) else load(file.read())
        except _UNLOADABLE as error:
            raise CheckpointError(
                "not a whole safetensors file",
                place=path,
                found=str(error),
                hint="copy or save the file again; it may have been cut off",
            ) from None
    return _state_dict(_unpickled(file, path), path)


def sha256(path: str) -> str:
    """The SHA-256 of a file's bytes.

    Raises:
        CheckpointError: The file cannot be read.
    """
    digest = hashlib.sha256()
    with opened(path) as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


@contextmanager
def opened(path: str) -> Iterator[Any]:
    """The file, open for reading bytes.

    Raises:
        CheckpointError: It is missing, is no file, or cannot be opened.
    """
    refuse_special(path, CheckpointError)
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
    _check_packed(file, path)
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
        # The message of torch explains how to switch the check off, which the user should not do here.
        refused = re.search(r"Trying to [^\n]+|Unsupported [^\n]+", str(error))
        raise CheckpointError(
            "not a plain state dict: it holds Python objects, and loading those would run their code",
            place=path,
            found=refused[0][:200] if refused else "a pickle",
            expected=_EXPECTED,
            hint="where you trust the file, load it in Python and save model.state_dict() again",
        ) from None
    except Exception as error:  # a damaged file drives the reader of torch into any kind of error
        found = str(error).partition("\n")[0] or type(error).__name__
        if "TorchScript" in found:
            hint = "use `model: {source: torchscript}`, which needs no other key than `checkpoint`"
            raise _no_checkpoint(path, "a whole network in TorchScript", hint) from None
        raise _no_checkpoint(path, found) from None


def _check_packed(file: Any, path: str) -> None:
    """Check that a zip archive, as torch writes it, would not unpack to far more than its size.

    Raises:
        CheckpointError: It would.
    """
    try:
        directory = read_directory(file)
    except (zipfile.BadZipFile, OSError, ValueError):
        return  # an older format, or none: torch says which
    finally:
        file.seek(0)
    USUAL.check_unpacked(directory.unpacked, directory.packed, path, CheckpointError)


def _no_checkpoint(path: str, found: str, hint: str | None = None) -> CheckpointError:
    return CheckpointError("not a checkpoint", place=path, found=found, expected=_EXPECTED, hint=hint)


def _state_dict(found: Any, path: str) -> dict[str, Tensor]:
    """The state dict in what ``torch.load`` returned, taken out of the usual containers."""
    while isinstance(found, Mapping):
        inner = [found[key] for key in CONTAINERS if isinstance(found.get(key), Mapping)]
        if not inner:
            break
        found = inner[0]
    content = found if isinstance(found, Mapping) else {}
    weights = {str(name): value for name, value in content.items() if isinstance(value, Tensor)}
    if not weights:
        keys = ", ".join(map(str, list(found)[:8])) if isinstance(found, Mapping) else type(found).__name__
        raise CheckpointError(
            "no state dict in the file",
            place=path,
            found=keys or "an empty dict",
            expected=f"names and tensors, alone or under one of {', '.join(CONTAINERS)}",
        )
    return weights
