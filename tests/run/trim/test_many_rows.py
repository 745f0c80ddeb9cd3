"""Rows of a large file become another format in memory that does not grow with the file."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import yaml

from ogacli.config import parse_config
from ogacli.config.commands import scan

N, WORDS = 120_000, 40
MOST = 100
"""Megabytes that a file of some 30 may take beyond one of 500 rows."""
TRIM = """
import sys
from pathlib import Path
from ogacli.run.trim import trim

def peak():  # getrusage would begin with the peak of the process that started this one
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))

few, many, to = sys.argv[1:]
trim(Path(few, "run"), Path(few, to))
before = peak()
trim(Path(many, "run"), Path(many, to))
print(round(peak() - before))
"""


def write(folder: Path, n: int, kind: str) -> pd.DataFrame:
    folder.mkdir()
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, n)
    p = np.full((n, 3), 0.05, np.float32)
    p[np.arange(n), np.where(np.arange(n) % 50, y, (y + 1) % 3)] = 0.9
    np.save(folder / "p.npy", p)
    words = np.array(["naïve", "plain", "Größe", "a,b", "seven", "longer-word", "x", 'say "no"'])
    frame = pd.DataFrame(
        {
            "text": [" ".join(row) for row in words[rng.integers(0, len(words), (n, WORDS))]],
            "size": np.where(np.arange(n) < n - 1, np.arange(n), n - 0.5),
            "kind": np.array(["ant", "bee", "cat"])[y],
        }
    )
    frame["size"] = [int(one) if one == int(one) else one for one in frame["size"]]
    frame["size"] = frame["size"].astype(object)  # the last cell alone is no integer
    file = folder / f"d.{kind}"
    if kind == "csv":
        frame.to_csv(file, index=False, encoding="cp1252")
    else:
        frame.to_json(file, orient="records", lines=True)
    data = {"source": "table", "path": file.name, "label": "kind", "features": ["size"]}
    model = {"source": "precomputed", "probabilities": "p.npy"}
    config = {"data": data, "model": model, "detector": "loss", "budget": n // 50, "protect": "off"}
    scan(parse_config(yaml.safe_dump(config), base=folder), output=folder / "run")
    return frame[np.arange(n) % 50 > 0].reset_index(drop=True)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the peak is read from /proc")
@pytest.mark.parametrize(
    ("kind", "to"), [("csv", "clean.parquet"), ("csv", "clean.jsonl"), ("jsonl", "clean.csv")]
)
def test_memory_of_another_format_is_bounded(kind: str, to: str, tmp_path: Path) -> None:
    write(tmp_path / "few", 500, kind)
    kept = write(tmp_path / "many", N, kind)
    done = subprocess.run(
        [sys.executable, "-c", TRIM, str(tmp_path / "few"), str(tmp_path / "many"), to],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    print(kind, to, done.stdout)
    assert int(done.stdout) < MOST
    file = tmp_path / "many" / to
    readers = {
        ".parquet": pd.read_parquet,
        ".jsonl": lambda one: pd.read_json(one, lines=True),
        ".csv": pd.read_csv,
    }
    found = readers[file.suffix](file)
    assert found["text"].tolist() == kept["text"].tolist()
    assert found["size"].tolist() == kept["size"].tolist()
    if to.endswith("parquet"):
        assert str(pq.read_schema(file).field("size").type) == "double"
