"""What must hold of the gradients of a batch, whatever the network: sums, order, size, bytes, precision."""

import gc
import weakref
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from ogacli.data import Batch
from ogacli.errors import GradientError
from ogacli.gradients import GradientBatch, GradientOptions, Gradients, capture
from ogacli.models import Network
from ogacli.models.tasks.classification import Classification
from one_by_one import Classifier, K, labels_of, seeded
from small_networks import seeded_weights

B = 12


def picture_network() -> nn.Module:
    layers = [nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 6, 3, stride=2)]
    return Classifier(nn.Sequential(*layers), 6)


def token_network() -> nn.Module:
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
    return Classifier(nn.Sequential(nn.Embedding(20, 8), encoder), 8)


def pictures() -> Tensor:
    return torch.randn(B, 2, 7, 7, generator=seeded(1))


def tokens() -> Tensor:
    return torch.randint(20, (B, 5), generator=seeded(1))


NETWORKS = {"pictures": (picture_network, pictures), "tokens": (token_network, tokens)}
every_network = pytest.mark.parametrize("kind", NETWORKS)


def computing(module: nn.Module, layers: Any = "all", **options: Any) -> Gradients:
    model = Network(module, head=None, outputs=K)
    return capture(model, Classification(), GradientOptions(layers=layers, **options))


def batch_of(inputs: Tensor, rows: Tensor) -> Batch:
    return Batch(rows, inputs[rows], labels_of(B)[rows], {})


def near(found: Tensor, expected: Tensor, rtol: float = 1e-5) -> None:
    scale = float(expected.abs().max())
    torch.testing.assert_close(found.double(), expected.double(), rtol=rtol, atol=rtol * scale)


@every_network
def test_gradients_add_up_to_that_of_the_batch(kind: str) -> None:
    module, inputs = seeded_weights(NETWORKS[kind][0]), NETWORKS[kind][1]()
    found = computing(module)(batch_of(inputs, torch.arange(B))).dense().sum(0)
    parameters = [parameter.requires_grad_(True) for parameter in module.parameters()]
    loss = F.cross_entropy(module(inputs), labels_of(B), reduction="sum")
    whole = torch.cat([gradient.flatten() for gradient in torch.autograd.grad(loss, parameters)])
    near(found, whole)


@every_network
@settings(max_examples=10, deadline=None)
@given(data=st.data())
def test_neither_batch_size_nor_order_matters(kind: str, data: st.DataObject) -> None:
    inputs = NETWORKS[kind][1]()
    compute = computing(seeded_weights(NETWORKS[kind][0]))
    whole = compute(batch_of(inputs, torch.arange(B)))
    coords = torch.randint(whole.p, (50,), generator=seeded(2))
    rows = torch.tensor(data.draw(st.permutations(range(B))))
    for some in rows.split(data.draw(st.integers(1, B))):
        part = compute(batch_of(inputs, some))
        near(part.entries(coords), whole.entries(coords)[some])
        for order, norms in part.norms([1, 2]).items():
            near(norms, whole.norm(order)[some])


@every_network
def test_bytes_are_those_that_the_batch_keeps_alive(kind: str) -> None:
    compute = computing(seeded_weights(NETWORKS[kind][0]))
    found = compute(batch_of(NETWORKS[kind][1](), torch.arange(B)))
    alive = {}
    todo: list[Any] = [getattr(found, name) for name in found.__slots__ if name != "columns"]
    while todo:
        match todo.pop():
            case Tensor() as tensor:
                alive[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            case dict() as mapping:
                todo += mapping.values()
            case list() | tuple() as several:
                todo += several
            case part if hasattr(part, "__slots__"):
                todo += [getattr(part, name) for name in part.__slots__]
    assert found.nbytes == sum(alive.values())


def test_bytes_of_shared_tensors_count_once() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.left, self.right = nn.Linear(100, 2, bias=False), nn.Linear(100, 2, bias=False)
            self.head = nn.Linear(2, K, bias=False)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(torch.tanh(self.left(x)) * self.right(x))

    x = torch.randn(B, 100, generator=seeded(1))
    found = computing(seeded_weights(Twice), ["left.*", "right.*"])(batch_of(x, torch.arange(B)))
    assert 400 * B <= found.nbytes < 600 * B


@pytest.mark.parametrize("layers", ["all", "head"])
@every_network
def test_bfloat16_is_near_float32(kind: str, layers: str) -> None:
    inputs, rows = NETWORKS[kind][1](), torch.arange(B)
    exact, rough = (
        computing(seeded_weights(NETWORKS[kind][0]), layers, precision=precision)(batch_of(inputs, rows))
        for precision in ("float32", "bfloat16")
    )
    assert rough.logits.dtype is rough.residual.dtype is torch.float32
    answers = {"logits": lambda batch: batch.logits, "l1": lambda batch: batch.norm(1)}
    answers |= {"dense": GradientBatch.dense, "project": lambda batch: batch.project(16, seed=0)}
    for name, answer in answers.items():
        apart = float((answer(rough).double() - answer(exact).double()).norm() / answer(exact).norm())
        assert 1e-5 < apart < 0.05, name
    coords = torch.arange(0, rough.p, 3)
    near(rough.entries(coords), rough.dense()[:, coords])
    near(rough.norm(2), rough.dense().double().norm(dim=1))


@pytest.mark.parametrize("layers", ["all", "body.*"])
def test_half_precision_that_overflows_is_refused(layers: str) -> None:
    """A gradient a billion times as steep fits float32, but not float16."""
    body = nn.Sequential(nn.Linear(4, 4), nn.Tanh())
    module = Classifier(body, 4)

    class Steep(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            return x.clone()

        @staticmethod
        def backward(ctx: Any, d: Tensor) -> Tensor:
            return d * 1e9

    body.append(nn.Module())
    body[2].forward = Steep.apply
    x = torch.randn(B, 4, generator=seeded(1))
    assert computing(module, layers)(batch_of(x, torch.arange(B))).norm(2).isfinite().all()
    with pytest.raises(GradientError, match=r"(?s)gradients of all samples overflow.*in float16"):
        computing(module.half(), layers)(batch_of(x.half(), torch.arange(B)))


@every_network
def test_a_batch_that_is_done_with_leaves_nothing_behind(kind: str) -> None:
    """Without waiting for the garbage collector, so that memory does not grow by the batch."""
    compute, inputs = computing(seeded_weights(NETWORKS[kind][0])), NETWORKS[kind][1]()
    compute(batch_of(inputs, torch.arange(B)))
    gc.collect()
    gc.disable()
    try:
        found = compute(batch_of(inputs, torch.arange(B)))
        found.norms([1, 2])
        held = [weakref.ref(tensor) for part in found.parts for tensor in part.held]
        del found
        assert not any(tensor() is not None for tensor in held)
    finally:
        gc.enable()
