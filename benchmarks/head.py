"""The scan of head gradients: its pace, the usual loop that it replaces, its memory, and how soon it starts.

    python benchmarks/head.py [pace] [loop] [memory] [start] [--json] [--rounds 5] [--threads 2]
        [--device cpu]

pace    the pass that scores in-memory samples by `l2`, over a plain forward pass of the same network in
        batches of the same size; once without folding batch norms, which the plain pass does without, too
loop    `oga scan` with the isolation forest, from files to report; and what it replaces: one sample at a time
        through `torch.autograd.grad` on the head's weight, then scikit-learn's forest on the matrix
memory  peak memory of `oga scan` in a fresh process, for 50,000 and 200,000 samples
start   `oga --help` in a fresh process, and which heavy packages that and a scan import

Contenders take turns within a round; ratios are taken within a round, and medians over the rounds reported,
of wall time and of CPU time (all threads).
"""

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

RESNET = "{source: resnet_cifar, depth: 18}"
PERCEPTRON = "{source: mlp, hidden: [512, 512]}"
CLASSES = 10
HEAVY = ("torch", "numpy", "pyarrow", "sklearn", "scipy", "torchvision", "pydantic", "jinja2", "sympy")

Clock = tuple[float, float]
"""Seconds of wall and of CPU time."""


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parts = {"pace": pace, "loop": loop, "memory": memory, "start": start}
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(parts)}; all by default")
    parser.add_argument("--json", action="store_true", help="one JSON document instead of tables")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="of torch, in every process")
    parser.add_argument("--device", default="cpu", help="of pace and loop")
    options = parser.parse_args()
    if unknown := set(options.parts) - set(parts):
        parser.error(f"no part {', '.join(sorted(unknown))}")
    os.environ["OMP_NUM_THREADS"] = str(options.threads)
    found: dict[str, Any] = {"machine": {"load before": os.getloadavg()[0]}}
    for name in options.parts or parts:
        print(f"{name} ..", file=sys.stderr)
        with TemporaryDirectory() as folder:
            found[name] = parts[name](Path(folder), options)
    found["machine"] |= {
        "platform": platform.platform(),
        "python": platform.python_version(),
        "cores": os.cpu_count(),
        "device": options.device,
        "threads": options.threads,
        "rounds": options.rounds,
        "load after": os.getloadavg()[0],
    }
    print(json.dumps({"schema_version": 1} | found, indent=2) if options.json else tables(found))


def pace(folder: Path, options: argparse.Namespace) -> list[dict[str, Any]]:
    """Scan / plain forward of the same network on the same samples in memory."""
    cases = [
        ("ResNet-18", RESNET, (3, 32, 32), 341, True),
        ("ResNet-18, not folded", RESNET, (3, 32, 32), 341, False),
        ("MLP 784-512-512-10", PERCEPTRON, (784,), 40_000, True),
    ]
    return [_pace(folder / str(i), options, *case) for i, case in enumerate(cases)]


def _pace(
    folder: Path,
    options: argparse.Namespace,
    name: str,
    model: str,
    shape: tuple[int, ...],
    n: int,
    fold: bool,
) -> dict[str, Any]:
    import numpy as np
    import torch

    from ogacli.base.device import wait
    from ogacli.base.precision import computing_on
    from ogacli.config import parse_config
    from ogacli.config.commands import setup_of
    from ogacli.data.arrays import ArrayReader
    from ogacli.scan.collected.collect import Collector
    from ogacli.scan.passes import CheckpointPass

    text = dataset(folder, model, shape, n) + f"\ndetector: l2\ngradients: {{fold: {str(fold).lower()}}}"
    config = parse_config(text, base=folder)
    inputs = np.load(folder / "x.npy")
    setup, device = setup_of(config), torch.device(options.device)
    setup = replace(setup, samples=replace(setup.samples, reader=ArrayReader(inputs)))
    network = config.model.load(setup.samples)
    network.to(device)
    one = CheckpointPass(setup, network, device)
    size, module, tensor = one.feed.size.samples, network.module, torch.from_numpy(inputs)

    def plain() -> None:
        with torch.inference_mode():
            for batch in tensor.split(size):
                module(batch.to(device))
            wait(device)

    def scan() -> None:
        one.run(Collector(setup.samples, ("l2",), device), save=lambda states, now: None)
        wait(device)

    with computing_on(device):
        found = rounds(options.rounds, {"scan": scan, "forward": plain}, warm=True)
    return {"model": name, "samples": n, "batch size": size} | found


