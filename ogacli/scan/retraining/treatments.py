"""What each action leaves of the samples to train on: trimmed, relabelled, or weighted.

In: samples and a run of them. Out: samples with labels and weights, as ``oga trim`` would write them.
"""

from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from ogacli.data import Samples
from ogacli.errors import RunError
from ogacli.run.directory import Run
from ogacli.run.trim.fates import KEPT, RELABELLED
from ogacli.run.trim.manifest import manifest_table
from ogacli.verdict.budget import Action, Budget


@dataclass(frozen=True, slots=True)
class Treated:
    """Samples to train on."""

    samples: Samples
    weights: Float[Tensor, " n"] | None = None
    """How much the loss of each counts; None: all the same."""

    def same(self, other: "Treated") -> bool:
        """Whether a training on the other samples would be the same."""
        one, two = self.samples, other.samples
        if len(one) != len(two) or (self.weights is None) != (other.weights is None):
            return False
        equal = torch.equal(one.positions, two.positions) and torch.equal(one.labels, two.labels)
        return equal and (
            self.weights is None or other.weights is None or torch.equal(self.weights, other.weights)
        )


def treated(samples: Samples, run: Run, action: Action, budget: Budget | None = None) -> Treated:
    """What an action leaves of the samples.

    Args:
        samples: The samples that were scanned.
        run: Their run.
        action: What is done with the flagged samples, or with all.
        budget: Flag another share of the samples than the scan did.

    Raises:
        RunError: No sample is left.
    """
    manifest = manifest_table(run, budget=budget, relabel=action == "relabel", weights=action == "weight")
    fate = manifest.column("fate").to_numpy()
    rows = torch.from_numpy(np.isin(fate, [KEPT, RELABELLED]).nonzero()[0])
    if not len(rows):
        raise RunError("nothing is left to train on after trimming", place=str(run.path))
    kept = samples.select(rows)
    if action == "weight":
        weight = pc.fill_null(manifest.column("weight"), 1.0).to_numpy()
        return Treated(kept, torch.from_numpy(weight[rows.numpy()]).float())
    if action == "relabel":
        return Treated(replace(kept, labels=_new_labels(samples, manifest)[rows]))
    return Treated(kept)


def _new_labels(samples: Samples, manifest: pa.Table) -> Int64[Tensor, " n"]:
    """The labels, with the new ones of relabelled samples."""
    new = manifest.column("new_label")
    labels, index = samples.labels.clone(), {name: i for i, name in enumerate(samples.classes)}
    for row in new.is_valid().to_numpy().nonzero()[0].tolist():
        labels[row] = index[new[row].as_py()]
    return labels
