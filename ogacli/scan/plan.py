"""The estimated cost of a scan, measured on one batch.

In: a ``Setup``. Out: a ``Plan``. Nothing is written.
"""

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Int64
from torch import Tensor

from ogacli.base.device import device_name, device_of, wait
from ogacli.base.precision import computing_on
from ogacli.base.progress import SILENT
from ogacli.base.tables.columns import Columns
from ogacli.data import Samples
from ogacli.errors import OgaError, collecting
from ogacli.models import Model
from ogacli.models.sources import Snapshot
from ogacli.scan.collected.near import check_against
from ogacli.scan.passes import CheckpointPass
from ogacli.scan.retraining.benefit import trainings
from ogacli.scan.scorers import column_names
from ogacli.scan.setup import Setup
from ogacli.scan.validation import check_validation

_BANK = 64
"""Samples among which neighbours are searched for the measurement."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Sizes and estimated time of a scan."""

    output: Path
    samples: int
    classes: int
    parameters: dict[str, int]
    device: str
    batch_size: int
    detectors: tuple[str, ...]
    checkpoints: int
    """Sets of weights, each of which scores its samples."""
    seconds: float
    """Estimate for the whole scan, from the time of one batch."""
    columns: Columns | None = None
    """The use of the columns of a table; None where the samples are not rows of one."""
    trainings: int = 0
    """Heads or networks that a budget ``benefit`` trains after that."""

    def document(self) -> dict[str, Any]:
        """As JSON."""
        return {"schema_version": 1} | asdict(self) | {"output": str(self.output)}


def check_checkpoints(snapshots: Sequence[Snapshot], samples: Samples, device: torch.device) -> None:
    """Open each of several checkpoints.

    Raises:
        OgaError: Some cannot be read or do not fit the network; each is listed.
    """
    problems: list[OgaError] = []
    for snapshot in snapshots if len(snapshots) > 1 else ():
        with collecting(problems):
            snapshot.source.open(samples, device)
    if problems:
        raise OgaError.all_of(problems)


def plan(setup: Setup, output: Path) -> Plan:
    """Check data and model by computing the gradients of one batch twice; every checkpoint is opened.

    Raises:
        OgaError: A scan would raise it; the problems of all checkpoints are listed.
    """
    samples, device = setup.samples, device_of(setup.gradients.device)
    snapshots = setup.source.snapshots(samples)
    check_checkpoints(snapshots, samples, device)
    model = snapshots[0].source.open(samples, device)
    check_validation(setup, model)
    check_against(setup, model)
    with computing_on(device):
        one, pace = _timed(setup, model, device, snapshots[0].rows)
    return Plan(
        output=output,
        samples=len(samples),
        classes=len(samples.classes),
        parameters=dict(one.feed.gradients.parameters),
        device=device_name(device),
        batch_size=one.feed.size.samples,
        detectors=column_names(setup.detectors),
        checkpoints=len(snapshots),
        seconds=round(pace * sum(len(snapshot.rows) for snapshot in snapshots), 1),
        columns=samples.columns,
        trainings=trainings(setup),
    )


def _timed(
    setup: Setup, model: Model, device: torch.device, rows: Int64[Tensor, " m"]
) -> tuple[CheckpointPass, float]:
    """The pass of a checkpoint, and its seconds a sample, from one batch that is computed twice."""
    one = CheckpointPass(setup, model, device, rows)
    one.see_neighbours(SILENT, torch.arange(min(_BANK, len(setup.samples))))
    size = one.feed.size.samples
    rows = rows[:size]
    pace = 0.0
    for _ in range(2):  # the first time warms up
        wait(device)
        began = time.perf_counter()
        for step in one.feed(rows):
            if step.gradients is not None:
                step.gradients.norm(2)
        wait(device)
        pace = (time.perf_counter() - began) / len(rows)
    return one, pace
