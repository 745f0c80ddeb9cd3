"""An unfinished scan on disk: the fitted detectors and what was collected.

In: a collector and the states of the detectors. Out: both again, after an interruption. The folder is
``<output>.partial``, beside the run directory to be. It is written at an interruption, and every minute.
"""

import hashlib
import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from safetensors import SafetensorError

from ogacli._version import __version__
from ogacli.base.atomic import check_free
from ogacli.base.progress import SILENT, Progress
from ogacli.errors import OgaError, RunError
from ogacli.run.directory import is_run
from ogacli.scan.collected.collect import Collector
from ogacli.scan.earlier.generations import Generations, State
from ogacli.scan.earlier.saved import States, restored, saved
from ogacli.scan.retraining.tried import OTHER_SCAN, Tried, check_tried, is_tried
from ogacli.scan.setup import Setup

_FORMAT = 6
"""Differs where an earlier version saved something else."""
_SAVE_EVERY = 60.0
"""Seconds from one saving to the next."""
_SHARE = 20
"""Saving may take this part of the time: one twentieth."""


def check_output(output: Path, *, overwrite: bool, resume: bool) -> None:
    """Check that a run may be written, and an unfinished scan beside it, before any work is done.

    Args:
        output: The run directory to be.
        overwrite: Whether an earlier run, and an unfinished scan unless it is continued, may be replaced.
        resume: Whether an unfinished scan is to be continued.

    Raises:
        RunError: Something else stands there; or an unfinished scan that is neither continued nor replaced;
            or there is nothing to continue, as the scan is finished.
    """
    kept = Generations(_folder(output))
    check_tried(_tried(output))
    if not kept.free:
        raise RunError(
            "something else stands where the unfinished scan is kept",
            place=str(kept.folder),
            expected="nothing, or an unfinished scan that this version of oga wrote",
            hint="move it away, or choose another output; it is left alone",
        )
    unfinished = kept.exists or is_tried(_tried(output))
    if resume and not overwrite and is_run(output):
        raise RunError(
            "there is a finished run" if unfinished else "nothing to resume: the scan is finished",
            place=str(output),
            hint="--resume --overwrite goes on with the unfinished scan, and then replaces the run"
            if unfinished
            else f"look at it by `oga report {output}`, or scan again with --overwrite",
        )
    check_free(output, overwrite=overwrite, ours=is_run)
    if unfinished and not resume and not overwrite:
        raise RunError(
            "an unfinished scan is kept there",
            place=str(kept.folder if kept.exists else _tried(output)),
            found=f"the state of {kept.saved}" if kept.exists else "the trainings of a budget `benefit`",
            hint="--resume goes on with it; --overwrite deletes it and begins anew",
        )


