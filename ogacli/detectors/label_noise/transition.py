"""The transition matrix of label noise, true class -> given label, as uniform noise plus the counts seen.

In: the expected counts of true classes and given labels. Out: a ``Transition``, whose size grows with the
pairs of classes that occur, not with the square of the number of classes.
"""

from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from ogacli.base.tensor_fields import TensorFields
from ogacli.detectors.label_noise.candidates import Candidates

_PSEUDO = tuple(10 ** (exponent / 2) for exponent in range(3, 9))
"""Pseudo-counts of each row of Q, from 32 to 10,000: so many samples that are labelled wrong at the rate of
all classes, with all other classes equally likely. The counts decide: few where a class is taken for certain
others, many where wrong labels are spread evenly, so that chance does not look like a pattern."""
_EVEN = 1e12
"""Pseudo-counts beside which no count matters."""
_AT_ONCE = 1 << 18
"""Pairs whose likelihood is in memory at a time: 2 MB for each number of pseudo-counts."""
_LIKELY = 1.92
"""Half of the 95 % quantile of chi-squared with one degree of freedom."""
LEAST = 0.1
"""Lower bound of the rate of wrong labels in each row of Q, unless another is given. Where the model has
learned the labels, or few are wrong, its small doubts would otherwise be lost in the uncertainty of Q."""
FREE = 0.01
"""The same for boxes, and for words of held-out predictions, which are decided by their posteriors: with a
rate of 10 % where nothing is wrong, some of them would be more probably wrong than right in many samples."""
_TABLE = 1024
"""Up to so many classes the logarithms of the whole matrix are kept: 8 MB."""


class Pairs:
    """The pairs of a candidate and the given label that occur among samples; they number q.

    Args:
        seen: The samples and their candidates.
    """

    def __init__(self, seen: Candidates) -> None:
        self._seen, k = seen, seen.k
        labels = seen.labels[:, None]
        self._place: Tensor | None = None
        if seen.classes is None:
            found = torch.arange(k * k, device=labels.device)
        else:
            found, self._place = torch.unique(labels * k + seen.classes, return_inverse=True)
        self.true, self.given = found % k, found // k
        """The true class and the given label of each pair, ordered by label."""

    def counts(self, true: Float[Tensor, "n e"]) -> Float[Tensor, " q"]:
        """The expected number of samples of each pair.

        Args:
            true: The probability of each entry to be the true class.
        """
        if self._place is None:
            k = self._seen.k
            return true.new_zeros(k, k).index_add_(0, self._seen.labels, true).flatten()
        found = true.new_zeros(len(self.true))
        return found.index_add_(0, self._place.flatten(), true[:, :-1].flatten())

    def others(self, true: Float[Tensor, "n e"]) -> Float[Tensor, " k"]:
        """For each given label the expected number of samples whose true class is no candidate."""
        found = true.new_zeros(self._seen.k)
        return found if self._place is None else found.index_add_(0, self._seen.labels, true[:, -1])

    def identity(self) -> "Transition":
        """Q without noise: each class has its own label."""
        one = torch.ones(self._seen.k, dtype=torch.float64, device=self.true.device)
        return Transition(one, 0 * one, one, self.true, self.given, one.new_zeros(len(self.true)))

    def probabilities(self, transition: "Transition") -> Float[Tensor, "n e"]:
        """Q[candidate, given label] for each entry; for the others the mean over all classes."""
        values = transition.at(self.true, self.given)
        if self._place is None:
            return values.view(self._seen.k, -1)[self._seen.labels]
        rest = transition.column[self._seen.labels] * transition.scale.mean()
        return torch.cat([values[self._place], rest[:, None]], 1)