def loop(folder: Path, options: argparse.Namespace) -> list[dict[str, Any]]:
    """The usual loop / `oga scan`, in one process."""
    cases = [("ResNet-18", RESNET, (3, 32, 32), 2_000), ("MLP 784-512-512-10", PERCEPTRON, (784,), 20_000)]
    return [_loop(folder / str(i), options, *case) for i, case in enumerate(cases)]


def _loop(
    folder: Path, options: argparse.Namespace, name: str, model: str, shape: tuple[int, ...], n: int
) -> dict[str, Any]:
    import numpy as np
    import torch
    from sklearn.ensemble import IsolationForest

    from ogacli.config import parse_config
    from ogacli.config.commands import scan

    text = dataset(folder, model, shape, n) + "\ndetector: isolation_forest"
    config = parse_config(f"{text}\ngradients: {{device: '{options.device}'}}", base=folder)
    inputs, labels = (torch.from_numpy(np.load(folder / f"{key}.npy")).to(options.device) for key in "xy")
    module = config.model.load(config.data.open()).module.requires_grad_(True).to(options.device)
    weight = list(module.parameters())[-2]

    def usual() -> None:
        rows = np.empty((n, weight.numel()), np.float32)
        for i in range(n):
            loss = torch.nn.functional.cross_entropy(module(inputs[i : i + 1]), labels[i : i + 1])
            rows[i] = torch.autograd.grad(loss, weight)[0].flatten().cpu().numpy()
        forest = IsolationForest(n_estimators=100, max_samples=256, random_state=0).fit(rows)
        forest.score_samples(rows)

    def ours() -> None:
        scan(config, output=folder / "run", overwrite=True)

    return {"model": name, "samples": n} | rounds(options.rounds, {"usual loop": usual, "oga scan": ours})


def rounds(count: int, contenders: dict[str, Callable[[], None]], *, warm: bool = False) -> dict[str, Any]:
    """Let two contenders take turns; medians of the first over the second, and of each."""
    clocks: dict[str, list[Clock]] = {name: [] for name in contenders}
    if warm:
        for run in contenders.values():
            run()
    for turn in range(count):
        for name in list(contenders)[:: 1 if turn % 2 else -1]:
            clocks[name].append(timed(contenders[name]))
    first, second = clocks.values()
    ratios = [(a[0] / b[0], a[1] / b[1]) for a, b in zip(first, second, strict=True)]
    return {
        "ratio": middle(ratios),
        "ratios": [round(wall, 4) for wall, _ in ratios],
        "seconds": {name: middle(each) for name, each in clocks.items()},
    }


def timed(run: Callable[[], None]) -> Clock:
    """How long it takes."""
    wall, cpu = time.perf_counter(), time.process_time()
    run()
    return time.perf_counter() - wall, time.process_time() - cpu


def middle(clocks: list[Clock]) -> dict[str, float]:
    """The medians."""
    return {key: round(statistics.median(c[i] for c in clocks), 4) for i, key in enumerate(("wall", "cpu"))}


def memory(folder: Path, options: argparse.Namespace) -> list[dict[str, Any]]:
    """`oga scan` in fresh processes; the samples lie in npy files, or are pictures in a zip archive."""
    found = []
    for kind, write in (("arrays (npy)", dataset), ("table of images (zip)", pictures)):
        for n in (50_000, 200_000):
            place = folder / f"{n} {kind}"
            text = write(place, "{source: mlp, hidden: [64]}", (64,), n)
            (place / "config.yaml").write_text(text + "\ndetector: [isolation_forest, l2]", encoding="utf-8")
            found.append({"data": kind, "samples": n} | fresh("scan", place / "config.yaml"))
            run = found[-1]
            run["growth"] = round(run["megabytes"] / found[-2]["megabytes"] - 1, 4) if n > 50_000 else 0.0
    return found


def start(folder: Path, options: argparse.Namespace) -> list[dict[str, Any]]:
    """`oga --help`, and a scan of a thousand samples, each in fresh processes."""
    text = dataset(folder, "{source: mlp}", (64,), 1000)
    (folder / "config.yaml").write_text(text + "\ndetector: l2", encoding="utf-8")
    found = []
    for command in (["--help"], ["scan", str(folder / "config.yaml"), "--overwrite", "-q"]):
        runs = [fresh(*command) for _ in range(options.rounds)]
        clocks = middle([(run["wall"], run["cpu"]) for run in runs])
        found.append({"command": command[0], "seconds": clocks, "imports": runs[0]["imports"]})
    return found


