"""Whether the scores of a checkpoint can be trusted: it may have memorised wrong labels, or learned little.

In: the predictions for all samples, and the features of some thousand. Out: a ``Diagnosis``. It rests on the
labels that the labels of a sample's nearest neighbours in feature space contradict. A network learns wrong
labels last, so the share of the contradicted labels that it predicts is close to the share of the wrong
labels that it has memorised.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict

from ogacli.base.distribution import Distribution
from ogacli.base.wording import cut, percent
from ogacli.verdict.estimate import Estimate, hardly_learned

if TYPE_CHECKING:  # reading a summary needs no torch
    from jaxtyping import Int64
    from torch import Tensor

    from ogacli.verdict.findings import Findings, Probed

_COUNT = 20
"""Neighbours of a sample whose labels are compared with its own."""
MEMORISED = 0.5
"""A checkpoint that predicts this share of the contradicted labels has memorised them."""
CONTRADICTED, FIRMLY = 0.05, 0.02
"""Shares of contradicted and of firmly contradicted labels that occur on clean data, as some samples lie
between two classes. Where both shares are lower, nothing is concluded."""
_FIRM = 0.2
"""A label that at most this share of the neighbours has is firmly contradicted."""
_FEWEST = 10
"""Contradicted labels below which nothing is concluded from them."""
PERFECT = 0.995
"""Where features are not known: from this accuracy on a checkpoint counts as memorised."""
CONCENTRATED = 0.45
"""On clean data that is easy to learn, 5 % of the samples have at least this share of the missing probability
of all given labels. Where the features of each given label have collapsed into one point, it is spread evenly
over the samples."""
_BEHIND = 0.1
"""A checkpoint whose accuracy is so far below that of the neighbours' majority vote has hardly learned
yet."""

_CAUSES = 3
"""Reasons of lost samples that are named."""

State = Literal["fresh", "useful", "uncertain", "memorised"]
_ADVICE: dict[State, str] = {
    "fresh": "train a little longer, or take a later checkpoint",
    "useful": "look at the most anomalous samples first",
    "uncertain": "look at the most anomalous samples before any is dropped; a stronger model, or folds, may "
    "tell wrong labels from the model's own mistakes",
    "memorised": "take an earlier checkpoint, several of one training, folds, or "
    "`gradients.residual: neighbours`",
}


class Quantiles(BaseModel):
    """Quantiles of a distribution."""

    model_config = ConfigDict(frozen=True)

    q05: float
    q25: float
    q50: float
    q75: float
    q95: float


class NeighbourLabels(BaseModel):
    """The labels of samples compared with those of their nearest neighbours in feature space."""

    model_config = ConfigDict(frozen=True)

    samples: int
    """How many samples were compared; their neighbours were searched among the same samples."""
    contradicted: float
    """Share of them whose label is not the most frequent one among their neighbours."""
    firmly: float
    """Share of them whose label at most a fifth of the neighbours has."""
    learned: float | None
    """Share of the contradicted labels that the model predicts nevertheless; None where there are none."""


class Diagnosis(BaseModel):
    """How far the scores can be trusted."""

    model_config = ConfigDict(frozen=True)

    verdict: State | None = None
    """``memorised``: the flags mean little. ``fresh``: the flags show hard samples rather than wrong labels.
    ``uncertain``: the share of wrong labels cannot be told. None without classes."""
    reason: str = ""
    """Why: the figures behind the verdict."""
    advice: str = ""
    """What to do next."""
    fit: float | None
    """Accuracy on the given labels: the share of the scored samples whose prediction is the given label; None
    without classes."""
    mean_agreement: float | None
    """The model's mean probability of the given label."""
    residual: Quantiles | None = None
    """1 minus the model's probability of the given label."""
    concentration: float | None = None
    """The share of ``residual``, summed over all samples, that belongs to the 5 % of samples with the
    largest."""
    neighbours: NeighbourLabels | None = None
    """None where features are unknown or of several folds, or predictions are those of the neighbours."""
    held_out: bool = False
    """Whether each sample was scored by a checkpoint that was not trained on it."""
    warnings: tuple[str, ...]


