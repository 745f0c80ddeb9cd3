import pytest
import torch
from torch import nn

from ogacli.models.faster import compile_network, quickened


class Untraceable(nn.Module):
    """A convolutional network with a branch on data, which torch.fx cannot trace."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.head = nn.Linear(4, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.conv(x).mean((2, 3))
        return self.head(x if x.sum() > 0 else -x)


def convolutional() -> nn.Module:
    norm = nn.BatchNorm2d(8)
    with torch.no_grad():
        norm.running_mean.normal_()
        norm.running_var.uniform_(0.5, 2.0)
        norm.weight.normal_()
        norm.bias.normal_()
    layers = [nn.Conv2d(3, 8, 3, bias=False), norm, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return nn.Sequential(*layers, nn.Linear(8, 5)).eval().requires_grad_(False)


def test_batch_norms_are_folded_and_the_logits_stay() -> None:
    torch.manual_seed(0)
    module, inputs = convolutional(), torch.randn(4, 3, 9, 9)
    quick = quickened(module, inputs)
    assert quick is not module
    assert not any(isinstance(layer, nn.BatchNorm2d) for layer in quick.modules())
    assert any(isinstance(layer, nn.BatchNorm2d) for layer in module.modules()), "the original is untouched"
    torch.testing.assert_close(quick(inputs), module(inputs), rtol=1e-5, atol=1e-5)
    weights = [layer.weight for layer in quick.modules() if isinstance(layer, nn.Conv2d)]
    assert all(weight.is_contiguous(memory_format=torch.channels_last) for weight in weights)


def test_a_network_that_cannot_be_traced_is_at_least_channels_last() -> None:
    module, inputs = Untraceable().eval().requires_grad_(False), torch.randn(4, 3, 9, 9)
    quick = quickened(module, inputs)
    torch.testing.assert_close(quick(inputs), module(inputs))
    assert quick.conv.weight.is_contiguous(memory_format=torch.channels_last)


def test_a_network_without_convolutions_stays() -> None:
    module = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2)).eval()
    assert quickened(module, torch.randn(2, 3)) is module


def test_a_fold_that_changes_the_logits_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    module, inputs = convolutional(), torch.randn(4, 3, 9, 9)
    wrong = convolutional()
    with torch.no_grad():
        wrong[-1].bias += 1
    monkeypatch.setattr("ogacli.models.faster._folded", lambda module: wrong)
    torch.testing.assert_close(quickened(module, inputs)(inputs), module(inputs), rtol=1e-5, atol=1e-5)


@pytest.mark.slow
def test_compiled_networks_answer_the_same() -> None:
    module, inputs = convolutional(), torch.randn(4, 3, 9, 9)
    torch.testing.assert_close(compile_network(module, inputs)(inputs), module(inputs), rtol=1e-4, atol=1e-5)
