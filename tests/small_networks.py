"""Small networks of many kinds, some as their libraries make them, and inputs for them."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from one_by_one import K, seeded


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


# --- pictures -----------------------------------------------------------------------------------------------


def pictures(b: int, size: int) -> Tensor:
    return torch.randn(b, 3, size, size, generator=seeded(4))


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


class Pictures(nn.Module):
    """Plain, grouped and transposed convolutions, and batch norms."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU())
        self.grouped = nn.Conv2d(6, 6, 3, stride=2, groups=2, padding=1)
        self.wider = nn.ConvTranspose2d(6, 6, 2, stride=2)
        self.single = nn.Conv2d(6, 6, 1)
        self.head = nn.Linear(6, K)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.tanh(self.single(self.wider(self.grouped(self.stem(x))))).mean((2, 3)))


class Sequences(nn.Module):
    """Convolutions over one and three dimensions, and norms."""

    def __init__(self) -> None:
        super().__init__()
        self.flat = nn.Conv1d(3, 4, 3, dilation=2, padding=2)
        self.norm = nn.GroupNorm(2, 4)
        self.deep = nn.Conv3d(4, 4, 2)
        self.head = nn.Linear(4, K)

    def forward(self, x: Tensor) -> Tensor:
        found = torch.tanh(self.norm(self.flat(x.flatten(2))))
        return self.head(self.deep(found.view(len(x), 4, 2, 4, -1)).mean((2, 3, 4)))


# --- texts --------------------------------------------------------------------------------------------------


def tokens(b: int, t: int, count: int = 50) -> Tensor:
    return torch.randint(1, count, (b, t), generator=seeded(4))


class Lstm(nn.Module):
    """Two layers, both ways."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(50, 8)
        self.cells = nn.LSTM(8, 6, num_layers=2, bidirectional=True, batch_first=True)
        self.head = nn.Linear(12, K)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.cells(self.table(x))[0].mean(1))


class Gated(nn.Module):
    """A gated recurrent network."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(50, 6)
        self.cells = nn.GRU(6, 5, batch_first=True)
        self.head = nn.Linear(5, K)

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


def transformer(kind: str) -> nn.Module:
    transformers = pytest.importorskip("transformers")
    if kind == "bert":
        sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
        config = transformers.BertConfig(vocab_size=50, max_position_embeddings=16, num_labels=K, **sizes)
        return transformers.BertForSequenceClassification(config)
    sizes = {"n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": 16}
    config = transformers.GPT2Config(vocab_size=50, num_labels=K, pad_token_id=0, **sizes)
    return transformers.GPT2ForSequenceClassification(config)
