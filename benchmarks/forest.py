"""Our isolation forest on the factors of head gradients, against scikit-learn's on the gradient matrix.

    python benchmarks/forest.py [--json] [--rounds 5] [--samples 50000] [--classes 10] [--features 512]

Each measurement is a process of its own, the contenders take turns, and medians are reported. Time is fit +
score of all samples; scikit-learn's does not include making the matrix. Memory is the peak beyond what the
process held with the factors in memory, code and a small forest warmed up.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

BATCH = 1000
CONTENDERS = ("ours", "sklearn", "sklearn n_jobs=-1")


def factors(n: int, k: int, h: int) -> Any:
    """Head gradients as a trained network has them: ReLU features, a few percent of large residuals."""
    import torch

    from ogacli.gradients import GradientBatch
    from ogacli.gradients.layers.linear import Outer

    generator = torch.Generator().manual_seed(0)
    centres = torch.randn(k, h, generator=generator)
    true = torch.randint(k, (n,), generator=generator)
    features = torch.randn(n, h, generator=generator)
    features.add_(centres[true], alpha=0.5).sub_(0.3).relu_()
    features[:, torch.rand(h, generator=generator) < 0.1] = 0
    logits = torch.randn(n, k, generator=generator)
    logits[torch.arange(n), true] += 6
    wrong = torch.rand(n, generator=generator) < 0.04
    labels = torch.where(wrong, torch.randint(k, (n,), generator=generator), true)
    residual = logits.softmax(1)
    residual[torch.arange(n), labels] -= 1
    part = Outer(features, residual, bias=False)
    return GradientBatch(torch.arange(n), labels, logits, residual, features, [part])


def ours(batch: Any) -> Any:
    import torch

    from ogacli.detectors.isolation_forest import IsolationForest

    detector = IsolationForest().detector()
    size = detector.fit_size(len(batch))
    # The samples are independent draws, so the first ones are as random as any.
    fit = batch.select(slice(0, size))
    detector.fit(fit.select(slice(i, i + BATCH)) for i in range(0, size, BATCH))
    return torch.cat(
        [detector.score(batch.select(slice(i, i + BATCH))) for i in range(0, len(batch), BATCH)]
    ).numpy()


def sklearn(matrix: Any, jobs: int | None) -> Any:
    from sklearn.ensemble import IsolationForest

    forest = IsolationForest(n_estimators=100, max_samples=256, random_state=0, n_jobs=jobs)
    return -forest.fit(matrix).score_samples(matrix)


def memory(field: str) -> int:
    """``VmRSS`` or ``VmHWM`` of this process, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))


def measure(contender: str, shape: tuple[int, int, int], scores: str) -> dict[str, float]:
    """In a process of its own: seconds and bytes of one contender."""
    import numpy as np
    import torch

    jobs = -1 if contender.endswith("=-1") else None
    small, batch = factors(300, *shape[1:]), factors(*shape)
    if contender == "ours":
        ours(small)
    else:
        sklearn(small.dense().numpy(), jobs)
    before = memory("VmRSS")
    run: Callable[[], Any]
    if contender == "ours":
        run = lambda: ours(batch)  # noqa: E731
    else:
        matrix = batch.dense().numpy()
        run = lambda: sklearn(matrix, jobs)  # noqa: E731
    Path("/proc/self/clear_refs").write_text("5")  # The peak so far is forgotten.
    begin = time.perf_counter()
    found = run()
    seconds = time.perf_counter() - begin
    peak = memory("VmHWM") - before
    np.save(scores, found)
    return {"seconds": seconds, "bytes": peak, "threads": torch.get_num_threads()}


def compare(rounds: int, shape: tuple[int, int, int], folder: str) -> dict[str, Any]:
    """All contenders in turn, ``rounds`` times."""
    import numpy as np
    from scipy.stats import spearmanr

    found: dict[str, list[dict[str, float]]] = {name: [] for name in CONTENDERS}
    for turn in range(rounds):
        for name in CONTENDERS:
            arguments = ["--one", name, "--scores", f"{folder}/{name}.npy"]
            sizes = ["--samples", "--classes", "--features"]
            arguments += [text for pair in zip(sizes, map(str, shape), strict=True) for text in pair]
            output = subprocess.run(
                [sys.executable, __file__, *arguments], check=True, capture_output=True, text=True
            )
            found[name].append(json.loads(output.stdout))
        print(f"round {turn + 1} of {rounds}", file=sys.stderr)
    rows = {
        name: {
            "seconds": statistics.median(one["seconds"] for one in runs),
            "megabytes": statistics.median(one["bytes"] for one in runs) / 1e6,
            "times": statistics.median(
                one["seconds"] / mine["seconds"] for one, mine in zip(runs, found["ours"], strict=True)
            ),
        }
        for name, runs in found.items()
    }
    mine, theirs = (np.load(f"{folder}/{name}.npy") for name in CONTENDERS[:2])
    return {
        "schema_version": 1,
        "samples": shape[0],
        "parameters": shape[1] * shape[2],
        "rounds": rounds,
        "cores": os.cpu_count(),
        "torch_threads": found["ours"][0]["threads"],
        "load": os.getloadavg()[0],
        "machine": platform.processor() or platform.machine(),
        "rank_correlation": float(spearmanr(mine, theirs).statistic),
        "results": rows,
    }


def main() -> None:
    """Run as the command line says."""
    import tempfile

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true", help="one JSON document instead of a table")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--samples", type=int, default=50_000)
    parser.add_argument("--classes", type=int, default=10)
    parser.add_argument("--features", type=int, default=512)
    parser.add_argument("--one", choices=CONTENDERS, help=argparse.SUPPRESS)
    parser.add_argument("--scores", help=argparse.SUPPRESS)
    options = parser.parse_args()
    shape = (options.samples, options.classes, options.features)
    if options.one:
        print(json.dumps(measure(options.one, shape, options.scores)))
        return
    with tempfile.TemporaryDirectory() as folder:
        result = compare(options.rounds, shape, folder)
    if options.json:
        print(json.dumps(result, indent=2))
        return
    print(
        f"{result['samples']:,} x {result['parameters']:,}, {result['rounds']} rounds, "
        f"{result['cores']} cores, {result['torch_threads']} threads, load {result['load']:.1f}; medians"
    )
    print(f"{'':20}{'seconds':>10}{'x ours':>10}{'MB beyond the factors':>24}")
    for name, row in result["results"].items():
        print(f"{name:20}{row['seconds']:10.2f}{row['times']:10.1f}{row['megabytes']:24.1f}")
    print(f"rank correlation of the scores: {result['rank_correlation']:.3f}")


if __name__ == "__main__":
    main()
