"""Features and residuals of the samples with the highest scores, and of others to compare them with.

In: gradient batches with the scores of the first detector. Out: some 5,000 rows of 144 numbers, whatever n.
They are what a person needs to judge a flagged sample: its nearest samples, and a map of the gradients.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor

from ogacli.base.device import sent
from ogacli.detectors._state import prefixed, under
from ogacli.gradients import GradientBatch
from ogacli.models.neighbours.exact import DIM, compressed
from ogacli.verdict.findings import Probed

TOP = 1000
"""Samples with the highest scores of a checkpoint that are kept."""
_RESIDUAL = 16
"""Dimensions that residuals are projected to where they have more."""
_SEED = 1

Places = Callable[[Int64[Tensor, " b"]], Int64[Tensor, " b"]]


@dataclass(frozen=True, slots=True)
class Kept:
    """What is kept of some samples."""

    rows: Int64[Tensor, " m"]
    """-1 where there is no sample."""
    scores: Float[Tensor, " m"]
    """By the first detector, before its last step; minus infinity where there is no sample."""
    checkpoint: Int64[Tensor, " m"]
    """Which of several checkpoints the rest is by; only samples of one checkpoint can be compared."""
    features: Float[Tensor, "m d"]
    """Compressed; zeros beyond the number of features."""
    residual: Float[Tensor, "m r"]
    """Projected; zeros where residuals have no fixed length."""

    @classmethod
    def none(cls, size: int, device: torch.device) -> Kept:
        """Room for so many samples."""
        return cls(
            torch.full((size,), -1, device=device),
            torch.full((size,), -torch.inf, dtype=torch.float64, device=device),
            torch.full((size,), -1, device=device),
            torch.zeros(size, DIM, device=device),
            torch.zeros(size, _RESIDUAL, device=device),
        )

    @classmethod
    def of(
        cls,
        batch: GradientBatch,
        scores: Float[Tensor, " b"],
        index: Int64[Tensor, " m"] | slice,
        number: int,
    ) -> Kept:
        """Some samples of a batch of gradients, by a checkpoint of this number."""
        assert batch.features is not None
        features = compressed(batch.features[index])
        residual = batch.residual[index].flatten(1).float()
        if batch.returns_loss:
            residual = residual[:, :0]
        elif residual.shape[1] > _RESIDUAL:
            residual = compressed(residual, _RESIDUAL, _SEED)
        rows = batch.places[index]
        return cls(
            rows,
            scores[index],
            torch.full_like(rows, number),
            _padded(features, DIM),
            _padded(residual, _RESIDUAL),
        )

    def tensors(self) -> dict[str, Tensor]:
        """All of it, by name."""
        return {name: getattr(self, name) for name in self.__slots__}

    def to(self, device: torch.device) -> Kept:
        """The same on a device."""
        return Kept(*(one.to(device) for one in self.tensors().values()))

    @classmethod
    def joined(cls, several: Sequence[Kept]) -> Kept:
        """The samples of all."""
        columns = zip(*(one.tensors().values() for one in several), strict=True)
        return cls(*(torch.cat(column) for column in columns))

    def take(self, index: Tensor) -> Kept:
        """Some of the samples."""
        return Kept(*(one[index] for one in self.tensors().values()))

    def highest(self, *others: Kept) -> Kept:
        """As many as these, those with the highest scores of all, whatever the batches and their order.

        A sample that occurs more than once is taken from the last; of equal scores the lower row comes first.
        """
        found = Kept.joined([self, *others])
        found = found.take(found.rows.argsort(stable=True))
        again = F.pad(found.rows[1:] == found.rows[:-1], (0, 1))
        rows, scores = found.rows.masked_fill(again, -1), found.scores.masked_fill(again, -torch.inf)
        highest = scores.argsort(descending=True, stable=True)[: len(self.rows)]
        return replace(found, rows=rows, scores=scores).take(highest)

    def put(self, places: Int64[Tensor, " c"], other: Kept) -> None:
        """Replace what is kept at some places."""
        for own, new in zip(self.tensors().values(), other.tensors().values(), strict=True):
            own[places] = new

    def known(self) -> Kept:
        """Each sample once, those with finite features and residuals, on the CPU."""
        found = Kept(*(one.cpu() for one in self.tensors().values()))
        finite = found.features.isfinite().all(1) & found.residual.isfinite().all(1)
        found = found.take((found.rows >= 0) & finite)
        last = {row: place for place, row in enumerate(found.rows.tolist())}
        return found.take(torch.tensor(sorted(last.values()), dtype=torch.int64))


class TopSamples:
    """The samples with the highest scores, and some others to compare them with.

    Args:
        n: How many samples there are.
        places: From rows to their places among the others; -1 for a sample that is none of them.
        others: How many others there are.
        device: Of the model.
    """

    def __init__(self, n: int, places: Places, others: int, device: torch.device) -> None:
        self.device = device
        self._current = Kept.none(min(TOP, n), device)
        self.top = Kept.none(len(self._current.rows), device)
        """The highest by the checkpoints that count."""
        self.others = Kept.none(others, device)
        """By the current checkpoint, or an earlier one that scored them."""
        self.counted = Kept.none(others, device)
        """The others as they were after the last checkpoint that counts."""
        self._places = places
        self._waiting: list[Kept] = []
        """Samples that may be among the highest by the current checkpoint."""

    @property
    def current(self) -> Kept:
        """The highest by the current checkpoint."""
        self._look_through()
        return self._current

    def add(self, batch: GradientBatch, scores: Float[Tensor, " b"], number: int) -> None:
        """Keep those samples of a batch that are among the highest or among the others.

        Args:
            batch: The gradients.
            scores: Of the first detector.
            number: Of the current checkpoint.
        """
        if batch.features is None:
            return
        scores = scores.double().nan_to_num(nan=-torch.inf)
        place = self._places(batch.rows)
        if len(wanted := (place >= 0).nonzero()[:, 0]):
            kept = Kept.of(batch, scores, sent(wanted, self.device), number)
            self.others.put(sent(place[wanted], self.device), kept)
        if len(index := self._high(scores)):
            self._waiting.append(Kept.of(batch, scores, index, number))
        if sum(len(one.rows) for one in self._waiting) >= len(self._current.rows):
            self._look_through()

    def _look_through(self) -> None:
        """Find the highest of those that wait and those that are kept."""
        if self._waiting:
            self._current = self._current.highest(*self._waiting)
            self._waiting.clear()

    def _high(self, scores: Float[Tensor, " b"]) -> Int64[Tensor, " m"]:
        """The samples of a batch that may be among the highest."""
        highest, index = scores.topk(min(len(scores), len(self._current.rows)), sorted=False)
        if self.device.type == "cpu":  # elsewhere a comparison would wait for the device
            index = index[highest >= self._current.scores[-1]]
        return index

    def probed(self, *, current: bool = False) -> Probed:
        """Features of the others by the last checkpoint that counts, or by the current one; on the CPU."""
        others = (self.others if current else self.counted).to(torch.device("cpu"))
        good = (others.rows >= 0) & others.features.isfinite().all(1)
        return Probed(others.rows[good], others.features[good])

    def found(self, rows: Int64[Tensor, " m"]) -> dict[str, Tensor]:
        """Those of some rows that are kept, by name."""
        current = self.current
        highest = current.take(torch.isin(current.rows, rows.to(self.device)))
        others = self.others.take(self._of(rows))
        return prefixed("current/", highest.tensors()) | prefixed("others/", others.tensors())

    def put(self, rows: Int64[Tensor, " m"], found: Mapping[str, Tensor]) -> None:
        """Take what ``found`` returned."""
        self.others.put(self._of(rows), Kept(**under("others/", found)).to(self.device))
        self.join(Kept(**under("current/", found)))

    def join(self, highest: Kept) -> None:
        """Take those by the current checkpoint that another process, or an earlier scan, has kept."""
        self._current = self.current.highest(highest.to(self.device))

    def _of(self, rows: Int64[Tensor, " m"]) -> Int64[Tensor, " c"]:
        place = self._places(rows)
        return place[place >= 0].to(self.device)

    def next_checkpoint(self, *, counts: bool, alone: bool) -> None:
        """Begin with the next checkpoint.

        Args:
            counts: Whether the current one counts.
            alone: Whether no other checkpoint scores its samples.
        """
        current = self.current
        if counts:
            self.top = self.top.highest(current) if alone else current
            self.counted = Kept(*(one.clone() for one in self.others.tensors().values()))
        self._current = Kept.none(len(current.rows), self.device)

    def parts(self) -> dict[str, Kept]:
        """What an unfinished scan saves, by name."""
        return {"current_top": self.current, "top": self.top, "others": self.others, "counted": self.counted}


def _padded(values: Float[Tensor, "m v"], width: int) -> Float[Tensor, "m w"]:
    """The values, followed by zeros up to that width."""
    missing = width - values.shape[1]
    return F.pad(values, (0, missing)) if missing else values
