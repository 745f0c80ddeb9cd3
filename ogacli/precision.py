"""The number format of the passes through a network. In: the user's word for it. Out: a context to run in."""

from typing import Literal

import torch

Precision = Literal["float32", "bfloat16"]


def computing_in(precision: Precision, device: torch.device) -> torch.autocast:
    """While it is open, torch computes matrix products and convolutions in that precision.

    ``float32`` leaves the precision of the network's own weights as it is.
    """
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bfloat16")
