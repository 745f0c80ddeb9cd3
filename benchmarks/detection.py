"""How well wrong labels are found: detectors, residuals and weights, beside other tools.

    python benchmarks/detection.py [--sets digits mnist ..] [--seeds 2] [--jobs 1] [--output FOLDER]

Small networks are trained on sets with wrong labels, whose true labels are known: until they have memorised
the labels, and once per fold. Their predictions at each epoch are kept in the cache folder under a hash of
the training options, and so are the figures: the first run takes about two hours of one core, later ones
seconds. Writes ``detection.md`` and ``detection.png``.

digits         scikit-learn, uniform flips and each class for the next, 5 to 40 %
breast_cancer  scikit-learn, flips
mnist          10,000 of MNIST, flips
cifar10n       6,000 of CIFAR-10N, human labels; a perceptron on features of an ImageNet MobileNetV2
cifar10n-cnn   5,000 of them; a small convolutional network
sst2           5,000 of SST-2, flips; a perceptron on MiniLM's embeddings

Sets whose files are not there (``OGA_DATA``) are left out, with a message.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from evidence.figure import draw
from evidence.regimes import Row, rows_of
from evidence.sets import NOISES, Case, Missing
from evidence.tables import document

ONCE = ("cifar10n-cnn", "mnist")
"""Sets that take long: one seed."""


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sets", nargs="+", choices=list(NOISES), default=list(NOISES))
    parser.add_argument("--seeds", type=int, default=2, help=f"of all sets but {' and '.join(ONCE)}")
    parser.add_argument("--cache", type=Path, default=Path("runs/detection"), help="of trainings")
    parser.add_argument("--output", type=Path, default=Path("runs/detection"), help="for table and figure")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    options = parser.parse_args()
    options.cache.mkdir(parents=True, exist_ok=True)
    options.output.mkdir(parents=True, exist_ok=True)
    cases = [
        Case(name, noise, seed)
        for name in options.sets
        for noise in NOISES[name]
        for seed in range(1 if name in ONCE else options.seeds)
    ]
    rows = collected(cases, options.cache.absolute(), options.jobs)
    if not rows:
        sys.exit("none of the sets can be had")
    (options.output / "detection.md").write_text(document(rows), encoding="utf-8")
    draw(rows, options.output / "detection.png")
    print(document(rows))


def collected(cases: Sequence[Case], folder: Path, jobs: int) -> list[Row]:
    """The rows of all cases that can be had."""
    rows: list[Row] = []
    with ProcessPoolExecutor(jobs) as pool:
        began, waiting = time.perf_counter(), [(case, pool.submit(rows_of, case, folder)) for case in cases]
        for number, (case, found) in enumerate(waiting, start=1):
            try:
                rows += found.result()
            except Missing as reason:
                print(f"{case.name} {case.noise}: left out: {reason}", file=sys.stderr)
                continue
            took = time.perf_counter() - began
            print(
                f"{number}/{len(cases)} {case.name} {case.noise} {case.seed} ({took:.0f} s)", file=sys.stderr
            )
    return rows


if __name__ == "__main__":
    main()
