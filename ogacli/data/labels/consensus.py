"""The true class of samples by the labels of several annotators (Dawid and Skene, Applied Statistics 1979).

In: the annotations, and what is known of the true class without them. Out: the probability of each class, and
the confusion matrix of each annotator: P(label | true class).

A matrix is shrunk to that of all annotators together, so that one with few labels has it; and that one to
right labels, each class with the weight of a few samples.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Integer
from torch import Tensor

from ogacli.base.tensor_fields import TensorFields

STEPS = 100
"""Most iterations of EM."""
CLOSE = 1e-4
"""EM has converged when no probability changes by more."""
_POOL = 4.0
"""Labels of each class by whose weight the matrix of an annotator is that of all."""
_RIGHT, _WEIGHT = 0.7, 10.0
"""The share of right labels that is expected of all annotators, with the weight of so many of a class."""
_AT_ONCE = 1 << 22
"""Probabilities that are looked up at a time."""


@dataclass(frozen=True, slots=True)
class Confusions(TensorFields):
    """The confusion matrix of each annotator; float64."""

    matrix: Float[Tensor, "a k k"]
    """Rows are true classes, columns labels; rows sum to 1."""

    @classmethod
    def fitted(
        cls,
        annotator: Integer[Tensor, "n m"],
        labels: Integer[Tensor, "n m"],
        true: Float[Tensor, "n k"],
        annotators: int,
    ) -> "Confusions":
        """The expected counts, shrunk.

        Args:
            annotator: Index of the annotator of each label; -1 where there is none.
            labels: Class indices.
            true: The probability of each class of a sample.
            annotators: How many there are.
        """
        k = true.shape[1]
        counts = true.new_zeros(annotators * k, k)
        for column in range(annotator.shape[1]):
            known = annotator[:, column] >= 0
            cell = annotator[known, column].long() * k + labels[known, column].long()
            counts.index_add_(0, cell, true[known])
        counts = counts.view(annotators, k, k).transpose(1, 2)  # annotator, true class, label
        right = torch.eye(k, dtype=true.dtype, device=true.device)
        expected = _RIGHT * right + (1 - _RIGHT) / max(1, k - 1) * (1 - right)
        pooled = counts.sum(0) + _WEIGHT * expected
        pooled /= pooled.sum(1, keepdim=True)
        own = counts + _POOL * pooled
        return cls(own / own.sum(2, keepdim=True))

    def log_likelihood(
        self, annotator: Integer[Tensor, "b m"], labels: Integer[Tensor, "b m"]
    ) -> Float[Tensor, "b k"]:
        """The logarithm of the probability of a sample's labels, for each true class."""
        k = self.matrix.shape[1]
        table = self.matrix.log().transpose(1, 2).reshape(-1, k)  # annotator and label, true class
        found = table.new_zeros(len(annotator), k)
        for rows in torch.arange(len(annotator)).split(max(1, _AT_ONCE // k)):
            for column in range(annotator.shape[1]):
                who = annotator[rows, column].long().to(table.device)
                what = labels[rows, column].long().to(table.device)
                part = table[who.clamp_min(0) * k + what.clamp_min(0)]
                found[rows.to(table.device)] += part.masked_fill((who < 0)[:, None], 0.0)
        return found

    @property
    def accuracy(self) -> Float[Tensor, " a"]:
        """The mean share of right labels over the true classes."""
        return self.matrix.diagonal(dim1=1, dim2=2).mean(1)


def consensus(
    annotator: Integer[Tensor, "n m"], labels: Integer[Tensor, "n m"], k: int, annotators: int
) -> Float[Tensor, "n k"]:
    """The probability of each class by the annotations alone, float64; by EM, from the shares of the votes.

    Args:
        annotator: Index of the annotator of each label; -1 where there is none.
        labels: Class indices.
        k: Number of classes.
        annotators: How many there are.
    """
    true = vote_shares(annotator, labels, k)
    for _ in range(STEPS):
        before = true
        prior = (true.sum(0) + 1) / (len(true) + k)
        found = Confusions.fitted(annotator, labels, true, annotators)
        true = (prior.log() + found.log_likelihood(annotator, labels)).softmax(1)
        if float((true - before).abs().max()) < CLOSE:
            break
    return true


def vote_shares(annotator: Integer[Tensor, "n m"], labels: Integer[Tensor, "n m"], k: int) -> Tensor:
    """The share of each class among the labels of a sample, float64; all alike where it has none."""
    found = torch.full((len(labels), k), 1e-3, dtype=torch.float64)
    votes = (annotator >= 0).double()
    found.scatter_add_(1, labels.long().clamp_min(0), votes)
    return found / found.sum(1, keepdim=True)
