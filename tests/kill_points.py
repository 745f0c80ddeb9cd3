"""Scans that are killed at a write, and then resumed; run as a program: ``kill_points.py FOLDER JOB``.

In: a folder with a config, and a JSON document: the changes of the config, whether an earlier run stands
there, and the points. Out on stdout: a JSON list with what was found at each point. A point is the number
of a call that changes the file system, before which the process ends by SIGKILL; or a number of bytes, from
which on a write ends it. Each scan is a process that is forked from this one, which has imported everything
and computed nothing.
"""

import json
import os
import resource
import shutil
import signal
import sys
import threading
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

_CHANGES = {"os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.link", "os.truncate", "os.symlink"}
SAME = ("scores.parquet", "summary.json", "beside.parquet", "gradient_map.parquet", "previews.parquet")
_NEEDED = (
    *(f"ogacli.config.{name}" for name in ("commands", "folds")),
    *(f"ogacli.detectors.{name}" for name in ("gaussian", "isolation_forest", "l2", "latent_label", "loss")),
    *(
        f"ogacli.{name}"
        for name in ("data.sources.arrays", "models.sources.mlp", "run.reports.html", "run.gate")
    ),
    *(
        "sklearn.covariance",
        "sklearn.metrics",
        "scipy.stats",
        "pyarrow.dataset",
        "PIL.Image",
        "torch.utils.data",
    ),
    *("sklearn.model_selection", "scipy.optimize", "jinja2", "markupsafe"),
)
"""What a scan imports: once, before the processes are forked."""


class Points:
    """Counts the calls that change the file system, and ends the process before the one of a number."""

    def __init__(self, at: int) -> None:
        self.at = at
        self.count = 0

    def passed(self) -> None:
        if threading.current_thread() is not threading.main_thread():
            return  # heartbeats, which come by the clock
        self.count += 1
        if self.count == self.at:
            os.kill(os.getpid(), signal.SIGKILL)

    def audit(self, event: str, given: tuple[Any, ...]) -> None:
        if event == "open":
            mode, flags = given[1], given[2]
            writes = isinstance(mode, str) and any(letter in mode for letter in "wax+")
            if writes or (isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)):
                self.passed()
        elif event in _CHANGES:
            self.passed()

    def watch(self) -> None:
        """From now on, in this process."""
        sys.addaudithook(self.audit)
        for owner, name in (
            (os, "fsync"),
            (import_module("ogacli.base.atomic"), "exchanged"),
            (import_module("ogacli.scan.earlier.generations"), "save_file"),
            (import_module("pyarrow.parquet"), "write_table"),
        ):
            setattr(owner, name, self._around(getattr(owner, name)))

    def _around(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def watched(*given: Any, **options: Any) -> Any:
            self.passed()
            found = call(*given, **options)
            self.passed()
            return found

        return watched


def forked(work: Callable[[], None]) -> int:
    """The exit code of a process that does this; negative: the signal that ended it."""
    child = os.fork()
    if not child:
        try:
            work()
            os._exit(0)
        except BaseException as error:
            print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
            os._exit(3)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


class Job:
    """The scans of one config.

    Args:
        folder: Holds the config.
        job: The changes of the config, and whether an earlier run stands there.
    """

    def __init__(self, folder: Path, job: dict[str, Any]) -> None:
        self.folder = folder
        self.set = job["set"]
        self.folds = job.get("folds")
        self.old = job.get("old", False)
        self.out = folder / "out"

    def scan(self, output: Path, **options: Any) -> None:
        from ogacli.config import load_config
        from ogacli.config.commands import scan

        scan(load_config(self.folder / "config.yaml", self.set), output=output, folds=self.folds, **options)

    def whole(self) -> int:
        """An uninterrupted scan into ``whole``; how many points it passes."""
        if self.old:
            assert forked(self.write_old) == 0
        points = self.folder / "points"

        def counted() -> None:
            found = Points(0)
            found.watch()
            self.scan(self.folder / "whole")
            points.write_text(str(found.count))

        assert forked(counted) == 0, "the uninterrupted scan fails"
        return int(points.read_text())

    def write_old(self) -> None:
        from ogacli.config import load_config
        from ogacli.config.commands import scan

        scan(load_config(self.folder / "config.yaml", ["detector=loss"]), output=self.folder / "old")

    def killed(self, *, call: int = 0, size: int = 0) -> int:
        """The exit code of a scan that ends at a call, or at a write beyond so many bytes."""

        def work() -> None:
            if call:
                Points(call).watch()
            else:
                signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
                resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
            self.scan(self.out, resume=True, overwrite=self.old)

        return forked(work)

    def tried(self, point: dict[str, int], *, again: bool) -> dict[str, Any]:
        """What is found after a scan was killed at a point, killed once more if ``again``, and resumed."""
        for path in [path for path in self.folder.iterdir() if "out" in path.name]:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        if self.old:
            shutil.copytree(self.folder / "old", self.out)
        codes, states = [], []
        for times in (1, 3) if again else (1,):
            less = {name: value // times for name, value in point.items()}
            codes.append(self.killed(**less))
            states.append(self.state())
            if states[-1] == "new":
                break
        if codes[-1] != 0 and states[-1] != "new":
            codes.append(forked(lambda: self.scan(self.out, resume=True, overwrite=self.old)))
            states.append(self.state())
        return {"codes": codes, "states": states, "beside": self.beside()}

    def beside(self) -> list[str]:
        """What is left an hour later, when the next process begins to write there."""
        from ogacli.base.processes.running import running
        from ogacli.base.progress import SILENT
        from ogacli.base.workplace import workplace

        left = [path for path in self.folder.iterdir() if "out" in path.name and path != self.out]
        for path in left:
            os.utime(path, (0, 0))
        with running(self.out, "scan", SILENT), workplace(self.out):
            pass
        with workplace(self.folder / "out.partial"):
            pass
        return [path.name for path in left if path.exists()]

    def state(self) -> str:
        """Which run stands there: ``none``, ``old``, ``new`` or ``other``."""
        if not self.out.exists():
            return "none"
        for name in ("whole", "old"):
            whole = self.folder / name
            files = {path.name for path in whole.iterdir()} if whole.exists() else set()
            if (
                files
                and files == {path.name for path in self.out.iterdir()}
                and all((self.out / file).read_bytes() == (whole / file).read_bytes() for file in SAME)
            ):
                return "new" if name == "whole" else "old"
        return "other"


def main() -> None:
    folder, job = Path(sys.argv[1]), json.loads(sys.argv[2])
    resume = import_module("ogacli.scan.earlier.resume")
    resume._SAVE_EVERY, resume._SHARE = 0.0, 0
    if not job.get("held", False):
        fitting = import_module("ogacli.scan.fitting")
        fitting._HELD_BYTES = fitting._KEPT_BYTES = 0
    for name in (*_NEEDED, *job["import"]):
        import_module(name)
    one = Job(folder, job)
    count = one.whole()
    points = [{"call": round(1 + i * (count - 1) / (job["calls"] - 1))} for i in range(job["calls"])]
    points += [{"size": size} for size in job["sizes"]]
    print(
        json.dumps(
            {"count": count, "found": [one.tried(point, again=i % 4 == 0) for i, point in enumerate(points)]}
        )
    )


if __name__ == "__main__":
    main()
