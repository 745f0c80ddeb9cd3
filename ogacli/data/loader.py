"""Batches of samples, read ahead in worker processes where reading costs."""

import os
from collections.abc import Iterator, Sequence
from typing import Any, Literal

import torch
from jaxtyping import Int64
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from ogacli.data.samples import Batch, Samples

_AHEAD = 4
"""Batches that each worker may be ahead."""


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
        samples: Where to read.
        rows: Which rows, in which order.
        batch_size: Samples a batch; the last may be smaller.
        workers: Processes that read; ``auto``: none for data in memory, one a core otherwise.
        pin: Put inputs in pinned memory, for transfers to a GPU that do not block.
    """
    plan = [chunk.tolist() for chunk in rows.split(batch_size)]
    count = worker_count(samples, workers) if len(plan) > 1 else 0
    ahead: dict[str, Any] = {"prefetch_factor": _AHEAD} if count else {}
    yield from DataLoader(
        _Rows(samples),
        sampler=plan,
        batch_size=None,
        collate_fn=_same,
        num_workers=min(count, len(plan)),
        pin_memory=pin,
        worker_init_fn=_one_thread,
        **ahead,
    )


def worker_count(samples: Samples, workers: int | Literal["auto"]) -> int:
    """How many worker processes ``workers`` means for these samples."""
    if workers != "auto":
        return workers
    return 0 if samples.reader.in_memory else len(os.sched_getaffinity(0))


class _Rows(Dataset[Batch]):
    """``Samples`` as a map-style dataset whose keys are lists of rows."""

    def __init__(self, samples: Samples) -> None:
        self.samples = samples

    def __getitem__(self, rows: Sequence[int]) -> Batch:
        return self.samples.read(rows)


def _same(batch: Batch) -> Batch:
    return batch


def _one_thread(worker: int) -> None:
    torch.set_num_threads(1)