class Unfinished:
    """The saved state of one scan.

    Args:
        output: The run directory to be.
        setup: The input of the scan.
        checkpoints: The fingerprints of the weights.
        progress: Shows what cannot be saved or read.
        check: Called before the state is saved; raises an error where it must not be.
    """

    def __init__(
        self,
        output: Path,
        setup: Setup,
        checkpoints: Mapping[str, str],
        *,
        progress: Progress = SILENT,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        self._kept = Generations(_folder(output), setup.ranks.rank)
        self._output = output
        self._progress = progress
        self._check = check
        self._tried: Tried | None = None
        datasets = [
            None if one is None else one.fingerprint
            for one in (setup.samples, setup.validation, setup.against)
        ]
        shared = [_FORMAT, __version__, setup.settings, datasets, checkpoints]
        document = json.dumps(shared, sort_keys=True, default=str)
        self._key = hashlib.sha256(document.encode()).hexdigest()
        """Only a scan with the same key can be continued."""
        self._due = time.monotonic() + _SAVE_EVERY
        self._failed = False

    @property
    def exists(self) -> bool:
        """Whether there is something to resume."""
        return self._kept.exists or is_tried(_tried(self._output))

    @property
    def next_step(self) -> str:
        """What an interrupted scan can be followed by."""
        if self.exists:
            return "the same command with --resume continues from here"
        return "nothing was saved yet, so that the same command begins anew"

    def begin(self, *, resume: bool) -> Tried:
        """Delete what was saved before, unless it is continued.

        Args:
            resume: Whether to go on with it.

        Returns:
            The trainings of a budget ``benefit`` that were made before an interruption.

        Raises:
            RunError: They are of another config, dataset, checkpoint or version.
        """
        if resume and not self.exists:
            self._progress.note(
                f"nothing to resume: no unfinished scan in {self._kept.folder}; it begins anew"
            )
        if not resume:
            self._kept.remove()
        self._tried = Tried(_tried(self._output), self._key, resume=resume, progress=self._progress)
        return self._tried

    def save(
        self,
        collector: Collector,
        states: Callable[[], States] = list,
        *,
        now: bool = False,
    ) -> None:
        """Write the state, if the last time was a minute ago; a failure is told, and the scan goes on.

        An interruption while it is written leaves the earlier states in place.

        Args:
            collector: The results so far.
            states: Returns the states of the detectors, once they are fitted.
            now: Write however recent the last time was.

        Raises:
            RunError: Another process has taken over the output.
        """
        began = time.monotonic()
        if not now and began < self._due:
            return
        self._check()
        try:
            self._write(collector, states())
        except (OSError, SafetensorError, RunError) as error:
            self._warn(error)
        else:
            if self._failed:
                self._progress.note("the unfinished scan is saved again")
            self._failed = False
        ended = time.monotonic()
        self._due = ended + max(_SAVE_EVERY, _SHARE * (ended - began))

    def _write(self, collector: Collector, states: States) -> None:
        tensors, document = saved(collector, states)
        self._kept.write(tensors, document | {"key": self._key})

    def _warn(self, error: Exception) -> None:
        """Tell once that the state cannot be saved."""
        if self._failed:
            return
        self._failed = True
        if isinstance(error, OgaError):
            reason = "; ".join(line.strip() for line in str(error).splitlines())
        else:
            reason = getattr(error, "strerror", None) or str(error)
        earlier = "the state before it is kept" if self._kept.exists else "an interruption would lose it"
        self._progress.warn(
            f"the unfinished scan cannot be saved in {self._kept.folder} ({reason}); "
            f"the scan goes on, {earlier}"
        )

    def load(self, collector: Collector) -> list[States]:
        """Fill a new collector with what all processes have saved.

        Returns:
            For each process that has saved some, the states of its detectors; those of the first fit.

        Raises:
            RunError: The saved scan had another config, dataset, checkpoint or version, or cannot be read.
        """
        found = [self._newest(rank) for rank in self._kept.ranks]
        # Those that were saved during an earlier checkpoint hold nothing that the others do not.
        most = max((len(one.document["checkpoints"]) for one in found), default=0)
        states = list[States]()
        for number, one in enumerate(one for one in found if len(one.document["checkpoints"]) == most):
            part = collector.emptied() if number else collector
            states.append(restored(part, one.tensors, one.document))
            if number:
                collector.take(part)
        return [one for one in states if one]

    def _newest(self, rank: int) -> State:
        """The newest state of a process."""
        found = Generations(self._kept.folder, rank).newest()
        assert found is not None, "it has saved one"
        for name in found.damaged:
            self._progress.warn(f"{self._kept.folder / name} is damaged; the state before it is used")
        if found.document.get("key") != self._key:
            raise RunError(
                "the unfinished scan is of another config, dataset, checkpoint or version of oga",
                place=str(self._kept.folder),
                hint=OTHER_SCAN,
            )
        return found

    def remove(self) -> None:
        """Delete what was saved, once the run is written."""
        if self._tried is not None:
            self._tried.remove()
        self._kept.remove()


def _folder(output: Path) -> Path:
    """Where the unfinished scan of an output is kept."""
    return output.with_name(output.name + ".partial")


def _tried(output: Path) -> Path:
    """Where the trainings of a budget ``benefit`` are kept."""
    return output.with_name(output.name + ".tried.jsonl")
