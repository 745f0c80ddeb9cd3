"""One pass over a dataset whose factors do not fit in memory, by keeping norms and single coordinates."""

from typing import Any

import numpy as np
import pytest
import torch

from gradient_batches import head_batch
from ogacli.data import Batch
from ogacli.gradients import GradientBatch
from ogacli.gradients.capture import LayerGradients
from ogacli.gradients.kept import kept
from ogacli.scan import scan
from small_scans import N, make_place


def test_what_is_kept_is_answered_and_nothing_else() -> None:
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
        monkeypatch.setattr("ogacli.detectors.isolation_forest._HELD", 0)
        monkeypatch.setattr("ogacli.detectors.isolation_forest._SHARED", 20)
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
    monkeypatch.setattr("ogacli.stream._HELD_BYTES", 0)
    monkeypatch.setattr("ogacli.stream._KEPT_BYTES", kept_bytes)
    run = scan(config, output=tmp_path / "run")
    assert sum(computed) == passes * N
    for column in ("score", "score_l2", "score_l1"):
        np.testing.assert_allclose(run.scores[column].to_numpy(), whole.scores[column].to_numpy(), rtol=1e-5)