NOT_DIAGNOSED = Diagnosis(fit=None, mean_agreement=None, warnings=())
"""Where samples do not have one class each."""


class CheckpointDiagnosis(BaseModel):
    """One of several checkpoints."""

    model_config = ConfigDict(frozen=True)

    name: str
    """Its file or folder, without what all have in common."""
    counts: bool
    """Whether scores and predictions of the run rest on it. With folds all count. Of several checkpoints of
    one training those count that are useful; where none is, the memorised ones; where all are fresh, all."""
    diagnosis: Diagnosis


def worth(diagnosis: Diagnosis) -> int:
    """The order of checkpoints of one training: only those with the highest number count."""
    return {"fresh": 0, "memorised": 1}.get(diagnosis.verdict or "", 2)


def diagnose(
    findings: Findings,
    labels: Int64[Tensor, " n"] | None,
    *,
    estimate: Estimate | None = None,
    checkpoints: Sequence[CheckpointDiagnosis] = (),
) -> Diagnosis:
    """How far the scores can be trusted.

    Args:
        findings: The results of the scan, or of one of its checkpoints.
        labels: The given class of each sample; None where samples do not have one class each.
        estimate: The share of wrong labels. Where it cannot be told, the verdict is not ``useful``.
        checkpoints: The checkpoints of a trajectory. The verdict is that of one of those that count.
    """
    warnings = []
    diagnosis = NOT_DIAGNOSED
    if labels is not None and any(bool(part.predicted.any()) for _, part in findings.parts()):
        diagnosis = _of_classes(findings, labels)
        counted = [one.diagnosis for one in checkpoints if one.counts]
        if counted and not findings.held_out and diagnosis.verdict not in [one.verdict for one in counted]:
            # The mean of several may be on the other side of a limit that all of them have passed.
            same = ("verdict", "reason", "advice", "neighbours")
            diagnosis = diagnosis.model_copy(update={name: getattr(counted[-1], name) for name in same})
        if diagnosis.verdict == "useful" and estimate is not None and estimate.share is None:
            diagnosis = diagnosis.model_copy(
                update={
                    "verdict": "uncertain",
                    "reason": f"{diagnosis.reason}; the share of wrong labels cannot be told: "
                    + estimate.reason,
                    "advice": _ADVICE["uncertain"],
                }
            )
        if diagnosis.verdict == "memorised":
            warnings.append("the checkpoint has memorised the labels, so that its flags mean little")
    if findings.quarantined:
        count = len(findings.quarantined)
        noun = "sample" if count == 1 else "samples"
        warnings.append(
            f"{count:,} {noun} could not be scored (quarantined): {_causes(findings.quarantined)}"
        )
    return diagnosis.model_copy(update={"warnings": tuple(warnings)})


def _causes(quarantined: Mapping[int, str]) -> str:
    """The most frequent reasons, each with its number of samples."""
    counts = Counter(quarantined.values()).most_common(_CAUSES + 1)
    told = [f"{cut(reason, 100)} ({count:,})" for reason, count in counts[:_CAUSES]]
    return "; ".join([*told, *(["and others"] if len(counts) > _CAUSES else [])])


