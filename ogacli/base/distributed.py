"""Ranks in several processes, by ``torch.distributed``: on one machine or many, as ``torchrun`` starts them.

In: the environment (``RANK``, ``WORLD_SIZE``, ``LOCAL_RANK``, ``MASTER_ADDR``, ``MASTER_PORT``). Out:
``Ranks`` for the time of a block. Results travel by gloo, also where GPUs compute. When one rank ends before
the others, all of them end, with one message.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from safetensors.torch import load, save
from torch import Tensor
from torch.distributed import PrefixStore, rendezvous  # type: ignore[attr-defined]

from ogacli.base.interrupting import Interruption
from ogacli.base.ranks import Ranks, Tensors
from ogacli.errors import RunError

_CONNECT = timedelta(seconds=300)
"""How long ranks wait for each other at the start."""
_WAIT = timedelta(days=30)
"""In an exchange; one that has died is noticed by ``_Watch``."""
_EVERY = 1.0
"""Seconds between two signs of life."""
_SILENT = 40.0
"""A rank without a sign of life for so many seconds counts as dead."""
_GRACE = 15.0
"""Seconds in which a rank that was told to end saves what it has."""
_ENDED, _LEFT = "ended", "left"
_ERROR, _DEATH, _INTERRUPTED = "error", "death", "interrupted"


Place = tuple[Any, int, int]
"""A store that all ranks know, the number of this rank, and how many there are."""


def from_environment() -> Place:
    """The place of this process by the environment, as ``torchrun`` sets it."""
    found: Place = next(rendezvous("env://", timeout=_CONNECT))
    return found


@contextmanager
def connected(find: Callable[[], Place], died: Callable[[], int | None] = lambda: None) -> Iterator[Ranks]:
    """The ranks, each of which enters such a block.

    Args:
        find: Finds the place of this process among them.
        died: Returns a rank whose process has ended, where this process can see that.

    Raises:
        RunError: Not all of them come, or one has died.
    """
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
        self._watch = _Watch(store.clone(), self.rank, self.count, died, interruption)
        self._watch.start()

    def gathered(self, own: Tensors) -> Sequence[Tensors]:
        """The tensors of all ranks; each sends its own to all others in turn."""
        packed = _packed(own)
        sizes = torch.zeros(self.count, dtype=torch.int64)
        sizes[self.rank] = len(packed)
        self._wait(lambda: dist.all_reduce(sizes, async_op=True))
        found = list[Tensors]()
        for rank, size in enumerate(sizes.tolist()):
            sent = packed if rank == self.rank else torch.empty(size, dtype=torch.uint8)
            self._sent(sent, rank)
            found.append(own if rank == self.rank else _unpacked(sent))
        return found

    def of_first(self, make: Callable[[], Tensors]) -> Tensors:
        """What the first rank makes; the others wait."""
        own = make() if self.first else {}
        return self.gathered(own)[0]

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
        kind = _INTERRUPTED if isinstance(error, KeyboardInterrupt) else _ERROR
        ended = self._watch.ended or self._watch.claim(kind, self.rank)
        self._farewell()
        if ended["kind"] == _DEATH:
            raise _death(ended["rank"], self.rank, self.count) from None
        if ended["rank"] != self.rank:
            sys.exit(130 if ended["kind"] == _INTERRUPTED else 2)

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
            until = time.monotonic() + _GRACE
            while self.first and left < self.count and time.monotonic() < until:
                time.sleep(0.02)
                left = self._store.add(_LEFT, 0)
        dist.destroy_process_group()


class _Watch(threading.Thread):
    """Gives signs of life, and notices when another rank has ended.

    Args:
        store: A connection of its own to what the ranks know in common.
        rank: This one.
        count: Of all ranks.
        died: Returns a rank whose process has ended.
        interruption: Interrupts the main thread.
    """

    def __init__(
        self, store: Any, rank: int, count: int, died: Callable[[], int | None], interruption: Interruption
    ) -> None:
        super().__init__(name="oga ranks", daemon=True)
        self.ended: dict[str, Any] | None = None
        """Which rank ended early, and how."""
        self._store = store
        self._rank, self._count = rank, count
        self._died = died
        self._interruption = interruption
        self._stopped = threading.Event()
        self._lock = threading.Lock()
        self._beats: dict[int, tuple[int, float]] = {}

    def run(self) -> None:
        """Until the block ends, or another rank has."""
        while not self._stopped.wait(_EVERY):
            if (ended := self._look()) is not None and not self._stopped.is_set():
                self.ended = ended
                self._interruption.interrupt()
                if not self._stopped.wait(_GRACE):
                    self._end()
                return

    def stop(self) -> None:
        """Give no more signs of life."""
        self._stopped.set()

    def claim(self, kind: str, rank: int) -> dict[str, Any]:
        """Tell that a rank has ended; returns what was told first."""
        told = json.dumps({"kind": kind, "rank": rank})
        with self._lock:
            try:
                found = json.loads(self._store.compare_set(_ENDED, "", told))
            except RuntimeError:  # the rank, or the agent, that keeps the store
                found = {"kind": _DEATH, "rank": 0} if rank == self._rank != 0 else json.loads(told)
        return dict(found)

    def find_reason(self) -> None:
        """Find out why an exchange has failed, as far as that can be known."""
        until = time.monotonic() + _GRACE
        while self.ended is None and time.monotonic() < until:
            self.ended = self._look()
            time.sleep(0.05)
        if self.ended is None:
            self.ended = self.claim(_DEATH, -1)

    def _look(self) -> dict[str, Any] | None:
        """Give a sign of life, and look for those of the others; how one has ended, where it has."""
        try:
            with self._lock:
                self._store.add(f"beat-{self._rank}", 1)
                if self._store.check([_ENDED]):
                    return dict(json.loads(self._store.get(_ENDED)))
                silent = self._silent() if self._rank == 0 else None
                silent = self._died() if silent is None else silent
        except RuntimeError:
            return {"kind": _DEATH, "rank": 0}
        return None if silent is None else self.claim(_DEATH, silent)

    def _silent(self) -> int | None:
        """A rank that gives no sign of life any more."""
        now = time.monotonic()
        for rank in range(1, self._count):
            beat = self._store.add(f"beat-{rank}", 0)
            if self._beats.get(rank, (-1, now))[0] != beat:
                self._beats[rank] = (beat, now)
            elif now - self._beats[rank][1] > _SILENT:
                return rank
        return None

    def _end(self) -> None:
        """End this process, which does not react: another rank, in an exchange with it, is gone."""
        assert self.ended is not None
        if self.ended["kind"] == _DEATH:
            print(
                f"error: {_death(self.ended['rank'], self._rank, self._count)}", file=sys.stderr, flush=True
            )
        os._exit(2)


def _death(rank: int, own: int, count: int) -> RunError:
    return RunError(
        "one of the processes that share this command has ended without a word",
        place=f"rank {own} of {count}",
        found=f"rank {rank} was killed, or its machine is out of reach"
        if rank >= 0
        else "a closed connection",
        hint="if it ran out of memory, start fewer processes; --resume goes on with what was saved",
    )


def _unpacked(packed: Tensor) -> Tensors:
    return load(packed.numpy().tobytes()) if len(packed) else {}


def _packed(tensors: Tensors) -> Tensor:
    """Named tensors as bytes; nothing for none."""
    if not tensors:
        return torch.empty(0, dtype=torch.uint8)
    return torch.frombuffer(
        bytearray(save({name: one.cpu().contiguous() for name, one in tensors.items()})), dtype=torch.uint8
    )
