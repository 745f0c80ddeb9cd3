"""``against`` with other sources than arrays: both datasets of one format, or of two."""

import csv
import json
import re
import tarfile
from io import BytesIO
from pathlib import Path

import numpy as np
import pyarrow.csv as pc
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from torch import nn

from command_line import oga
from ogacli.config import load_config
from ogacli.config.commands import scan
from ogacli.models.checkpoints import save_weights

PICTURES = """
from torch import nn


def build():
    return nn.Sequential(nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(48, 2))
"""
N, OTHERS = 40, 16
SHARED = {3: 0, 4: 1, 5: 2}
"""Rows of the scanned set, and the rows of the other one that are the same."""
NUMBERS = np.random.default_rng(0).normal(size=(N + OTHERS, 3)).round(3)


def seed_of(row: int, *, other: bool) -> int:
    """What a sample is made of: shared ones have the same."""
    return next((a for a, b in SHARED.items() if b == row), N + row) if other else row


def picture(seed: int, size: tuple[int, int] = (40, 32), quality: int = 95) -> bytes:
    small = np.random.default_rng(seed).integers(0, 255, (5, 5, 3), dtype=np.uint8)
    file = BytesIO()
    Image.fromarray(small).resize(size, Image.Resampling.BICUBIC).save(file, "JPEG", quality=quality)
    return file.getvalue()


def text(seed: int) -> str:
    return " ".join(f"word{i}" for i in np.random.default_rng(seed).integers(0, 500, 12))


def folder_of(place: Path, name: str, *, other: bool) -> dict[str, object]:
    """Pictures in a folder; those of the other set of another size and worse quality."""
    for i in range(OTHERS if other else N):
        file = place / name / "ab"[i % 2] / f"{i:02d}.jpg"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(picture(seed_of(i, other=other), *(((60, 48), 70) if other else ())))
    return {"source": "image_folder", "root": name, "transform": {"resize": [32, 32]}}


def shards(place: Path, name: str) -> dict[str, object]:
    with tarfile.open(place / f"{name}.tar", "w") as tar:
        for i in range(OTHERS):
            files = (f"{i:02d}.jpg", picture(seed_of(i, other=True), quality=80)), (f"{i:02d}.cls", b"0")
            for file, content in files:
                info = tarfile.TarInfo(file)
                info.size = len(content)
                tar.addfile(info, BytesIO(content))
    return {
        "source": "webdataset",
        "path": f"{name}.tar",
        "image": "jpg",
        "label": "cls",
        "transform": {"resize": [32, 32]},
    }


def table(place: Path, name: str, *, other: bool) -> dict[str, object]:
    """csv, or parquet; the other one says which columns."""
    rows = NUMBERS[[seed_of(i, other=other) for i in range(OTHERS if other else N)]]
    lines = ["a,b,c,label", *(f"{a},{b},{c},{'xy'[i % 2]}" for i, (a, b, c) in enumerate(rows))]
    (place / name).with_suffix(".csv").write_text("\n".join(lines))
    if name.endswith(".parquet"):
        pq.write_table(pc.read_csv((place / name).with_suffix(".csv")), place / name)
    return {"source": "table", "path": name, "label": "label"}


def texts(place: Path, name: str, *, other: bool) -> dict[str, object]:
    """jsonl, or csv with other column names and upper case."""
    rows = [text(seed_of(i, other=other)) for i in range(OTHERS if other else N)]
    if name.endswith(".jsonl"):
        lines = [json.dumps({"text": one, "label": "xy"[i % 2]}) for i, one in enumerate(rows)]
        (place / name).write_text("\n".join(lines))
        return {"source": "text", "path": name, "text": "text", "label": "label"}
    with (place / name).open("w", newline="") as file:
        csv.writer(file).writerows([("content", "kind"), *((one, "xy"[i % 2]) for i, one in enumerate(rows))])
    return {"source": "text", "path": name, "text": "content", "label": "kind"}


