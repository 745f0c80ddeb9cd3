"""Checkpoints that keep Python objects beside their weights, read without making these objects.

In: a file of ``torch.save`` with a training script's arguments in it, such as a checkpoint of Lightning. Out:
the same with a placeholder for all that is no tensor, number, text or container. The placeholder does
nothing, whatever the file asks of it, and no name from the file is imported.
"""

import pickle
import types
import warnings
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import torch

_KEPT = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch._utils", "_rebuild_tensor_v2"): torch._utils._rebuild_tensor_v2,
    ("torch._utils", "_rebuild_parameter"): torch._utils._rebuild_parameter,
}
"""All that may be called for by name: what tensors are made with."""
_HARMLESS = {"argparse.Namespace", "pathlib.PosixPath", "pathlib.Path"}
"""What training scripts put beside the weights; a file with something else must be of Lightning."""
_LIGHTNING = "pytorch-lightning_version"


class _Inert(type):
    """Of a class that is its own only instance: a file may ask either to be called, or to be given items."""

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        return cls

    def __setitem__(cls, key: Any, value: Any) -> None:
        pass


class Placeholder(metaclass=_Inert):
    """Stands for everything that was not made."""

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        """Of anything the same."""
        return cls

    @classmethod
    def __setstate__(cls, state: Any) -> None:
        pass

    @classmethod
    def append(cls, item: Any) -> None:
        """Nothing is kept."""

    @classmethod
    def extend(cls, items: Any) -> None:
        """Nothing is kept."""


def read_around_objects(file: Any) -> Mapping[Any, Any] | None:
    """What ``torch.save`` wrote, with placeholders for its objects.

    Args:
        file: Of the zip format, at its start.

    Returns:
        None where the file is not of Lightning and holds other objects than a script's arguments.
    """
    left_out: set[str] = set()

    class Unpickler(pickle.Unpickler):
        def find_class(self, module: str, name: str) -> Any:
            if (module, name) not in _KEPT:
                left_out.add(f"{module}.{name}")
            return _KEPT.get((module, name), Placeholder)

    # torch.load takes the unpickler out of a module.
    reader: Any = types.ModuleType("reader")
    reader.Unpickler = Unpickler
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = torch.load(file, map_location="cpu", pickle_module=reader, weights_only=False)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, TypeError, AttributeError, KeyError):
        return None
    if not isinstance(found, Mapping) or not (_LIGHTNING in found or left_out <= _HARMLESS):
        return None
    return found
