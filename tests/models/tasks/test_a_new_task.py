"""Segmentation, added by another distribution: a task and a data source, and nothing else."""

import sys
import textwrap

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import yaml

from ogacli.config import load_config
from ogacli.config.commands import plan, scan
from ogacli.data.sources import sources
from ogacli.errors import OgaError
from ogacli.models.tasks import tasks
from ogacli.run.reports import report
from ogacli.run.trim import trim

N, K, SIZE = 24, 3, 6

TASK = '''
"""A class for each pixel: the mean cross-entropy over the pixels."""

import torch
import torch.nn.functional as F

from ogacli.models.tasks import Task, tasks


@tasks.register
class PixelLoss(Task):
    """Logits [b, k, h, w], labels [b, h, w]."""

    def loss(self, logits, labels):
        return F.cross_entropy(logits, labels, reduction="none").flatten(1).mean(1)

    def predictive(self, logits):
        return torch.softmax(logits, 1)

    def label_probability(self, logits, labels):
        return self.predictive(logits).gather(1, labels[:, None]).flatten(1).mean(1)
'''

SOURCE = '''
"""Pictures and masks in an npz file."""

import hashlib

import numpy as np
import pyarrow as pa
import torch

from ogacli.base.options import Location
from ogacli.data import Samples
from ogacli.data.labels.label_types import LabelType, check_rows
from ogacli.data.ids import numbered
from ogacli.data.sources import Source, sources
from ogacli.data.arrays import ArrayReader


class Masks(LabelType):
    """A class index for each pixel, [n, h, w]."""

    def check(self, labels, classes, ids, noun):
        good = ((labels >= 0) & (labels < len(classes))).flatten(1).all(1)
        check_rows(good, labels, ids, noun, f"masks of 0 to {len(classes) - 1}")

    def column(self, labels, classes):
        occurring = [[classes[i] for i in mask.unique().tolist()] for mask in labels]
        return pa.array(occurring, pa.list_(pa.string()))

    def counts(self, labels, classes):
        return torch.stack([(labels == i).flatten(1).any(1).sum() for i in range(len(classes))])

    def outputs(self, labels, classes):
        return len(classes)


@sources.register
class PicturesWithMasks(Source):
    """x [n, 3, h, w] and y [n, h, w]."""

    path: Location
    """The file."""
    classes: tuple[str, ...]
    """What the values of the masks are called."""

    def load(self):
        arrays = np.load(self.path)
        x, y = arrays["x"], torch.from_numpy(arrays["y"])
        return Samples(
            ids=numbered(len(x)),
            positions=torch.arange(len(x)),
            labels=y,
            classes=self.classes,
            reader=ArrayReader(x, image=True),
            signature=hashlib.sha256(x.tobytes()).hexdigest(),
            label_type=Masks(),
        )
'''

NETWORK = """
import torch
from torch import nn

def make():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 5, 3, padding=1), nn.BatchNorm2d(5), nn.ReLU(), nn.Conv2d(5, 3, 1))
"""


