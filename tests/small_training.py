"""Pictures and a small network that learns them within two epochs."""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ogacli.data import Samples

N, K = 60, 3
TRAIN: dict[str, Any] = {"epochs": 2, "batch_size": 20, "seed": 1}


class Small(nn.Module):
    """A convolution, a batch norm and a head."""

    def __init__(self) -> None:
        super().__init__()
        # A bias before a batch norm has no gradient, of whose rounding errors Adam would make steps.
        self.conv = nn.Conv2d(3, 6, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(6)
        self.head = nn.Linear(6, K)

    def forward(self, x: Tensor) -> Tensor:
        assert torch.backends.cudnn.enabled
        return self.head(torch.relu(self.norm(self.conv(x))).mean((2, 3)))


def samples() -> Samples:
    """Pictures whose brightness is the class; a few labels are wrong."""
    random = np.random.default_rng(0)
    labels = np.arange(N) % K
    x = random.normal(size=(N, 3, 8, 8)).astype(np.float32) + 2 * labels[:, None, None, None].astype(
        np.float32
    )
    labels[::15] = (labels[::15] + 1) % K
    return Samples.of(x, labels=labels, classes=K)
