"""Cross-validation: one network a fold, each trained on all samples but those of its fold.

In: samples and a model source. Out: a folder with ``fold-1.safetensors`` (weights) and ``fold-1.npy`` (the
positions of the samples that they were not trained on) and so on, and ``history.json``.
"""

import warnings
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from ogacli.base.atomic import new_folder
from ogacli.base.device import device_of
from ogacli.base.documents.json_tensor import of_json, to_json
from ogacli.base.processes.ranks import ALONE, Ranks
from ogacli.base.progress import SILENT, Progress
from ogacli.base.tables.columns import Columns
from ogacli.data import Samples
from ogacli.errors import ConfigError
from ogacli.models.checkpoints.snapshots import Fold, Folds
from ogacli.models.sources import NetworkSource
from ogacli.models.tasks import Task
from ogacli.models.training.accuracy import accuracy
from ogacli.models.training.history import SCHEMA_VERSION, by_id, is_training, write_history
from ogacli.models.training.loop import Epoch, TrainOptions, train_network
from ogacli.models.training.start import new_network


@dataclass(frozen=True, slots=True)
class FoldTraining:
    """The training of the network of one fold."""

    number: int
    """From 1."""
    samples: int
    """The number of samples that it was trained on."""
    held_out: int
    """The number of samples that it was not trained on."""
    epochs: tuple[Epoch, ...]
    accuracy: float | None
    """Share of the held-out samples whose given label it predicts; None without classes."""
    checkpoint: str
    """The name of the file of weights."""
    positions: str
    """The name of the file of the positions that it was not trained on."""


@dataclass(frozen=True, slots=True)
class CrossValidation:
    """A completed training of all folds."""

    folder: Path
    folds: tuple[FoldTraining, ...]
    skipped: Mapping[str, str]
    """``{id: reason}`` of the samples that could not be read."""
    columns: Columns | None = None
    """The use of the columns of a table; None where the samples are not rows of one."""

    def document(self) -> dict[str, Any]:
        """What ``--json`` prints."""
        return {
            "schema_version": SCHEMA_VERSION,
            "folder": str(self.folder),
            "folds": [asdict(fold) for fold in self.folds],
            "skipped": dict(self.skipped),
            "columns": None if self.columns is None else asdict(self.columns),
        }


def train_folds(
    samples: Samples,
    source: NetworkSource,
    task: Task,
    options: TrainOptions,
    *,
    output: Path,
    settings: Mapping[str, Any],
    weights: Float[Tensor, " n"] | None = None,
    workers: int | Literal["auto"] = "auto",
    overwrite: bool = False,
    ranks: Ranks = ALONE,
    progress: Progress = SILENT,
) -> CrossValidation:
    """Train one network a fold of the samples; ``options.folds`` is the number of folds.

    Args:
        samples: The samples, as ``source.prepare`` returns them.
        source: Builds the networks and saves their checkpoints.
        task: Gives the loss of each sample.
        options: How to train; ``output`` is not used.
        output: The folder to write.
        settings: All settings of the training as plain values, for ``history.json``.
        weights: How much the loss of each sample counts; all the same where left out.
        workers: Processes that read and decode.
        overwrite: Replace an earlier training in the same folder.
        ranks: The processes that share the folds; the first one writes the folder.
        progress: Shows how many samples have been read and trained on.

    Raises:
        OgaError: A mistake of the user; nothing is written then.
    """
    device, fold_of = device_of(options.device), assign(samples, options.folds, options.seed)
    folds: list[FoldTraining] = []
    skipped: dict[str, str] = {}
    with ExitStack() as stack:
        if ranks.first:
            work = stack.enter_context(new_folder(output, overwrite=overwrite, ours=is_training))
        else:
            work = Path(stack.enter_context(TemporaryDirectory()))
        count = int(fold_of.max()) + 1
        for number in ranks.dealt(range(1, count + 1)):
            inside = fold_of == number - 1
            rest, held = (samples.select(rows.nonzero()[:, 0]) for rows in (~inside, inside))
            module = new_network(source, rest, start=options.start, seed=options.seed, device=device)
            history = train_network(
                module,
                rest,
                task,
                options,
                weights=None if weights is None else weights[~inside],
                device=device,
                workers=workers,
                progress=progress,
                step=f"training fold {number} of {count}",
            )
            share = None
            if samples.class_index is not None:
                share = accuracy(module, held, device=device, workers=workers, progress=progress)
            names = _files(number)
            fold = FoldTraining(number, history.samples, len(held), history.epochs, share, *names)
            source.save(module, work / fold.checkpoint, samples.classes)
            np.save(work / fold.positions, held.positions.numpy())
            skipped |= by_id(rest, history.skipped)
            folds.append(fold)
        folds, skipped = _gathered(work, folds, skipped, ranks)
        training = CrossValidation(output, tuple(folds), skipped, samples.columns)
        if ranks.first:
            write_history(work, training.document(), samples, seed=options.seed, settings=settings)
    return training


