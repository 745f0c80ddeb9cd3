"""A data source of another distribution is one file: it is found by its name in YAML and scanned with."""

from pathlib import Path

import numpy as np
import pytest
import yaml

import plug_ins
from ogacli.config import load_config
from ogacli.config.commands import scan, train
from ogacli.data.sources import source_of, sources
from ogacli.errors import ConfigError, RunError

MODULE = "clusters"
TEXT = '''
"""Points around the corners of a square; one point has the label of the corner opposite."""

import numpy as np
import torch

from ogacli.data import Preview, Reader, Samples
from ogacli.data.ids import numbered
from ogacli.data.sources import Source, sources


class Points(Reader):
    """Reads rows of an array; row 3 is broken."""

    in_memory = True

    def __init__(self, points):
        self.points = points

    def read(self, positions):
        good = [position for position in positions if position != 3]
        failures = {i: "broken" for i, position in enumerate(positions) if position == 3}
        return (self.points[good] if good else None), failures

    def preview(self, position):
        return Preview("text", f"point {position}".encode())


@sources.register
class Clusters(Source):
    """Points around the corners of a square."""

    spread: float = 0.1
    """Standard deviation around a corner."""

    def load(self):
        generator = np.random.default_rng(0)
        labels = np.arange(40) % 4
        corners = np.stack([labels % 2, labels // 2], 1)
        points = corners + generator.normal(scale=self.spread, size=corners.shape)
        labels[0] = 3
        return Samples(
            ids=numbered(40),
            positions=torch.arange(40),
            labels=torch.from_numpy(labels),
            classes=("sw", "se", "nw", "ne"),
            reader=Points(torch.from_numpy(points).float()),
            signature=f"clusters {self.spread}",
        )
'''


@pytest.fixture
def config(tmp_path: Path):
    values = {
        "data": {"source": MODULE, "spread": 0.05, "limit": 30},
        "model": {"source": "logistic"},
        "detector": "l2",
        "budget": 1,
        "output": "run",
        "train": {"epochs": 60, "batch_size": 8, "learning_rate": 0.1, "output": "checkpoints"},
    }
    file = tmp_path / "c.yaml"
    file.write_text(yaml.safe_dump(values))
    with plug_ins.installed(tmp_path / "site-packages", sources, MODULE, TEXT):
        yield file


def test_it_is_trained_on_and_scanned(config: Path) -> None:
    """Its option and the options of every source hold; its broken sample is quarantined."""
    checkpoint = train(load_config(config)).checkpoints[-1]
    loaded = load_config(config, [f"model.checkpoint={checkpoint}"])
    assert loaded.resolved["data"]["source"] == MODULE
    run = scan(loaded)
    samples = loaded.data.open()
    assert run.scores["id"].to_pylist() == [str(i) for i in range(30)]
    assert run.scores["label"].to_pylist()[:3] == ["ne", "se", "nw"]
    assert run.summary.quarantined == 1
    module = loaded.model.load(samples).module
    rows = [i for i in range(30) if i != 3]
    batch = samples.read(rows)
    logits = module(batch.inputs).detach()
    residual = logits.softmax(1)
    residual[range(len(rows)), batch.labels] -= 1
    features = np.concatenate([batch.inputs.numpy(), np.ones((len(rows), 1))], 1)
    norms = residual.norm(dim=1).numpy() * np.linalg.norm(features, axis=1)
    assert run.scores.filter(run.scores["flagged"])["id"].to_pylist() == ["0"], "the wrong label"
    np.testing.assert_allclose(run.scores["score"].to_numpy()[rows], norms, rtol=1e-4)


def test_its_mistakes_are_named(config: Path) -> None:
    with pytest.raises(ConfigError, match=r"data\.sprad: unknown key; did you mean 'spread'"):
        load_config(config, ["data.sprad=1"])


def test_a_run_directory_does_not_open_it(config: Path) -> None:
    with pytest.raises(RunError, match="may run code"):
        source_of({"source": MODULE}, config)
