"""Ranks in several processes, by ``torch.distributed``: on one machine or many, as ``torchrun`` starts them.

In: the environment (``RANK``, ``WORLD_SIZE``, ``LOCAL_RANK``, ``MASTER_ADDR``, ``MASTER_PORT``). Out:
``Ranks`` for the time of a block. Results travel by gloo, also where GPUs compute. When one rank ends before
the others, all of them end, with one message.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from jaxtyping import Float
from safetensors.torch import load, save
from torch import Tensor
from torch.distributed import PrefixStore, rendezvous  # type: ignore[attr-defined]

from ogacli.base.processes.interrupting import Interruption
from ogacli.base.processes.liveness import GRACE, Ended, Watch
from ogacli.base.processes.ranks import Ranks, Tensors
from ogacli.errors import RunError

_CONNECT = timedelta(seconds=300)
"""How long ranks wait for each other at the start."""
_WAIT = timedelta(days=30)
"""In an exchange; one that has died is noticed by ``Watch``."""
_LEFT = "left"


Place = tuple[Any, int, int]
"""A store that all ranks know, the number of this rank, and how many there are."""


def from_environment() -> Place:
    """The place of this process by the environment, as ``torchrun`` sets it."""
    found: Place = next(rendezvous("env://", timeout=_CONNECT))
    return found


@contextmanager
def connected(find: Callable[[], Place], died: Callable[[], int | None] = lambda: None) -> Iterator[Ranks]:
    """The ranks, each of which enters such a block. Those of one machine divide its cores.

    Args:
        find: Finds the place of this process among them.
        died: Returns a rank whose process has ended, where this process can see that.

    Raises:
        RunError: Not all of them come, or one has died.
    """
    if "OMP_NUM_THREADS" not in os.environ:
        on_machine = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
        torch.set_num_threads(max(1, torch.get_num_threads() // on_machine))
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")) % torch.cuda.device_count())
    with Interruption() as interruption:
        ranks = _Several(find, died, interruption)
        try:
            yield ranks
        except BaseException as error:
            ranks.failed(error)
            raise
        ranks.leave()


class _Several(Ranks):
    """Ranks of a process group.

    Args:
        find: Finds the place of this process among them.
        died: Returns a rank whose process has ended.
        interruption: Ends this process when another rank has ended.

    Raises:
        RunError: Not all ranks come.
    """

    def __init__(
        self, find: Callable[[], Place], died: Callable[[], int | None], interruption: Interruption
    ) -> None:
        place = f"{os.environ.get('MASTER_ADDR')}:{os.environ.get('MASTER_PORT')}"
        try:
            store, self.rank, self.count = find()
            dist.init_process_group(
                "gloo",
                store=PrefixStore("gloo", store),
                rank=self.rank,
                world_size=self.count,
                timeout=_CONNECT,
            )
        except (RuntimeError, ValueError) as error:
            raise RunError(
                "the processes that share this command cannot reach each other",
                place=f"rank {os.environ.get('RANK', '0')} of {os.environ.get('WORLD_SIZE')}, at {place}",
                found=str(error).splitlines()[0],
                hint="check MASTER_ADDR, MASTER_PORT and WORLD_SIZE, and that all of them were started",
            ) from None
        self._store = store
        self._watch = Watch(store.clone(), self.rank, self.count, died, interruption)
        self._watch.start()

    def gathered(self, own: Tensors) -> Sequence[Tensors]:
        """The tensors of all ranks; each sends its own to all others in turn."""
        packed = _packed(own)
        found = list[Tensors]()
        for rank, size in enumerate(self._sizes(packed)):
            sent = packed if rank == self.rank else torch.empty(size, dtype=torch.uint8)
            self._sent(sent, rank)
            found.append(own if rank == self.rank else _unpacked(sent))
        return found

    def collected(self, own: Tensors) -> Sequence[Tensors]:
        """The tensors of all ranks on the first one, to which they are sent; elsewhere none."""
        packed = _packed({} if self.first else own)
        sizes = self._sizes(packed)
        sent = F.pad(packed, (0, max(sizes) - len(packed)))  # all send as many bytes
        found = [torch.empty_like(sent) for _ in sizes] if self.first else None
        if len(sent):
            self._wait(lambda: dist.gather(sent, found, dst=0, async_op=True))
        if found is None:
            return []
        return [own, *(_unpacked(one[:size]) for one, size in zip(found[1:], sizes[1:], strict=True))]

    def of_first(self, make: Callable[[], Tensors]) -> Tensors:
        """What the first rank makes; the others wait."""
        own = make() if self.first else {}
        return self.gathered(own)[0]

    def added(self, own: Float[Tensor, " p"]) -> Float[Tensor, " p"]:
        """The sum of a tensor over all ranks."""
        total = own.clone()
        self._wait(lambda: dist.all_reduce(total, async_op=True))
        return total

    def leave(self) -> None:
        """Wait until no other rank needs this one any more."""
        self._wait(lambda: dist.barrier(async_op=True))
        self._farewell()

    def failed(self, error: BaseException) -> None:
        """Tell the other ranks that this one ends early, unless another has told so before.

        Raises:
            RunError: Another rank has died.
            SystemExit: Another rank has told its error, or was interrupted.
        """
        self._watch.ending()
        own = Ended("interrupted" if isinstance(error, KeyboardInterrupt) else "error", self.rank)
        ended = self._watch.ended or self._watch.claim(own)
        self._farewell()
        if ended.kind == "death":
            raise ended.message(self.rank, self.count) from None
        if ended.rank != self.rank:
            sys.exit(130 if ended.kind == "interrupted" else 2)

    def ending(self) -> None:
        """This process ends, and saves what it has: it is not interrupted any more."""
        self._watch.ending()

    def _sizes(self, packed: Tensor) -> list[int]:
        """How many bytes each rank sends."""
        sizes = torch.zeros(self.count, dtype=torch.int64)
        sizes[self.rank] = len(packed)
        self._wait(lambda: dist.all_reduce(sizes, async_op=True))
        return sizes.tolist()

    def _sent(self, packed: Tensor, rank: int) -> None:
        """Send the bytes of one rank to all others; nothing is sent of none."""
        if len(packed):
            self._wait(lambda: dist.broadcast(packed, rank, async_op=True))

    def _wait(self, begin: Callable[[], Any]) -> None:
        """Wait for an exchange; a signal interrupts this process meanwhile.

        Raises:
            KeyboardInterrupt: Another rank has ended; ``failed`` tells so.
        """
        try:
            work, pause = begin(), 1e-5
            while not work.is_completed():
                time.sleep(pause)
                pause = min(0.002, 1.5 * pause)
            work.wait(_WAIT)
        except RuntimeError:  # a connection was closed
            self._watch.find_reason()
            raise KeyboardInterrupt from None

    def _farewell(self) -> None:
        """Tell that this rank leaves; the first waits for the others, which may still read what it keeps."""
        self._watch.stop()
        with suppress(RuntimeError):
            left = self._store.add(_LEFT, 1)
            until = time.monotonic() + GRACE
            while self.first and left < self.count and time.monotonic() < until:
                time.sleep(0.02)
                left = self._store.add(_LEFT, 0)
        dist.destroy_process_group()


def _unpacked(packed: Tensor) -> Tensors:
    return load(packed.numpy().tobytes()) if len(packed) else {}


def _packed(tensors: Tensors) -> Tensor:
    """Named tensors as bytes; nothing for none."""
    if not tensors:
        return torch.empty(0, dtype=torch.uint8)
    return torch.frombuffer(
        bytearray(save({name: one.cpu().contiguous() for name, one in tensors.items()})), dtype=torch.uint8
    )
