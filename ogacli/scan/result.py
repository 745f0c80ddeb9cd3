"""``ScanResult``: the result of a scan in memory, which can be written as a run directory."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
from torch import Tensor

from ogacli.base.atomic import new_folder, writing
from ogacli.data import Preview, Samples
from ogacli.run.directory import STATE, Run, is_run
from ogacli.run.reports import report
from ogacli.run.scores import scores_table
from ogacli.run.summary import Summary
from ogacli.run.writing import write_run
from ogacli.scan.collected.beside import Beside
from ogacli.scan.earlier.since import write_state
from ogacli.scan.stopwatch import Clock
from ogacli.verdict.judge import Verdict


@dataclass(frozen=True)
class ScanResult:
    """Scores, flags and reasons of every sample."""

    samples: Samples
    verdict: Verdict
    summary: Summary
    """Counts, the diagnosis of the checkpoint, the estimated share of wrong labels."""
    provenance: Mapping[str, Any]
    """Versions, device, fingerprints of dataset and weights."""
    settings: Mapping[str, Any]
    """The options of the scan as plain values."""
    timing: Mapping[str, Any]
    preview: Callable[[int], Preview]
    """A picture or text of the sample of a row."""
    beside: Beside
    """What a person compares with the most anomalous samples."""
    clock: Clock
    state: Mapping[str, Tensor] | None = None
    """What a later scan with ``--since`` takes beside the scores; None where it cannot take anything."""

    def table(self) -> pa.Table:
        """The columns of ``scores.parquet``, a row a sample in the order of the dataset."""
        return scores_table(self.verdict, self.samples)

    def save(self, path: str | Path, *, overwrite: bool = False) -> Run:
        """Write a run directory, with its report.

        Args:
            path: The folder to write.
            overwrite: Replace an earlier run there.

        Raises:
            RunError: Something else stands there, or it cannot be written; nothing is changed then.
        """
        folder = Path(path).absolute()
        self.clock.resume()
        with new_folder(folder, overwrite=overwrite, ours=is_run) as work, writing(folder):
            write_run(
                work,
                settings=self.settings,
                samples=self.samples,
                verdict=self.verdict,
                summary=self.summary,
                provenance=self.provenance,
                preview=self.preview,
                beside=self.beside.beside,
                gradient_map=self.beside.gradient_map,
            )
            if self.state is not None:
                write_state(self.state, work / STATE)
            (work / "report.html").write_text(report(Run(work)), encoding="utf-8")
            self.clock.lap("write")
            (work / "timing.json").write_text(json.dumps(self.timing, indent=2) + "\n", encoding="utf-8")
        return Run.open(folder)