def model_of(place: Path, source: str) -> dict[str, object]:
    torch.manual_seed(0)
    if source == "text":
        pytest.importorskip("transformers")
        from small_transformers import write_network

        write_network(place / "classifier", "bert", head=2)
        return {"source": "transformers", "name": "classifier"}
    if source == "table":
        save_weights(nn.Sequential(nn.Linear(3, 2)), place / "w.safetensors")
        code = "from torch import nn\n\n\ndef build():\n    return nn.Sequential(nn.Linear(3, 2))\n"
    else:
        net = nn.Sequential(nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(48, 2))
        save_weights(net, place / "w.safetensors")
        code = PICTURES
    (place / f"net_of_{source}.py").write_text(code)
    return {"source": "python", "factory": f"net_of_{source}:build", "checkpoint": "w.safetensors"}


def write(place: Path, data: dict[str, object], against: dict[str, object]) -> Path:
    values = {"data": data, "against": against, "model": model_of(place, str(data["source"]))}
    file = place / "config.yaml"
    file.write_text(json.dumps(values | {"detector": "l2", "budget": 0.1, "output": "run"}))
    return file


MAKERS = {
    "folders": (lambda p: folder_of(p, "train", other=False), lambda p: folder_of(p, "test", other=True)),
    "folder and shards": (lambda p: folder_of(p, "train", other=False), lambda p: shards(p, "test")),
    "csv and csv": (lambda p: table(p, "a.csv", other=False), lambda p: table(p, "b.csv", other=True)),
    "csv and parquet": (
        lambda p: table(p, "a.csv", other=False),
        lambda p: table(p, "b.parquet", other=True),
    ),
    "texts": (lambda p: texts(p, "a.jsonl", other=False), lambda p: texts(p, "b.jsonl", other=True)),
    "jsonl and csv": (lambda p: texts(p, "a.jsonl", other=False), lambda p: texts(p, "b.csv", other=True)),
}


@pytest.mark.parametrize("name", MAKERS)
def test_samples_of_both_are_found_left_out_and_stop_the_gate(name, tmp_path):
    config = write(tmp_path, *(make(tmp_path) for make in MAKERS[name]))
    run = scan(load_config(config))
    ids = run.scores["id"].to_pylist()
    rows = run.scores["position"].to_pylist()
    if name.startswith("folder"):  # in the order of the classes
        rows = [int(Path(one).stem) for one in ids]
    leaks = [one for one in zip(rows, run.scores["leaks"].to_pylist(), strict=True) if one[1] is not None]
    assert {row for row, _ in leaks} == set(SHARED)
    assert all(int(Path(there).stem) == SHARED[row] for row, there in leaks)
    assert run.summary.leaks == 3
    done = oga("gate", "run", "--max-flagged", "1.0", cwd=tmp_path)
    assert done.code == 0, done.out + done.err
    (tmp_path / "policy.yaml").write_text("max_leaks: 2\n")
    done = oga("gate", "run", "--policy", "policy.yaml", cwd=tmp_path)
    assert done.code == 1
    assert "max_leaks" in done.out
    done = oga("trim", "run", "--leaks", "--budget", "0", "--manifest", "fates.csv", cwd=tmp_path)
    assert done.code == 0, done.err
    fates = pc.read_csv(tmp_path / "fates.csv")["fate"].to_pylist()
    assert {row for row, fate in zip(rows, fates, strict=True) if fate == "dropped"} == set(SHARED)


@pytest.mark.parametrize(
    ("data", "against", "message"),
    [
        ("csv and csv", "folders", r"found: pictures\n  expected: numbers \[3\], as in `data`"),
        ("folders", "texts", r"found: texts\n  expected: pictures, as in `data`"),
    ],
)
def test_datasets_of_two_kinds_are_not_compared(data, against, message, tmp_path):
    config = write(tmp_path, MAKERS[data][0](tmp_path), MAKERS[against][1](tmp_path))
    for arguments in (("scan", config), ("scan", config, "--dry-run")):
        done = oga(*arguments, cwd=tmp_path)
        assert done.code == 2
        assert "against: samples of one kind only can be compared" in done.err
        assert re.search(message, done.err), done.err
    assert not (tmp_path / "run").exists()


def test_trim_of_a_run_that_compared_with_nothing(tmp_path):
    config = write(tmp_path, *(make(tmp_path) for make in MAKERS["csv and csv"]))
    scan(load_config(config, ["against=null"]))
    done = oga("trim", "run", "--leaks", "--manifest", "fates.csv", cwd=tmp_path)
    assert done.code == 2
    assert "--leaks: the run was not compared with another dataset" in done.err
    assert "scan again with a section `against`" in done.err
