"""Predictions of networks on the samples during training, kept on disk.

In: a ``Case``. Out: a ``Record``: logits and features of every sample at the epochs of one training, and out
of fold.
"""

import hashlib
import json
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from evidence.sets import Case
from ogacli.base.seeding import seeded
from ogacli.data import Samples
from ogacli.models.tasks.classification import Classification
from ogacli.models.training.loop import TrainOptions, train_network

VERSION = 1
"""Raised when what is kept changes."""
FOLDS = 5
_BOTH = 8
"""So many epochs, evenly spaced, whose features are kept beside the logits."""


@dataclass(frozen=True, slots=True)
class Predictions:
    """Logits and features of every sample."""

    logits: Float[Tensor, "n k"]
    features: Float[Tensor, "n h"]
    """The input of the head."""
    head: dict[str, Tensor] = field(default_factory=dict)
    """The head's state; empty for predictions of several networks."""


@dataclass(frozen=True, slots=True)
class Record:
    """One training until the network has memorised the labels, and one training per fold."""

    logits: Float[Tensor, "epochs n k"]
    features: dict[int, Float[Tensor, "n h"]]
    """By epoch, from 1; of some epochs, in half precision."""
    heads: dict[int, dict[str, Tensor]]
    """The head's state at those epochs."""
    folds: Predictions
    """Each sample's by the network that was not trained on it."""
    seconds: dict[str, float]
    """What the trainings took."""

    def at(self, epoch: int) -> Predictions:
        """The predictions after an epoch, from 1, whose features were kept."""
        return Predictions(self.logits[epoch - 1], self.features[epoch].float(), self.heads[epoch])


def record(case: Case, folder: Path) -> Record:
    """The trainings of a case, from the disk where they are there."""
    key = json.dumps([VERSION, asdict(case), asdict(case.recipe)], sort_keys=True)
    path = folder / f"{case.name}-{case.noise}-{case.seed}-{hashlib.sha256(key.encode()).hexdigest()[:12]}.pt"
    if path.is_file():
        kept = torch.load(path, weights_only=True)
        kept["folds"] = Predictions(*(tensor.float() for tensor in kept["folds"]))
        return Record(**kept)
    samples = case.samples(folder)
    began = time.perf_counter()
    kept = _trajectory(case, samples)
    trained = time.perf_counter()
    folds = _folds(case, samples)
    seconds = {"one": trained - began, "folds": time.perf_counter() - trained}
    kept |= {"folds": (folds.logits, folds.features.half()), "seconds": seconds}
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(kept, path)
    return record(case, folder)


def kept_epochs(case: Case) -> list[int]:
    """The epochs whose features are kept, from 1."""
    last = case.recipe.epochs
    spaced = {round(x) for x in np.linspace(last / _BOTH, last, _BOTH)}
    return sorted(spaced | {case.recipe.fresh})


def _trajectory(case: Case, samples: Samples) -> dict[str, Any]:
    logits: list[Tensor] = []
    features: dict[int, Tensor] = {}
    heads: dict[int, dict[str, Tensor]] = {}
    network, inputs, both = _fresh(case, samples), _inputs(samples), kept_epochs(case)

    def look(epoch: object) -> None:
        found = predictions(network, inputs)
        logits.append(found.logits)
        if len(logits) in both:
            features[len(logits)] = found.features.half()
            heads[len(logits)] = {name: value.clone() for name, value in network[-1].state_dict().items()}

    train_network(network, samples, Classification(), _options(case, case.recipe.epochs), after_epoch=look)
    return {"logits": torch.stack(logits), "features": features, "heads": heads}


def fold_rows(n: int, seed: int) -> list[Tensor]:
    """The rows that each fold holds out."""
    order = torch.randperm(n, generator=torch.Generator().manual_seed(seed))
    return [order[fold::FOLDS].sort().values for fold in range(FOLDS)]


def _folds(case: Case, samples: Samples) -> Predictions:
    n, inputs = len(samples), _inputs(samples)
    logits = features = torch.empty(0)
    for held in fold_rows(n, case.seed):
        rest = torch.ones(n, dtype=torch.bool)
        rest[held] = False
        network = _fresh(case, samples)
        part = samples.select(rest.nonzero()[:, 0])
        train_network(network, part, Classification(), _options(case, case.recipe.folds))
        found = predictions(network, inputs[held])
        if not len(logits):
            logits, features = (
                tensor.new_empty(n, tensor.shape[1]) for tensor in (found.logits, found.features)
            )
        logits[held], features[held] = found.logits, found.features
    return Predictions(logits, features)


def _fresh(case: Case, samples: Samples) -> nn.Sequential:
    with seeded(case.seed, torch.device("cpu")):
        return case.network(samples)


def _options(case: Case, epochs: int) -> TrainOptions:
    return TrainOptions(
        epochs=epochs,
        batch_size=case.recipe.batch_size,
        learning_rate=case.recipe.learning_rate,
        schedule="constant",
        weight_decay=0.0,
        seed=case.seed,
    )


def _inputs(samples: Samples) -> Tensor:
    found = samples.read(range(len(samples))).inputs
    assert isinstance(found, Tensor)
    return found


def predictions(network: nn.Sequential, inputs: Tensor) -> Predictions:
    """The predictions of a network in evaluation mode."""
    network.eval()
    logits, features = [], []
    with torch.inference_mode():
        for batch in inputs.split(1024):
            features.append(network[:-1](batch))
            logits.append(network[-1](features[-1]))
    return Predictions(torch.cat(logits).clone(), torch.cat(features).clone())
