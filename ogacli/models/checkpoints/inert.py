"""Read checkpoints that hold Python objects beside their weights, without creating these objects.

In: a file of ``torch.save`` with a training script's arguments in it, such as a checkpoint of Lightning. Out:
the same with a placeholder for all that is no tensor, number, text or container. The placeholder ignores all
that the file does with it, and nothing that the file names is imported.
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
"""The functions that a file may call: those that create tensors."""
_HARMLESS = {"argparse.Namespace", "pathlib.PosixPath", "pathlib.Path"}
"""Objects that training scripts save beside the weights; files with others must be of Lightning."""
_LIGHTNING = "pytorch-lightning_version"


class _Inert(type):
    """A class that is its own only instance: a file may call either of them, and set items."""

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        return cls

    def __setitem__(cls, key: Any, value: Any) -> None:
        pass


class Placeholder(metaclass=_Inert):
    """Replaces every object that is not created."""

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        """The class itself."""
        return cls

    @classmethod
    def __setstate__(cls, state: Any) -> None:
        pass

    @classmethod
    def append(cls, item: Any) -> None:
        """Ignore the item."""

    extend = append


def read_around_objects(file: Any) -> Mapping[Any, Any] | None:
    """The content of a file of ``torch.save``, with placeholders for its objects.

    Args:
        file: In the zip format, at its start.

    Returns:
        None where the file is not of Lightning and holds other objects than a script's arguments.
    """
    left_out: set[str] = set()

    class Unpickler(pickle.Unpickler):
        def find_class(self, module: str, name: str) -> Any:
            if (module, name) not in _KEPT:
                left_out.add(f"{module}.{name}")
            return _KEPT.get((module, name), Placeholder)

    # torch.load expects a module with an unpickler.
    reader: Any = types.ModuleType("reader")
    reader.Unpickler = Unpickler
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = torch.load(file, map_location="cpu", pickle_module=reader, weights_only=False)
    except Exception:  # as for any damaged file
        return None
    if not isinstance(found, Mapping) or not (_LIGHTNING in found or left_out <= _HARMLESS):
        return None
    return found