def fresh(*command: str | Path) -> dict[str, Any]:
    """`oga` in a process of its own: seconds, peak memory of itself and of its largest worker, imports."""
    code = (
        "import json, re, resource, sys, time\n"
        "from ogacli.cli import main\n"
        "try:\n    main()\n"
        "except SystemExit as end:\n    assert not end.code, end.code\n"
        # Not ru_maxrss of RUSAGE_SELF: a new process inherits its parent's peak there.
        "own = re.search(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read())\n"
        "peak = [int(own[1]) / 1024, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024]\n"
        f"print(json.dumps([*peak, [name for name in {HEAVY} if name in sys.modules]]), file=sys.stderr)"
    )
    before, wall = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, command)], capture_output=True, text=True, check=False
    )
    wall, after = time.perf_counter() - wall, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        sys.exit(done.stderr)
    own, worker, imports = json.loads(done.stderr.splitlines()[-1])
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {
        "wall": round(wall, 3),
        "cpu": round(cpu, 3),
        "megabytes": round(own, 1),
        "worker megabytes": round(worker, 1),
        "imports": imports,
    }


def dataset(folder: Path, model: str, shape: tuple[int, ...], n: int) -> str:
    """Random samples in npy files, random weights, and the config that names them."""
    import numpy as np

    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(0)
    inputs = np.lib.format.open_memmap(folder / "x.npy", mode="w+", dtype=np.float32, shape=(n, *shape))
    for i in range(0, n, 10_000):
        inputs[i : i + 10_000] = random.standard_normal(inputs[i : i + 10_000].shape, np.float32)
    del inputs
    np.save(folder / "y.npy", random.integers(CLASSES, size=n))
    data = f"{{source: arrays, x: x.npy, y: y.npy, classes: {CLASSES}}}"
    return finished(folder, data, model)


def pictures(folder: Path, model: str, shape: tuple[int, ...], n: int) -> str:
    """A zip archive of n pictures, 16 x 16 pixels, a few of them over and over; else as ``dataset``."""
    import io

    import numpy as np
    from PIL import Image

    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(0)
    files = []
    for pixels in random.integers(256, size=(64, 16, 16, 3), dtype=np.uint8):
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, format="JPEG")
        files.append(buffer.getvalue())
    with zipfile.ZipFile(folder / "images.zip", "w") as archive:
        for i in range(n):
            archive.writestr(f"{i:06d}.jpg", files[i % len(files)])
    rows = (f"{i},{label}" for i, label in enumerate(random.integers(CLASSES, size=n)))
    (folder / "labels.csv").write_text("\n".join(["index,label", *rows]), encoding="utf-8")
    data = (
        "{source: table, path: labels.csv, root: images.zip, image: '{index:06d}.jpg', label: label, "
        f"classes: {CLASSES}}}"
    )
    return finished(folder, data, model)


def finished(folder: Path, data: str, model: str) -> str:
    """Write random weights; the config of it all."""
    import torch

    from ogacli.config import parse_config
    from ogacli.models.checkpoints import save_weights
    from ogacli.models.sources import Fit

    text = f"data: {data}\nmodel: {model[:-1]}, checkpoint: w.safetensors}}\noutput: run"
    config = parse_config(text, base=folder)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        save_weights(config.model.build(Fit.of(config.data.open())), folder / "w.safetensors")
    return text


def tables(found: dict[str, Any]) -> str:
    """For a person."""
    lines = [", ".join(f"{key} {value}" for key, value in found["machine"].items())]
    for part in ("pace", "loop"):
        for row in found.get(part, ()):
            each = "; ".join(
                f"{name} {s['wall']:.3f} s ({s['cpu']:.3f})" for name, s in row["seconds"].items()
            )
            size = f", {row['batch size']} a batch" if "batch size" in row else ""
            ratio = f"{row['ratio']['wall']:.3f} (CPU {row['ratio']['cpu']:.3f})"
            lines.append(f"{part:8}{row['model']}, {row['samples']:,} samples{size}: {ratio}; {each}")
    for row in found.get("memory", ()):
        lines.append(
            f"memory  {row['data']}, {row['samples']:,} samples: {row['megabytes']:.0f} MB "
            f"({row['growth']:+.1%}), largest worker {row['worker megabytes']:.0f} MB, {row['wall']:.1f} s"
        )
    for row in found.get("start", ()):
        clock = f"{row['seconds']['wall']:.3f} s (CPU {row['seconds']['cpu']:.3f})"
        lines.append(f"start   oga {row['command']}: {clock}; imports {', '.join(row['imports']) or 'none'}")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
