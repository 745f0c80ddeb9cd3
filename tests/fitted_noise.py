"""The label noise fitted to logits, as a detector fits it to the candidates of its samples."""

from torch import Tensor

from ogacli.detectors.label_noise.candidates import Candidates
from ogacli.detectors.label_noise.model import LabelNoise


def fitted_noise(logits: Tensor, labels: Tensor, neighbours: Tensor | None = None) -> LabelNoise:
    """By EM; ``neighbours`` are the kNN log-probabilities of the classes."""
    seen = Candidates.of(logits, labels)
    return LabelNoise.fitted_to(seen if neighbours is None else seen.with_neighbours(neighbours))
