"""Batches of samples, read ahead in worker processes where reading costs."""

import os
from collections.abc import Iterator, Sequence
from typing import Any, Literal

import torch
from jaxtyping import Int64
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from ogacli.data.samples import Batch, Samples
from ogacli.errors import OgaError

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
    plan = _Plan(rows, batch_size)
    count = worker_count(samples, workers) if len(plan) > 1 else 0
    ahead: dict[str, Any] = {"prefetch_factor": _AHEAD} if count else {}
    for found in DataLoader(
        _Rows(samples),
        sampler=plan,
        batch_size=None,
        collate_fn=_same,
        num_workers=min(count, len(plan)),
        pin_memory=pin,
        worker_init_fn=_one_thread,
        # Without one of its own, a loader draws the seed of its workers from torch's global generator.
        generator=torch.Generator().manual_seed(0),
        **ahead,
    ):
        if isinstance(found, OgaError):
            raise found
        yield found


def worker_count(samples: Samples, workers: int | Literal["auto"]) -> int:
    """How many worker processes ``workers`` means for these samples."""
    if workers != "auto":
        return workers
    if samples.reader.in_memory:
        return 0
    # Only Linux can say which cores this process may use.
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class _Plan:
    """The rows of each batch, as lists that are made when their turn comes."""

    def __init__(self, rows: Int64[Tensor, " m"], batch_size: int) -> None:
        self.rows = rows
        self.batch_size = batch_size

    def __len__(self) -> int:
        return -(-len(self.rows) // self.batch_size)

    def __iter__(self) -> Iterator[list[int]]:
        for start in range(0, len(self.rows), self.batch_size):
            yield self.rows[start : start + self.batch_size].tolist()


class _Rows(Dataset[Batch | OgaError]):
    """``Samples`` as a map-style dataset whose keys are lists of rows.

    A user's mistake is handed over as a value: a ``DataLoader`` would wrap it in the worker's traceback.
    """

    def __init__(self, samples: Samples) -> None:
        self.samples = samples

    def __getitem__(self, rows: Sequence[int]) -> Batch | OgaError:
        try:
            return self.samples.read(rows)
        except OgaError as error:
            return error


def _same(batch: Any) -> Any:
    return batch


def _one_thread(worker: int) -> None:
    torch.set_num_threads(1)
