"""``Findings``: all results of a scan for each sample, before any decision.

In: the collected results, a row a sample, on the CPU. Out: the input of ``judge``, ``estimate`` and
``diagnose``.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64, UInt8
from torch import Tensor

from ogacli.base.blocks import blocks, taken
from ogacli.base.seeding import shuffled
from ogacli.detectors.label_noise.signals import Signals
from ogacli.verdict.cells import CellFindings
from ogacli.verdict.near import Leaks


@dataclass(frozen=True, slots=True)
class TrueClass:
    """The most probable true class of each sample."""

    classes: Int64[Tensor, " n"]
    """-1 where it is not known."""
    confidence: Float[Tensor, " n"]
    """Its probability, float32."""

    @classmethod
    def of(cls, log_probabilities: Float[Tensor, "n k"]) -> "TrueClass":
        """From the log-probability that each class is the true one."""
        highest, classes = log_probabilities.max(1)
        return cls(classes, highest.exp().float())

    @classmethod
    def joined(cls, parts: Sequence["TrueClass"]) -> "TrueClass":
        """Of the samples of several, in their order."""
        return cls(torch.cat([one.classes for one in parts]), torch.cat([one.confidence for one in parts]))

    def replaced(self, known: Bool[Tensor, " n"], by: "TrueClass") -> "TrueClass":
        """A copy with other values for the samples in ``known``; ``by`` holds only those."""
        return TrueClass(
            self.classes.masked_scatter(known, by.classes),
            self.confidence.masked_scatter(known, by.confidence),
        )


@dataclass(frozen=True, slots=True)
class Probed:
    """The features of some of the samples, for the diagnosis of the checkpoint."""

    rows: Int64[Tensor, " m"]
    features: Float[Tensor, "m d"]
    """Finite; projected where there are many."""


@dataclass(frozen=True, slots=True)
class Findings:
    """The results of a scan, a row a sample."""

    scores: Mapping[str, Float[Tensor, " n"]]
    """By detector; higher = more anomalous; NaN where the sample is quarantined. The first one decides what
    is flagged."""
    predictions: Int64[Tensor, " n"]
    """The class that the model predicts; -1 where samples do not have one class each."""
    prediction_probability: Float[Tensor, " n"]
    """The model's probability of the predicted class."""
    probability: Float[Tensor, " n"]
    """The model's probability of the given label."""
    quarantined: Mapping[int, str]
    """Why a row could not be scored."""
    entropy: Float[Tensor, " n"] | None = None
    """Entropy of the model's class probabilities, in nats; None where they are a mean over neighbours."""
    several: bool = False
    """Whether some row is the mean over several checkpoints of one training."""
    wrong: Float[Tensor, " n"] | None = None
    """The probability that the given label is wrong, by a ``LabelDetector``; NaN as the scores."""
    signals: Sequence[tuple[float, Signals]] = ()
    """What tells label noise from a model's own mistakes, by that detector: of each checkpoint that counts,
    with its weight."""
    true_class: TrueClass | None = None
    """The most probable true class, by that detector."""
    duplicate_of: Int64[Tensor, " n"] | None = None
    """The first row with the same inputs and another label, -1 where there is none."""
    near_duplicate_of: Int64[Tensor, " n"] | None = None
    """Of a group of samples with nearly the same inputs: the row of the one to keep; -1 for this one, and
    for samples in no group. None where they were not looked for."""
    leaks: Leaks | None = None
    """The samples that are in another dataset as well; None where there is no other one."""
    far: Float[Tensor, " n"] | None = None
    """Where a sample is far from all others: how many times the usual distance of its class it is from the
    nearest ones; NaN elsewhere. None where they were not looked for."""
    blank: Bool[Tensor, " n"] | None = None
    """Whether all values of the input are the same, in each channel of a picture."""
    picture: UInt8[Tensor, " n"] | None = None
    """What is wrong with each picture, an index into ``PICTURES``; None where inputs are no pictures."""
    content: Int64[Tensor, " n"] | None = None
    """Fingerprints of the inputs, 0 where a sample could not be read; None for a model that reads none."""
    probed: Probed | None = None
    cells: CellFindings | None = None
    """The most doubtful cells of each label, where a detector judges cells."""
    annotated: bool = False
    """Whether the labels are the consensus of several annotators, by which ``wrong`` judges them."""
    held_out: bool = False
    """Whether each sample was scored by a checkpoint that was not trained on it."""
    by_neighbours: bool = False
    """Whether the predictions are means over the neighbours of a sample."""

    def part(self, rows: slice) -> "Findings":
        """Those of some samples in sequence, without the features of ``probed``."""
        begin, end, _ = rows.indices(len(self.predictions))
        lost = np.fromiter(self.quarantined, np.int64, len(self.quarantined))
        lost = lost[(lost >= begin) & (lost < end)]
        true = self.true_class
        return replace(
            self,
            scores={name: score[rows] for name, score in self.scores.items()},
            predictions=self.predictions[rows],
            prediction_probability=self.prediction_probability[rows],
            probability=self.probability[rows],
            quarantined={row - begin: self.quarantined[row] for row in lost.tolist()},
            entropy=None if self.entropy is None else self.entropy[rows],
            wrong=None if self.wrong is None else self.wrong[rows],
            true_class=None if true is None else TrueClass(true.classes[rows], true.confidence[rows]),
            duplicate_of=None if self.duplicate_of is None else self.duplicate_of[rows],
            near_duplicate_of=None if self.near_duplicate_of is None else self.near_duplicate_of[rows],
            leaks=None if self.leaks is None else self.leaks.part(rows),
            far=None if self.far is None else self.far[rows],
            blank=None if self.blank is None else self.blank[rows],
            picture=None if self.picture is None else self.picture[rows],
            content=None if self.content is None else self.content[rows],
            cells=None if self.cells is None else self.cells.part(rows),
            probed=None,
        )

    def parts(self) -> Iterator[tuple[slice, "Findings"]]:
        """All samples in sequence, some at a time."""
        for rows in blocks(len(self.predictions)):
            yield rows, self.part(rows)

    def subset(self, most: int) -> tuple["Findings", Int64[Tensor, " m"]]:
        """So many samples that are chosen at random, and their rows; all where there are no more."""
        n = len(self.predictions)
        if n <= most:
            return self, torch.arange(n)
        rows = shuffled(n, 0, most)[:most].sort().values

        def at(column: Tensor) -> Tensor:
            return torch.from_numpy(taken(column.numpy(), rows.numpy()))

        place = {row: i for i, row in enumerate(rows.tolist())} if self.quarantined else {}
        found = replace(
            self,
            scores={name: at(score) for name, score in self.scores.items()},
            predictions=at(self.predictions),
            prediction_probability=at(self.prediction_probability),
            probability=at(self.probability),
            quarantined={place[row]: reason for row, reason in self.quarantined.items() if row in place},
            entropy=None if self.entropy is None else at(self.entropy),
            wrong=None if self.wrong is None else at(self.wrong),
            true_class=None,
            duplicate_of=None,
            near_duplicate_of=None,
            leaks=None,
            far=None,
            blank=None,
            picture=None,
            content=None,
            cells=None,
            probed=None,
        )
        return found, rows

    @property
    def most_probable(self) -> TrueClass:
        """The class to suggest: the detector's most probable true class, or else the model's prediction."""
        return self.true_class or TrueClass(self.predictions, self.prediction_probability)

    @property
    def given_label_probability(self) -> Float[Tensor, " n"]:
        """The probability that the given label is right, by detector or model; NaN without classes."""
        if self.wrong is not None:
            return (1 - self.wrong).float()
        if self.cells is not None:
            return (1 - self.cells.any_wrong).float().masked_fill(~self.scored, torch.nan)
        return self.probability.masked_fill(self.predictions < 0, torch.nan)

    @property
    def scored(self) -> Bool[Tensor, " n"]:
        """Which samples have a score."""
        return ~next(iter(self.scores.values())).isnan()

    @property
    def duplicates(self) -> Bool[Tensor, " n"]:
        """Which samples have the same inputs as one with another label."""
        if self.duplicate_of is None:
            return torch.zeros(len(self.predictions), dtype=torch.bool)
        return self.duplicate_of >= 0

    @property
    def predicted(self) -> Bool[Tensor, " n"]:
        """Which samples have a prediction and are not quarantined."""
        known = self.predictions >= 0
        known[list(self.quarantined)] = False
        return known
