"""Whether the outputs of a model are in another order than the classes of the labels.

In: the predictions of a model and the given labels. Out: the classes whose samples it predicts as another
output, if there are any: surely, or only as a suspicion. A model that was trained on these classes in another
order predicts them one to one as other outputs. A weak model, or wrong labels, confuse classes as well, but
then either the class itself or the class that it is confused with is predicted as such, too.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from ogacli.base.blocks import taken
from ogacli.verdict.findings import Findings

_MOST = 1 << 20
"""Samples that are looked at, at most."""
_SHARE = 0.1
"""Classes with a smaller share of the samples may be exchanged in the labels instead."""
_FEW = 4
"""So many classes an untrained model may separate by chance, and then in any order."""
_AGREEMENT, _AGREEMENT_OF_FEW = 0.25, 0.4
"""Cohen's kappa between the labels and the outputs assigned to them, below which nothing is concluded."""
_ONE_TO_ONE, _ONE_TO_ONE_OF_FEW = 0.6, 0.8
"""Share of the samples whose label has one output of its own, be it another or its own number."""
_CLEARLY, _EACH = 5.0, 2.0
"""Standard errors by which the assigned output must be ahead: of all classes together, and of each."""
_SURE, _SURE_OF_FEW, _SURE_OF_GUESS = 0.5, 0.8, 0.3
"""A trained model is about as sure of its predictions as it is right: its probabilities must reach this part
of the agreement, both above chance."""
_RIGHT_OF_FEW = 0.88
"""Share of the samples of few classes that are predicted as the assigned output. An untrained linear model on
well separated classes may reach 80 %, in any order, and be as sure as a trained one."""
_LOSS, _LOSS_OF_FEW = 1.5, 0.8
"""Its loss must be below this part of that of a model that predicts the frequencies of the classes."""


@dataclass(frozen=True, slots=True)
class Misalignment:
    """Classes whose samples are predicted as another output."""

    outputs: Mapping[int, int]
    """By class the output that its samples are predicted as; only classes for which it is clearly another
    than their own."""
    others: Mapping[int, int]
    """The most likely output of other classes."""
    share: float
    """The share of the samples that have these labels."""
    agreement: float
    """The share of those that are predicted as the output assigned to their label."""

    def order(self, k: int) -> list[int | None]:
        """The class of each output; None where an output belongs to none of the k classes.

        A class whose output is not known keeps its own, or gets the first free one.
        """
        classes = {output: label for label, output in self.outputs.items()}
        placed = set(self.outputs)
        for label, output in (*self.others.items(), *((label, label) for label in range(k))):
            if label not in placed and output not in classes:
                classes[output] = label
                placed.add(label)
        free = (output for output in range(2 * k) if output not in classes)
        for label in sorted(set(range(k)) - placed):
            classes[next(free)] = label
        return [classes.get(output) for output in range(max(classes) + 1)]


def misalignment(
    findings: Findings, labels: Int64[Tensor, " n"], *, guessed: bool = False
) -> Misalignment | None:
    """The classes that a model predicts one to one as other outputs; None without clear evidence.

    Time and memory do not grow with the number of classes; of more than a million samples a million are
    looked at.

    Args:
        findings: The results of one checkpoint, or of all.
        labels: The given class of each sample.
        guessed: Whether the order of the classes is a guess, so that less evidence is needed against it.
    """
    findings, rows = findings.subset(_MOST)
    labels = torch.from_numpy(taken(labels.numpy(), rows.numpy()))
    if (suspected := suspicion(findings, labels)) is None:
        return None
    found, counts, agreement = suspected.found, suspected.counts, suspected.kappa
    few = len(found.outputs) <= _FEW
    if counts.one_to_one() < (_ONE_TO_ONE_OF_FEW if few else _ONE_TO_ONE):
        return None
    if agreement < (_AGREEMENT_OF_FEW if few else _AGREEMENT):
        return None
    limits = (_SURE_OF_FEW, _LOSS_OF_FEW) if few else (_SURE, _LOSS)
    if guessed or findings.held_out:  # a model with held-out samples was trained, on others
        limits = (_SURE_OF_GUESS, math.inf)
    elif few and found.agreement < _RIGHT_OF_FEW:
        return None
    known = findings.predicted
    if not _trained(findings, labels, known, found.outputs, agreement, counts.width, limits):
        return None
    return found


@dataclass(frozen=True, slots=True)
class Suspicion:
    """Classes that belong to another output more than to their own, whatever the reason."""

    found: Misalignment
    counts: _Counts
    kappa: float
    """Cohen's kappa between the labels and the outputs assigned to them."""


