"""A million rows of exported probabilities are scanned in bounded memory, and as exactly as a few."""

import subprocess
import sys

import numpy as np
import pyarrow.parquet as pq
import pytest

N, K, WRONG = 1_000_000, 10, 0.1
MOST, MOST_AFTER = 250, 200
"""Megabytes that a scan of a million rows may take beyond one of a thousand; and all that reads its run."""

PEAK = """
def peak():  # getrusage would begin with the peak of the process that started this one
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))
"""
SCAN = """
import sys
from ogacli.config import load_config
from ogacli.config.commands import scan

few, many = sys.argv[1:]
scan(load_config(few, []))
before = peak()
scan(load_config(many, []))
print(round(peak() - before))
"""

AFTER = """
import sys
from pathlib import Path
from ogacli.run.directory import Run
from ogacli.run.gate import gate
from ogacli.run.reports import report
from ogacli.run.trim import trim

def follow(folder):
    run = Run.open(Path(folder, "run"))
    trim(run, Path(folder, "kept.npy"), manifest=Path(folder, "manifest.csv"))
    gate(run, max_flagged=0.5)
    report(run, "html")

few, many = sys.argv[1:]
follow(few)
before = peak()
follow(many)
print(round(peak() - before))
"""


def write(folder, n):
    folder.mkdir()
    rng = np.random.default_rng(0)
    true = rng.integers(0, K, n)
    logits = rng.standard_normal((n, K), dtype="float32")
    logits[np.arange(n), true] += rng.gamma(4.0, 1.5, n).astype("float32")
    odds = np.exp(logits)
    np.save(folder / "p.npy", odds / odds.sum(1, keepdims=True))
    moved = rng.random(n) < WRONG
    np.save(folder / "y.npy", np.where(moved, (true + rng.integers(1, K, n)) % K, true))
    config = folder / "oga.yaml"
    config.write_text(
        "data: {source: arrays, y: y.npy}\n"
        "model: {source: precomputed, probabilities: p.npy}\n"
        "detector: [latent_label, l2]\nbudget: auto\noutput: run\n"
    )
    return config, moved


@pytest.fixture(scope="module")
def scanned(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rows")
    few, _ = write(folder / "few", 1000)
    many, moved = write(folder / "many", N)
    done = subprocess.run(
        [sys.executable, "-c", PEAK + SCAN, str(few), str(many)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return folder / "many" / "run", moved, int(done.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="the peak is read from /proc")
def test_memory_beside_the_results_is_bounded(scanned):
    assert scanned[2] < MOST


@pytest.mark.skipif(sys.platform != "linux", reason="the peak is read from /proc")
def test_memory_of_what_reads_the_run_is_bounded(scanned):
    many = scanned[0].parent
    done = subprocess.run(
        [sys.executable, "-c", PEAK + AFTER, str(many.parent / "few"), str(many)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < MOST_AFTER
    kept = np.load(many / "kept.npy")
    flagged = pq.read_table(many / "run" / "scores.parquet", columns=["flagged"])["flagged"].to_numpy()
    assert (kept == (~flagged).nonzero()[0]).all()
    assert (many / "manifest.csv").read_bytes().count(b"\n") == N + 1


def test_every_row_has_its_rank_and_its_flag(scanned):
    run, moved, _ = scanned
    table = pq.read_table(run / "scores.parquet", columns=["id", "position", "score", "rank", "flagged"])
    assert table["position"].to_numpy().tolist() == list(range(N))
    assert table["id"][N - 1].as_py() == str(N - 1)
    score, rank = table["score"].to_numpy(), table["rank"].to_numpy()
    expected = np.empty(N, dtype=np.int64)
    expected[np.argsort(-score, kind="stable")] = np.arange(1, N + 1)
    assert (rank == expected).all()
    flagged = table["flagged"].to_numpy()
    assert moved[flagged].mean() > 0.9
    assert 0.8 * WRONG < flagged.mean() < 1.1 * WRONG
