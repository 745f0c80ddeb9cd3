from importlib import import_module

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gradient_batches import dense_batch, head_batch
from ogacli.data import Batch
from ogacli.gradients import GradientBatch
from ogacli.gradients.capture import LayerGradients
from ogacli.gradients.layers.linear import Outer, Plain
from ogacli.gradients.products import blocks, combined, dots, inner, mean_gradient, spread, squares
from ogacli.gradients.selection import selected
from ogacli.models import Network
from ogacli.models.tasks.classification import Classification


class Words(nn.Module):
    """Every kind of part that there is a product for: tables, positions, convolutions, outer products."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(7, 6)
        self.mixed = nn.Linear(6, 5)
        self.near = nn.Conv1d(5, 4, 3, padding=1)
        self.norm = nn.LayerNorm(4)
        self.unused = nn.Parameter(torch.ones(2))
        self.head = nn.Linear(4, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        found = F.relu(self.mixed(self.words(inputs)))
        found = self.near(found.transpose(1, 2)).transpose(1, 2)
        return self.head(self.norm(found).mean(1))


def words_batch(b: int = 9) -> GradientBatch:
    generator = torch.Generator().manual_seed(2)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = Network(Words(), head=None, outputs=3)
    compute = LayerGradients(network, Classification(), selected(network.module, "all"))
    inputs = torch.randint(7, (b, 5), generator=generator)
    return compute(Batch(torch.arange(b), inputs, torch.randint(3, (b,), generator=generator), {}))


@pytest.fixture(params=["head", "words", "dense"])
def batch(request: pytest.FixtureRequest) -> GradientBatch:
    if request.param == "words":
        return words_batch()
    if request.param == "head":
        return head_batch(9, k=3, h=5)
    return dense_batch(torch.randn(9, 11, generator=torch.Generator().manual_seed(0)))


def pieces(batch: GradientBatch) -> list[Tensor]:
    """The dense gradient of each block."""
    return list(batch.dense().double().split([part.p for part in blocks(batch)], 1))


def test_blocks_are_parameters_in_the_order_of_the_coordinates(batch: GradientBatch) -> None:
    dense = torch.cat([part.dense() for part in blocks(batch)], 1)
    assert torch.equal(dense, batch.dense())


def test_a_head_s_bias_is_a_block_of_its_own() -> None:
    assert [part.p for part in blocks(head_batch(2, k=3, h=5))] == [15, 3]


def test_squares(batch: GradientBatch) -> None:
    expected = torch.stack([piece.square().sum(1) for piece in pieces(batch)], 1)
    torch.testing.assert_close(squares(batch), expected, rtol=1e-5, atol=1e-12)


def test_dots(batch: GradientBatch) -> None:
    vector = torch.randn(batch.p, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    cut = vector.split([part.p for part in blocks(batch)])
    expected = torch.stack([piece @ own for piece, own in zip(pieces(batch), cut, strict=True)], 1)
    torch.testing.assert_close(dots(batch, vector), expected, rtol=1e-5, atol=1e-6)


def test_combined(batch: GradientBatch) -> None:
    weights = torch.randn(len(batch), len(blocks(batch)), generator=torch.Generator().manual_seed(5))
    columns = weights.double().T
    expected = torch.cat([own @ piece for piece, own in zip(pieces(batch), columns, strict=True)])
    torch.testing.assert_close(combined(batch, weights), expected, rtol=1e-5, atol=1e-6)


def test_inner(batch: GradientBatch) -> None:
    other = batch.select(slice(2, 6))
    for part, own, piece in zip(blocks(batch), blocks(other), pieces(batch), strict=True):
        held = own if isinstance(own, Outer) else Plain(own.dense())
        expected = piece @ piece[2:6].T
        torch.testing.assert_close(inner(part, held, len(batch)), expected, rtol=1e-5, atol=1e-9)


def test_long_gradients_are_formed_a_few_samples_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    batch = words_batch()
    vector = torch.randn(batch.p, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    weights = torch.ones(len(batch), len(blocks(batch)))
    whole = dots(batch, vector), combined(batch, weights)
    monkeypatch.setattr(import_module("ogacli.gradients.layers.workspace"), "BLOCK", 100)
    torch.testing.assert_close((dots(batch, vector), combined(batch, weights)), whole, rtol=1e-5, atol=1e-6)


def test_the_mean_is_that_of_all_batches(batch: GradientBatch) -> None:
    parts = [batch.select(slice(0, 4)), batch.select(slice(4, 4)), batch.select(slice(4, 9))]
    found = mean_gradient(parts)
    assert found is not None
    torch.testing.assert_close(found, batch.dense().double().mean(0), rtol=1e-5, atol=1e-8)
    assert mean_gradient([]) is None
    assert mean_gradient(parts[1:2]) is None


def test_spread() -> None:
    assert spread(torch.tensor([1.0, 2.0]), (2, 1)).tolist() == [1, 1, 2]