def _gathered(
    work: Path, folds: list[FoldTraining], skipped: Mapping[str, str], ranks: Ranks
) -> tuple[list[FoldTraining], dict[str, str]]:
    """The folds of all ranks, in order, with their files; and the samples that any of them could not read."""
    own = {"told": to_json([[asdict(fold) for fold in folds], dict(skipped)])}
    for fold in folds:
        for name in (fold.checkpoint, fold.positions):
            own[name] = torch.frombuffer(bytearray((work / name).read_bytes()), dtype=torch.uint8)
    every, unread = list[FoldTraining](), dict[str, str]()
    for found in ranks.gathered(own):
        told, lost = of_json(found["told"])
        for one in told:
            epochs = tuple(Epoch(**epoch) for epoch in one.pop("epochs"))
            every.append(FoldTraining(**one, epochs=epochs))
        unread |= lost
        for name in found.keys() - own.keys():
            (work / name).write_bytes(found[name].numpy().tobytes())
    return sorted(every, key=lambda fold: fold.number), unread


def untrained_folds(samples: Samples, source: NetworkSource, options: TrainOptions, folder: Path) -> Folds:
    """Write the untrained network and the positions of each fold, for plans of a scan.

    Raises:
        OgaError: As :func:`train_folds`.
    """
    fold_of, device = assign(samples, options.folds, options.seed), device_of(options.device)
    module = new_network(source, samples, start=options.start, seed=options.seed, device=device)
    start, folds = folder / "start.safetensors", []
    source.save(module, start, samples.classes)
    for number in range(int(fold_of.max()) + 1):
        positions = folder / _files(number + 1)[1]
        np.save(positions, samples.positions[fold_of == number].numpy())
        folds.append(Fold(checkpoint=str(start), samples=str(positions)))
    return Folds(folds=tuple(folds))


def checkpoints(folder: Path, count: int) -> Folds:
    """The option ``model.checkpoint`` for a folder that :func:`train_folds` wrote."""
    places = ([str(folder / name) for name in _files(number)] for number in range(1, count + 1))
    return Folds(folds=tuple(Fold(checkpoint=weights, samples=held) for weights, held in places))


def assign(samples: Samples, count: int | None, seed: int) -> Int64[Tensor, " n"]:
    """A random fold for each sample, from 0; fold sizes, overall and by class, differ by at most one.

    Raises:
        ConfigError: There are fewer samples than folds, or no number of folds is given.
    """
    from sklearn.model_selection import StratifiedKFold

    n = len(samples)
    if count is None:
        raise ConfigError("no number of folds", place="train.folds", expected="2 or more")
    if n < count:
        raise ConfigError(
            "more folds than samples", place="train.folds", found=count, expected=f"at most {n}"
        )
    classes = samples.labels if samples.class_index is not None else torch.zeros(n, dtype=torch.int64)
    # scikit-learn raises an error where every class has fewer samples than there are folds. So one more class
    # is appended, with one sample a fold; it comes last and does not change the folds of the others.
    strata = torch.cat([classes, classes.max().repeat(count) + 1])
    folds = StratifiedKFold(count, shuffle=True, random_state=seed % 2**32)
    found = torch.empty(n + count, dtype=torch.int64)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The least populated class", UserWarning)
        for number, (_, own) in enumerate(folds.split(strata, strata)):
            found[torch.from_numpy(own)] = number
    return found[:n]


def _files(number: int) -> tuple[str, str]:
    """The names of a fold's files: the weights, and the positions that they were not trained on."""
    return f"fold-{number}.safetensors", f"fold-{number}.npy"
