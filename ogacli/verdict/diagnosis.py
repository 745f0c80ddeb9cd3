"""Can the scores of a checkpoint be trusted? Has it learned wrong labels by heart, or nothing yet?

In: what it says of each sample, and the features of some thousand. Out: a ``Diagnosis``. What tells is the
labels that a sample's neighbours in feature space contradict. A network learns wrong labels last, so the
share of the contradicted labels that it has learned is close to the share of the wrong ones that it has.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict

from ogacli.base.wording import percent
from ogacli.verdict.estimate import hardly_learned

if TYPE_CHECKING:  # reading a summary needs no torch
    from jaxtyping import Bool, Float, Int64
    from torch import Tensor

    from ogacli.verdict.findings import Findings, Probed

_COUNT = 20
"""Neighbours that are asked."""
MEMORISED = 0.5
"""A checkpoint that has learned this share of the contradicted labels knows them by heart."""
CONTRADICTED, FIRMLY = 0.05, 0.02
"""On clean data up to so many labels are contradicted, and firmly so, as some samples lie between two
classes; shares below both say nothing."""
_FIRM = 0.2
"""A label that no more than this share of the neighbours has is firmly contradicted."""
_FEWEST = 10
"""Contradicted labels below which nothing is concluded from them."""
FITTED = 0.995
"""Where features are not known: a checkpoint that predicts this share of the labels is suspected."""
CONCENTRATED = 0.45
"""On clean data that is easy to fit, a twentieth of the samples has at least so much of what is left to
learn; where the features of each given label have collapsed into one place, all samples have alike."""
_BEHIND = 0.1
"""A checkpoint that predicts so much less than the labels of neighbours do has hardly begun to learn."""

State = Literal["fresh", "useful", "memorised"]
_ADVICE: dict[State, str] = {
    "fresh": "train a little longer, or take a later checkpoint",
    "useful": "look at the most anomalous samples first",
    "memorised": "take an earlier checkpoint, several of one training, folds, or "
    "`gradients.residual: neighbours`",
}


class Quantiles(BaseModel):
    """How something is spread."""

    model_config = ConfigDict(frozen=True)

    q05: float
    q25: float
    q50: float
    q75: float
    q95: float


class NeighbourLabels(BaseModel):
    """How the labels of a sample's nearest neighbours in feature space stand to its own."""

    model_config = ConfigDict(frozen=True)

    samples: int
    """How many were asked, and among how many the neighbours were looked for."""
    contradicted: float
    """Share of them whose label is not the most frequent one of their neighbours."""
    firmly: float
    """Share of them whose label hardly any neighbour has."""
    learned: float | None
    """Share of the contradicted labels that the model predicts all the same; None where there are none."""


class Diagnosis(BaseModel):
    """How far the scores can be trusted."""

    model_config = ConfigDict(frozen=True)

    verdict: State | None = None
    """``memorised``: the flags mean little; ``fresh``: they say what is hard, more than what is wrong; None
    without classes."""
    reason: str = ""
    """What the verdict rests on."""
    advice: str = ""
    """What to do next."""
    fit: float | None
    """Share of the scored samples whose prediction is the given label; None without classes."""
    mean_agreement: float | None
    """The model's mean probability of the given label."""
    residual: Quantiles | None = None
    """How much of the given label's probability is left to learn: 1 is all of it."""
    concentration: float | None = None
    """The share of what is left to learn that lies with the twentieth of the samples that has most of it."""
    neighbours: NeighbourLabels | None = None
    """None where features are not known or those of several folds, or neighbours answer for the samples."""
    held_out: bool = False
    """Whether each sample was scored by a checkpoint that was not trained on it."""
    warnings: tuple[str, ...]


def diagnose(findings: Findings, labels: Int64[Tensor, " n"] | None) -> Diagnosis:
    """How far the scores can be trusted.

    Args:
        findings: What the scan measured.
        labels: The given class of each sample; None where samples do not have one class each.
    """
    warnings = []
    found = Diagnosis(fit=None, mean_agreement=None, warnings=())
    known = findings.predicted
    if labels is not None and bool(known.any()):
        found = _of_classes(findings, labels, known)
        if found.verdict == "memorised":
            warnings.append("the checkpoint knows the labels by heart, and what is flagged means little")
    if findings.quarantined:
        count = len(findings.quarantined)
        noun = "sample" if count == 1 else "samples"
        warnings.append(f"{count:,} {noun} could not be scored (quarantined)")
    return found.model_copy(update={"warnings": tuple(warnings)})


