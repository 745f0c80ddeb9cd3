"""Dataclasses whose fields are tensors: what a detector has fitted.

In: such an object. Out: the same on another device, its tensors by name for another process, and back.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    import torch
    from torch import Tensor


class TensorFields:
    """Base of dataclasses that hold nothing but tensors, all on one device."""

    __slots__ = ()

    def to(self, device: torch.device) -> Self:
        """The same on a device; itself where it is there already."""
        found = self._tensors()
        if all(tensor.device == device for tensor in found.values()):
            return self
        return type(self)(**{name: tensor.to(device) for name, tensor in found.items()})

    def state(self) -> dict[str, Tensor]:
        """The tensors by name, on the CPU."""
        return {name: tensor.cpu() for name, tensor in self._tensors().items()}

    @classmethod
    def of(cls, state: Mapping[str, Tensor]) -> Self:
        """From what ``state`` returned."""
        own: Any = cls
        return cls(**{field.name: state[field.name] for field in fields(own)})

    def _tensors(self) -> dict[str, Tensor]:
        own: Any = self
        return {field.name: getattr(self, field.name) for field in fields(own)}
