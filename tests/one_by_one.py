"""Compare per-sample gradients with one backward pass a sample, in double precision."""

import copy
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ogacli.data import Batch
from ogacli.gradients import GradientBatch
from ogacli.gradients.capture import LayerGradients
from ogacli.gradients.selection import selected
from ogacli.models import Network
from ogacli.models.tasks.classification import Classification

K = 3


class Classifier(nn.Module):
    """A body, the mean over all that it returns but the samples, and a head of ``K`` outputs."""

    def __init__(self, body: nn.Module, h: int) -> None:
        super().__init__()
        self.body = body
        self.head = nn.Linear(h, K)

    def forward(self, inputs: Tensor) -> Tensor:
        found = self.body(inputs)
        while found.ndim > 2:
            found = found.mean(-1) if found.shape[1] == self.head.in_features else found.mean(1)
        return self.head(found)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def labels_of(b: int) -> Tensor:
    return torch.randint(K, (b,), generator=seeded(b))


def reference(module: nn.Module, inputs: Any, labels: Tensor, names: Sequence[str]) -> Tensor:
    """[b, p] in float64: the gradient of each sample's loss, by one backward pass each."""
    exact = copy.deepcopy(module).double().eval()
    parameters = dict(exact.named_parameters())
    wanted = [parameters[name].requires_grad_(True) for name in names]
    rows = []
    for i in range(len(labels)):
        one = one_of(inputs, i)
        output = exact(**one) if isinstance(one, dict) else exact(one)
        loss = F.cross_entropy(getattr(output, "logits", output), labels[i : i + 1])
        found = torch.autograd.grad(loss, wanted, allow_unused=True, materialize_grads=True)
        rows.append(torch.cat([part.flatten() for part in found]))
    return torch.stack(rows)


def one_of(inputs: Any, i: int) -> Any:
    if isinstance(inputs, dict):
        return {name: one_of(tensor, i) for name, tensor in inputs.items()}
    one = inputs[i : i + 1]
    return one.double() if one.is_floating_point() else one


def computed(
    module: nn.Module, inputs: Any, labels: Tensor, layers: str | list[str] = "all"
) -> tuple[GradientBatch, LayerGradients]:
    engine = LayerGradients(Network(module, head=None, outputs=K), Classification(), selected(module, layers))
    return engine(Batch(torch.arange(len(labels)), inputs, labels, {})), engine


def check(
    module: nn.Module,
    inputs: Any,
    labels: Tensor | None = None,
    layers: str | list[str] = "all",
    *,
    fallback: Sequence[str] = (),
    rtol: float = 1e-5,
    project: bool = True,
) -> GradientBatch:
    """Compare everything that a batch computes with the reference, relative to the largest entry."""
    first = next(iter(inputs.values())) if isinstance(inputs, dict) else inputs
    labels = labels_of(len(first)) if labels is None else labels
    batch, engine = computed(module, inputs, labels, layers)
    exact = reference(module, inputs, labels, list(engine.parameters))
    assert sorted(note.split()[0] for note in engine.notes) == sorted(fallback)
    assert batch.p == exact.shape[1] == sum(engine.parameters.values())
    largest = exact.abs().amax(1, keepdim=True)
    assert largest.min() > 0, "the test would see nothing"
    scale = largest.clamp_min(1e-12)

    def agree(found: Tensor, expected: Tensor, by: Tensor) -> None:
        assert found.shape == expected.shape
        torch.testing.assert_close(found.double() / by, expected / by, rtol=rtol, atol=rtol)

    agree(batch.dense(), exact, scale)
    for order in (1, 2):
        norm = exact.abs().pow(order).sum(1).pow(1 / order)
        torch.testing.assert_close(batch.norm(order), norm, rtol=rtol, atol=0)
    both = batch.select(slice(0, None)).norms([1, 2])
    torch.testing.assert_close(both[1], batch.norm(1), rtol=1e-6, atol=0)
    torch.testing.assert_close(both[2], batch.norm(2), rtol=1e-6, atol=0)
    coords = torch.randint(batch.p, (min(500, 2 * batch.p),), generator=seeded(1))
    agree(batch.entries(coords), exact[:, coords], scale)
    some = torch.tensor([len(labels) - 1, 0])
    agree(batch.select(some).dense(), exact[some], scale[some])
    agree(batch.select(some).norm(2)[:, None], exact[some].norm(dim=1)[:, None], scale[some])
    agree(batch.select(slice(1, 2)).entries(coords), exact[1:2, coords], scale[1:2])
    asked = coords.unique()
    engine.reduce_to([1, 2], asked)
    short = engine(Batch(torch.arange(len(labels)), inputs, labels, {}))
    agree(short.entries(asked), exact[:, asked], scale)
    for order in (1, 2):
        torch.testing.assert_close(short.norm(order), batch.norm(order), rtol=1e-6, atol=0)
    if project:
        from ogacli.gradients.layers.plain import Plain

        whole = GradientBatch(batch.rows, labels, batch.logits, batch.residual.double(), None, [Plain(exact)])
        agree(batch.project(8, seed=3), whole.project(8, seed=3), exact.norm(dim=1, keepdim=True))
    return batch
