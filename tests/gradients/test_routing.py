"""Networks that choose by a sample's values what they do with it, against one backward pass a sample."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ogacli.data import Batch
from ogacli.gradients.capture import LayerGradients
from ogacli.gradients.selection import selected
from ogacli.models import Network
from ogacli.models.tasks.classification import Classification
from one_by_one import Classifier, K, labels_of, reference, seeded

H = 6


class Experts(nn.Module):
    """A mixture of experts, of which each position goes to ``k``.

    Args:
        how: How the positions of an expert are picked: by a ``mask``, by ``index``, ``sorted`` by their
            expert, or all of them (``dense``).
        k: Experts a position.
        skip: Whether an expert without positions is not called.
    """

    def __init__(self, how: str, k: int, *, skip: bool) -> None:
        super().__init__()
        self.how, self.k, self.skip = how, k, skip
        self.gate = nn.Linear(H, 4)
        self.experts = nn.ModuleList(
            nn.Sequential(nn.Linear(H, 5), nn.Tanh(), nn.Linear(5, H)) for _ in range(4)
        )

    def forward(self, x: Tensor) -> Tensor:
        rows = x.reshape(-1, H)
        weights, chosen = self.gate(rows).softmax(-1).topk(self.k, -1)
        if self.how == "sorted":
            return self.in_order(rows, weights, chosen).reshape(x.shape)
        found = torch.zeros_like(rows)
        for number, expert in enumerate(self.experts):
            hit = chosen == number
            here, weight = hit.any(-1), (weights * hit).sum(-1)
            if self.skip and not here.any():
                continue
            if self.how == "mask":
                found[here] += expert(rows[here]) * weight[here, None]
            elif self.how == "index":
                places = here.nonzero()[:, 0]
                found.index_add_(0, places, expert(rows[places]) * weight[places, None])
            else:
                found = found + expert(rows) * (weight * here)[:, None]
        return found.reshape(x.shape)

    def in_order(self, rows: Tensor, weights: Tensor, chosen: Tensor) -> Tensor:
        order = chosen.flatten().argsort()
        source = order // self.k
        ends = chosen.flatten().bincount(minlength=4).cumsum(0).tolist()
        picked, parts = rows[source], []
        for start, end, expert in zip([0, *ends], ends, self.experts, strict=False):
            parts.append(expert(picked[start:end]))
        together = torch.cat(parts) * weights.flatten()[order][:, None]
        return torch.zeros_like(rows).index_add_(0, source, together)


class Gru(nn.Module):
    def __init__(self, **options: Any) -> None:
        super().__init__()
        self.cells = nn.GRU(H, 5, batch_first=True, **options)
        self.head = nn.Linear(10 if options.get("bidirectional") else 5, K)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.cells(x)[0].mean(1))


class GruCell(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.GRUCell(H, 5)
        self.head = nn.Linear(5, K)

    def forward(self, x: Tensor) -> Tensor:
        state = x.new_zeros(len(x), 5)
        for t in range(x.shape[1]):
            state = self.cell(x[:, t], state)
        return self.head(state)


class Transposed(nn.Module):
    """An autoencoder whose decoder is the transposed encoder."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Linear(H, 4)
        self.bias = nn.Parameter(torch.zeros(H))
        self.head = nn.Linear(H, K)

    def forward(self, x: Tensor) -> Tensor:
        code = torch.tanh(self.encoder(x))
        found = self.head(torch.tanh(F.linear(code, self.encoder.weight.t(), self.bias)))
        return found.mean(1) if found.ndim > 2 else found


def drawn(module: nn.Module) -> nn.Module:
    for parameter in module.parameters():
        parameter.data = 0.5 * torch.randn(parameter.shape, generator=seeded(3))
    return module.eval()


def check_batches(module: nn.Module, *shape: int) -> list[str]:
    """Compare several batches of different sizes, computed by one engine; returns its notes."""
    engine = LayerGradients(Network(module, head=None, outputs=K), Classification(), selected(module, "all"))
    x, start = torch.randn(48, *shape, generator=seeded(1)), 0
    for b in (9, 1, 3, 8, 8, 16, 3):
        part, labels = x[start : start + b], labels_of(b)
        found = engine(Batch(torch.arange(b), part, labels, {})).dense().double()
        exact = reference(module, part, labels, list(engine.parameters))
        scale = exact.abs().amax(1, keepdim=True)
        torch.testing.assert_close(found / scale, exact / scale, rtol=1e-5, atol=1e-5)
        start += b
    return engine.notes


@pytest.mark.parametrize("shape", [(H,), (2, H)], ids=["a row", "two rows"])
@pytest.mark.parametrize("k", [1, 2])
@pytest.mark.parametrize(
    ("how", "skip"),
    [("mask", True), ("mask", False), ("index", True), ("dense", True), ("dense", False), ("sorted", False)],
)
def test_mixture_of_experts(how: str, skip: bool, k: int, shape: tuple[int, ...]) -> None:
    """Also where an expert gets as many rows as there are samples, but not one of each."""
    body = nn.Sequential(nn.Linear(H, H), Experts(how, k, skip=skip), nn.Tanh())
    notes = check_batches(drawn(Classifier(body, H)), *shape)
    by_sample = {note.split()[0] for note in notes}
    experts = {f"body.1.experts.{name}" for name, _ in body[1].experts.named_parameters()}
    assert by_sample <= experts
    if how in ("mask", "index", "sorted"):
        assert by_sample == experts
        assert any("picks by their values" in note for note in notes)


@pytest.mark.parametrize(
    "make",
    [Gru, lambda: Gru(num_layers=2, bidirectional=True), GruCell, Transposed],
    ids=["gru", "both ways", "cell", "tied"],
)
def test_recurrent_and_tied(make: Any) -> None:
    check_batches(drawn(make()), 4, H)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of the library itself
def test_mixtral() -> None:
    transformers = pytest.importorskip("transformers")
    sizes = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = transformers.MixtralConfig(
        vocab_size=40, num_key_value_heads=2, num_local_experts=4, num_labels=K, pad_token_id=0, **sizes
    )
    config._experts_implementation = "eager"  # the other one takes no float64
    module = drawn(transformers.MixtralForSequenceClassification(config))
    engine = LayerGradients(Network(module, head=None, outputs=K), Classification(), selected(module, "all"))
    for b in (5, 3, 8):
        inputs = {"input_ids": torch.randint(1, 40, (b, 7), generator=seeded(b))}
        inputs["attention_mask"] = torch.ones_like(inputs["input_ids"])
        found = engine(Batch(torch.arange(b), inputs, labels_of(b), {})).dense().double()
        exact = reference(module, inputs, labels_of(b), list(engine.parameters))
        scale = exact.abs().amax(1, keepdim=True)
        torch.testing.assert_close(found / scale, exact / scale, rtol=1e-4, atol=1e-4)
