"""Rows: the time and memory of whole processes on exported probabilities, from 10^5 to 2 * 10^7 samples.

    python benchmarks/rows.py [scan] [commands] [shape] [start] [--sizes 100000 1000000] [--rounds 3] [--json]

scan      `oga scan` of `precomputed` probabilities of 10 classes with `budget: auto`, report and parquet
          included, once with `detector: latent_label` and once with the default detectors; and cleanlab's
          `find_label_issues` on the same npy files, memory-mapped, which writes the indices that it finds
commands  `oga trim` (manifest and indices), `oga gate` and `oga report` of the scan by `latent_label`
shape     ImageNet's: `--shape N` samples of 1,000 classes and 2,048 features in float16, with cleanlab on
          the probabilities
start     `oga scan` of 1,000 samples, and `oga gate` of that run

Contenders take turns within a round. Wall time, CPU time and peak memory are medians over the rounds; the
ratios are those of the times within a round, to cleanlab's. `peak` is the largest resident memory of a
process (getrusage), mapped files included; `own` is that without mapped files (RssAnon, sampled). Data lie in
a temporary folder (`--folder` to choose its place), which is removed.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

CLASSES, WRONG = 10, 0.1
SIZES = (100_000, 1_000_000, 3_000_000)
IMAGENET = (1_281_167, 1_000, 2_048)
_SAMPLED = 0.02
"""Seconds between two looks at the memory of a process."""
_ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
"""Installed packages are compiled."""

_WRITE = """
import sys
import numpy as np
n, k, h, kind, folder = *map(int, sys.argv[1:4]), *sys.argv[4:6]
rng = np.random.default_rng(0)
memory = lambda name, shape, kind: np.lib.format.open_memmap(f"{folder}/{name}.npy", "w+", kind, shape)
p, y = memory("p", (n, k), kind), memory("y", (n,), "int64")
f = memory("f", (n, h), kind) if h else None
centres = rng.normal(size=(k, h)).astype("float32") if h else None
size = max(1, 20_000_000 // (k + h))
for start in range(0, n, size):
    here = slice(start, min(start + size, n))
    m = here.stop - start
    true = rng.integers(0, k, m)
    logits = rng.standard_normal((m, k), dtype="float32")
    logits[np.arange(m), true] += rng.gamma(4.0, 1.5, m).astype("float32") + np.log(k / 10)
    odds = np.exp(logits - logits.max(1, keepdims=True))
    p[here] = odds / odds.sum(1, keepdims=True)
    moved = rng.random(m) < float(sys.argv[6])
    y[here] = np.where(moved, (true + rng.integers(1, k, m)) % k, true)
    if h:
        f[here] = centres[true] + 2 * rng.standard_normal((m, h), dtype="float32")
"""
_CLEANLAB = """
import sys
import numpy as np
from cleanlab.filter import find_label_issues
p, y = (np.load(f"{sys.argv[1]}/{name}.npy", mmap_mode="r") for name in "py")
found = find_label_issues(np.asarray(y), p, return_indices_ranked_by="self_confidence")
np.save(f"{sys.argv[1]}/found.npy", found)
"""
_BATCHED = """
import sys
import numpy as np
from cleanlab.experimental.label_issues_batched import find_label_issues_batched
p, y = (np.load(f"{sys.argv[1]}/{name}.npy", mmap_mode="r") for name in "py")
found = find_label_issues_batched(labels=y, pred_probs=p, verbose=False)
np.save(f"{sys.argv[1]}/found.npy", found)
"""


@dataclass(frozen=True)
class Cost:
    """What a process took."""

    seconds: float
    cpu: float
    """Seconds of all threads."""
    peak: float
    """Megabytes of resident memory, mapped files included."""
    own: float
    """Megabytes of resident memory without mapped files."""


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parts = {"scan": scan, "commands": commands, "shape": shape, "start": start}
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(parts)}; scan by default")
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, help="samples")
    parser.add_argument("--shape", type=int, nargs=3, default=IMAGENET, help="samples, classes, features")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", nargs="+", help="only these contenders")
    parser.add_argument("--folder", type=Path, help="where the temporary folder lies")
    parser.add_argument("--json", action="store_true", help="one JSON document instead of tables")
    options = parser.parse_args()
    if unknown := set(options.parts) - set(parts):
        parser.error(f"no part {', '.join(sorted(unknown))}")
    found: list[dict[str, Any]] = []
    for name in options.parts or ["scan"]:
        found += parts[name](options)
    if options.json:
        print(json.dumps({"load": os.getloadavg()[0], "rows": found}))


def scan(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Scans beside cleanlab, for each size."""
    found = []
    for n in options.sizes:
        with _data(options, n, CLASSES) as folder:
            found += _turns(options, n, _scans(folder))
    return found


def commands(options: argparse.Namespace) -> list[dict[str, Any]]:
    """The commands that read a run, for each size."""
    found = []
    for n in options.sizes:
        with _data(options, n, CLASSES) as folder:
            _measured(_scan(folder, "latent_label"))
            run = str(folder / "latent_label")
            found += _turns(
                options,
                n,
                {
                    "trim": _oga("trim", run, "--manifest", str(folder / "manifest.csv"), "--overwrite"),
                    "indices": _oga("trim", run, "--to", str(folder / "kept.npy"), "--overwrite"),
                    "gate": _oga("gate", run, "--max-flagged", "0.9"),
                    "report": _oga("report", run),
                },
            )
    return found


def shape(options: argparse.Namespace) -> list[dict[str, Any]]:
    """A scan of many classes with features, in half precision."""
    n, k, h = options.shape
    with _data(options, n, k, h, kind="float16") as folder:
        scans = _scans(folder, features=True)
        return _turns(options, n, scans)


def start(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Small runs, whose time is that of starting."""
    with _data(options, 1_000, CLASSES) as folder:
        scans = _scans(folder)
        _measured(scans["latent_label"])
        scans["gate"] = _oga("gate", str(folder / "latent_label"), "--max-flagged", "0.9")
        return _turns(options, 1_000, scans)


def _scans(folder: Path, *, features: bool = False) -> dict[str, list[str]]:
    given = str(folder)
    return {
        "latent_label": _scan(folder, "latent_label", features=features),
        "default": _scan(folder, "default", features=features),
        "cleanlab": [sys.executable, "-c", _CLEANLAB, given],
        "batched": [sys.executable, "-c", _BATCHED, given],
    }


def _scan(folder: Path, detector: str, *, features: bool = False) -> list[str]:
    """The command of a scan, whose config is written."""
    config = folder / f"{detector}.yaml"
    lines = [
        "data: {source: arrays, y: y.npy}",
        f"model: {{source: precomputed, probabilities: p.npy{', features: f.npy' if features else ''}}}",
        "budget: auto",
        f"output: {detector}",
    ]
    if detector != "default":
        lines.append(f"detector: {detector}")
    config.write_text("\n".join(lines))
    return _oga("scan", str(config), "--overwrite", "--quiet")


def _oga(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "ogacli", *arguments]


class _data:
    """Files of probabilities and labels in a temporary folder, written by a process of their own.

    The peak memory of a child begins with that of its parent, so that this process stays small.
    """

    def __init__(
        self, options: argparse.Namespace, n: int, k: int, h: int = 0, kind: str = "float32"
    ) -> None:
        self._temporary = TemporaryDirectory(dir=options.folder)
        arguments = [*map(str, (n, k, h)), kind, self._temporary.name, str(WRONG)]
        subprocess.run([sys.executable, "-c", _WRITE, *arguments], check=True)

    def __enter__(self) -> Path:
        return Path(self._temporary.name)

    def __exit__(self, *_: object) -> None:
        self._temporary.cleanup()


def _turns(options: argparse.Namespace, n: int, contenders: dict[str, list[str]]) -> list[dict[str, Any]]:
    """Measure the contenders in turns; print and return a row for each."""
    if options.only:
        contenders = {name: given for name, given in contenders.items() if name in options.only}
    costs: dict[str, list[Cost]] = {name: [] for name in contenders}
    for _ in range(options.rounds):
        for name, command in contenders.items():
            costs[name].append(_measured(command))
    peer = costs.get("cleanlab")
    rows = []
    for name, each in costs.items():
        row = {"n": n, "name": name} | {
            key: round(statistics.median(getattr(one, key) for one in each), 2)
            for key in ("seconds", "cpu", "peak", "own")
        }
        for key in ("seconds", "cpu") if peer else ():
            ratios = [getattr(one, key) / getattr(other, key) for one, other in zip(each, peer, strict=True)]
            row[f"ratio_{key}"] = round(statistics.median(ratios), 2)
        rows.append(row)
    if not options.json:
        for row in rows:
            print(", ".join(f"{key} {value:,}" if key != "name" else value for key, value in row.items()))
        sys.stdout.flush()
    return rows


def _measured(command: Sequence[str]) -> Cost:
    """Run a command; its wall time and peak memory."""
    began = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=_ENVIRONMENT)
    stop, peak = threading.Event(), [0]
    watch = threading.Thread(target=_watch, args=(process.pid, stop, peak), daemon=True)
    watch.start()
    assert process.stderr is not None
    complaint = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    stop.set()
    watch.join()
    if process.returncode:
        raise SystemExit(f"{' '.join(command[:4])}: exit code {process.returncode}\n{complaint.decode()}")
    return Cost(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, peak[0] / 1024)


def _watch(pid: int, stop: threading.Event, peak: list[int]) -> None:
    """Keep the largest RssAnon of a process, in kilobytes."""
    while not stop.wait(_SAMPLED):
        try:
            text = Path(f"/proc/{pid}/status").read_text()
        except OSError:
            return
        found = [line for line in text.splitlines() if line.startswith("RssAnon")]
        if found:
            peak[0] = max(peak[0], int(found[0].split()[1]))


if __name__ == "__main__":
    main()
