"""A detector of another distribution is one file: it is found by its name in YAML and scanned with."""

import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ogacli.config.commands import scan
from ogacli.detectors import detectors
from small_scans import make_place

MODULE = "largest_logit"
TEXT = '''
"""Score = scale times how far the largest logit lies above that of the given label."""

from ogacli.detectors import Detector, DetectorOptions, Needs, detectors

REDUCED = []
"""Of each batch: whether the scan has dropped the factors of its gradients."""


@detectors.register
class LargestLogit(DetectorOptions):
    """Score = scale * (largest logit - logit of the given label)."""

    scale: float = 1.0
    """Factor."""

    def detector(self):
        return Margin(self.scale)


class Margin(Detector):
    def __init__(self, scale):
        self.scale = scale

    def needs(self, batch=None):
        return Needs()

    def score(self, batch):
        try:
            batch.dense()
        except NotImplementedError:
            REDUCED.append(True)
        else:
            REDUCED.append(False)
        given = batch.logits.gather(1, batch.labels[:, None])[:, 0]
        return self.scale * (batch.logits.max(1).values - given).double()
'''


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """As pip would have installed the distribution."""
    folder = tmp_path / "site-packages"
    info = folder / "others-1.0.dist-info"
    info.mkdir(parents=True)
    (folder / f"{MODULE}.py").write_text(TEXT)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: others\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[ogacli.detectors]\n{MODULE} = {MODULE}\n")
    monkeypatch.syspath_prepend(str(folder))
    before = dict(detectors._found)
    yield
    detectors._found.clear()
    detectors._found.update(before)
    sys.modules.pop(MODULE, None)


@pytest.mark.usefixtures("installed")
def test_a_scan_with_a_new_detector(tmp_path: Path) -> None:
    """Its column, its option and its scores; and gradients are still reduced to what `l2` needs."""
    place = make_place(tmp_path, detector=["l2", {"name": MODULE, "scale": 2}])
    run = scan(place.config("gradients.layers=all"), output=tmp_path / "run")
    reduced = import_module(MODULE).REDUCED
    assert reduced
    assert all(reduced)
    module, _ = place.network()
    logits = module(torch.from_numpy(place.arrays["x"])).detach()
    given = logits.gather(1, torch.from_numpy(place.arrays["y"])[:, None])[:, 0]
    expected = 2 * (logits.max(1).values - given)
    np.testing.assert_allclose(run.scores[f"score_{MODULE}"].to_numpy(), expected, rtol=1e-4, atol=1e-5)
    assert run.summary.detectors == ("l2", MODULE)
