"""Columns of results: one value a sample, on the model's device; long ones on the CPU are on disk.

In: a number of samples and a type. Out: a tensor; and the place of the rows of a batch in it.
"""

from collections.abc import Mapping

import torch
from jaxtyping import Int64, Shaped
from torch import Tensor

from ogacli.base.blocks import column
from ogacli.base.device import sent

_CPU = torch.device("cpu")
_KINDS = {
    torch.bool: "bool",
    torch.uint8: "uint8",
    torch.int64: "int64",
    torch.float32: "float32",
    torch.float64: "float64",
}


def filled(n: int, dtype: torch.dtype, value: float, device: torch.device = _CPU) -> Shaped[Tensor, " n"]:
    """A column of one value n times."""
    if device.type != "cpu":
        return torch.full((n,), value, dtype=dtype, device=device)
    return torch.from_numpy(column(n, _KINDS[dtype], value))


def place(rows: Int64[Tensor, " b"], device: torch.device) -> slice | Int64[Tensor, " b"]:
    """The rows of a batch in a column: a slice where they are in sequence, which is written faster."""
    if len(rows) and int(rows[-1]) - int(rows[0]) == len(rows) - 1 and bool((rows.diff() == 1).all()):
        return slice(int(rows[0]), int(rows[-1]) + 1)
    return sent(rows, device)


def tensors_in(holder: object) -> dict[str, Tensor]:
    """The attributes that are tensors, by name."""
    return {name: value for name, value in vars(holder).items() if isinstance(value, Tensor)}


def at_rows(columns: Mapping[str, Tensor], rows: Int64[Tensor, " m"]) -> dict[str, Tensor]:
    """Some rows of each column, by name."""
    return {name: one[rows.to(one.device)] for name, one in columns.items()}


def put_at_rows(
    columns: Mapping[str, Tensor], rows: Int64[Tensor, " m"], found: Mapping[str, Tensor]
) -> None:
    """Put what ``at_rows`` returned of another scan's columns at some rows of each column."""
    for name, one in columns.items():
        one[rows.to(one.device)] = found[name].to(one.device, one.dtype)