def _of_classes(findings: Findings, labels: Int64[Tensor, " n"], known: Bool[Tensor, " n"]) -> Diagnosis:
    right = findings.predictions == labels
    fit = int(right[known].sum()) / int(known.sum())
    around = None
    if findings.probed is not None and not findings.held_out and not findings.by_neighbours:
        around = _neighbour_labels(findings.probed, labels, right, known)
    left = (1 - findings.probability[known].double()).sort().values
    most = left[-max(1, len(left) // 20) :].sum() / left.sum().clamp_min(1e-300)
    majority = int(labels[known].bincount().max()) / int(known.sum())
    verdict, reason = _state(fit, majority, around, findings)
    if verdict == "useful" and around is not None and fit >= FITTED and most < CONCENTRATED:
        verdict = "memorised"
        reason = (
            f"it predicts {percent(fit)} of the given labels, and none stands out by what is left to learn"
        )
    return Diagnosis(
        verdict=verdict,
        reason=reason,
        advice=_ADVICE[verdict],
        fit=fit,
        mean_agreement=float(1 - left.mean()),
        residual=_quantiles(left),
        concentration=float(most),
        neighbours=around,
        held_out=findings.held_out,
        warnings=(),
    )


def _quantiles(ordered: Float[Tensor, " m"]) -> Quantiles:
    last = len(ordered) - 1
    shares = {name: int(name[1:]) / 100 for name in Quantiles.model_fields}
    return Quantiles(**{name: float(ordered[round(share * last)]) for name, share in shares.items()})


def _neighbour_labels(
    probed: Probed, labels: Int64[Tensor, " n"], right: Bool[Tensor, " n"], known: Bool[Tensor, " n"]
) -> NeighbourLabels | None:
    import torch

    from ogacli.models.neighbours.exact import Bank

    seen = known[probed.rows]
    rows, features = probed.rows[seen], probed.features[seen]
    count = min(_COUNT, len(rows) // 5)
    if not count:
        return None
    own = labels[rows]
    near = own[Bank(rows, features).nearest(rows, features, count)[1]]
    votes = torch.zeros(len(own), int(own.max()) + 1).scatter_add_(1, near, torch.ones(near.shape))
    same = votes.gather(1, own[:, None])[:, 0]
    contradicted = same < votes.max(1).values
    learned = right[rows][contradicted]
    return NeighbourLabels(
        samples=len(rows),
        contradicted=len(learned) / len(rows),
        firmly=int((contradicted & (same <= _FIRM * count)).sum()) / len(rows),
        learned=int(learned.sum()) / len(learned) if len(learned) else None,
    )


def _state(
    fit: float, majority: float, around: NeighbourLabels | None, findings: Findings
) -> tuple[State, str]:
    """The state of the checkpoint, and what it rests on."""
    who = "what it says of a sample's neighbours" if findings.by_neighbours else "it"
    told = f"{who} predicts {percent(fit)} of the given labels"
    if hardly_learned(fit, majority):
        return "fresh", f"{told}, and {percent(majority)} are the same one"
    if findings.held_out:
        return "useful", f"{told}, of samples that it was not trained on"
    if findings.by_neighbours:
        return "useful", told
    if around is None:
        if fit < FITTED:
            return "useful", told
        return "memorised", f"{told}, wrong ones among them if there are any"
    if fit < 1 - around.contradicted - _BEHIND:
        return "fresh", f"{told}, the labels of a sample's neighbours {percent(1 - around.contradicted)}"
    if around.learned is None or around.contradicted * around.samples < _FEWEST:
        return "useful", f"{told}, and neighbours contradict hardly any"
    told += (
        f", and {percent(around.learned)} of the {percent(around.contradicted)} that neighbours contradict"
    )
    if around.learned < MEMORISED:
        return "useful", told
    if around.contradicted < CONTRADICTED and around.firmly < FIRMLY:
        return "useful", f"{told}, which are so few that nothing need be wrong with them"
    return "memorised", f"{told}, be they wrong or only hard"
