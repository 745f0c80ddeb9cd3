"""Whole networks, as their libraries make them, against one backward pass a sample."""

from typing import Any

import pytest
from torch import nn

from one_by_one import K, check, labels_of
from small_networks import (
    Lstm,
    Tied,
    UNet,
    pictures,
    seeded_weights,
    tokens,
    torchvision_net,
    transformer,
)


def test_unet() -> None:
    check(seeded_weights(UNet), pictures(3, 12))


def test_lstm() -> None:
    names = [name for name, _ in Lstm().named_parameters() if name.startswith("cells.")]
    check(seeded_weights(Lstm), tokens(4, 7), fallback=names)


def test_tied_weights() -> None:
    check(seeded_weights(Tied), tokens(4, 7))


def test_resnet_of_the_reference_trainer() -> None:
    from ogacli.models.sources.resnet_cifar import ResNet

    check(seeded_weights(lambda: ResNet([1, 1, 1], 8, 3, K, projected=True)), pictures(4, 16))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "size", "options"),
    [
        ("resnet18", 32, {}),
        ("mobilenet_v3_small", 32, {}),
        ("efficientnet_b0", 32, {}),
        ("convnext_tiny", 32, {}),
        ("vit_b_16", 32, {"image_size": 32}),
        ("swin_t", 32, {}),
    ],
)
def test_torchvision(name: str, size: int, options: dict[str, Any]) -> None:
    pytest.importorskip("torchvision")
    module = seeded_weights(lambda: torchvision_net(name, **options))
    tables = [name for name, _ in module.named_parameters() if "relative_position_bias_table" in name]
    check(module, pictures(2, size), fallback=(), project=False)
    assert not tables or name == "swin_t"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of the library itself
@pytest.mark.parametrize("kind", ["bert", "gpt2"])
def test_transformers(kind: str) -> None:
    inputs = {"input_ids": tokens(4, 9)}
    inputs["input_ids"][1, 6:] = 0
    inputs["attention_mask"] = (inputs["input_ids"] > 0).long()
    check(seeded_weights(lambda: transformer(kind)), inputs)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of the library itself
@pytest.mark.parametrize("layers", ["*.lora_*", ["*.lora_A.*"], "all"])
def test_low_rank_adapters(layers: Any) -> None:
    peft = pytest.importorskip("peft")

    def adapted() -> nn.Module:
        config = peft.LoraConfig(r=2, target_modules=["query", "value"], task_type="SEQ_CLS")
        return peft.get_peft_model(transformer("bert"), config)

    module, inputs = seeded_weights(adapted), {"input_ids": tokens(4, 9)}
    # PEFT may keep the original of a layer that is trained beside the adapters, and no longer call it.
    called: list[nn.Module] = []
    kept = [(name, part) for name, part in module.named_modules() if name.endswith("original_module")]
    hooks = [part.register_forward_hook(lambda part, *_: called.append(part)) for _, part in kept]
    module(**inputs)
    for hook in hooks:
        hook.remove()
    unused = [f"{name}.{leaf}:" for name, part in kept if part not in called for leaf in ("weight", "bias")]
    fallback = unused if layers == "all" else []
    check(module, inputs, labels_of(4), layers, fallback=fallback)
