"""One pass over a dataset whose factors do not fit in memory, by keeping norms and single coordinates."""

from importlib import import_module
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from gradient_batches import head_batch
from ogacli.config.commands import scan
from ogacli.data import Batch
from ogacli.gradients import GradientBatch
from ogacli.gradients.capture import LayerGradients
from ogacli.gradients.kept import kept
from ogacli.gradients.selection import selected
from ogacli.models import Network
from ogacli.models.tasks.classification import Classification
from one_by_one import Classifier
from small_scans import N, make_place


def test_only_what_is_kept_can_be_read() -> None:
    batch = head_batch(12, k=3, h=8)
    coords = torch.tensor([1, 4, 9, 20, 26])
    short = kept(batch, [1, 2], coords)
    assert short.p == batch.p
    torch.testing.assert_close(short.norms([1, 2]), batch.norms([1, 2]))
    asked = torch.tensor([20, 1, 26])
    assert torch.equal(short.entries(asked), batch.entries(asked))
    some = short.select(torch.tensor([3, 0]))
    assert torch.equal(some.entries(asked), batch.entries(asked)[[3, 0]])
    torch.testing.assert_close(some.norm(2), batch.norm(2)[[3, 0]])
    with pytest.raises(NotImplementedError):
        short.dense()


@pytest.mark.parametrize("few", [True, False], ids=["all coordinates", "shared coordinates"])
@pytest.mark.parametrize(("kept_bytes", "passes"), [(1 << 20, 1), (0, 2)])
def test_a_scan_of_all_layers_takes_one_pass_where_coordinates_fit(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch, kept_bytes: int, passes: int, few: bool
) -> None:
    if not few:
        monkeypatch.setattr("ogacli.detectors.forest.fitting._HELD", 0)
        monkeypatch.setattr("ogacli.detectors.forest.fitting._SHARED", 20)
    forest = {"name": "isolation_forest", "trees": 20, "subsample": 16, "seed": 0}
    place = make_place(tmp_path, detector=[forest, {"name": "l2"}, {"name": "l1"}])
    config = place.config("gradients.layers=all", "gradients.batch_size=32")
    whole = scan(config, output=tmp_path / "whole")
    computed: list[int] = []
    compute = LayerGradients.__call__

    def counted(self: LayerGradients, batch: Batch) -> GradientBatch:
        computed.append(len(batch.rows))
        return compute(self, batch)

    monkeypatch.setattr(LayerGradients, "__call__", counted)
    monkeypatch.setattr(import_module("ogacli.scan.fitting"), "_HELD_BYTES", 0)
    monkeypatch.setattr(import_module("ogacli.scan.fitting"), "_KEPT_BYTES", kept_bytes)
    run = scan(config, output=tmp_path / "run")
    assert sum(computed) == passes * N
    for column in ("score", "score_l2", "score_l1"):
        np.testing.assert_allclose(run.scores[column].to_numpy(), whole.scores[column].to_numpy(), rtol=1e-5)


def encoder() -> LayerGradients:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
        module = Classifier(nn.TransformerEncoder(layer, 2, enable_nested_tensor=False), 16)
    return LayerGradients(Network(module, head=None, outputs=3), Classification(), selected(module, "all"))


def some_batch(b: int) -> Batch:
    generator = torch.Generator().manual_seed(1)
    return Batch(torch.arange(b), torch.randn(b, 9, 16, generator=generator), torch.arange(b) % 3, {})


def test_a_reduced_batch_has_only_norms_and_coordinates() -> None:
    """From the first batch on, although its checks need all factors."""
    whole, short = encoder(), encoder()
    coords = torch.tensor([3, 50, 51, 1000, sum(whole.parameters.values()) - 1])
    short.reduce_to([2], coords)
    full, found = whole(some_batch(12)), short(some_batch(12))
    assert found.nbytes < full.nbytes / 20
    assert torch.equal(found.norm(2), full.norm(2))
    torch.testing.assert_close(found.entries(coords), full.entries(coords))
    torch.testing.assert_close(found.entries(coords[[4, 1]]), full.entries(coords[[4, 1]]))
    assert torch.equal(found.select(slice(2, 5)).norm(2), full.norm(2)[2:5])
    with pytest.raises(NotImplementedError):
        found.dense()
    with pytest.raises(KeyError):
        found.norm(1)
    short.reduce_to([], torch.empty(0, dtype=torch.int64))
    assert short(some_batch(12)).nbytes < found.nbytes


@pytest.mark.parametrize("extra", [[], ["loss"], ["latent_label"], ["gradient_tracing"]], ids=str)
def test_a_scan_reduces_layers_during_backward(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch, extra: list[str]
) -> None:
    """Where no detector needs more than norms and coordinates; the scores are the same."""
    forest = {"name": "isolation_forest", "trees": 20, "subsample": 16, "seed": 0}
    if "gradient_tracing" in extra:
        extra = [{"name": "gradient_tracing", "against": "self"}]  # type: ignore[list-item]
    place = make_place(tmp_path, detector=[forest, "l2", "l1", *extra])
    monkeypatch.setattr(import_module("ogacli.scan.fitting"), "_HELD_BYTES", 0)
    config = place.config("gradients.layers=all", "gradients.batch_size=32")
    asked: list[Any] = []
    reduce_to = LayerGradients.reduce_to

    def noted(self: LayerGradients, orders: Any, coords: Any) -> None:
        asked.append((list(orders), len(coords)))
        reduce_to(self, orders, coords)

    monkeypatch.setattr(LayerGradients, "reduce_to", noted)
    short = scan(config, output=tmp_path / "short").scores
    monkeypatch.setattr(LayerGradients, "reduce_to", lambda *args: None)
    whole = scan(config, output=tmp_path / "whole").scores
    assert len(asked) == (not extra or isinstance(extra[0], str))
    assert all(orders == [1, 2] and coords > 20 for orders, coords in asked)
    for column in [name for name in whole.column_names if name.startswith("score")]:
        np.testing.assert_allclose(short[column].to_numpy(), whole[column].to_numpy(), rtol=1e-5)
