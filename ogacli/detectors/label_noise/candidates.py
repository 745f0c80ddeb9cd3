"""The classes that may be the true one of each sample: its most probable ones, and all others together.

In: logits, given labels, kNN class probabilities. Out: ``Candidates``, which the label noise is fitted to.
Their size does not grow with the number of classes. With few classes all are candidates, and nothing is lost.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from ogacli.base.softmax import log_softmax

ALL = 128
"""Up to so many classes each class is a candidate of each sample."""
_MOST = 64
"""With more classes: candidates of a sample. On simulated sets of 500 classes the ranking is that of all."""
AT_ONCE = 1 << 20
"""Probabilities of all classes that are in memory at a time, where there are many classes."""
_ZERO = math.log(torch.finfo(torch.float32).tiny)
"""The logarithm that stands for a probability of 0."""
_LEAST = -500.0
"""Lower bound of the mean log-probability of the other classes, which may all have a probability of 0."""


@dataclass(frozen=True, slots=True)
class Candidates:
    """Log-probabilities of the candidates of n samples; where classes are left, of the others as well.

    The others are one entry, the last one, with the logarithm of the mean of their probabilities.
    """

    k: int
    """Number of classes."""
    labels: Int64[Tensor, " n"]
    classes: Int64[Tensor, "n m"] | None
    """Of each sample, the given label first; None where they are all classes in their order."""
    own: Float[Tensor, "n e"]
    """By the model, float64; e = m + 1, or k where the candidates are all classes."""
    gap: Float[Tensor, "n e"] | None = None
    """Those by the neighbours less those by the model; None without neighbours."""

    @classmethod
    def of(cls, logits: Float[Tensor, "n k"], labels: Int64[Tensor, " n"]) -> "Candidates":
        """The candidates by a model's logits."""
        k = logits.shape[1]
        if k <= ALL:
            return cls(k, labels, None, log_probabilities(logits))
        return cls.joined([cls._most_probable(*part) for part in _parts(logits, labels)])

    @classmethod
    def _most_probable(cls, logits: Tensor, labels: Tensor) -> "Candidates":
        logs, given = log_probabilities(logits), labels[:, None]
        others = logs.scatter(1, given, -torch.inf).topk(_MOST - 1, sorted=False).indices
        classes = torch.cat([given, others], 1)
        return cls(logits.shape[1], labels, classes, _at(logs, classes))

    @classmethod
    def joined(cls, parts: "Sequence[Candidates]") -> "Candidates":
        """The samples of several, in their order."""
        first = parts[0]
        if len(parts) == 1:
            return first
        return cls(
            first.k,
            torch.cat([one.labels for one in parts]),
            None if first.classes is None else torch.cat([_known(one.classes) for one in parts]),
            torch.cat([one.own for one in parts]),
            None if first.gap is None else torch.cat([_known(one.gap) for one in parts]),
        )

    def with_neighbours(self, logs: Float[Tensor, "n k"]) -> "Candidates":
        """The same with the log-probabilities of the classes by kNN."""
        if self.classes is None:
            return replace(self, gap=logs.double() - self.own)
        near = torch.cat([_at(*part) for part in _parts(logs, self.classes)])
        return replace(self, gap=near - self.own)

    def scaled(self, by: float) -> "Candidates":
        """The same with the model's log-probabilities multiplied; those of a row need not add up to 1."""
        own = by * self.own
        return replace(self, own=own, gap=None if self.gap is None else self.gap + self.own - own)

    def to(self, device: torch.device) -> "Candidates":
        """The same on a device."""
        return Candidates(
            self.k,
            self.labels.to(device),
            None if self.classes is None else self.classes.to(device),
            self.own.to(device),
            None if self.gap is None else self.gap.to(device),
        )

    def part(self, rows: slice) -> "Candidates":
        """Those of some of the samples."""
        return Candidates(
            self.k,
            self.labels[rows],
            None if self.classes is None else self.classes[rows],
            self.own[rows],
            None if self.gap is None else self.gap[rows],
        )

    def biased(self, entries: Float[Tensor, "n e"], weights: Float[Tensor, " k"]) -> Float[Tensor, "n e"]:
        """Logits of the entries with the bias of each class, and the number of the other classes.

        The mean bias is 0, which is the one that the others are given.
        """
        if self.classes is None:
            return entries + weights
        found = entries.clone()
        found[:, :-1] += weights[self.classes]
        found[:, -1] += torch.tensor(float(self.k - self.classes.shape[1])).log().to(found)
        return found

    def of_label(self, entries: Float[Tensor, "n e"]) -> Float[Tensor, " n"]:
        """The entry of each sample's given label."""
        return entries.gather(1, self.labels[:, None])[:, 0] if self.classes is None else entries[:, 0]

    def per_class(self, entries: Float[Tensor, "n e"]) -> Float[Tensor, " k"]:
        """The sum of each class over the samples; the entry of the others is spread evenly over all."""
        if self.classes is None:
            return entries.sum(0)
        found = entries.new_zeros(self.k)
        found.index_add_(0, self.classes.flatten(), entries[:, :-1].flatten())
        return found + entries[:, -1].sum() / self.k


def log_probabilities(logits: Float[Tensor, "b k"]) -> Float[Tensor, "b k"]:
    """Log-softmax in float64; with more than ``ALL`` classes in float32, which is several times faster.

    Finite also for logits of minus infinity.
    """
    found = log_softmax(logits.double() if logits.shape[1] <= ALL else logits.float())
    return found.masked_fill(logits.isneginf(), _ZERO)


def comparable(logits: Float[Tensor, "b k"]) -> Float[Tensor, "b k"]:
    """``log_probabilities`` up to a constant of each sample: the logits themselves where that is possible.

    Not so with many classes, as in float32 the constant takes digits of the others; and not on a GPU, which
    would have to be waited for to see whether a logit is minus infinity.
    """
    if logits.shape[1] <= ALL and logits.device.type == "cpu" and len(logits) and logits.amin() > -torch.inf:
        return logits.double()
    return log_probabilities(logits)


def _at(logs: Float[Tensor, "n k"], classes: Int64[Tensor, "n m"]) -> Float[Tensor, "n e"]:
    """The log-probabilities of some classes, and the logarithm of the mean probability of the others."""
    left = logs.exp().scatter(1, classes, 0.0).sum(1, keepdim=True, dtype=torch.float64)
    rest = (left / (logs.shape[1] - classes.shape[1])).log().clamp_min(_LEAST)
    return torch.cat([logs.gather(1, classes).double(), rest], 1)


def _parts(logs: Float[Tensor, "n k"], beside: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Both in blocks of rows, with about ``AT_ONCE`` log-probabilities each."""
    size = max(1, AT_ONCE // logs.shape[1])
    return zip(logs.split(size), beside.split(size), strict=True)


def _known(tensor: Tensor | None) -> Tensor:
    assert tensor is not None, "the samples of one scan have neighbours, and many classes, all or none"
    return tensor
