"""Two-dimensional points of two classes, some mislabelled: the synthetic sets of the paper."""

import math
from typing import Annotated, Literal

import numpy as np
import torch
from jaxtyping import Float, Int64
from pydantic import Field

from ogacli.data.arrays import ArrayReader, digest
from ogacli.data.ids import RowNumbers
from ogacli.data.labels import Targets
from ogacli.data.samples import Samples
from ogacli.data.sources import Source, sources

_TRAIN = {"moons": 250, "linear": 150}
_MISLABELLED = {"moons": 20, "linear": 10}
_TEST = 100
_MARGIN = 0.5
"""Half the width of the gap between the two classes of the linear set."""

Points = Float[np.ndarray, "n 2"]


@sources.register
class Moons(Source):
    """Two half moons, or two classes separated by a line; a few training samples have the wrong label."""

    kind: Literal["moons", "linear"] = "moons"
    """``moons``: 250 training samples, 20 of them mislabelled; ``linear``: 150, 10 of them mislabelled. Both
    with 100 test samples, all labelled correctly."""
    split: Literal["train", "test"] = "train"
    """Both splits are drawn independently from the same distribution."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Seed of the points and of the wrong labels."""
    noise: Annotated[float, Field(ge=0)] = 0.1
    """Standard deviation of the noise on the points of the moons."""

    def load(self) -> Samples:
        """One split, with the true classes."""
        train = self.split == "train"
        n = _TRAIN[self.kind] if train else _TEST
        generator = np.random.default_rng([self.seed, not train])
        truth = generator.permutation(np.arange(n) % 2)
        points = _moons(truth, self.noise, generator) if self.kind == "moons" else _linear(truth, generator)
        labels = truth.copy()
        if train:
            wrong = generator.choice(n, _MISLABELLED[self.kind], replace=False)
            labels[wrong] = 1 - labels[wrong]
        inputs = points.astype(np.float32)
        targets = Targets(torch.from_numpy(labels), ("0", "1"), torch.from_numpy(truth))
        reader = ArrayReader(inputs, columns=("x", "y"))
        return Samples.from_targets(RowNumbers(n), targets, reader, digest(inputs))


def _moons(classes: Int64[np.ndarray, " n"], noise: float, generator: np.random.Generator) -> Points:
    """The upper half of a circle, and the lower half of another that reaches into it."""
    angles = generator.uniform(0, np.pi, len(classes))
    upper = np.stack([np.cos(angles), np.sin(angles)], 1)
    lower = np.stack([1 - np.cos(angles), 0.5 - np.sin(angles)], 1)
    points = np.where(classes[:, None] == 0, upper, lower)
    return np.asarray(points + generator.normal(scale=noise, size=points.shape))


def _linear(classes: Int64[np.ndarray, " n"], generator: np.random.Generator) -> Points:
    """Two normal distributions, separated by an empty diagonal gap."""
    across = (_MARGIN + np.abs(generator.normal(size=len(classes)))) * np.where(classes == 0, -1, 1)
    along = generator.normal(size=len(classes))
    return np.stack([across - along, across + along], 1) / math.sqrt(2)
