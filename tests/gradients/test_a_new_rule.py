"""The rule of a function of torch is one file: without it the gradients come from the fallback."""

import importlib
import sys
import textwrap
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ogacli.gradients import layers
from one_by_one import Classifier, check, seeded

TEXT = '''
"""Bilinear layers."""

import torch
import torch.nn.functional as F

from ogacli.gradients.layers import reads
from ogacli.gradients.layers.plain import Plain


@reads(F.bilinear)
def bilinear(reading, input1, input2, weight, bias=None):
    """The products of both inputs and the output gradient."""
    d = reading.gradient
    if reading.wants(weight):
        yield weight, Plain(torch.einsum("bk,bi,bj->bkij", d, input1, input2).flatten(1))
    if reading.wants(bias):
        yield bias, Plain(d)
'''


class Pairs(nn.Module):
    """A bilinear layer on the sample and itself."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(4, 3, 3, generator=seeded()))
        self.bias = nn.Parameter(torch.randn(4, generator=seeded(1)))

    def forward(self, x: Tensor) -> Tensor:
        return F.bilinear(x, x.tanh(), self.weight, self.bias)


def test_a_rule_is_one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network, inputs = Classifier(Pairs(), 4), torch.randn(5, 3, generator=seeded(2))
    check(network, inputs, fallback=["body.bias", "body.weight"])
    (tmp_path / "bilinear.py").write_text(textwrap.dedent(TEXT))
    monkeypatch.setattr(layers, "__path__", [*layers.__path__, str(tmp_path)])
    monkeypatch.setattr(layers, "_rules", dict(layers._rules))
    layers._load.cache_clear()
    importlib.invalidate_caches()
    try:
        check(network, inputs)
    finally:
        sys.modules.pop("ogacli.gradients.layers.bilinear", None)
