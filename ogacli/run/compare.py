"""``oga compare``: the scores of one or several runs side by side.

In: runs of the same dataset. Out: for each score column its agreement with the first one, its time, and its
detection figures where the truth is known. Each column flags the same number of samples: as many as the first
run flagged.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float
from pydantic import BaseModel, ConfigDict

from ogacli.errors import RunError
from ogacli.run.directory import Run
from ogacli.verdict.evaluation import Evaluation, evaluate

SCHEMA_VERSION = 1


class Column(BaseModel):
    """One score column."""

    model_config = ConfigDict(frozen=True)

    run: str
    detector: str
    correlation: float | None
    """Spearman's rank correlation with the first column; None where either is constant."""
    overlap: float | None
    """Share of the samples flagged by the first column that this one flags too; None where none is."""
    seconds: float | None
    """The detector's time without that of the gradients, fitting included; None where it was not measured."""
    scored: int
    evaluation: Evaluation | None
    """None where the truth is unknown."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """Score columns side by side; the others are compared with the first."""

    samples: int
    flagged: int
    """Samples that each column flags."""
    columns: tuple[Column, ...]

    def document(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "schema_version": SCHEMA_VERSION,
            "samples": self.samples,
            "flagged": self.flagged,
            "columns": [column.model_dump(mode="json") for column in self.columns],
        }


def compare(runs: Sequence[Run | str | Path] | Run | str | Path) -> Comparison:
    """Compare every score column of the runs with the first one of the first run.

    Args:
        runs: One or several runs or folders of runs, all of the same dataset.

    Raises:
        RunError: They are of different datasets, or cannot be read.
    """
    several = runs if isinstance(runs, Sequence) and not isinstance(runs, str) else [runs]
    opened = [Run.open(run) for run in several]
    if not opened:
        raise RunError("no run", place="runs", expected="at least one")
    first = opened[0]
    for run in opened:
        run.check_fits()
        _check_same_data(first, run)
    wrong = _wrong(first)
    flagged = first.summary.flagged
    columns: list[Column] = []
    reference: Float[np.ndarray, " n"] | None = None
    for run, name in zip(opened, _names(opened), strict=True):
        for detector, score in scores_of(run).items():
            reference = score if reference is None else reference
            columns.append(_column(name, detector, score, reference, flagged, wrong, _seconds(run, detector)))
    return Comparison(first.summary.samples, flagged, tuple(columns))


def _column(
    run: str,
    detector: str,
    score: Float[np.ndarray, " n"],
    reference: Float[np.ndarray, " n"],
    flagged: int,
    wrong: Bool[np.ndarray, " n"] | None,
    seconds: float | None,
) -> Column:
    from torch import from_numpy

    own, other = _flags(score, flagged), _flags(reference, flagged)
    return Column(
        run=run,
        detector=detector,
        correlation=_correlation(score, reference),
        overlap=float((own & other).sum() / other.sum()) if other.any() else None,
        seconds=seconds,
        scored=int(np.isfinite(score).sum()),
        evaluation=None if wrong is None else evaluate(from_numpy(score), from_numpy(wrong), from_numpy(own)),
    )


def scores_of(run: Run) -> dict[str, Float[np.ndarray, " n"]]:
    """The score columns by detector, the deciding one first; NaN where a sample is quarantined."""
    names = run.summary.detectors
    found = {names[0]: "score"} | {name: f"score_{name}" for name in names[1:]}
    missing = [column for column in found.values() if column not in run.scores.column_names]
    if missing:
        raise RunError(f"no column {', '.join(missing)}", place=str(run.path / "scores.parquet"))
    return {name: np.array(run.scores[column].to_numpy(), dtype=np.float64) for name, column in found.items()}


def _flags(score: Float[np.ndarray, " n"], count: int) -> Bool[np.ndarray, " n"]:
    from torch import from_numpy

    from ogacli.verdict.ranks import flag

    return flag(from_numpy(score), count).numpy()


def _correlation(one: Float[np.ndarray, " n"], other: Float[np.ndarray, " n"]) -> float | None:
    """Spearman's rank correlation over the samples that both scored."""
    from scipy.stats import rankdata

    both = np.isfinite(one) & np.isfinite(other)
    a, b = rankdata(one[both]), rankdata(other[both])
    if len(a) < 2 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return None
    return float(np.corrcoef(a, b)[0, 1])


def _wrong(run: Run) -> Bool[np.ndarray, " n"] | None:
    """Which labels differ from the truth; None unless it is known for every sample."""
    table = run.scores
    if "truth" not in table.column_names or table["truth"].null_count:
        return None
    if "wrong" in table.column_names:
        return np.array(table["wrong"].to_pylist(), dtype=bool)
    labels, truth = table["label"].to_pylist(), table["truth"].to_pylist()
    return np.array([label != true for label, true in zip(labels, truth, strict=True)])


def _seconds(run: Run, detector: str) -> float | None:
    if not (run.path / "timing.json").is_file():
        return None
    found = (run.timing.get("detectors") or {}).get(detector)
    return None if found is None else float(found)


def _names(runs: Sequence[Run]) -> list[str]:
    """The names of the folders, or their whole paths where a name repeats."""
    names = [run.path.resolve().name for run in runs]
    return names if len(set(names)) == len(names) else [str(run.path) for run in runs]


def _check_same_data(first: Run, run: Run) -> None:
    expected, found = (one.provenance.get("dataset", {}) for one in (first, run))
    if expected.get("fingerprint") != found.get("fingerprint"):
        raise RunError(
            "the runs are of different datasets",
            place=str(run.path),
            found=f"{found.get('samples')} samples, fingerprint {str(found.get('fingerprint'))[:12]}",
            expected=f"{expected.get('samples')} samples, fingerprint "
            f"{str(expected.get('fingerprint'))[:12]}, as in {first.path}",
            hint="compare runs that scanned the same samples with the same labels",
        )
