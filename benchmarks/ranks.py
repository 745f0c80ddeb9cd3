"""Ranks: how much faster two processes scan than one, each with one thread.

    python benchmarks/ranks.py [head] [all] [rows] [--ranks 2] [--rounds 3] [--json]
                               [--samples 20000] [--rows 1000000]

head   20,000 arrays of CIFAR's shape and a ResNet-8: gradients of the head
all    the same, gradients of all layers
rows   10^6 rows of exported probabilities of 10 classes, looked up

Detectors are the default ones. One process and several take turns within a round; each scan is also run on 64
samples, which is the start of Python and torch. Wall time and CPU time are those of whole commands, report
included. An efficiency is the time of one process divided by that of several and by their number: `wall`;
`cpu`, by CPU seconds, of several processes those of the busiest one, which is what the command takes where
nothing else runs; `without start`, the same without the start. Medians over the rounds, lowest and highest.
"""

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
import yaml
from torch.distributed import TCPStore  # type: ignore[attr-defined]

from ogacli.models.checkpoints import save_weights
from ogacli.models.sources import Fit

CLASSES, FEW = 10, 64


@dataclass(frozen=True)
class Taken:
    """What a scan took."""

    wall: float
    cpu: tuple[float, ...]
    """CPU seconds of each process."""


def pictures(folder: Path, n: int) -> None:
    """Random arrays, labels, and an untrained network."""
    rng = np.random.default_rng(0)
    np.save(folder / "x.npy", rng.normal(size=(n, 3, 32, 32)).astype(np.float32))
    np.save(folder / "y.npy", rng.integers(0, CLASSES, n))
    config = {
        "data": {"source": "arrays", "x": "x.npy", "y": "y.npy", "classes": CLASSES},
        "model": {"source": "resnet_cifar", "depth": 8},
    }
    from ogacli.config import parse_config

    parsed = parse_config(yaml.safe_dump(config), base=folder)
    torch.manual_seed(0)
    save_weights(parsed.model.build(Fit.of(parsed.data.open())), folder / "w.safetensors")
    config["model"]["checkpoint"] = "w.safetensors"
    (folder / "config.yaml").write_text(yaml.safe_dump(config))


def rows(folder: Path, n: int) -> None:
    """Random probabilities and labels."""
    rng = np.random.default_rng(0)
    np.save(folder / "p.npy", rng.dirichlet(np.ones(CLASSES), n).astype(np.float32))
    np.save(folder / "y.npy", rng.integers(0, CLASSES, n))
    config = {
        "data": {"source": "arrays", "y": "y.npy", "classes": CLASSES},
        "model": {"source": "precomputed", "probabilities": "p.npy"},
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(config))


def scanned(folder: Path, ranks: int, changes: Sequence[str]) -> Taken:
    """One scan by so many processes."""
    store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    env = os.environ | {"OMP_NUM_THREADS": "1", "WORLD_SIZE": str(ranks), "LOCAL_WORLD_SIZE": str(ranks)}
    env |= {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(store.port),
        "TORCHELASTIC_USE_AGENT_STORE": "True",
    }
    command = [sys.executable, "-m", "ogacli", "scan", "config.yaml", "--output", "run", "--overwrite", "-q"]
    command += [part for change in changes for part in ("--set", change)]
    began = time.perf_counter()
    children = []
    for rank in range(ranks):
        child = os.fork()
        if not child:
            os.chdir(folder)
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            os.execve(command[0], command, env | {"RANK": str(rank), "LOCAL_RANK": str(rank)})
        children.append(child)
    cpu = []
    for child in children:
        _, status, usage = os.wait4(child, 0)
        assert os.waitstatus_to_exitcode(status) == 0, command
        cpu.append(usage.ru_utime + usage.ru_stime)
    return Taken(time.perf_counter() - began, tuple(cpu))


def measured(folder: Path, ranks: int, rounds: int, changes: Sequence[str]) -> dict[str, Any]:
    """The efficiencies of one kind of scan."""
    found: dict[str, list[float]] = {"wall": [], "cpu": [], "without start": []}
    times: dict[str, list[float]] = {"one": [], "several": [], "one cpu": [], "several cpu": []}
    for _ in range(rounds):
        one, several = scanned(folder, 1, changes), scanned(folder, ranks, changes)
        few = [*changes, f"data.limit={FEW}"]
        start, start_of_several = scanned(folder, 1, few), scanned(folder, ranks, few)
        busiest, idle = max(several.cpu), max(start_of_several.cpu)
        found["wall"].append(one.wall / several.wall / ranks)
        found["cpu"].append(one.cpu[0] / busiest / ranks)
        found["without start"].append((one.cpu[0] - start.cpu[0]) / (busiest - idle) / ranks)
        for name, value in zip(times, (one.wall, several.wall, one.cpu[0], busiest), strict=True):
            times[name].append(value)
    spread = {
        name: [round(one, 3) for one in (statistics.median(values), min(values), max(values))]
        for name, values in found.items()
    }
    return {"efficiency": spread} | {name: round(statistics.median(v), 1) for name, v in times.items()}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="*", default=["head", "all", "rows"])
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--samples", type=int, default=20_000)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    results: dict[str, Any] = {}
    for part in given.parts:
        with TemporaryDirectory() as name:
            folder = Path(name)
            if part == "rows":
                rows(folder, given.rows)
            else:
                pictures(folder, given.samples)
            changes = [] if part == "rows" else [f"gradients.layers={part}"]
            results[part] = measured(folder, given.ranks, given.rounds, changes)
        if not given.json:
            print(part, results[part], flush=True)
    if given.json:
        print(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
