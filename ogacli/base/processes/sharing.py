"""Let several processes share one command: those that ``torchrun`` has started, or some on this machine.

In: the number of processes, and the environment. Out: ``Ranks`` for the time of a block. Importing this
module does not import torch.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ogacli.errors import ConfigError

if TYPE_CHECKING:
    from ogacli.base.processes.ranks import Ranks

_HERE = "127.0.0.1"
_INTERFACE = "GLOO_SOCKET_IFNAME"
_LOOPBACK = ("lo", "lo0")
"""What the interface of ``_HERE`` is called by Linux and by macOS."""
_ENDS = 20.0
"""Seconds that the other processes have to end once the command has."""


@contextmanager
def shared(workers: int | None = None) -> Iterator[Ranks]:
    """All processes that share the command.

    Args:
        workers: How many to start on this machine, with this one; the others run the same command line.

    Raises:
        ConfigError: ``torchrun`` has started another number.
        RunError: They cannot reach each other, or one has died.
    """
    given = int(os.environ.get("WORLD_SIZE", "1"))
    if given > 1:
        if workers not in (None, given):
            raise ConfigError(
                "the number of processes is given twice",
                place="--workers",
                found=str(workers),
                expected=f"WORLD_SIZE={given} of the environment, or no --workers under torchrun",
            )
        from ogacli.base.processes.distributed import connected, from_environment

        with connected(from_environment) as ranks:
            yield ranks
    elif workers is not None and workers > 1:
        with _started(workers) as ranks:
            yield ranks
    else:
        from ogacli.base.processes.ranks import ALONE

        yield ALONE


@contextmanager
def _started(count: int) -> Iterator[Ranks]:
    """This process, as the first of so many on this machine, which divide its cores.

    They reach each other by the loopback interface only, as whoever else connects could change the results.
    """
    with socket.create_server((_HERE, 0)) as server:  # a TCPStore itself listens on all interfaces
        given = {
            "MASTER_ADDR": _HERE,
            "MASTER_PORT": str(server.getsockname()[1]),
            "WORLD_SIZE": str(count),
            "LOCAL_WORLD_SIZE": str(count),
        }
        if loopback := [name for _, name in socket.if_nameindex() if name in _LOOPBACK]:
            given[_INTERFACE] = loopback[0]
        # The others start now, and import torch while this process does; they wait at the port.
        with _environment(given), _Children(count) as children:
            from torch.distributed import TCPStore  # type: ignore[attr-defined]

            from ogacli.base.processes.distributed import connected

            port, listening = server.getsockname()[1], server.detach()
            store = TCPStore(
                _HERE, port, count, is_master=True, wait_for_workers=False, master_listen_fd=listening
            )
            with connected(lambda: (store, 0, count), children.died) as ranks:
                yield ranks


class _Children:
    """The other processes, which run the command line of this one."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._running: dict[int, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> _Children:
        for rank in range(1, self._count):
            self._running[rank] = subprocess.Popen(
                [sys.executable, "-m", "ogacli", *sys.argv[1:]],
                env=os.environ | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
            )
        return self

    def __exit__(self, *error: object) -> None:
        until = time.monotonic() + _ENDS
        for process in self._running.values():
            try:
                process.wait(max(0.0, until - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def died(self) -> int | None:
        """One that has ended, if any has."""
        return next((rank for rank, process in self._running.items() if process.poll() is not None), None)


@contextmanager
def _environment(given: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in given}
    os.environ.update(given)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name)
            else:
                os.environ[name] = value
