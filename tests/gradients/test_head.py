from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from ogacli.data import Batch
from ogacli.gradients import GradientBatch
from ogacli.gradients.head import HeadGradients
from ogacli.models import Network
from ogacli.models.network import Outputs
from ogacli.models.tasks import Task
from ogacli.models.tasks.classification import Classification
from ogacli.models.tasks.multi_label import MultiLabel
from ogacli.models.tasks.own_loss import OwnLoss
from ogacli.models.tasks.regression import Regression
from reference import head_gradients, norm

K, H = 4, 7


def huber(logits: Tensor, labels: Tensor) -> Tensor:
    return F.huber_loss(logits, F.one_hot(labels, K).to(logits.dtype), reduction="none").sum(1)


CLASSES = torch.randint(K, (12,), generator=torch.Generator().manual_seed(1))
SEVERAL = torch.randint(2, (12, K), generator=torch.Generator().manual_seed(2)).float()
TARGETS = torch.randn(12, K, generator=torch.Generator().manual_seed(3))
LOSSES: dict[str, tuple[Task, Tensor, Callable[[Tensor, Tensor], Tensor]]] = {
    "cross_entropy": (Classification(), CLASSES, F.cross_entropy),
    "smoothed": (
        Classification(label_smoothing=0.1),
        CLASSES,
        lambda logits, labels: F.cross_entropy(logits, labels, label_smoothing=0.1),
    ),
    "bce": (
        MultiLabel(),
        SEVERAL,
        lambda logits, labels: F.binary_cross_entropy_with_logits(logits, labels, reduction="sum"),
    ),
    "mse": (Regression(), TARGETS, lambda logits, labels: ((logits - labels) ** 2).sum()),
    "python": (OwnLoss(factory=f"{__name__}:huber"), CLASSES, huber),
}


def network(bias: bool) -> nn.Sequential:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(5, H), nn.ReLU(), nn.Linear(H, K, bias=bias))


def gradients(module: nn.Module, labels: Tensor, task: Task) -> tuple[GradientBatch, Tensor]:
    inputs = torch.randn(len(labels), 5, generator=torch.Generator().manual_seed(4))
    compute = HeadGradients(Network(module, head=None, outputs=K), task)
    return compute(Batch(torch.arange(len(labels)), inputs, labels, {})), inputs


@pytest.fixture(params=[True, False], ids=["bias", "no bias"])
def bias(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.fixture(params=list(LOSSES))
def both(request: pytest.FixtureRequest, bias: bool) -> tuple[GradientBatch, Tensor]:
    """The batch, and the same gradients by one backward a sample."""
    task, labels, loss = LOSSES[request.param]
    module = network(bias)
    batch, inputs = gradients(module, labels, task)
    head = module[2]
    assert isinstance(head, nn.Linear)
    return batch, head_gradients(module, head, inputs, labels, loss)


def test_dense_is_the_gradient(both: tuple[GradientBatch, Tensor]) -> None:
    batch, reference = both
    assert batch.p == reference.shape[1]
    torch.testing.assert_close(batch.dense(), reference, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("order", [1, 2])
def test_norms_are_those_of_the_gradient(both: tuple[GradientBatch, Tensor], order: int) -> None:
    batch, reference = both
    torch.testing.assert_close(batch.norm(order), norm(reference, order), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(batch.norm(order), norm(batch.dense(), order), rtol=1e-6, atol=0)


def test_entries_are_columns_of_dense(both: tuple[GradientBatch, Tensor]) -> None:
    batch, _ = both
    every = torch.arange(batch.p)
    assert torch.equal(batch.entries(every), batch.dense())
    some = torch.tensor([batch.p - 1, 0, 3, 3, batch.p - K])
    assert torch.equal(batch.entries(some), batch.dense()[:, some])
    assert batch.entries(every[:0]).shape == (len(batch), 0)


def test_projection_is_one_seeded_matrix(both: tuple[GradientBatch, Tensor]) -> None:
    batch, _ = both
    dense = batch.dense()
    projected = batch.project(2048, seed=5)
    assert torch.equal(projected, batch.project(2048, seed=5))
    assert not torch.allclose(projected, batch.project(2048, seed=6))
    torch.testing.assert_close(batch.select(slice(2, 5)).project(2048, seed=5), projected[2:5])
    scale = dense.norm(dim=1).max() ** 2
    torch.testing.assert_close(projected @ projected.T / scale, dense @ dense.T / scale, rtol=0, atol=0.15)


def test_select_is_rows(both: tuple[GradientBatch, Tensor]) -> None:
    batch, _ = both
    for index in (torch.tensor([5, 0, 0]), slice(3, 9), slice(4, 4)):
        part = batch.select(index)
        assert len(part) == len(batch.rows[index])
        assert torch.equal(part.dense(), batch.dense()[index])
        assert torch.equal(part.labels, batch.labels[index])
        assert torch.equal(part.rows, batch.rows[index])
    first = batch.select(slice(0, 3))
    assert first.residual.data_ptr() == batch.residual.data_ptr(), "a slice copies nothing"


@settings(max_examples=30, deadline=None)
@given(logits=st.floats(-80, 80), label=st.integers(0, K - 1))
def test_a_confident_sample_keeps_its_gradient(logits: float, label: int) -> None:
    """softmax - 1 is 0 in float32 where the gradient is small, but the gradient is not."""
    found = Classification().residual(torch.tensor([[logits, 0.0, 0.0, 0.0]]), torch.tensor([label]))
    exact = torch.tensor([[logits, 0.0, 0.0, 0.0]], dtype=torch.float64).softmax(1)
    others = exact.clone()
    others[0, label] = 0
    exact[0, label] = -others.sum()
    torch.testing.assert_close(found.double(), exact, rtol=1e-5, atol=1e-37)


def test_without_features_the_residual_is_the_gradient() -> None:
    class Table:
        reads_inputs = False
        head_name = "logits"

        def to(self, device: torch.device) -> None:
            pass

        def outputs(self, batch: Batch) -> Outputs:
            return Outputs(TARGETS[batch.rows], None, bias=False)

    compute = HeadGradients(Table(), Classification())  # type: ignore[arg-type]
    batch = compute(Batch(torch.arange(12), None, CLASSES, {}))
    expected = TARGETS.softmax(1) - F.one_hot(CLASSES, K)
    torch.testing.assert_close(batch.dense(), expected)
    torch.testing.assert_close(batch.norm(1), expected.double().abs().sum(1), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(batch.entries(torch.tensor([2])), expected[:, 2:3])
