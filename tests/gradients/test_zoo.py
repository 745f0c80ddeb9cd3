"""Whole networks, as their libraries make them, against one backward pass a sample."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.gradients.one_by_one import K, check, labels_of, seeded


def pictures(b: int, size: int) -> Tensor:
    return torch.randn(b, 3, size, size, generator=seeded(4))


def tokens(b: int, t: int, count: int = 50) -> Tensor:
    return torch.randint(1, count, (b, t), generator=seeded(4))


def seeded_weights(factory: Callable[[], nn.Module]) -> nn.Module:
    """A network in evaluation mode whose batch norms have seen something."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module = factory().eval()
        for name, buffer in module.named_buffers():
            if name.endswith("running_mean"):
                buffer.normal_(0, 0.2)
            if name.endswith("running_var"):
                buffer.uniform_(0.5, 1.5)
        for parameter in module.parameters():
            if parameter.abs().max() == 0 or parameter.ndim == 1:
                parameter.data += 0.1 * torch.randn_like(parameter)
    return module


def torchvision_net(name: str, **options: Any) -> nn.Module:
    import torchvision

    return getattr(torchvision.models, name)(weights=None, num_classes=K, **options)


class UNet(nn.Module):
    """Down, up, and across, with one block that is used twice."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.block = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.GroupNorm(2, 8), nn.SiLU())
        self.down = nn.Conv2d(8, 8, 2, stride=2)
        self.up = nn.ConvTranspose2d(8, 8, 2, stride=2)
        self.out = nn.Conv2d(16, 8, 1)
        self.head = nn.Linear(8, K)

    def forward(self, x: Tensor) -> Tensor:
        wide = self.block(self.stem(x))
        deep = self.block(self.down(wide))
        both = torch.cat([wide, self.up(deep)], 1)
        return self.head(torch.tanh(self.out(both)).mean((2, 3)))


class Lstm(nn.Module):
    """Two layers, both ways."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(50, 8)
        self.cells = nn.LSTM(8, 6, num_layers=2, bidirectional=True, batch_first=True)
        self.head = nn.Linear(12, K)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.cells(self.table(x))[0].mean(1))


class Tied(nn.Module):
    """A language model's tied table, read by an embedding and by the output layer."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(50, 8)
        layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.vocabulary = nn.Linear(8, 50, bias=False)
        self.vocabulary.weight = self.table.weight
        self.head = nn.Linear(50, K)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.tanh(self.vocabulary(self.encoder(self.table(x)))).mean(1))


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


def transformer(kind: str) -> nn.Module:
    transformers = pytest.importorskip("transformers")
    if kind == "bert":
        sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
        config = transformers.BertConfig(vocab_size=50, max_position_embeddings=16, num_labels=K, **sizes)
        return transformers.BertForSequenceClassification(config)
    sizes = {"n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": 16}
    config = transformers.GPT2Config(vocab_size=50, num_labels=K, pad_token_id=0, **sizes)
    return transformers.GPT2ForSequenceClassification(config)


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
