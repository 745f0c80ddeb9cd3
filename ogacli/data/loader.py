"""Batches of samples, read ahead by worker processes where samples are not in memory."""

import math
import os
from collections.abc import Iterator, Sequence
from typing import Any, Literal

import torch
from jaxtyping import Int64
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from ogacli.data.reading import Batch
from ogacli.data.samples import Samples
from ogacli.errors import OgaError

_AHEAD = 4
"""Batches that each worker may be ahead."""
_BATCH_BYTES, _MOST_AT_ONCE = 4 << 20, 4096
"""The size of a batch whose inputs no network gets."""


def batches(
    samples: Samples,
    rows: Int64[Tensor, " m"],
    batch_size: int,
    *,
    workers: int | Literal["auto"] = "auto",
    pin: bool = False,
) -> Iterator[Batch]:
    """Read ``rows`` in their order, ``batch_size`` at a time.

    Args:
        samples: The samples.
        rows: The rows to read, in order.
        batch_size: Samples a batch; the last may be smaller.
        workers: Number of processes that read; ``auto``: none for data in memory, otherwise one a core.
        pin: Put inputs into pinned memory, so that transfers to a GPU do not block.
    """
    # Lists of rows are made one at a time: all of them would take some forty bytes a sample.
    plan = (rows[start : start + batch_size].tolist() for start in range(0, len(rows), batch_size))
    total = math.ceil(len(rows) / batch_size)
    count = min(worker_count(samples, workers), total) if total > 1 else 0
    ahead: dict[str, Any] = {"prefetch_factor": _AHEAD} if count else {}
    for found in DataLoader(
        _Rows(samples),
        sampler=plan,
        batch_size=None,
        num_workers=count,
        pin_memory=pin,
        # Without a generator, a loader draws the seed of its workers from torch's global one.
        generator=torch.Generator().manual_seed(0),
        **ahead,
    ):
        if isinstance(found, OgaError):
            raise found
        yield found


def batch_size_for(samples: Samples, rows: Int64[Tensor, " m"]) -> int:
    """How many samples to read at a time where no network gets them: some megabytes."""
    probe = samples.read(rows[:1].tolist())
    own = probe.nbytes if len(probe.rows) else _BATCH_BYTES
    return max(1, min(_MOST_AT_ONCE, _BATCH_BYTES // max(1, own)))


def worker_count(samples: Samples, workers: int | Literal["auto"]) -> int:
    """The number of worker processes for these samples."""
    if workers != "auto":
        return workers
    if samples.reader.in_memory:
        return 0
    # Only on Linux are the cores known that this process may use.
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class _Rows(Dataset[Batch | OgaError]):
    """``Samples`` as a map-style dataset whose keys are lists of rows.

    An ``OgaError`` is returned as a value, as a ``DataLoader`` would wrap it in the worker's traceback.
    """

    def __init__(self, samples: Samples) -> None:
        self.samples = samples

    def __getitem__(self, rows: Sequence[int]) -> Batch | OgaError:
        try:
            return self.samples.read(rows)
        except OgaError as error:
            return error
