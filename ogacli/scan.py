"""``oga scan``: the composition. Config -> samples, model -> gradients -> scores -> run directory.

One pass over the data where the samples that the detectors must see first can be held as factors; those
are then scored from memory, and the others as they stream by.
"""

import functools
import hashlib
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Int64
from torch import Tensor

from ogacli.config import Config
from ogacli.data import Batch, Samples
from ogacli.data.loader import batches
from ogacli.detectors import Comparing, Detector
from ogacli.device import device_name, device_of
from ogacli.errors import ConfigError, DataError
from ogacli.findings import Collector, Partial, finite, unseen
from ogacli.fit import seeded
from ogacli.folders import check_free, new_folder
from ogacli.gradients import GradientBatch, capture
from ogacli.models import Model
from ogacli.progress import SILENT, Progress
from ogacli.provenance import checkpoint_sums, provenance
from ogacli.registry import type_name
from ogacli.reports import render
from ogacli.run import Run, is_run, write_run
from ogacli.stopwatch import Stopwatch
from ogacli.summary import summarise
from ogacli.validation import mean_validation_gradient, open_validation
from ogacli.verdict import judge

_HELD_BYTES = 256 << 20
"""Gradient factors that may be held in memory between fitting and scoring."""
_BATCH_BYTES = 4 << 20
"""Inputs of a batch where its size is left to us; on a GPU sixteen times as much."""


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
    check_free(folder, overwrite=overwrite, ours=is_run)
    started = time.time()
    clock = Clock()
    samples = config.data.open()
    device = device_of(config.gradients.device)
    model = _load_model(config, samples, device)
    checkpoints = checkpoint_sums(config.model)
    clock.lap("load")
    with new_folder(folder, overwrite=overwrite, ours=is_run) as work:
        stream = Stream(config, samples, model, device)
        partial = Partial(folder, _key(config, samples, checkpoints))
        collector = stream.run(partial, resume=resume, progress=progress)
        clock.lap("score")
        findings = collector.findings()
        if len(findings.quarantined) == len(samples):
            first = next(iter(findings.quarantined.items()))
            raise DataError(
                "none of the samples can be scored",
                place=f"sample {samples.ids[first[0]].as_py()!r}, the first of {len(samples)}",
                found=first[1],
            )
        verdict = judge(findings, samples, config.budget)
        parameters = stream.gradients.parameters
        write_run(
            work,
            config=config,
            samples=samples,
            verdict=verdict,
            summary=summarise(verdict, samples, parameters),
            provenance=provenance(config, samples, device, checkpoints, parameters, stream.validation),
        )
        (work / "report.html").write_text(render(Run(work), "html"), encoding="utf-8")
        clock.lap("write")
        timing = {
            "started": started,
            "seconds": clock.laps,
            "detectors": stream.seconds(),
            "samples": len(samples),
        }
        (work / "timing.json").write_text(json.dumps(timing, indent=2) + "\n", encoding="utf-8")
    partial.remove()
    return Run.open(folder)


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
    check_free(folder, overwrite=overwrite, ours=is_run)
    samples = config.data.open()
    device = device_of(config.gradients.device)
    model = _load_model(config, samples, device)
    stream = Stream(config, samples, model, device)
    size = stream.batch_size()
    rows = torch.arange(min(size, len(samples)))
    pace = 0.0
    for _ in range(2):  # the first time warms up
        began = time.perf_counter()
        for batch in stream.gradients_of(rows, Collector(len(samples), (), device)):
            batch.norm(2)
        pace = (time.perf_counter() - began) / len(rows)
    return Plan(
        output=folder,
        samples=len(samples),
        classes=len(samples.classes),
        parameters=dict(stream.gradients.parameters),
        device=device_name(device),
        batch_size=size,
        detectors=column_names(config),
        seconds=round(pace * len(samples), 1),
    )


def _load_model(config: Config, samples: Samples, device: torch.device) -> Model:
    """The model on its device; what building it draws at random is nobody else's and always the same."""
    with seeded(0, device):
        model = config.model.load(samples)
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