def suspicion(findings: Findings, labels: Int64[Tensor, " n"]) -> Suspicion | None:
    """The classes that are predicted as other outputs, by a model in another order or one that knows nothing.

    Args:
        findings: The results of one checkpoint, or of all.
        labels: The given class of each sample.

    Returns:
        None where each class is predicted as its own output as often as as another, or nearly so.
    """
    findings, rows = findings.subset(_MOST)
    labels = torch.from_numpy(taken(labels.numpy(), rows.numpy()))
    known = findings.predicted
    if not bool(known.any()):
        return None
    counts = _Counts(labels[known].numpy(), findings.predictions[known].numpy())
    moved = counts.moved()
    if moved.sum() < 2 or counts.one_to_one() < _ONE_TO_ONE:
        return None
    given, output, together = counts.given[moved], counts.output[moved], counts.together[moved]
    samples = counts.of_class[given]
    chance = samples * counts.of_output[output] / counts.n
    agreement = float((together - chance).sum() / (samples - chance).sum())
    gap, spread = counts.lead(moved)
    share = float(samples.sum() / counts.n)
    if share < _SHARE or agreement < _AGREEMENT:
        return None
    if gap.sum() < _CLEARLY * np.sqrt((spread**2).sum()):
        return None
    outputs = dict(zip(given.tolist(), output.tolist(), strict=True))
    found = Misalignment(outputs, counts.pairs(), share, float(together.sum() / samples.sum()))
    return Suspicion(found, counts, agreement)


def _trained(
    findings: Findings,
    labels: Int64[Tensor, " n"],
    known: Bool[Tensor, " n"],
    outputs: Mapping[int, int],
    agreement: float,
    k: int,
    limits: tuple[float, float],
) -> bool:
    """Whether the probabilities are those of a trained model rather than of one that separates by chance.

    They must be sure, and explain the labels, as far as these are concerned, better than their frequencies.
    """
    least_sure, most_loss = limits
    target = torch.full((k,), -1)
    target[list(outputs)] = torch.tensor(list(outputs.values()))
    concerned = known & (target[labels] >= 0)
    given = labels[concerned]
    hit = findings.predictions[concerned] == target[given]
    sure = findings.prediction_probability[concerned].double().clamp(1 / k, 1 - 1e-6)
    if (float(sure.mean()) - 1 / k) / (1 - 1 / k) < least_sure * agreement:
        return False
    loss = -torch.where(hit, sure, (1 - sure) / (k - 1)).log()
    frequencies = given.bincount().double() / len(given)
    return bool(loss.mean() < most_loss * torch.special.entr(frequencies).sum())


class _Counts:
    """How often each label is predicted as each output: only pairs that occur, [m]."""

    def __init__(self, labels: Int64[np.ndarray, " n"], predictions: Int64[np.ndarray, " n"]) -> None:
        self.n = len(labels)
        self.width = max(2, 1 + int(max(labels.max(), predictions.max())))
        """Classes or outputs, whichever are more."""
        pairs, self.together = np.unique(labels * self.width + predictions, return_counts=True)
        self.given, self.output = np.divmod(pairs, self.width)
        self.of_class = np.bincount(labels, minlength=self.width)
        self.of_output = np.bincount(predictions, minlength=self.width)
        self.excess = self.together - self._chance(self.given, self.output)
        """More often than a prediction that does not depend on the label."""
        every = np.arange(self.width)
        self.own = -self._chance(every, every)
        """The same for each class and the output of its own number."""
        self.own_together = np.zeros(self.width)
        same = self.given == self.output
        self.own[self.given[same]] = self.excess[same]
        self.own_together[self.given[same]] = self.together[same]

    def _chance(self, given: Int64[np.ndarray, " m"], output: Int64[np.ndarray, " m"]) -> Any:
        return self.of_class[given] * self.of_output[output] / self.n

    def moved(self) -> Bool[np.ndarray, " m"]:
        """The pairs of a label and another output that belong together.

        Each is the other's best; neither the label nor the output belongs half as much to its own number.
        """
        rate = self.excess / self.of_class[self.given]
        with np.errstate(invalid="ignore", divide="ignore"):
            own = np.nan_to_num(self.own / self.of_class)
        best = _best(self.given, self.excess) & _best(self.output, self.excess)
        apart = (2 * own[self.given] <= rate) & (2 * own[self.output] <= rate)
        moved = best & apart & (self.given != self.output) & (self.excess > 0)
        gap, spread = self.lead(np.ones(len(moved), dtype=bool))
        found: Bool[np.ndarray, " m"] = moved & (gap >= _EACH * spread)
        return found

    def one_to_one(self) -> float:
        """The share of the samples whose label and its best output are each other's best."""
        best = _best(self.given, self.excess) & _best(self.output, self.excess) & (self.excess > 0)
        return float(self.of_class[self.given[best]].sum() / self.n)

    def pairs(self) -> dict[int, int]:
        """By label its output, the most frequent pairs first."""
        found: dict[int, int] = {}
        taken = set()
        for i in np.argsort(-self.excess, kind="stable"):
            label, output = int(self.given[i]), int(self.output[i])
            if self.excess[i] > 0 and label not in found and output not in taken:
                found[label] = output
                taken.add(output)
        return found

    def lead(self, pairs: Bool[np.ndarray, " m"]) -> tuple[np.ndarray, np.ndarray]:
        """How far pairs are ahead of the label's own output, and the standard error of that."""
        given = self.given[pairs]
        gap = self.excess[pairs] - self.own[given]
        return gap, np.sqrt(self.together[pairs] + self.own_together[given])


def _best(group: Int64[np.ndarray, " m"], value: Float[np.ndarray, " m"]) -> Bool[np.ndarray, " m"]:
    """Which entries are the first of the highest in their group."""
    order = np.lexsort((-value, group))
    first = np.ones(len(order), dtype=bool)
    first[1:] = group[order][1:] != group[order][:-1]
    found = np.zeros(len(order), dtype=bool)
    found[order[first]] = True
    return found
