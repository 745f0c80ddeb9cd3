"""What is noted of samples while they stream by, beside their scores.

In: batches as they were read, and their gradients. Out: which samples have the same inputs as one of another
label, which are blank, and the features of some thousand. 9 bytes a sample and two megabytes.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor

from ogacli.data import Batch, Samples
from ogacli.data.duplicates import blank, conflicts, contents, fingerprints
from ogacli.gradients import GradientBatch
from ogacli.models import Model
from ogacli.models.neighbours.exact import DIM, compressed
from ogacli.verdict.verdict import Notes

PROBED = 4096
"""Samples, drawn at random, whose features are kept."""


class Witness:
    """Notes of n samples, taken in any order; a sample that comes again is noted again."""

    def __init__(self, n: int, device: torch.device) -> None:
        generator = torch.Generator().manual_seed(0)
        self.rows = torch.randperm(n, generator=generator)[:PROBED].sort().values
        """The samples whose features are kept."""
        self.features = torch.full((len(self.rows), DIM), torch.nan, device=device)
        """NaN where a sample was not seen; zeros beyond the features that there are."""
        self.marks = torch.zeros(n, dtype=torch.int64, device=device)
        """Fingerprints of the inputs; 0 where a sample was not seen."""
        self.blank = torch.zeros(n, dtype=torch.bool, device=device)
        self._seen = torch.zeros(n, dtype=torch.bool)
        self._place = torch.full((n,), -1)
        self._place[self.rows] = torch.arange(len(self.rows))

    def see(self, batch: Batch, found: GradientBatch) -> None:
        """Note what there is of a batch, or of a part of one."""
        if found.features is not None:
            self._keep(found.rows, found.features)
        read = batch.inputs is not None
        rows, inputs = (batch.rows, batch.inputs) if read else (found.rows, found.features)
        if inputs is None or self._seen[rows].all():
            return
        here = rows.to(self.marks.device)
        self.marks[here] = fingerprints(inputs).to(here.device)
        if read:
            self.blank[here] = blank(inputs).to(here.device)
        self._seen[rows] = True

    def duplicates(self, samples: Samples, model: Model) -> Int64[Tensor, " n"]:
        """For each sample the first one of the same inputs that has another label; -1 where there is none.

        Without inputs, of the same features.
        """

        def read(rows: Sequence[int]) -> tuple[Sequence[int], Sequence[bytes]]:
            batch = samples.read(rows) if model.reads_inputs else None
            if batch is not None:
                return batch.rows.tolist(), contents(batch.inputs) if len(batch.rows) else []
            index = torch.tensor(rows)
            features = model.outputs(Batch(index, None, samples.labels[index], {})).features
            return (rows, contents(features)) if features is not None else ((), ())

        return conflicts(self.marks.cpu(), samples.labels, read)

    def tensors(self) -> dict[str, Tensor]:
        """What it holds, by name."""
        return {"marks": self.marks, "blank": self.blank, "features": self.features}

    def notes(
        self, samples: Samples, model: Model, *, held_out: bool = False, by_neighbours: bool = False
    ) -> Notes:
        """All of it, on the CPU.

        Args:
            samples: What was scanned.
            model: Where inputs are not read.
            held_out: Whether each sample was scored by a checkpoint that was not trained on it.
            by_neighbours: Whether the predictions are those of a sample's neighbours.
        """
        features = self.features.cpu()
        good = features.isfinite().all(1)
        return Notes(
            duplicate_of=self.duplicates(samples, model),
            blank=self.blank.cpu(),
            rows=self.rows[good],
            features=features[good],
            held_out=held_out,
            by_neighbours=by_neighbours,
        )

    def _keep(self, rows: Int64[Tensor, " b"], features: Float[Tensor, "b h"]) -> None:
        place = self._place[rows]
        wanted = (place >= 0).nonzero()[:, 0]
        if not len(wanted):
            return
        found = compressed(features[wanted.to(features.device)])
        self.features[place[wanted].to(found.device)] = F.pad(found, (0, DIM - found.shape[1]))
