"""``oga scan``: the composition. Config -> samples, model -> gradients -> scores -> run directory."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from ogacli.base.atomic import check_free, new_folder
from ogacli.base.device import device_name, device_of
from ogacli.base.progress import SILENT, Progress
from ogacli.base.seeding import seeded
from ogacli.data import Preview, Samples
from ogacli.detectors import Answering
from ogacli.errors import ConfigError, DataError
from ogacli.models import Model, Network, contributions
from ogacli.models.sources import ModelSource, Snapshot
from ogacli.run.directory import Run, is_run, write_run
from ogacli.run.reports import render
from ogacli.run.summary import summarise
from ogacli.scan.collect import Collector, Partial
from ogacli.scan.held_out import HeldOut
from ogacli.scan.passes import Rescored, Stream, column_names
from ogacli.scan.provenance import checkpoint_sums, provenance
from ogacli.verdict.verdict import judge

if TYPE_CHECKING:
    from ogacli.config import Config
from ogacli.scan.collect import check_partial

_PLANNED = 64
"""Samples that may be neighbours while a scan is planned."""


def scan(
    config: Config,
    *,
    output: str | Path | None = None,
    overwrite: bool = False,
    resume: bool = False,
    progress: Progress = SILENT,
) -> Run:
    """Score every sample and write a run directory.

    Args:
        config: What to scan, with what.
        output: The run directory; the config's ``output`` where left out.
        overwrite: Replace an earlier run there.
        resume: Go on with an interrupted scan of the same config, if there is one.
        progress: Told how far it is.

    Raises:
        OgaError: Anything that the user can mend; nothing is written then.
    """
    folder = output_folder(config, output)
    check_output(folder, overwrite=overwrite)
    started = time.time()
    clock = Clock()
    samples = config.model.prepare(config.data.open())
    _check_budget(config, samples)
    device = device_of(config.gradients.device)
    checkpoints = checkpoint_sums(config.model)
    clock.lap("load")
    with new_folder(folder, overwrite=overwrite, ours=is_run) as work:
        key = _key(config, samples, checkpoints)
        passes = _Passes(config, samples, device)
        columns = column_names(config)
        answering = _answering(config)
        names = tuple(answering) if passes.held_out else ()
        held_out = HeldOut(len(samples), len(samples.classes), names, device)
        partial = Partial(folder, key, len(samples), columns, device, held_out)
        passes.run(partial, resume=resume, progress=progress)
        clock.lap("score")
        findings, stream = partial.gathered.findings(), passes.last
        findings = held_out.judged(findings, samples, answering)
        findings = replace(findings, wrong=next((findings.scores[name] for name in answering), None))
        if len(findings.quarantined) == len(samples):
            first = next(iter(findings.quarantined.items()))
            raise DataError(
                "none of the samples can be scored",
                place=f"sample {samples.ids[first[0]].as_py()!r}, the first of {len(samples)}",
                found=first[1],
            )
        if config.gradients.residual == "neighbours":
            # A mean over neighbours is less sure than each of them, whatever they were trained on.
            findings = replace(findings, entropy=None)
        notes = partial.witness.notes(
            samples,
            stream.model,
            held_out=passes.held_out,
            by_neighbours=stream.neighbours is not None,
        )
        verdict = judge(findings, samples, config.budget, config.protect, notes)
        share = int((verdict.flagged | verdict.held_back).sum()) / verdict.scored
        parameters = stream.feed.gradients.parameters
        write_run(
            work,
            config=config,
            samples=samples,
            verdict=verdict,
            summary=summarise(verdict, samples, parameters, passes.rescored, stream.overlaps(share)),
            provenance=provenance(config, samples, device, checkpoints, stream.feed, stream.validation),
            look=_look(stream) if config.model.returns_loss else None,
        )
        (work / "report.html").write_text(render(Run(work), "html"), encoding="utf-8")
        clock.lap("write")
        timing = {
            "started": started,
            "seconds": clock.laps,
            "detectors": passes.seconds,
            "samples": len(samples),
        }
        (work / "timing.json").write_text(json.dumps(timing, indent=2) + "\n", encoding="utf-8")
    partial.remove()
    return Run.open(folder)


def check_output(folder: Path, *, overwrite: bool) -> None:
    """Make sure that a run directory may be written, and an unfinished scan beside it.

    Raises:
        RunError: Something else stands at one of the places, or a run does and ``overwrite`` is off.
    """
    check_free(folder, overwrite=overwrite, ours=is_run)
    check_partial(folder)


class _Passes:
    """One checkpoint after the other, each with detectors of its own."""

    def __init__(self, config: Config, samples: Samples, device: torch.device) -> None:
        self.config = config
        self.samples = samples
        self.device = device
        self.last: Stream
        self.snapshots = config.model.snapshots(samples)
        self.held_out = all(snapshot.held_out for snapshot in self.snapshots)
        """Whether no sample is scored by a checkpoint that was trained on it."""
        self.rescored: Rescored | None = None
        self.seconds: dict[str, float] | None = None

    def run(self, partial: Partial, *, resume: bool, progress: Progress) -> None:
        """Score every sample by each of the checkpoints that are to score it."""
        snapshots = self.snapshots
        states = partial.load() if resume and partial.exists else []
        for number, snapshot in list(enumerate(snapshots))[partial.checkpoint :]:
            stream = self._stream(snapshot)
            step = "scanning" if len(snapshots) == 1 else f"checkpoint {number + 1} of {len(snapshots)}"
            stream.run(partial, states, progress=progress, step=step)
            together = len(snapshots) > 1 and len(snapshot.rows) == len(self.samples)
            weight = _weight(partial.collector, self.samples) if together else 1.0
            partial.next(snapshot.rows, weight)
            self._add(stream)
            states = []
            if partial.checkpoint < len(snapshots):
                partial.save([])

    def _stream(self, snapshot: Snapshot) -> Stream:
        if hasattr(self, "last"):
            del self.last  # two sets of weights at a time would be one too many
        model = load_model(snapshot.source, self.samples, self.device)
        self.last = Stream(self.config, self.samples, model, self.device, snapshot.rows)
        return self.last

    def _add(self, stream: Stream) -> None:
        if (again := stream.rescored) is not None:
            before = self.rescored or Rescored(0, 0)
            self.rescored = Rescored(before.samples + again.samples, before.changed + again.changed)
        if (taken := stream.seconds()) is not None:
            before_ = self.seconds or {}
            self.seconds = {name: round(before_.get(name, 0) + one, 4) for name, one in taken.items()}


def _check_budget(config: Config, samples: Samples) -> None:
    if config.budget.value == "auto" and not samples.categorical:
        raise ConfigError(
            "wrong labels can be counted only where each sample has one class",
            place="budget",
            found="auto",
            expected="a share such as 0.05, or a count",
        )


def _answering(config: Config) -> dict[str, Answering]:
    """The detectors that tell how probably each label is wrong, by score column."""
    found = zip(column_names(config), (options.detector() for options in config.detectors), strict=True)
    return {name: detector for name, detector in found if isinstance(detector, Answering)}


def _weight(collector: Collector, samples: Samples) -> float:
    """How much one of several checkpoints of a training counts: the square of its share of unlearned labels.

    A checkpoint that knows all labels by heart has next to nothing left to tell right from wrong ones by.
    Chosen on `benchmarks/detection.py`: better than equal weights, ranks, or the first half of a training.
    """
    known = int((collector.predictions >= 0).sum())
    if not samples.categorical or not known:
        return 1.0
    return (max(1, collector.contradicted(samples.labels)) / known) ** 2


@dataclass(frozen=True, slots=True)
class Plan:
    """What a scan would do, found out on one batch."""

    output: Path
    samples: int
    classes: int
    parameters: dict[str, int]
    device: str
    batch_size: int
    detectors: tuple[str, ...]
    checkpoints: int
    """Sets of weights: one after the other scores its samples."""
    seconds: float
    """Estimate for the whole scan, from the pace of one batch."""

    def document(self) -> dict[str, Any]:
        """As JSON."""
        return {"schema_version": 1} | asdict(self) | {"output": str(self.output)}


def plan(config: Config, *, output: str | Path | None = None, overwrite: bool = False) -> Plan:
    """Check config, data and model by computing the gradients of one batch twice; writes nothing.

    Raises:
        OgaError: What a scan would raise at its start.
    """
    folder = output_folder(config, output)
    check_output(folder, overwrite=overwrite)
    samples = config.model.prepare(config.data.open())
    _check_budget(config, samples)
    device = device_of(config.gradients.device)
    snapshots = config.model.snapshots(samples)
    model = load_model(snapshots[0].source, samples, device)
    stream = Stream(config, samples, model, device, snapshots[0].rows)
    some = torch.arange(min(_PLANNED, len(samples)))
    stream.see_neighbours(Collector(len(samples), (), device), SILENT, some)
    size = stream.feed.batch_size()
    rows = snapshots[0].rows[:size]
    pace = 0.0
    for _ in range(2):  # the first time warms up
        began = time.perf_counter()
        for batch in stream.feed(rows, Collector(len(samples), (), device)):
            batch.norm(2)
        pace = (time.perf_counter() - began) / len(rows)
    return Plan(
        output=folder,
        samples=len(samples),
        classes=len(samples.classes),
        parameters=dict(stream.feed.gradients.parameters),
        device=device_name(device),
        batch_size=size,
        detectors=column_names(config),
        checkpoints=len(snapshots),
        seconds=round(pace * sum(len(snapshot.rows) for snapshot in snapshots), 1),
    )


def _look(stream: Stream) -> Callable[[int], Preview]:
    """How the samples of a network that returns its loss are shown."""
    model = stream.model
    assert isinstance(model, Network)
    return lambda row: contributions.preview(model, stream.samples, row, stream.device)


def load_model(source: ModelSource, samples: Samples, device: torch.device) -> Model:
    """The model on its device; what building it draws at random is nobody else's and always the same."""
    with seeded(0, device):
        model = source.load(samples)
    model.to(device)
    return model


def output_folder(config: Config, output: str | Path | None) -> Path:
    """Where the run directory goes.

    Raises:
        ConfigError: Neither the config nor the caller says so.
    """
    if output is None and config.output is None:
        raise ConfigError("no output given", hint="add `output: runs/NAME` to the config, or --output DIR")
    folder = str(output or config.output)
    if "://" in folder:
        raise ConfigError(
            "a run directory is a local folder", place="output", found=folder, expected="a path"
        )
    return Path(folder).absolute()


@dataclass
class Clock:
    """Seconds of each step."""

    laps: dict[str, float] = field(default_factory=dict)
    _last: float = field(default_factory=time.perf_counter)

    def lap(self, name: str) -> None:
        """End the step of that name."""
        now = time.perf_counter()
        self.laps[name] = round(now - self._last, 3)
        self._last = now


def _key(config: Config, samples: Samples, checkpoints: dict[str, str]) -> str:
    """What an unfinished scan must share with the one that resumes it."""
    document = json.dumps([config.resolved, samples.fingerprint, checkpoints], sort_keys=True, default=str)
    return hashlib.sha256(document.encode()).hexdigest()
