from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from ogacli.data.arrays import ArrayReader
from ogacli.data.ids import numbered
from ogacli.data.samples import Samples


@pytest.fixture
def make_samples() -> Callable[..., Samples]:
    """Samples of given inputs; classes 0, 1, .. in turn unless labels are given."""

    def make(inputs: Any, classes: int = 3, labels: torch.Tensor | None = None) -> Samples:
        rows = np.asarray(inputs)
        n = len(rows)
        return Samples(
            ids=numbered(n),
            positions=torch.arange(n),
            labels=torch.arange(n) % classes if labels is None else labels,
            classes=tuple(str(k) for k in range(classes)),
            reader=ArrayReader(rows),
            signature="test",
        )

    return make
