"""Scores of oga's detectors from the predictions of a network.

In: ``Predictions`` and the given labels. Out: gradients of the head, and scores; higher = more anomalous.
"""

from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from evidence.training import Predictions
from ogacli.data import Batch
from ogacli.detectors import Detector, DetectorOptions, LabelDetector, detectors
from ogacli.gradients import GradientBatch
from ogacli.gradients.head import HeadGradients
from ogacli.gradients.neighbours import NeighbourOptions, Neighbours
from ogacli.models.network import Outputs
from ogacli.models.tasks.classification import Classification

_BATCH = 2048

DETECTORS: Mapping[str, Mapping[str, Any]] = {
    "l1": {},
    "l2": {},
    "l2 per class": {"name": "l2", "per_class": True},
    "isolation_forest": {},
    "isolation_forest per class": {"name": "isolation_forest", "per_class": True},
    "latent_label": {},
    "ensemble": {},
    "loss": {},
    "datainf": {"against": "training", "fit_samples": 2000},
    "datainf self": {"name": "datainf", "against": "self", "fit_samples": 2000},
}
"""Rows of the tables, with the options of each."""
QUICK = ("l1", "l2", "isolation_forest", "latent_label", "loss")
"""Those that are always shown."""
COMPARED = ("loss", "datainf", "datainf self")
"""Those that others have proposed."""


class _Known:
    """A model with precomputed predictions."""

    reads_inputs = False
    head_name = "head"

    def __init__(self, predictions: Predictions) -> None:
        self.predictions = predictions

    def to(self, device: torch.device) -> None:
        """It stays on the CPU."""

    def outputs(self, batch: Batch) -> Outputs:
        """The predictions for these rows."""
        return Outputs(self.predictions.logits[batch.rows], self.predictions.features[batch.rows], bias=True)


def gradients(
    predictions: Predictions,
    labels: Int64[Tensor, " n"],
    rows: Int64[Tensor, " m"],
    *,
    neighbours: bool = False,
) -> GradientBatch:
    """The head's gradients of some samples; ``neighbours``: at the mean prediction of their neighbours."""
    loss, everyone = Classification(), Batch(rows, None, labels[rows], {})
    prior = None
    if neighbours:
        prior = Neighbours(NeighbourOptions(), loss, len(labels))
        prior.see(HeadGradients(_Known(predictions), loss)(everyone))
        prior.close()
    return HeadGradients(_Known(predictions), loss, neighbours=prior)(everyone)


def options(name: str) -> DetectorOptions:
    """The options of a row of the tables."""
    own = dict(DETECTORS[name])
    return detectors.get(own.pop("name", name)).model_validate(own)


def fitted(name: str, everything: GradientBatch, *, held_out: bool = False) -> Detector:
    """As a scan does it, from gradients that are there already."""
    chosen = options(name)
    detector, n = chosen.detector(), len(everything)
    if isinstance(detector, LabelDetector):
        detector.held_out = held_out
    if size := detector.fit_size(n):
        order = torch.randperm(n, generator=torch.Generator().manual_seed(getattr(chosen, "seed", 0)))
        detector.fit([everything.select(rows) for rows in order[:size].split(_BATCH)])
    return detector


def scores(detector: Detector, everything: GradientBatch) -> Float[Tensor, " n"]:
    """Of a fitted detector."""
    parts = [
        detector.score(everything.select(slice(i, i + _BATCH))) for i in range(0, len(everything), _BATCH)
    ]
    return detector.finish(torch.cat(parts).double(), everything.labels)
