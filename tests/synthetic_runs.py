"""Small run directories made without a scan, and golden files."""

import base64
import io
import json
import os
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import torch
import yaml
from PIL import Image

from ogacli.data import Samples
from ogacli.run.beside import BESIDE, MAP
from ogacli.run.digest import write_scores
from ogacli.run.directory import Run
from ogacli.run.issues import issue_schema, write_issues
from ogacli.run.scores import scores_table
from ogacli.run.summarise import summarise
from ogacli.run.summary import Summary
from ogacli.verdict.budget import Budget
from ogacli.verdict.findings import Findings
from ogacli.verdict.judge import judge

PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
"""A PNG of one pixel: the same bytes whatever wrote it."""
GOLDEN = Path(__file__).parent / "golden"


def png(side: int, seed: int = 0) -> bytes:
    """A picture of random pixels."""
    pixels = np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


class NoReader:
    """Nothing reads the inputs of a finished run."""

    in_memory = True

    def read(self, positions):
        raise AssertionError

    preview = file = read


@dataclass
class Recipe:
    """A run to be; every number has few binary digits, so that sums are exact everywhere."""

    n: int = 32
    classes: tuple[str, ...] = ("cat", "dog", "frog", "ship")
    ids: list[str] | None = None
    labels: list | None = None
    scores: list[float] | None = None
    suggested: dict[int, int] = field(default_factory=dict)
    """Row -> predicted class, where it is not the label."""
    quarantined: dict[int, str] = field(default_factory=dict)
    contents: dict[int, int] = field(default_factory=dict)
    """Row -> fingerprint of its inputs, where these are not those of that row of every other recipe."""
    truth: list[int] | None = None
    budget: float | int = 0.25
    previews: list[tuple[int, str, bytes]] = field(default_factory=list)
    beside: list[tuple[int, str, int, int]] = field(default_factory=list)
    """Position, role, order and position of the other sample."""
    gradient_map: list[tuple[int, float, float]] = field(default_factory=list)
    detector: dict = field(default_factory=lambda: {"name": "isolation_forest", "trees": 100, "seed": 0})
    parameters: dict[str, int] = field(default_factory=lambda: {"head.weight": 512, "head.bias": 4})
    checkpoint: str = "c0ffee"
    warnings: tuple[str, ...] = ()

    def write(self, folder: Path) -> Run:
        """The run directory of these numbers."""
        folder.mkdir(parents=True)
        samples = self._samples()
        score = torch.tensor(self.scores or [(i * 37 % self.n) / 64 for i in range(self.n)])
        score[list(self.quarantined)] = torch.nan
        predictions = samples.labels.clone() if samples.class_index is not None else torch.full((self.n,), -1)
        for row, name in self.suggested.items():
            predictions[row] = name
        findings = Findings(
            scores={self.detector["name"]: score},
            predictions=predictions,
            prediction_probability=torch.full((self.n,), 0.875),
            probability=torch.tensor([0.125 if row in self.suggested else 0.875 for row in range(self.n)]),
            quarantined=self.quarantined,
            content=torch.tensor([self.contents.get(row, row + 1) for row in range(self.n)]),
        )
        verdict = judge(findings, samples.class_index, Budget(self.budget), "off")
        summary = summarise(verdict, samples, self.parameters)
        if self.warnings:
            diagnosis = summary.diagnosis.model_copy(update={"warnings": self.warnings})
            summary = summary.model_copy(update={"diagnosis": diagnosis})
        document = summary.model_dump(mode="json")
        file = folder / "scores.parquet"
        rows = max(16, self.n // 8)
        write_scores(file, [scores_table(verdict, samples)], document, dictionaries=(), rows=rows)
        self._write_documents(folder, summary)
        return Run.open(folder)

    def _samples(self) -> Samples:
        k = len(self.classes)
        return Samples(
            ids=pa.array(self.ids or [f"img-{i:03d}" for i in range(self.n)], pa.string()),
            positions=torch.arange(self.n),
            labels=torch.tensor(self.labels or [i % k for i in range(self.n)]),
            classes=self.classes,
            reader=NoReader(),
            signature="synthetic",
            truth=None if self.truth is None else torch.tensor(self.truth),
        )

    def _write_documents(self, folder: Path, summary: Summary) -> None:
        config = {
            "data": {"source": "image_folder", "path": "/data/animals"},
            "model": {"source": "torchvision", "name": "resnet18", "checkpoint": "/data/epoch-3.safetensors"},
            "gradients": {"layers": "head"},
            "loss": {"name": "cross_entropy"},
            "detector": [self.detector],
            "budget": self.budget,
        }
        provenance = {
            "schema_version": 1,
            "versions": {"ogacli": "0.1.0", "python": "3.12.0", "torch": "2.6.0"},
            "device": "cpu",
            "precision": "float32",
            "seeds": [0],
            "dataset": {"samples": self.n, "fingerprint": "f1" * 32},
            "checkpoints": {"/data/epoch-3.safetensors": self.checkpoint},
            "parameters": self.parameters,
        }
        (folder / "summary.json").write_text(summary.model_dump_json(), encoding="utf-8")
        (folder / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
        (folder / "provenance.json").write_text(json.dumps(provenance), encoding="utf-8")
        columns = list(zip(*self.previews, strict=True)) or [(), (), ()]
        previews = pa.table(
            {
                "position": pa.array(columns[0], pa.int64()),
                "kind": pa.array(columns[1], pa.string()),
                "content": pa.array(columns[2], pa.binary()),
            }
        )
        pa.parquet.write_table(previews, folder / "previews.parquet")
        columns = list(zip(*self.beside, strict=True)) or [(), (), (), ()]
        beside = pa.table(dict(zip(BESIDE.names, columns, strict=True)), schema=BESIDE)
        pa.parquet.write_table(beside, folder / "beside.parquet")
        write_issues(issue_schema().empty_table(), folder)
        columns = list(zip(*self.gradient_map, strict=True)) or [(), (), ()]
        gradient_map = pa.table(dict(zip(MAP.names, columns, strict=True)), schema=MAP)
        pa.parquet.write_table(gradient_map, folder / "gradient_map.parquet")


def example() -> Recipe:
    """The run of the golden files: pictures and texts, a quarantined sample, the truth."""
    truth = [i % 4 for i in range(32)]
    truth[19], truth[6], truth[25] = 0, 3, 2
    return Recipe(
        suggested={19: 0, 6: 3, 12: 1},
        quarantined={5: "cannot identify image file"},
        truth=truth,
        previews=[(19, "image", PIXEL), (6, "image", PIXEL), (25, "text", b"a dog & <b>a</b> cat")],
        warnings=("1 samples could not be scored (quarantined)",),
    )


def check_golden(name: str, text: str) -> None:
    """Compare with ``tests/golden/<name>``; ``OGA_GOLDEN=write pytest ..`` writes the files anew."""
    if os.environ.get("OGA_GOLDEN") == "write":
        (GOLDEN / name).write_text(text, encoding="utf-8", newline="\n")
    assert text == (GOLDEN / name).read_text(encoding="utf-8"), (
        f"{name} has changed; where it should, OGA_GOLDEN=write pytest tests/run"
    )
