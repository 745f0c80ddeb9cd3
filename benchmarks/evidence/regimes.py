"""Detection by weights: one fresh checkpoint, one that has memorised the labels, all, or folds.

In: a ``Case``. Out: rows of the tables: how good each score ranks, and how good each cut is.
"""

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from evidence import ours, peers
from evidence.sets import Case
from evidence.training import Predictions, Record, fold_rows, kept_epochs, record
from ogacli.data import Samples
from ogacli.detectors import LabelDetector
from ogacli.models.tasks.classification import Classification
from ogacli.scan.collected.collect import Collector
from ogacli.scan.scorers import Scored
from ogacli.verdict.budget import Budget
from ogacli.verdict.evaluation import evaluate
from ogacli.verdict.findings import Findings
from ogacli.verdict.judge import judge
from ogacli.verdict.ranks import flag

VERSION = 8
"""Raised when what is scored, or how, changes."""
REGIMES = ("memorised", "memorised, neighbours", "fresh", "trajectory", "folds")
Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Pass:
    """One checkpoint at work."""

    predictions: Predictions
    rows: Int64[Tensor, " m"]
    weight: float = 1.0


def rows_of(case: Case, folder: Path) -> list[Row]:
    """All rows of a case; from the disk where they are there.

    Raises:
        Missing: The set cannot be had.
    """
    path = folder / f"{case.name}-{case.noise}-{case.seed}-rows-{VERSION}.json"
    if not path.is_file():
        found = _found(case, folder)
        path.write_text(json.dumps(found), encoding="utf-8")
    return json.loads(path.read_text(encoding="utf-8"))  # type: ignore[no-any-return]


def _found(case: Case, folder: Path) -> list[Row]:
    torch.set_num_threads(1)
    samples, found = case.samples(folder), record(case, folder)
    assert samples.truth is not None
    rows = []
    for regime in REGIMES:
        head = {"set": case.name, "noise": case.noise, "seed": case.seed, "regime": regime}
        some = [*_ours(case, samples, found, regime), *_peers(case, samples, found, regime)]
        rows += [head | row for row in some]
    return rows


def _ours(case: Case, samples: Samples, found: Record, regime: str) -> Iterator[Row]:
    all_ = regime in ("fresh", "folds") and not case.seed  # what is slow is done once
    names = tuple(ours.DETECTORS) if all_ else ours.QUICK
    findings, seconds = _scanned(case, samples, found, regime, names)
    # As `ogacli.scan` does.
    findings = replace(findings, wrong=findings.scores["latent_label"], held_out=regime == "folds")
    if regime == "memorised, neighbours":
        findings = replace(findings, entropy=None)
    verdict = judge(findings, samples.class_index, Budget("auto"), "off")
    wrong = samples.truth != samples.labels
    for name, score in findings.scores.items():
        who = "peer" if name in ours.COMPARED else "ours"
        yield {"name": name, "who": who, "seconds": seconds[name]} | _ranking(score, wrong)
    assert verdict.estimate is not None
    share = verdict.estimate
    error = {"rate": share.share, "low": share.low, "high": share.high, "true": float(wrong.double().mean())}
    for name in ("latent_label", "l2"):
        cut = flag(findings.scores[name], share.count(len(samples)))
        yield {"name": f"{name}, auto", "who": "ours"} | _cut(cut, wrong) | error


def _scanned(
    case: Case, samples: Samples, found: Record, regime: str, names: Sequence[str]
) -> tuple[Findings, dict[str, float]]:
    """As ``oga scan`` does it: detectors of its own for each checkpoint, and a weighted mean over them."""
    seconds = dict.fromkeys(names, 0.0)
    chosen = {name: ours.options(name).detector() for name in names}
    by_label = {name: one for name, one in chosen.items() if isinstance(one, LabelDetector)}
    folds = tuple(by_label) if regime == "folds" else ()
    collector = Collector(samples, names, torch.device("cpu"), evidence_of=folds)
    for one in _passes(case, samples, found, regime):
        neighbours = regime == "memorised, neighbours"
        batch = ours.gradients(one.predictions, samples.labels, one.rows, neighbours=neighbours)
        scores, fitted = [], {}
        for name in names:
            began = time.perf_counter()
            fitted[name] = ours.fitted(name, batch, held_out=regime == "folds")
            scores.append(ours.scores(fitted[name], batch))
            seconds[name] += time.perf_counter() - began
        evidence = {name: fitted[name].evidence(batch) for name in by_label}
        collector.add(batch, Scored(scores, evidence, None), Classification())
        first = next((fitted[name] for name in by_label), None)
        signals = first.signals if isinstance(first, LabelDetector) else None
        collector.next_checkpoint(one.rows, one.weight, signals=signals)
    return collector.evidence.judged(collector.findings(), samples, by_label), seconds


def _passes(case: Case, samples: Samples, found: Record, regime: str) -> list[Pass]:
    everyone = torch.arange(len(samples))
    match regime:
        case "fresh":
            return [Pass(found.at(case.recipe.fresh), everyone)]
        case "folds":
            return [Pass(found.folds, rows) for rows in fold_rows(len(samples), case.seed)]
        case "trajectory":
            predictions = [found.at(epoch) for epoch in kept_epochs(case)]
            return [Pass(one, everyone, _weight(one, samples.labels)) for one in predictions]
        case _:
            return [Pass(found.at(case.recipe.epochs), everyone)]


def _weight(predictions: Predictions, labels: Int64[Tensor, " n"]) -> float:
    """As in ``ogacli.scan``."""
    unlearned = int((predictions.logits.argmax(1) != labels).sum())
    return (max(1, unlearned) / len(labels)) ** 2


def _peers(case: Case, samples: Samples, found: Record, regime: str) -> Iterator[Row]:
    assert samples.truth is not None
    labels, wrong = samples.labels, samples.truth != samples.labels
    if regime == "trajectory":
        yield {"name": "area under the margin", "who": "peer"} | _ranking(
            peers.area_under_margin(found.logits, labels), wrong
        )
        began = time.perf_counter()
        score = peers.captum_tracing(found, kept_epochs(case), labels)
        seconds = {"seconds": time.perf_counter() - began}
        yield {"name": "captum TracInCPFast", "who": "peer"} | seconds | _ranking(score, wrong)
    elif regime in ("fresh", "memorised", "folds"):
        [first, *_] = _passes(case, samples, found, regime)
        logits = first.predictions.logits
        for name, score in peers.cleanlab_scores(logits, labels):
            yield {"name": name, "who": "peer"} | _ranking(score, wrong)
        rate = {"rate": peers.cleanlab_rate(logits, labels), "true": float(wrong.double().mean())}
        for name, cut in peers.cleanlab_cuts(logits, labels).items():
            yield {"name": name, "who": "peer"} | _cut(cut, wrong) | rate


def _ranking(score: Float[Tensor, " n"], wrong: Bool[Tensor, " n"]) -> Row:
    found = evaluate(score, wrong, flag(score, int(wrong.sum())))
    return {
        "auroc": found.auroc,
        "ap": found.average_precision,
        "precision": found.precision_at_budget,
    }


def _cut(flagged: Bool[Tensor, " n"], wrong: Bool[Tensor, " n"]) -> Row:
    """F1; where nothing is wrong, it is not defined, and the flagged share counts."""
    hits, total = int((flagged & wrong).sum()), int(flagged.sum()) + int(wrong.sum())
    return {"f1": 2 * hits / total if wrong.any() else None, "flagged": float(flagged.double().mean())}