@dataclass(frozen=True)
class Transition(TensorFields):
    """Q: rows are true classes, columns given labels, rows sum to 1; float64.

    Q[t, t] = ``right[t]``, and Q[t, y] = ``scale[t]`` (``column[y]`` + the count of the pair t, y).
    """

    right: Float[Tensor, " k"]
    scale: Float[Tensor, " k"]
    column: Float[Tensor, " k"]
    """The share of each pair's count that is not its own: the pseudo-counts, and what is spread evenly."""
    true: Int64[Tensor, " q"]
    given: Int64[Tensor, " q"]
    """The pairs that are counted, ordered by given label and then by true class."""
    counts: Float[Tensor, " q"]
    """0 where both are the same class."""

    @classmethod
    def fitted(
        cls,
        pairs: Pairs,
        counts: Float[Tensor, " q"],
        others: Float[Tensor, " k"],
        wrong: float,
        least: float = LEAST,
        *,
        even: bool = False,
    ) -> "Transition":
        """Counts as shares of their row, with the diagonal between 1 / k and 1 - ``least``.

        A diagonal below 1 / k would mean that the class has the label of another.

        Args:
            pairs: Which pairs are counted.
            counts: Expected samples of each pair.
            others: Expected samples of each given label that belong to no pair; spread over its column.
            wrong: The share of wrong labels that the pseudo-counts have.
            least: The lower bound of the rate of wrong labels in each row.
            even: Whether all classes have the same rate of wrong labels, and these are spread evenly.
        """
        k, same = len(others), pairs.true == pairs.given
        wrong = min(max(wrong, least), 1 - 1 / k)
        own = counts.new_zeros(k).index_add_(0, pairs.true[same], counts[same])
        counts = counts.masked_fill(same, 0.0)
        rest = counts.new_zeros(k).index_add_(0, pairs.true, counts)
        pseudo = _EVEN if even else _pseudo_counts(own, counts, rest, wrong)
        own += pseudo * (1 - wrong)
        column = (others + pseudo * wrong) / (k - 1)
        rest += column.sum() - column
        right = (own / (own + rest)).clamp(1 / k, 1 - least)
        return cls(right, (1 - right) / rest, column, pairs.true, pairs.given, counts)

    @property
    def k(self) -> int:
        """Number of classes."""
        return len(self.right)

    def at(self, true: Int64[Tensor, " p"], given: Int64[Tensor, " p"]) -> Float[Tensor, " p"]:
        """Q at some pairs of a true class and a given label, whether they are counted or not."""
        counts = self.counts if true is self.true else self._counted(true, given)
        found = self.scale[true] * (self.column[given] + counts)
        return torch.where(true == given, self.right[true], found)

    def _counted(self, true: Tensor, given: Tensor) -> Float[Tensor, " p"]:
        known, wanted = self.given * self.k + self.true, given * self.k + true
        place = torch.searchsorted(known, wanted).clamp_max(len(known) - 1)
        return torch.where(known[place] == wanted, self.counts[place], 0.0)

    def dense(self) -> Float[Tensor, "k k"]:
        """The whole matrix; for few classes."""
        found = self.scale[:, None] * self.column
        found.diagonal().copy_(self.right)
        found[self.true, self.given] = self.at(self.true, self.given)
        return found

    def logs_of(self, labels: Int64[Tensor, " b"], like: Tensor) -> Float[Tensor, "b k"]:
        """The logarithm of Q[:, y] for the given label y of each sample.

        Args:
            labels: The given labels.
            like: Of the wanted dtype.
        """
        if self.k <= _TABLE:
            return self._table[labels].to(like.dtype)
        found = self.scale.log().to(like.dtype) + self.column[labels].log().to(like.dtype)[:, None]
        begin = self._begin[labels]
        count = self._begin[labels + 1] - begin
        row = torch.arange(len(labels), device=labels.device).repeat_interleave(count)
        pair = torch.arange(len(row), device=labels.device) + (begin - count.cumsum(0) + count)[row]
        found[row, self.true[pair]] = self._logs[pair].to(like.dtype)
        return found.scatter_(1, labels[:, None], self.right.log()[labels].to(like.dtype)[:, None])

    @cached_property
    def _table(self) -> Float[Tensor, "k k"]:
        return self.dense().log().t().contiguous()

    @cached_property
    def _logs(self) -> Float[Tensor, " q"]:
        return self.at(self.true, self.given).log()

    @cached_property
    def _begin(self) -> Int64[Tensor, " k_plus_1"]:
        """For each given label its first pair."""
        return torch.searchsorted(self.given, torch.arange(self.k + 1, device=self.given.device))


def _pseudo_counts(
    own: Float[Tensor, " k"], pairs: Float[Tensor, " q"], rest: Float[Tensor, " k"], wrong: float
) -> float:
    """The fewest of ``_PSEUDO`` under which the counts are about as likely as under any of them.

    Each row of Q is drawn from one Dirichlet distribution, its counts from a multinomial one (Minka,
    "Estimating a Dirichlet distribution", 2000).

    Args:
        own: The samples of each class that have its label.
        pairs: Those of each pair of two classes.
        rest: The sum of these by true class.
        wrong: The share of wrong labels that the pseudo-counts have.
    """
    sizes = own.new_tensor(_PSEUDO)[:, None]
    right, others = sizes * (1 - wrong), sizes * wrong / (len(own) - 1)
    likelihoods = _rising(own, right) - _rising(own + rest, sizes)
    for some in pairs.split(_AT_ONCE):
        likelihoods += _rising(some, others)
    return _PSEUDO[int((likelihoods >= likelihoods.max() - _LIKELY).int().argmax())]


def _rising(counts: Float[Tensor, " m"], by: Float[Tensor, "s 1"]) -> Float[Tensor, " s"]:
    """The sum of log(by (by + 1) .. (by + count - 1)), for counts that need not be whole."""
    return ((counts + by).lgamma() - by.lgamma()).sum(1)
