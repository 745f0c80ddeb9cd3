"""Ranks: how much faster two processes scan than one, each with one thread.

    python benchmarks/ranks.py [head] [all] [rows] [--ranks 2] [--rounds 3] [--json]
                               [--samples 20000] [--rows 1000000]

head   20,000 arrays of CIFAR's shape and a ResNet-8: gradients of the head
all    the same, gradients of all layers
rows   10^6 rows of exported probabilities of 10 classes, looked up

Detectors are the default ones. One process, several that share the scan, and the ceiling of the machine
take turns within a round. The ceiling is as many commands as processes, run at once, each of which scans
its part of the samples by itself: what is lost there is lost to cores that share memory or more, and to all
that each command does once. Each scan is also run on 64 samples, which is the start of Python and torch.
Wall time and CPU time are those of whole commands, report included. An efficiency is the time of one
process divided by that of several and by their number: `wall`; `cpu`, by CPU seconds, of several processes
those of the busiest one, which is what the command takes where nothing else runs; `without start`, the same
without the start. Medians over the rounds, lowest and highest.
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


def shared(folder: Path, ranks: int, changes: Sequence[str]) -> Taken:
    """One scan by so many processes."""
    store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    together = {
        "WORLD_SIZE": str(ranks),
        "LOCAL_WORLD_SIZE": str(ranks),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(store.port),
        "TORCHELASTIC_USE_AGENT_STORE": "True",
    }
    places = [together | {"RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(ranks)]
    return run(folder, [_command("run", changes)] * ranks, places)


def apart(folder: Path, ranks: int, samples: int, changes: Sequence[str]) -> Taken:
    """So many scans at once, each of its part of the samples."""
    part = [*changes, f"data.limit={samples // ranks}"]
    return run(folder, [_command(f"run-{number}", part) for number in range(ranks)], [{}] * ranks)


def _command(output: str, changes: Sequence[str]) -> list[str]:
    command = [sys.executable, "-m", "ogacli", "scan", "config.yaml", "--output", output, "--overwrite", "-q"]
    return command + [part for change in changes for part in ("--set", change)]


def run(folder: Path, commands: Sequence[list[str]], places: Sequence[dict[str, str]]) -> Taken:
    """Run commands at once, each in its environment."""
    began = time.perf_counter()
    children = []
    for command, place in zip(commands, places, strict=True):
        child = os.fork()
        if not child:
            os.chdir(folder)
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            os.execve(command[0], command, os.environ | {"OMP_NUM_THREADS": "1"} | place)
        children.append(child)
    cpu = []
    for child in children:
        _, status, usage = os.wait4(child, 0)
        assert os.waitstatus_to_exitcode(status) == 0, commands[0]
        cpu.append(usage.ru_utime + usage.ru_stime)
    return Taken(time.perf_counter() - began, tuple(cpu))


def measured(folder: Path, ranks: int, samples: int, rounds: int, changes: Sequence[str]) -> dict[str, Any]:
    """The efficiencies of one kind of scan, and the ceiling of the machine."""
    found: dict[str, dict[str, list[float]]] = {}
    times: dict[str, list[float]] = {}
    few = [*changes, f"data.limit={FEW}"]
    for _ in range(rounds):
        one, start = shared(folder, 1, changes), shared(folder, 1, few)
        pairs = {
            "shared": (shared(folder, ranks, changes), shared(folder, ranks, few)),
            "ceiling": (apart(folder, ranks, samples, changes), apart(folder, ranks, FEW * ranks, changes)),
        }
        times.setdefault("one", []).append(one.wall)
        times.setdefault("one cpu", []).append(one.cpu[0])
        for name, (several, idle) in pairs.items():
            busiest = max(several.cpu)
            times.setdefault(name, []).append(several.wall)
            times.setdefault(f"{name} cpu", []).append(busiest)
            for kind, efficiency in {
                "wall": one.wall / several.wall,
                "cpu": one.cpu[0] / busiest,
                "without start": (one.cpu[0] - start.cpu[0]) / (busiest - max(idle.cpu)),
            }.items():
                found.setdefault(name, {}).setdefault(kind, []).append(efficiency / ranks)
    spread = {
        name: {
            kind: [round(one, 3) for one in (statistics.median(values), min(values), max(values))]
            for kind, values in kinds.items()
        }
        for name, kinds in found.items()
    }
    seconds = {name: round(statistics.median(values), 1) for name, values in times.items()}
    return {"seconds": seconds, "efficiency": spread}


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
            samples = given.rows if part == "rows" else given.samples
            (rows if part == "rows" else pictures)(folder, samples)
            changes = [] if part == "rows" else [f"gradients.layers={part}"]
            results[part] = measured(folder, given.ranks, samples, given.rounds, changes)
        if not given.json:
            print(f"{part}, load {os.getloadavg()[0]:.0f}")
            for name, value in {**results[part]["efficiency"], "seconds": results[part]["seconds"]}.items():
                print(f"  {name}: {value}", flush=True)
    if given.json:
        print(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
