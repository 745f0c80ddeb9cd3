"""Notes on the inputs of samples: duplicates under another label, blank inputs, poor pictures, sketches.

In: batches as they were read, and their gradients. Out: 30 bytes a sample, 8 more where labels are read with
the inputs, and 257 more where sketches are wanted.
"""

from collections.abc import Callable, Mapping, Sequence

import torch
from jaxtyping import Int64, Shaped, UInt8
from torch import Tensor

from ogacli.base.blocks import blocks
from ogacli.base.device import sent
from ogacli.base.seeding import mixed
from ogacli.data import Batch, Samples
from ogacli.data.duplicates import Digests, blank, conflicts, contents, label_contents
from ogacli.data.fingerprints import input_fingerprints, read_label_fingerprints
from ogacli.data.images.quality import MEASURES, measured
from ogacli.data.reading import Inputs
from ogacli.data.sketches import BYTES, sketched
from ogacli.gradients.feed import Step
from ogacli.models import Model
from ogacli.scan.collected.columns import at_rows, filled, put_at_rows
from ogacli.verdict.pictures import judged, odd

_COLUMNS = ("fingerprints", "blank", "pictures", "sizes")
PROBED = 4096
"""Randomly chosen samples whose features are kept."""


class InputNotes:
    """Notes on the inputs of n samples, in any order; each sample is noted once.

    Args:
        n: How many samples there are.
        device: Where they are kept.
        labels: Whether labels are read with the inputs, so that they are noted, too.
        sketching: Whether sketches are kept.
    """

    def __init__(
        self, n: int, device: torch.device, *, labels: bool = False, sketching: bool = False
    ) -> None:
        self.rows = _chosen(n)
        """The samples whose features are kept; where samples are added at the end, most of them stay."""
        self.fingerprints = filled(n, torch.int64, 0, device)
        """Hashes of the inputs; 0 for samples that were not seen."""
        self.blank = filled(n, torch.bool, False, device)
        self.pictures = filled(MEASURES * n, torch.float32, torch.nan, device).view(n, MEASURES)
        """Measures of pictures; NaN where inputs are none, or were not seen."""
        self.sizes = filled(2 * n, torch.float32, torch.nan, device).view(n, 2)
        """Width and height of the files of pictures; NaN where there are none, or they were not seen."""
        self.labels = filled(n if labels else 0, torch.int64, 0, device)
        """Hashes of the labels that are read with the inputs."""
        self.sketching = sketching
        m = n if sketching else 0
        self.kinds = filled(m, torch.uint8, 0, device)
        """The kinds of the sketches."""
        self.sketches = filled(BYTES * m, torch.uint8, 0, device).view(m, BYTES)
        self.seen = filled(n, torch.bool, False)
        """Which samples have a fingerprint."""

    def add(self, step: Step, samples: Samples) -> None:
        """Note the samples of a batch."""
        if (batch := step.gradients) is None:
            return
        inputs = step.batch.inputs if step.batch.inputs is not None else batch.features
        if inputs is None or self.seen[batch.rows].all():
            return
        here = batch.places
        self.mark(here, inputs, step.batch.labels)
        if step.batch.inputs is not None:
            self.blank[here] = sent(blank(inputs), here.device)
            if (pictures := measured(inputs)) is not None:
                self.pictures[here] = sent(pictures, here.device)
        if (sizes := samples.reader.picture_sizes(samples.positions[batch.rows])) is not None:
            self.sizes[here] = sent(sizes, here.device)
        if self.sketching:
            self.sketch(here, inputs)
        self.seen[batch.rows] = True

    def mark(self, rows: Int64[Tensor, " b"], inputs: Inputs, labels: Shaped[Tensor, "b ..."]) -> None:
        """Keep the fingerprints of some samples."""
        self.fingerprints[rows] = sent(input_fingerprints(inputs), rows.device)
        if len(self.labels):
            self.labels[rows] = sent(read_label_fingerprints(inputs, labels), rows.device)

    def content(self, rows: slice | Int64[Tensor, " m"] = slice(None)) -> Int64[Tensor, " m"]:
        """A hash of all that was read of some samples, on the CPU; 0 for samples that were not seen."""
        found = self.fingerprints[rows]
        return (found + self.labels[rows] if len(self.labels) else found).cpu()

    def sketch(self, rows: Int64[Tensor, " b"], inputs: Inputs) -> None:
        """Keep the sketches of some samples."""
        kind, sketches = sketched(inputs)
        self.kinds[rows], self.sketches[rows] = kind, sent(sketches, self.sketches.device)

    def duplicates(self, samples: Samples, model: Model) -> Int64[Tensor, " n"] | None:
        """For each sample the first one with the same inputs and another label; -1 where there is none.

        None where neither inputs nor features are known.
        """
        if not any(self.fingerprints[block].any() for block in blocks(len(samples))):
            return None
        labels = self.labels.cpu() if len(self.labels) else samples.labels
        return conflicts(self.fingerprints.cpu(), labels, self.reader(samples, model))

    def poor_pictures(self) -> UInt8[Tensor, " n"] | None:
        """What is wrong with each picture, an index into ``PICTURES``; None where there are none."""
        chosen = self.rows.to(self.pictures.device)
        usual, sizes = self.pictures[chosen].cpu(), self.sizes[chosen].cpu()
        if usual.isnan().all() and sizes.isnan().all():
            return None
        found = torch.zeros(len(self.blank), dtype=torch.uint8)
        for block in blocks(len(found)):
            poor = judged(self.pictures[block].cpu(), usual, self.blank[block].cpu())
            unlike = odd(self.sizes[block].cpu(), sizes)
            both = torch.stack([poor, unlike])
            found[block] = torch.where((both > 0).all(0), both.amin(0), both.amax(0))
        return found

    def places(self, rows: Int64[Tensor, " b"]) -> Int64[Tensor, " b"]:
        """Where in ``rows`` some samples are; -1 for the others."""
        place = torch.searchsorted(self.rows, rows).clamp_max(len(self.rows) - 1)
        return torch.where(self.rows[place] == rows, place, -1)

    def reader(self, samples: Samples, model: Model) -> Callable[[Sequence[int]], Digests]:
        """Returns, from rows, the readable ones and the digests of their inputs and labels.

        For a model that reads no inputs these are digests of the features.
        """

        def read(rows: Sequence[int]) -> Digests:
            if model.reads_inputs:
                batch = samples.read(rows)
                inputs = batch.inputs
            else:
                index = torch.tensor(rows)
                batch = Batch(index, None, samples.labels[index], {})
                inputs = model.outputs(batch).features
            if inputs is None:
                return (), (), ()
            return batch.rows.tolist(), contents(inputs), label_contents(inputs, batch.labels)

        return read

    def found(self, rows: Int64[Tensor, " m"]) -> dict[str, Tensor]:
        """The notes on some rows, by name."""
        return at_rows(self.tensors(), rows)

    def put(self, rows: Int64[Tensor, " m"], found: Mapping[str, Tensor]) -> None:
        """Take what ``found`` returned."""
        put_at_rows(self.tensors(), rows, found)

    def tensors(self) -> dict[str, Tensor]:
        """What an unfinished scan saves, by name."""
        labels = ("labels",) if len(self.labels) else ()
        sketches = ("kinds", "sketches") if self.sketching else ()
        return {name: getattr(self, name) for name in (*_COLUMNS, *labels, *sketches, "seen")}


def _chosen(n: int) -> Int64[Tensor, " m"]:
    """The rows with the lowest random numbers, where the number of a row does not depend on n; ascending."""
    below = int(2.0**63 * min(1.0, 2 * PROBED / n)) - 1
    rows, numbers = list[Tensor](), list[Tensor]()
    for block in blocks(n):
        some = torch.arange(block.start, block.stop)
        drawn = mixed(some) & (1 << 63) - 1
        low = drawn <= below
        rows.append(some[low])
        numbers.append(drawn[low])
    lowest = torch.cat(numbers).topk(min(n, PROBED), largest=False).indices
    return torch.cat(rows)[lowest].sort().values