@pytest.fixture
def place(tmp_path, monkeypatch):
    """An installed distribution, a dataset whose first mask is wrong everywhere, and a config."""
    installed = tmp_path / "site"
    installed.mkdir()
    (installed / "pixel_loss.py").write_text(TASK)
    (installed / "pictures_with_masks.py").write_text(SOURCE)
    info = installed / "segmentation-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: segmentation\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        textwrap.dedent("""\
        [ogacli.models.tasks]
        pixel_loss = pixel_loss
        [ogacli.data.sources]
        pictures_with_masks = pictures_with_masks
        """)
    )
    monkeypatch.syspath_prepend(str(installed))
    (tmp_path / "own_segmenter.py").write_text(NETWORK)
    rng = np.random.default_rng(0)
    truth = rng.integers(0, K, (N, SIZE, SIZE))
    x = rng.normal(size=(N, K, SIZE, SIZE), scale=0.2).astype(np.float32)
    np.put_along_axis(x, truth[:, None], 1.0, axis=1)
    y = truth.copy()
    y[0] = (y[0] + 1) % K
    np.savez(tmp_path / "data.npz", x=x, y=y)
    values = {
        "data": {"source": "pictures_with_masks", "path": "data.npz", "classes": ["sky", "tree", "road"]},
        "model": {"source": "python", "factory": "own_segmenter:make"},
        "loss": "pixel_loss",
        "gradients": {"layers": "all"},
        "detector": "l2",
        "budget": 1,
        "output": "run",
        "train": {"epochs": 30, "batch_size": 8, "learning_rate": 0.03, "output": "checkpoints"},
    }
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(values))
    yield tmp_path
    tasks._found.pop("pixel_loss", None)
    sources._found.pop("pictures_with_masks", None)
    for module in ("pixel_loss", "pictures_with_masks", "own_segmenter"):
        sys.modules.pop(module, None)


def one_by_one(config):
    """The norm of each sample's gradient, by autograd."""
    samples = config.data.open()
    module = config.model.load(samples).module.requires_grad_(True)
    norms = []
    for row in range(N):
        loss = F.cross_entropy(module(samples.read([row]).inputs), samples.labels[[row]])
        parts = torch.autograd.grad(loss, list(module.parameters()))
        norms.append(torch.cat([part.flatten() for part in parts]).norm().item())
    return norms


@pytest.mark.parametrize("size", ["auto", "5"])
def test_segmentation_is_scanned(place, size):
    config = load_config(place / "c.yaml", [f"gradients.batch_size={size}"])
    assert config.resolved["loss"] == {"name": "pixel_loss"}
    assert plan(config).samples == N
    run = scan(config)
    np.testing.assert_allclose(run.scores["score"].to_numpy(), one_by_one(config), rtol=1e-4)
    labels = config.data.open().labels
    assert run.scores["label"][0].as_py() == ["sky", "tree", "road"]
    assert [one.samples for one in run.summary.classes] == [
        int((labels == i).any(2).any(1).sum()) for i in range(K)
    ]
    assert run.summary.estimate is None
    module = config.model.load(config.data.open()).module
    given = module(config.data.open().read(range(N)).inputs).softmax(1).gather(1, labels[:, None])
    np.testing.assert_allclose(run.scores["probability"].to_numpy(), given.mean((1, 2, 3)).numpy(), rtol=1e-4)
    assert report(run, "md").count("sky") >= 1
    assert trim(run, manifest=place / "clean.jsonl").fates["dropped"] == 1


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("gradients.layers=head", r"so it has no head\n  found: logits \[\d+, 3, 6, 6\]"),
        ("detector=self_confidence", "label quality takes one class a sample"),
        ("detector=latent_label", "label quality takes one class a sample"),
        ("loss=cross_entropy", "cross-entropy takes one class a sample"),
        ("budget=auto", "wrong labels can be counted only where each sample has one class"),
        ("data.classes=[sky, tree]", "label out of range, as in 23 more samples(.|\n)*masks of 0 to 1"),
    ],
)
def test_what_segmentation_has_not(place, override, message):
    with pytest.raises(OgaError, match=message):
        scan(load_config(place / "c.yaml", [override, *(["detector=l2"] if "loss" in override else [])]))


def test_segmentation_is_trained_and_the_wrong_mask_found(place):
    from ogacli.config.commands import train

    training = train(load_config(place / "c.yaml"))
    assert training.epochs[-1].loss < 0.7 * training.epochs[0].loss
    assert training.epochs[-1].accuracy is None
    run = scan(load_config(place / "c.yaml", [f"model.checkpoint={training.checkpoints[-1]}"]))
    flagged = run.scores.filter(run.scores["flagged"])
    assert flagged["id"].to_pylist() == ["0"]
