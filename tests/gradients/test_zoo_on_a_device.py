"""Networks of many kinds on a device, against one backward pass a sample in double precision on the CPU."""

import copy
from collections.abc import Callable
from importlib import import_module
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ogacli.data import Batch
from ogacli.gradients import GradientOptions, capture
from ogacli.models import Network
from ogacli.models.sources.resnet_cifar import ResNet
from ogacli.models.tasks.classification import Classification
from one_by_one import K, labels_of, reference
from small_networks import (
    Gated,
    Lstm,
    Pictures,
    Sequences,
    Tied,
    UNet,
    pictures,
    seeded_weights,
    tokens,
    torchvision_net,
    transformer,
)

B = 4


def resnet18() -> nn.Module:
    """With an eighth of its channels."""
    return ResNet([2, 2, 2, 2], 8, 3, K, projected=True)


NETWORKS: dict[str, tuple[Callable[[], nn.Module], Callable[[], Any]]] = {
    "unet": (UNet, lambda: pictures(B, 8)),
    "convolutions": (Pictures, lambda: pictures(B, 8)),
    "sequences": (Sequences, lambda: pictures(B, 8)),
    "lstm": (Lstm, lambda: tokens(B, 7)),
    "gru": (Gated, lambda: tokens(B, 7)),
    "tied": (Tied, lambda: tokens(B, 7)),
}
LIBRARIES: dict[str, tuple[Callable[[], nn.Module], Callable[[], Any]]] = {
    **{
        name: (lambda name=name: torchvision_net(name), lambda: pictures(B, 32))
        for name in ("resnet18", "mobilenet_v3_small", "efficientnet_b0", "convnext_tiny", "swin_t")
    },
    "vit_b_16": (lambda: torchvision_net("vit_b_16", image_size=32), lambda: pictures(B, 32)),
    "bert": (lambda: transformer("bert"), lambda: padded()),
    "gpt2": (lambda: transformer("gpt2"), lambda: padded()),
}


def padded() -> dict[str, Tensor]:
    inputs = tokens(B, 9)
    inputs[1, 6:] = 0
    return {"input_ids": inputs, "attention_mask": (inputs > 0).long()}


def agrees(make: Callable[[], nn.Module], inputs: Any, device: torch.device, within: float = 1e-4) -> float:
    """Compare norms and entries of all layers, held and reduced; returns the largest error of a norm."""
    module, labels = seeded_weights(make), labels_of(B)
    exact = reference(module, inputs, labels, [name for name, _ in module.named_parameters()])
    network = Network(copy.deepcopy(module), head=None, outputs=K)
    network.to(device)
    compute = capture(network, Classification(), GradientOptions(layers="all"))
    batch = Batch(torch.arange(B), inputs, labels, {}).to(device)
    coords = torch.randint(exact.shape[1], (300,), generator=torch.Generator().manual_seed(1)).unique()
    largest = exact.abs().amax(1, keepdim=True)
    error = 0.0
    for reduced in (False, True):
        if reduced:
            compute.reduce_to([1, 2], coords.to(device))
        found = compute(batch)
        for order in (1, 2):
            norm = exact.abs().pow(order).sum(1).pow(1 / order)
            error = max(error, float((found.norm(order).cpu() / norm - 1).abs().max()))
        entries = found.entries(coords.to(device)).cpu().double()
        torch.testing.assert_close(entries / largest, exact[:, coords] / largest, rtol=0, atol=within)
    assert error < within
    return error


@pytest.mark.parametrize("name", NETWORKS)
def test_gradients_of_all_layers(name: str, device: torch.device) -> None:
    if name == "gru" and device.type == "standin":
        pytest.skip("the stand-in has no gated recurrent networks")
    make, inputs = NETWORKS[name]
    agrees(make, inputs(), device)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of the libraries themselves
@pytest.mark.parametrize("name", LIBRARIES)
def test_networks_of_libraries(name: str, device: torch.device) -> None:
    make, inputs = LIBRARIES[name]
    agrees(make, inputs(), device)


def test_a_resnet18_is_exact_where_torch_would_round_to_tf32(device: torch.device) -> None:
    """torch's default on a GPU; the same network with ``precision: tf32`` shows that rounding is at work."""
    before = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = True
    try:
        assert agrees(resnet18, pictures(B, 16), device) < 2e-5
        module = seeded_weights(resnet18)
        norms = []
        for precision in ("float32", "tf32"):
            network = Network(copy.deepcopy(module), head=None, outputs=K)
            network.to(device)
            compute = capture(network, Classification(), GradientOptions(layers="all", precision=precision))
            batch = Batch(torch.arange(B), pictures(B, 16), labels_of(B), {}).to(device)
            norms.append(compute(batch).norm(2).cpu())
        assert (norms[1] / norms[0] - 1).abs().max() > 1e-4
    finally:
        torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = before


def test_blocks_that_are_as_small_as_on_the_cpu(device: torch.device, monkeypatch: Any) -> None:
    """A device with little memory forms the gradients of a layer in several blocks."""
    for module in ("combined", "unfolded"):
        where = import_module(f"ogacli.gradients.layers.{module}")
        monkeypatch.setattr(where, "at_a_time", lambda each, device: max(1, (1 << 8) // each))
    agrees(UNet, pictures(B, 8), device)
