"""``oga`` in a process of its own, as a user runs it: arguments in, exit code and the two streams out.

The processes are forked from one that has imported torch already, so that each costs what the command costs.
"""

import multiprocessing
import os
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

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


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str


def oga(*arguments: object, cwd: Path, env: Mapping[str, str] | None = None) -> Done:
    """Run a command to its end; streams are files, not terminals."""
    texts = [str(argument) for argument in arguments]
    with tempfile.TemporaryDirectory() as folder:
        streams = [os.path.join(folder, name) for name in ("out", "err")]
        process = _PROCESSES.Process(target=_run, args=(texts, str(cwd), dict(env or {}), streams))
        process.start()
        process.join(120)
        if process.is_alive():
            process.kill()
            raise TimeoutError(texts)
        out, err = (Path(stream).read_text(encoding="utf-8") for stream in streams)
    assert process.exitcode is not None
    return Done(process.exitcode, out, err)


def _run(arguments: list[str], folder: str, env: dict[str, str], streams: list[str]) -> None:
    os.environ.update(env)
    os.chdir(folder)
    for number, stream in enumerate(streams, 1):
        os.dup2(os.open(stream, os.O_WRONLY | os.O_CREAT), number)
    import torch

    from ogacli.cli import main

    torch.set_num_threads(1)
    sys.argv = ["oga", *arguments]
    main()
    sys.exit(0)
