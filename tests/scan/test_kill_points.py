"""Scans that are killed at a write: the run is the old or the new one, and resumed to the same bytes."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ogacli.config.commands import train
from small_scans import Place, make_place
from small_transformers import reviews, write_network, write_rows

RUNNER = Path(__file__).parents[1] / "kill_points.py"
FOREST = {"name": "isolation_forest", "trees": 10, "subsample": 16}
SIZES = [200, 1000, 3000, 6000, 9000, 12000, 20000, 40000]
"""Bytes: within and behind the states, the tables and the report."""


def arrays(folder: Path) -> dict[str, Any]:
    make_place(folder, detector=[FOREST, "l2", "latent_label"])
    return {"set": ["gradients.batch_size=40"]}


def overwrite(folder: Path) -> dict[str, Any]:
    return arrays(folder) | {"old": True, "held": True}


def checkpoints(folder: Path) -> dict[str, Any]:
    place = make_place(folder, detector=["latent_label", FOREST])
    train(place.config("train={epochs: 3, batch_size: 16}", f"train.output={folder}/epochs"))
    return {"set": ["gradients.batch_size=60", f"model.checkpoint={folder}/epochs/epoch-*.safetensors"]}


def folds(folder: Path) -> dict[str, Any]:
    make_place(folder, detector=["latent_label", "gaussian"])
    return {"set": ["gradients.batch_size=40", "train={epochs: 1, batch_size: 64}"], "folds": 2}


def pictures(folder: Path) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    for i in range(48):
        path = folder / "pictures" / ("cat", "dog")[i % 2] / f"{i:02d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 255, (8, 8, 3), dtype=np.uint8)).save(path)
    (folder / "pictures/cat/00.png").write_bytes(b"not a picture")
    config = {
        "data": {"source": "image_folder", "root": "pictures", "workers": 0},
        "model": {"source": "resnet_cifar", "depth": 8, "checkpoint": "weights.safetensors"},
        "detector": ["latent_label", FOREST],
        "gradients": {"layers": "all"},
    }
    (folder / "config.yaml").write_text(json.dumps(config))
    Place(folder).new_weights(0, "model.checkpoint=null")
    return {"set": ["gradients.batch_size=16"], "import": ["ogacli.models.sources.resnet_cifar"]}


def texts(folder: Path) -> dict[str, Any]:
    pytest.importorskip("transformers")
    folder.mkdir(exist_ok=True)
    write_rows(folder / "t.jsonl", reviews(36))
    write_network(folder / "net", "bert", head=2)
    config = {
        "data": {"source": "text", "path": "t.jsonl", "text": "text", "label": "label"},
        "model": {"source": "transformers", "name": "net"},
        "detector": ["l2", "gaussian"],
    }
    (folder / "config.yaml").write_text(json.dumps(config))
    return {"set": ["gradients.batch_size=7"], "import": ["transformers"]}


def killed(folder: Path, job: dict[str, Any], calls: int, sizes: list[int]) -> dict[str, Any]:
    """What the program ``kill_points.py`` finds."""
    document = {"import": [], "calls": calls, "sizes": sizes} | job
    done = subprocess.run(
        [sys.executable, "-W", "error::ResourceWarning", str(RUNNER), str(folder), json.dumps(document)],
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONWARNINGS": ""},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def check(found: dict[str, Any], *, old: bool) -> None:
    before = "old" if old else "none"
    for point in found["found"]:
        *killed_ones, last = point["states"]
        assert set(killed_ones) <= {before, "new"}, point
        assert last == "new", point
        finished = point["codes"][-1] == 0
        # Killed between the run and the removal of the state, which the next --overwrite removes.
        assert set(point["beside"]) <= (set() if finished else {"out.partial"}), point


KINDS = {one.__name__: one for one in (arrays, overwrite, checkpoints, folds, pictures, texts)}


def test_a_killed_scan_is_resumed_to_the_same_bytes(tmp_path):
    job = checkpoints(tmp_path / "place")
    found = killed(tmp_path / "place", job, 16, SIZES[2:6])
    assert len(found["found"]) == 20
    check(found, old=False)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_two_hundred_kill_points(tmp_path, kind):
    job = KINDS[kind](tmp_path / "place")
    found = killed(tmp_path / "place", job, 28, SIZES)
    assert len(found["found"]) == 36
    check(found, old=kind == "overwrite")
    print(f"{kind}: {len(found['found'])} of {found['count']} points")
