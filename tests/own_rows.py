"""Runs of files whose rows are written back, for tests that replace such a file after the scan."""

import io
import json
import shutil
import tarfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import yaml

from ogacli.data.originals import stamp_of
from ogacli.run.directory import Run
from ogacli.run.trim import Trimmed, trim

KINDS = ("csv", "jsonl", "parquet", "webdataset", "npz", "hf")
N = 12
LABELS = [i % 3 for i in range(N)]
NAMES = [("ant", "bee", "cat")[label] for label in LABELS]


@dataclass(frozen=True)
class OwnRows:
    """A run whose samples are rows of a file."""

    run: Path
    file: Path
    to: Path
    """Where the rows that stay are written."""
    format: str | None

    def scanned_as_it_is(self) -> None:
        """Let the run say that the file is the one that was scanned."""
        place = self.run / "provenance.json"
        provenance = json.loads(place.read_text())
        stamp = stamp_of(Run.open(self.run).config["data"], self.run / "config.yaml")
        provenance["dataset"]["stamp"] = None if stamp is None else stamp.plain()
        place.write_text(json.dumps(provenance))

    def trimmed_with(self, content: bytes, **options: Any) -> Trimmed:
        """The rows that stay, where the file has another content; it is put back."""
        before = self.file.read_bytes()
        try:
            self.file.write_bytes(content)
            self.scanned_as_it_is()
            return trim(self.run, self.to, format=self.format, overwrite=True, **options)
        finally:
            self.file.write_bytes(before)


@cache
def own_rows(folder: Path, kind: str) -> OwnRows:
    """The run of a file of some kind."""
    from ogacli.config import parse_config
    from ogacli.config.commands import scan

    place = folder / kind
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    data, file = _write(place, kind)
    probabilities = np.full((N, 3), 0.1, np.float32)
    probabilities[np.arange(N), [(label + (i < 3)) % 3 for i, label in enumerate(LABELS)]] = 0.8
    np.save(place / "p.npy", probabilities)
    config = {
        "data": data,
        "model": {"source": "precomputed", "probabilities": "p.npy"},
        "detector": "loss",
        "protect": "off",
        "relabel": {"above": 0.5},
        "budget": 3,
    }
    run = scan(parse_config(yaml.safe_dump(config), base=place), output=place / "run").path
    suffix, format = {"webdataset": ("", "webdataset"), "hf": ("", "hf")}.get(kind, (f".{kind}", None))
    return OwnRows(run, file, place / f"clean{suffix}", format)


def _write(folder: Path, kind: str) -> tuple[dict[str, Any], Path]:
    """The data section, and the file, which is written."""
    file = folder / f"d.{kind}"
    match kind:
        case "csv":
            lines = [f'{i},"no {i}; {name}",{name}' for i, name in enumerate(NAMES)]
            file.write_text("\n".join(["size,note,label", *lines]) + "\n")
            return {"source": "table", "path": file.name, "label": "label", "features": ["size"]}, file
        case "jsonl":
            rows = [{"text": f"no {i}", "m": {"label": name, "x": [1, 2.5]}} for i, name in enumerate(NAMES)]
            file.write_text("".join(json.dumps(row) + "\n" for row in rows))
            return {"source": "text", "path": file.name, "text": "text", "label": "m.label"}, file
        case "parquet":
            table = pa.table({"label": pa.array(NAMES).dictionary_encode(), "size": np.arange(N) / 2})
            pa.parquet.write_table(table, file)
            return {"source": "table", "path": file.name, "label": "label", "features": ["size"]}, file
        case "webdataset":
            file = folder / "d.tar"
            with tarfile.open(file, "w") as tar:
                for i, name in enumerate(NAMES):
                    label = json.dumps({"label": name})
                    for suffix, content in (("txt", f"no {i}"), ("json", label)):
                        member = tarfile.TarInfo(f"{i:03d}.{suffix}")
                        member.size = len(content)
                        tar.addfile(member, io.BytesIO(content.encode()))
            return {"source": "webdataset", "path": file.name, "text": "txt", "label": "label"}, file
        case "npz":
            np.savez_compressed(file, x=np.arange(2 * N, dtype=np.float32).reshape(N, 2), y=np.array(NAMES))
            return {"source": "arrays", "path": file.name, "x": "x", "y": "y"}, file
        case _:
            import datasets

            features = datasets.Features(
                {"text": datasets.Value("string"), "mood": datasets.ClassLabel(names=["ant", "bee", "cat"])}
            )
            rows = {"text": [f"no {i}" for i in range(N)], "mood": LABELS}
            datasets.disable_progress_bars()
            datasets.Dataset.from_dict(rows, features=features).save_to_disk(folder / "d")
            file = next((folder / "d").glob("*.arrow"))
            return {"source": "huggingface", "path": "d", "text": "text", "label": "mood"}, file
