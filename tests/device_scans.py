"""Scans of small pictures on a device, and their scores compared with those of the CPU."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import nn

import ogacli
from ogacli.data import Samples
from ogacli.data.labels.annotations import Annotations
from one_by_one import K
from small_networks import seeded_weights

N = 36
"""Samples, if not told otherwise."""


def pictures(n: int = N, loss: str = "cross_entropy") -> Samples:
    """Pictures with labels for a loss."""
    random = np.random.default_rng(0)
    x = random.normal(size=(n, 3, 8, 8)).astype(np.float32)
    x[7], x[8] = x[3], 0.5
    labels = np.arange(n) % K
    if loss == "cross_entropy":
        return Samples.of(x, labels=labels, classes=K)
    several = np.eye(K, dtype=np.float32)[labels]
    return Samples.of(x, labels=several, classes=K if loss == "bce_with_logits" else None)


def annotated(n: int) -> Samples:
    """Pictures with labels by three annotators, of whom one is wrong at every second picture."""
    samples = pictures(n)
    labels = samples.labels[:, None].repeat(1, 3)
    labels[::2, 2] = (labels[::2, 2] + 1) % 3
    given = Annotations(torch.arange(3).repeat(n, 1).int(), labels.short(), ("ann", "ben", "cat"))
    return replace(samples, annotations=given)


def scored(samples: Samples, make: Callable[[], nn.Module], device: Any, **options: Any) -> dict[str, Any]:
    given = {"batch_size": 13, "workers": 0} | options
    table = ogacli.scan(samples, seeded_weights(make), device=str(device), **given).table()
    return {name: table[name].to_numpy() for name in table.column_names if name.startswith("score")}


def same(samples: Samples, make: Callable[[], nn.Module], device: Any, **options: Any) -> None:
    expected, found = scored(samples, make, "cpu", **options), scored(samples, make, device, **options)
    assert list(found) == list(expected)
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, rtol=2e-5, atol=1e-7, err_msg=name)