@dataclass(frozen=True, slots=True)
class Passes:
    """Batches that may be gone through several times; what is not in memory is computed again."""

    begin: Callable[[], Iterator[GradientBatch]]
    watch: Stopwatch
    """Of the detector that goes through them."""

    def __iter__(self) -> Iterator[GradientBatch]:
        return self.watch.without(self.begin())


class Stream:
    """The passes over the data that fit the detectors and score the samples."""

    def __init__(self, config: Config, samples: Samples, model: Model, device: torch.device) -> None:
        self.config = config
        self.samples = samples
        self.model = model
        self.device = device
        self.gradients = capture(model, config.loss.loss(), config.gradients)
        self.detectors: list[Detector] = [options.detector() for options in config.detectors]
        self.validation = (
            open_validation(config.validation, samples, model)
            if config.validation is not None and self._comparing()
            else None
        )
        self._watches = [Stopwatch() for _ in self.detectors]

    def run(self, partial: Partial, *, resume: bool, progress: Progress) -> Collector:
        """Fit and score; an interruption leaves what was done in ``partial``."""
        collector = Collector(len(self.samples), column_names(self.config), self.device)
        held: list[GradientBatch] = []
        if resume and partial.exists:
            partial.check()
            for detector, state in zip(self.detectors, partial.load(collector), strict=True):
                detector.restore(state)
        else:
            held = self._fit(collector, progress)
        with progress.bar("scanning", len(self.samples)) as advance:
            for batch in held:
                self._score(batch, collector)
            advance(int(collector.done.sum()))
            held.clear()
            try:
                for batch in self.gradients_of(unseen(collector), collector):
                    self._score(batch, collector)
                    advance(len(batch))
                    partial.save(collector, self._states())
            except KeyboardInterrupt:
                partial.save(collector, self._states(), now=True)
                raise
        labels = self.samples.labels.to(self.device)
        for i, (detector, watch) in enumerate(zip(self.detectors, self._watches, strict=True)):
            known = torch.isfinite(collector.scores[i])
            with watch:
                collector.scores[i, known] = detector.finish(collector.scores[i, known], labels[known])
        return collector

    def seconds(self) -> dict[str, float] | None:
        """What each detector took beyond the gradients; None on a GPU, which does not wait to be timed."""
        if self.device.type != "cpu":
            return None
        names = column_names(self.config)
        return {name: round(watch.total, 4) for name, watch in zip(names, self._watches, strict=True)}

    def _states(self) -> list[dict[str, Tensor]]:
        return [detector.state() for detector in self.detectors]

    def _fit(self, collector: Collector, progress: Progress) -> list[GradientBatch]:
        """Show each detector the samples that it must see; returns those that were held in memory."""
        n = len(self.samples)
        self._show_validation(progress)
        sizes = [detector.fit_size(n) for detector in self.detectors]
        held: list[GradientBatch] = []
        if not any(sizes):
            return held
        first: int | None = None
        for i, (size, options) in enumerate(zip(sizes, self.config.detectors, strict=True)):
            if not size:
                continue
            # Each sees the order that its own seed gives, so that it finds what it would find alone.
            seed = getattr(options, "seed", 0)
            first = seed if first is None else first
            rows = torch.randperm(n, generator=torch.Generator().manual_seed(seed))
            own = held if seed == first else None
            watch = self._watches[i]
            again = functools.partial(self._fit_batches, rows, size, own, collector, progress)
            with watch:
                self.detectors[i].fit(Passes(again, watch))
        return held

    def _comparing(self) -> list[Comparing]:
        return [one for one in self.detectors if isinstance(one, Comparing) and one.wants_validation]

    def _show_validation(self, progress: Progress) -> None:
        """The mean validation gradient is computed once for all detectors that want it."""
        if self.validation is None:
            return
        mean = mean_validation_gradient(
            self.validation,
            self.gradients,
            batch_size=self.batch_size(),
            device=self.device,
            workers=self.config.data.workers,
            progress=progress,
        )
        for detector in self._comparing():
            detector.see_validation(mean)

    def _fit_batches(
        self,
        rows: Int64[Tensor, " n"],
        size: int,
        held: list[GradientBatch] | None,
        collector: Collector,
        progress: Progress,
    ) -> Iterator[GradientBatch]:
        """The first ``size`` samples of ``rows`` whose gradients are finite.

        What fits in memory is kept in ``held`` for the next pass or detector of the same order and for the
        scoring.
        """
        with progress.bar("fitting", size) as advance:
            for batch in self._usable(rows, size, held, collector):
                advance(len(batch))
                yield batch

    def _usable(
        self,
        rows: Int64[Tensor, " n"],
        size: int,
        held: list[GradientBatch] | None,
        collector: Collector,
    ) -> Iterator[GradientBatch]:
        given = 0
        for batch in held or ():
            if given < size:
                usable = batch.select(slice(0, size - given))
                given += len(usable)
                yield usable
        if given >= size:
            return
        seen = torch.zeros(len(self.samples), dtype=torch.bool)
        for batch in held or ():
            seen[batch.rows] = True
        seen[list(collector.quarantined)] = True
        room = _HELD_BYTES - sum(batch.nbytes for batch in held or ())
        for batch in self.gradients_of(rows[~seen[rows]], collector):
            good = finite(batch)
            usable = batch if good.all() else batch.select(good.nonzero()[:, 0])
            room -= usable.nbytes
            if held is not None and room >= 0:
                held.append(usable)
            usable = usable.select(slice(0, size - given))
            given += len(usable)
            yield usable
            if given >= size:
                return

    def gradients_of(self, rows: Int64[Tensor, " m"], collector: Collector) -> Iterator[GradientBatch]:
        """The gradients of these rows, in their order; unreadable ones are noted."""
        for batch in self._read(rows):
            if batch.quarantined:
                collector.quarantine(batch.quarantined)
            if len(batch.rows):
                yield self.gradients(batch)

    def _read(self, rows: Int64[Tensor, " m"]) -> Iterator[Batch]:
        size = self.batch_size()
        if self.model.reads_inputs:
            pin = self.device.type == "cuda"
            workers = self.config.data.workers
            for batch in batches(self.samples, rows, size, workers=workers, pin=pin):
                yield batch.to(self.device)
        else:
            for chunk in rows.split(size):
                yield Batch(chunk, None, self.samples.labels[chunk].to(self.device), {})

    def batch_size(self) -> int:
        """As configured; otherwise so many that the inputs take some megabytes."""
        size = self.config.gradients.batch_size
        if size != "auto":
            return size
        if not self.model.reads_inputs:
            return 4096
        each = _bytes_of_one(self.samples)
        budget = _BATCH_BYTES * (16 if self.device.type == "cuda" else 1)
        return max(16, min(2048, budget // each))

    def _score(self, batch: GradientBatch, collector: Collector) -> None:
        scores = []
        for detector, watch in zip(self.detectors, self._watches, strict=True):
            with watch:
                scores.append(detector.score(batch))
        collector.add(batch, scores, self.samples.categorical)


def _bytes_of_one(samples: Samples) -> int:
    """Bytes of a sample's inputs: the mean of the first eight that can be read, if those come early."""
    for start in range(0, min(128, len(samples)), 8):
        probe = samples.read(range(start, min(start + 8, len(samples))))
        if len(probe.rows):
            return max(1, probe.nbytes // len(probe.rows))
    return 1


def column_names(config: Config) -> tuple[str, ...]:
    """A name for each detector's scores: its own, numbered where it occurs more than once."""
    names: list[str] = []
    for options in config.detectors:
        name = type_name(options)
        if getattr(options, "per_class", False):
            name += "_per_class"
        same = sum(
            known == name or (known.startswith(f"{name}_") and known[len(name) + 1 :].isdigit())
            for known in names
        )
        names.append(f"{name}_{same + 1}" if same else name)
    return tuple(names)


def _key(config: Config, samples: Samples, checkpoints: dict[str, str]) -> str:
    """What an unfinished scan must share with the one that resumes it."""
    document = json.dumps([config.resolved, samples.fingerprint, checkpoints], sort_keys=True, default=str)
    return hashlib.sha256(document.encode()).hexdigest()