def _of_classes(findings: Findings, labels: Int64[Tensor, " n"]) -> Diagnosis:
    right, missing, classes = 0, Distribution(), np.zeros(0, dtype=np.int64)
    for rows, part in findings.parts():
        known, given = part.predicted, labels[rows]
        right += int((part.predictions == given)[known].sum())
        missing.add((1 - part.probability[known].double()).numpy())
        found = np.bincount(given[known].numpy(), minlength=len(classes))
        found[: len(classes)] += classes
        classes = found
    accuracy, majority = right / missing.count, int(classes.max()) / missing.count
    largest = missing.largest(max(1, missing.count // 20)) / max(missing.total, 1e-300)
    neighbours = None
    if findings.probed is not None and not findings.held_out and not findings.by_neighbours:
        neighbours = _neighbour_labels(findings, findings.probed, labels)
    verdict, reason = _state(accuracy, majority, neighbours, findings)
    if verdict == "useful" and neighbours is not None and accuracy >= PERFECT and largest < CONCENTRATED:
        verdict = "memorised"
        reason += ", and none of them stands out by a low probability"
    return Diagnosis(
        verdict=verdict,
        reason=reason,
        advice=_ADVICE[verdict],
        fit=accuracy,
        mean_agreement=1 - missing.total / missing.count,
        residual=_quantiles(missing),
        concentration=largest,
        neighbours=neighbours,
        held_out=findings.held_out,
        warnings=(),
    )


def _quantiles(missing: Distribution) -> Quantiles:
    shares = [int(name[1:]) / 100 for name in Quantiles.model_fields]
    return Quantiles(**dict(zip(Quantiles.model_fields, missing.quantiles(shares), strict=True)))


def _neighbour_labels(
    findings: Findings, probed: Probed, labels: Int64[Tensor, " n"]
) -> NeighbourLabels | None:
    import torch

    from ogacli.models.neighbours.exact import Bank

    lost = torch.tensor(list(findings.quarantined), dtype=torch.int64)
    scored = (findings.predictions[probed.rows] >= 0) & ~torch.isin(probed.rows, lost)
    rows, features = probed.rows[scored], probed.features[scored]
    count = min(_COUNT, len(rows) // 5)
    if not count:
        return None
    given = labels[rows]
    near = given[Bank(rows, features).nearest(rows, features, count)[1]]
    same = (near == given[:, None]).sum(1)
    contradicted = same < (near[:, :, None] == near[:, None, :]).sum(2).max(1).values
    learned = (findings.predictions[rows] == given)[contradicted]
    return NeighbourLabels(
        samples=len(rows),
        contradicted=len(learned) / len(rows),
        firmly=int((contradicted & (same <= _FIRM * count)).sum()) / len(rows),
        learned=int(learned.sum()) / len(learned) if len(learned) else None,
    )


def _state(
    accuracy: float, majority: float, neighbours: NeighbourLabels | None, findings: Findings
) -> tuple[State, str]:
    """The state of the checkpoint, and why."""
    who = "the mean prediction of a sample's neighbours" if findings.by_neighbours else "the model"
    text = f"{who} predicts {percent(accuracy)} of the given labels"
    if hardly_learned(accuracy, majority):
        return (
            "fresh",
            f"{text}, hardly more than the {percent(majority)} that are of the most frequent class",
        )
    if findings.held_out:
        return "useful", f"{text}, on samples that it was not trained on"
    if findings.by_neighbours:
        return "useful", text
    if neighbours is None:
        if accuracy < PERFECT:
            return "useful", text
        return "memorised", f"{text}, including the wrong ones if there are any"
    vote = 1 - neighbours.contradicted
    if accuracy < vote - _BEHIND:
        return "fresh", f"{text}; a majority vote of the labels of each sample's neighbours {percent(vote)}"
    if neighbours.learned is None or neighbours.contradicted * neighbours.samples < _FEWEST:
        return "useful", f"{text}; hardly any label differs from those of the sample's nearest neighbours"
    text += (
        f"; {percent(neighbours.contradicted)} of the labels differ from those of most of the sample's "
        f"nearest neighbours, and of these it predicts {percent(neighbours.learned)}"
    )
    if neighbours.learned < MEMORISED:
        return "useful", text
    if neighbours.contradicted < CONTRADICTED and neighbours.firmly < FIRMLY:
        return "useful", f"{text}; they are so few that all of them may be right"
    return "memorised", f"{text}: it has learned them, whether they are wrong or only hard"
