"""The command that makes the detection table, on its smallest set."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.slow
def test_the_smallest_set(tmp_path):
    for package in ("cleanlab", "captum", "matplotlib"):
        pytest.importorskip(package)
    call = [sys.executable, ROOT / "benchmarks" / "detection.py", "--sets", "breast_cancer", "--seeds", "1"]
    call += ["--cache", tmp_path / "cache", "--output", tmp_path / "out"]
    for _ in range(2):  # the second time nothing is trained
        done = subprocess.run(call, capture_output=True, text=True, timeout=900, check=False)
        assert done.returncode == 0, done.stderr
        page = (tmp_path / "out" / "detection.md").read_text(encoding="utf-8")
        assert page.strip() == done.stdout.strip()
    assert (tmp_path / "out" / "detection.png").read_bytes().startswith(b"\x89PNG")
    rows = [line.split("|")[1:-1] for line in page.splitlines() if line.startswith("| **latent_label**")]
    assert len(rows) == 5, "one row for each kind of weights"
    by_heart, neighbours, fresh, trajectory, folds = (float(row[1]) for row in rows)
    assert by_heart < 0.6 < 0.8 < min(neighbours, fresh, trajectory, folds)
