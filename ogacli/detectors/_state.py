"""The state of a detector that has parts: their tensors under a common prefix of the names."""

from collections.abc import Mapping

from torch import Tensor


def prefixed(prefix: str, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a part, named for the state of the whole."""
    return {f"{prefix}{name}": tensor for name, tensor in state.items()}


def under(prefix: str, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a part, by their names in it."""
    return {name.removeprefix(prefix): tensor for name, tensor in state.items() if name.startswith(prefix)}
