"""``oga`` in a process of its own, as a user runs it: arguments in, exit code and the two streams out.

The processes are forked from one that has imported torch already, so that each costs what the command costs.
"""

import multiprocessing
import os
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import NamedTuple

_PROCESSES = multiprocessing.get_context("forkserver")
_PROCESSES.set_forkserver_preload(
    [
        f"ogacli.{name}"
        for name in ("cli.views.starting", "cli.views.runs", "config.commands", "run.gate", "run.trim")
    ]
    + [
        "ogacli.data.sources.image_folder",
        "ogacli.detectors.isolation_forest",
        "ogacli.models.sources.mlp",
        "ogacli.run.reports.html",
    ]
    + ["sklearn.metrics", "scipy.stats", "pyarrow.dataset", "PIL.Image"]
)
_STREAMS = ("out", "err")


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str


def oga(*arguments: object, cwd: Path, env: Mapping[str, str] | None = None) -> Done:
    """Run a command to its end; streams are files, not terminals."""
    return ended(started(*arguments, cwd=cwd, env=env))


class Started(NamedTuple):
    """A command that runs."""

    process: BaseProcess
    streams: tempfile.TemporaryDirectory[str]


def started(*arguments: object, cwd: Path, env: Mapping[str, str] | None = None) -> Started:
    """Start a command."""
    folder = tempfile.TemporaryDirectory()
    texts = [str(argument) for argument in arguments]
    streams = [os.path.join(folder.name, name) for name in _STREAMS]
    process = _PROCESSES.Process(target=_run, args=(texts, str(cwd), dict(env or {}), streams))
    process.start()
    return Started(process, folder)


def ended(one: Started, seconds: float = 120) -> Done:
    """Wait for its end."""
    with one.streams as folder:
        one.process.join(seconds)
        if one.process.is_alive():
            one.process.kill()
            raise TimeoutError
        out, err = (Path(folder, name).read_text(encoding="utf-8") for name in _STREAMS)
    assert one.process.exitcode is not None
    return Done(one.process.exitcode, out, err)


def _run(arguments: list[str], folder: str, env: dict[str, str], streams: list[str]) -> None:
    os.environ.update(env)
    os.chdir(folder)
    for number, stream in enumerate(streams, 1):
        os.dup2(os.open(stream, os.O_WRONLY | os.O_CREAT), number)
    import torch

    from ogacli.cli import lines, main

    lines.EVERY = 600  # what is on stderr does not depend on how busy the machine is
    torch.set_num_threads(1)
    sys.argv = ["oga", *arguments]
    main()
    sys.exit(0)
