"""A JSON document among tensors.

In: plain values. Out: a tensor of their text, and back.
"""

import json
from typing import Any

import torch
from jaxtyping import UInt8
from torch import Tensor


def to_json(values: Any) -> UInt8[Tensor, " c"]:
    """The text of plain values."""
    return torch.frombuffer(bytearray(json.dumps(values).encode()), dtype=torch.uint8)


def of_json(text: UInt8[Tensor, " c"]) -> Any:
    """The values of such a text."""
    return json.loads(text.numpy().tobytes())
