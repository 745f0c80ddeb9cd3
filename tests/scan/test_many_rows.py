"""A million rows of exported probabilities are scanned in bounded memory, and as exactly as a few."""

import subprocess
import sys

import numpy as np
import pyarrow.parquet as pq
import pytest

N, K, WRONG = 1_000_000, 10, 0.1
MOST = 250
"""Megabytes that a scan of a million rows may take beyond one of a thousand."""

SCAN = """
import resource, sys
from ogacli.config import load_config
from ogacli.config.commands import scan

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

few, many = sys.argv[1:]
scan(load_config(few, []))
before = peak()
scan(load_config(many, []))
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
        [sys.executable, "-c", SCAN, str(few), str(many)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return folder / "many" / "run", moved, int(done.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is in other units")
def test_memory_beside_the_results_is_bounded(scanned):
    assert scanned[2] < MOST


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
