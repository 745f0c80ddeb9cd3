"""Each family of layers against one backward pass a sample."""

import warnings
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from one_by_one import Classifier, K, check, seeded

few = settings(max_examples=15, deadline=None)
SIZES = st.integers(1, 5)


def inputs(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=seeded(7))


def made(factory: Any, *args: Any, **kwargs: Any) -> Any:
    """A module with seeded weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        module = factory(*args, **kwargs)
        for parameter in module.parameters():
            nn.init.normal_(parameter, 0.3, 0.5)
    return module


class Calls(nn.Module):
    """A network of one function, with parameters of these shapes."""

    def __init__(self, function: Any, *shapes: tuple[int, ...]) -> None:
        super().__init__()
        self.weights = nn.ParameterList([nn.Parameter(torch.zeros(shape)) for shape in shapes])
        self.function = function

    def forward(self, x: Tensor) -> Any:
        return self.function(x, *self.weights)


@few
@given(b=st.integers(2, 5), positions=st.lists(SIZES, max_size=3), h=SIZES, k=SIZES, bias=st.booleans())
def test_linear(b: int, positions: list[int], h: int, k: int, bias: bool) -> None:
    body = made(nn.Sequential, nn.Linear(h, k, bias=bias), nn.Tanh())
    check(made(Classifier, body, k), inputs(b, *positions, h))


@pytest.mark.parametrize("t", [1, 3, 60])
def test_linear_norms_by_either_way(t: int) -> None:
    """Few positions: by inner products; many: by forming the gradient."""
    check(made(Classifier, nn.Sequential(nn.Linear(12, 20), nn.Tanh()), 20), inputs(4, t, 12))


@few
@given(data=st.data(), dims=st.integers(1, 3), bias=st.booleans())
def test_convolution(data: st.DataObject, dims: int, bias: bool) -> None:
    def each(low: int, high: int) -> tuple[int, ...]:
        return tuple(data.draw(st.lists(st.integers(low, high), min_size=dims, max_size=dims)))

    kernel, stride, padding, dilation = each(1, 3), each(1, 3), each(0, 2), each(1, 2)
    groups = data.draw(st.sampled_from([1, 2]))
    i, o = (groups * data.draw(st.integers(1, 3)) for _ in range(2))
    size = [d * (k - 1) + 1 + data.draw(st.integers(0, 4)) for k, d in zip(kernel, dilation, strict=True)]
    layer = (nn.Conv1d, nn.Conv2d, nn.Conv3d)[dims - 1](
        i, o, kernel, stride=stride, padding=padding, dilation=dilation, groups=groups, bias=bias
    )
    body = made(lambda: nn.Sequential(layer, nn.Tanh()))
    check(made(Classifier, body, o), inputs(data.draw(st.integers(2, 4)), i, *size))


@few
@given(data=st.data(), dims=st.integers(1, 3))
def test_transposed_convolution(data: st.DataObject, dims: int) -> None:
    def each(low: int, high: int) -> tuple[int, ...]:
        return tuple(data.draw(st.lists(st.integers(low, high), min_size=dims, max_size=dims)))

    kernel, stride = each(1, 3), each(1, 3)
    padding = tuple(data.draw(st.integers(0, k - 1)) for k in kernel)
    extra = tuple(data.draw(st.integers(0, s - 1)) for s in stride)
    groups = data.draw(st.sampled_from([1, 2]))
    i, o = (groups * data.draw(st.integers(1, 3)) for _ in range(2))
    layer = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)[dims - 1](
        i, o, kernel, stride=stride, padding=padding, output_padding=extra, groups=groups
    )
    body = made(lambda: nn.Sequential(layer, nn.Tanh()))
    check(made(Classifier, body, o), inputs(2, i, *each(3, 5)))


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
@pytest.mark.parametrize("kernel", [2, 3])
@pytest.mark.parametrize("mode", ["zeros", "circular", "reflect", "replicate"])
def test_same_padding_and_its_modes(mode: str, kernel: int) -> None:
    layer = nn.Conv2d(2, 3, kernel, padding="same", padding_mode=mode)
    check(made(Classifier, made(lambda: nn.Sequential(layer, nn.Tanh())), 3), inputs(3, 2, 5, 6))


@pytest.mark.parametrize("size", [3, 24])
def test_convolution_norms_by_either_way(size: int) -> None:
    body = made(lambda: nn.Sequential(nn.Conv2d(6, 8, 3, padding=1), nn.Tanh()))
    check(made(Classifier, body, 8), inputs(3, 6, size, size))


def test_depthwise_convolution() -> None:
    body = made(lambda: nn.Sequential(nn.Conv2d(6, 12, 3, stride=2, padding=1, groups=6), nn.Tanh()))
    check(made(Classifier, body, 12), inputs(3, 6, 7, 7))


def test_frames_of_a_sample_share_the_first_dimension() -> None:
    class Frames(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(2, 4, 3)
            self.norm = nn.GroupNorm(2, 4)

        def forward(self, x: Tensor) -> Tensor:
            return torch.tanh(self.norm(self.conv(x.flatten(0, 1)))).mean((2, 3)).unflatten(0, x.shape[:2])

    check(
        made(Classifier, Frames(), 4), inputs(3, 5, 2, 6, 6), fallback=["body.norm.weight", "body.norm.bias"]
    )


@pytest.mark.parametrize(
    "norm",
    [
        nn.BatchNorm2d(4),
        nn.GroupNorm(2, 4),
        nn.InstanceNorm2d(4, affine=True),
        nn.InstanceNorm2d(4, affine=True, track_running_stats=True),
        nn.LayerNorm([4, 5, 6]),
        nn.LayerNorm(6),
        nn.RMSNorm(6),
        nn.RMSNorm([5, 6]),
    ],
    ids=lambda norm: str(norm).split("(")[0],
)
def test_normalisations(norm: nn.Module) -> None:
    made(lambda: norm)
    for name, buffer in norm.named_buffers():
        if buffer.is_floating_point():
            buffer.copy_(torch.rand(buffer.shape, generator=seeded(3)) + (0.5 if "var" in name else 3.0))
    body = nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), norm, nn.Tanh())
    check(made(Classifier, body, 4), inputs(3, 2, 5, 6))


def test_batch_norm_of_vectors() -> None:
    body = nn.Sequential(
        nn.Linear(5, 4), nn.BatchNorm1d(4), nn.ReLU(inplace=True), nn.Linear(4, 4), nn.BatchNorm1d(4)
    )
    check(made(Classifier, body, 4), inputs(6, 5))


@pytest.mark.parametrize("padding", [None, 2, -1])
def test_embedding(padding: int | None) -> None:
    body = nn.Sequential(nn.Embedding(7, 4, padding_idx=padding), nn.Tanh())
    tokens = torch.randint(7, (5, 9), generator=seeded(2))
    check(made(Classifier, body, 4), tokens)


def test_a_table_tied_to_a_linear_layer() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table = nn.Embedding(11, 6)
            self.middle = nn.Linear(6, 6)
            self.out = nn.Linear(6, 11)
            self.out.weight = self.table.weight

        def forward(self, tokens: Tensor) -> Tensor:
            return torch.tanh(self.out(torch.tanh(self.middle(self.table(tokens)))))

    check(made(Classifier, Tied(), 11), torch.randint(11, (4, 5), generator=seeded(2)))


def test_a_linear_layer_that_is_used_again() -> None:
    shared = nn.Linear(4, 4)
    check(made(Classifier, nn.Sequential(shared, nn.Tanh(), shared, nn.Tanh(), shared), 4), inputs(5, 3, 4))


def test_a_convolution_that_is_used_again_at_another_size() -> None:
    shared = nn.Conv2d(3, 3, 3, padding=1)
    body = nn.Sequential(shared, nn.ReLU(inplace=True), nn.MaxPool2d(2), shared, nn.Tanh())
    check(made(Classifier, body, 3), inputs(4, 3, 8, 8))


@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("bias_kv", [True, False])
def test_self_attention(batch_first: bool, bias_kv: bool) -> None:
    class Attends(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention = nn.MultiheadAttention(6, 2, batch_first=batch_first, add_bias_kv=bias_kv)

        def forward(self, x: Tensor) -> Tensor:
            x = x if batch_first else x.transpose(0, 1)
            found = self.attention(x, x, x)[0]
            return found if batch_first else found.transpose(0, 1)

    check(made(Classifier, Attends(), 6), inputs(4, 5, 6))


@pytest.mark.parametrize("width", [6, 4])
def test_attention_to_something_else(width: int) -> None:
    class Attends(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.keys = nn.Linear(6, width)
            self.attention = nn.MultiheadAttention(6, 3, kdim=width, vdim=width, batch_first=True)

        def forward(self, x: Tensor) -> Tensor:
            other = self.keys(x[:, 2:])
            return self.attention(x, other, other, need_weights=False)[0]

    check(made(Classifier, Attends(), 6), inputs(4, 5, 6))


@pytest.mark.parametrize("norm_first", [True, False])
def test_transformer_encoder(norm_first: bool) -> None:
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, norm_first=norm_first, dropout=0.3)
    network = made(Classifier, nn.TransformerEncoder(layer, 2, enable_nested_tensor=False), 8).eval()
    x = inputs(4, 6, 8)
    # A label that is all but certain leaves a gradient of rounding errors, which differ between processors.
    check(network, x, network(x).argmin(1))


def test_transformer_decoder() -> None:
    class Decodes(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.TransformerDecoderLayer(8, 2, 16, dropout=0.3)

        def forward(self, x: Tensor) -> Tensor:
            return self.layer(x[:, :3].transpose(0, 1), x[:, 3:].transpose(0, 1)).transpose(0, 1)

    check(made(Classifier, Decodes(), 8), inputs(4, 7, 8))


@pytest.mark.parametrize(
    ("function", "shapes"),
    [
        (lambda x, w: torch.tanh(x + w), [(4,)]),
        (lambda x, w: torch.tanh(w + x), [(1, 3, 4)]),
        (lambda x, w: torch.tanh(x - w), [(3, 1)]),
        (lambda x, w: torch.tanh(x).mul(w) * 2, [(4,)]),
        (lambda x, w: torch.tanh(w * torch.tanh(x)), [(3, 4)]),
        (lambda x, w: torch.tanh(torch.add(x, w, alpha=0.5)), [()]),
        (lambda x, w, v: torch.tanh(x * w + v), [(4,), (4,)]),
        (lambda x, w: torch.tanh(x @ w), [(4, 4)]),
        (lambda x, w: torch.tanh(x @ w.T), [(4, 4)]),
        (
            lambda x, w, v: torch.tanh(torch.addmm(v, x.flatten(0, 1), w)).unflatten(0, (-1, 3)),
            [(4, 4), (4,)],
        ),
        (lambda x, w: torch.cat([w.expand(len(x), -1, -1), torch.tanh(x)], 1), [(1, 2, 4)]),
        (lambda x, w: torch.cat([w.repeat(len(x), 1, 1), torch.tanh(x)], dim=1).tanh(), [(1, 2, 4)]),
        (lambda x, w: torch.tanh(x + w.exp()), [(4,)]),
        (lambda x, w: torch.tanh(F.linear(x, w / w.norm())), [(4, 4)]),
        (lambda x, w: torch.tanh(F.linear(x, w[1:], w[0])), [(5, 4)]),
        (lambda x, w: torch.tanh(F.linear(x, w[:, 1:])), [(4, 5)]),
        (lambda x, w: torch.tanh(x + w[torch.tensor([2, 0, 2])]), [(3, 4)]),
        (lambda x, w: torch.tanh(F.linear(F.linear(x, w), w.T)), [(4, 4)]),
        (lambda x, w: torch.tanh(x.transpose(0, 1) @ w).transpose(0, 1), [(4, 4)]),
    ],
)
def test_parameters_of_no_layer(function: Any, shapes: list[tuple[int, ...]]) -> None:
    check(made(Classifier, made(Calls, function, *shapes), 4), inputs(4, 3, 4))


@pytest.mark.parametrize(
    "function",
    [
        lambda x, w: torch.tanh(torch.einsum("bth,kh->btk", x, w)),
        lambda x, w: torch.tanh(x / w.sum()),
        lambda x, w: torch.where(x > 0, w[0], x).tanh(),
    ],
)
def test_functions_without_a_rule_fall_back(function: Any) -> None:
    body = made(Calls, function, (4, 4))
    check(made(Classifier, body, 4), inputs(4, 3, 4), fallback=["body.weights.0"])


def test_weight_norm() -> None:
    body = made(lambda: nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Conv1d(3, 4, 3)), nn.Tanh()))
    check(made(Classifier, body, 4), inputs(3, 3, 8))


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
def test_recurrent_layers_fall_back(kind: Any) -> None:
    class Last(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table = nn.Embedding(9, 4)
            self.cells = kind(4, 5, batch_first=True)

        def forward(self, tokens: Tensor) -> Tensor:
            return self.cells(self.table(tokens))[0][:, -1]

    names = [f"body.cells.{part}_{gate}_l0" for part in ("weight", "bias") for gate in ("ih", "hh")]
    tokens = torch.randint(9, (4, 6), generator=seeded(2))
    check(made(Classifier, Last(), 5), tokens, fallback=names)


def test_a_function_that_hides_its_parameters_falls_back() -> None:
    class Scale(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
            ctx.save_for_backward(x, weight)
            return x * weight

        @staticmethod
        def backward(ctx: Any, d: Tensor) -> Any:
            x, weight = ctx.saved_tensors
            return d * weight, (d * x).sum(tuple(range(x.ndim - 1)))

    body = made(Calls, lambda x, w: Scale.apply(torch.tanh(x), w), (4,))
    check(made(Classifier, body, 4), inputs(4, 3, 4), fallback=["body.weights.0"])


def test_a_script_module_falls_back() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scripting is deprecated
        body = torch.jit.script(made(lambda: nn.Sequential(nn.Linear(4, 4), nn.Tanh())))
    check(made(Classifier, body, 4), inputs(4, 4), fallback=["body.0.weight", "body.0.bias"])


def test_mappings_are_keyword_arguments() -> None:
    class Named(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table = nn.Embedding(5, 4)
            self.head = nn.Linear(4, K)

        def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
            found = self.table(tokens) * mask[:, :, None]
            return self.head(torch.tanh(found.sum(1)))

    tokens = torch.randint(5, (4, 6), generator=seeded(2))
    check(made(Named), {"tokens": tokens, "mask": (tokens > 0).float()})
