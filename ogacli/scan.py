"""``oga scan``: the composition. Config -> samples, model -> gradients -> scores -> run directory."""

import hashlib
import json
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from ogacli.config import Config
from ogacli.data import Samples
from ogacli.device import device_name, device_of
from ogacli.errors import ConfigError, DataError
from ogacli.findings import Collector, Partial
from ogacli.fit import seeded
from ogacli.folders import check_free, new_folder
from ogacli.models import Model
from ogacli.progress import SILENT, Progress
from ogacli.provenance import checkpoint_sums, provenance
from ogacli.reports import render
from ogacli.run import Run, is_run, write_run
from ogacli.stream import Stream, column_names
from ogacli.summary import summarise
from ogacli.verdict import judge


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
        parameters = stream.feed.gradients.parameters
        write_run(
            work,
            config=config,
            samples=samples,
            verdict=verdict,
            summary=summarise(verdict, samples, parameters, stream.rescored),
            provenance=provenance(config, samples, device, checkpoints, stream.feed, stream.validation),
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
    size = stream.feed.batch_size()
    rows = torch.arange(min(size, len(samples)))
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


def _key(config: Config, samples: Samples, checkpoints: dict[str, str]) -> str:
    """What an unfinished scan must share with the one that resumes it."""
    document = json.dumps([config.resolved, samples.fingerprint, checkpoints], sort_keys=True, default=str)
    return hashlib.sha256(document.encode()).hexdigest()
