"""The reference trainer: samples and a model source -> a folder with a checkpoint of each epoch.

The folder holds ``epoch-001.safetensors`` and so on, and ``history.json``. It is written completely or not
at all.
"""

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from jaxtyping import Float
from torch import Tensor

from ogacli.base.atomic import check_free, new_folder
from ogacli.base.device import device_of
from ogacli.base.processes.ranks import ALONE, Ranks
from ogacli.base.progress import SILENT, Progress
from ogacli.base.tables.columns import Columns
from ogacli.data import Samples
from ogacli.models.sources import NetworkSource
from ogacli.models.tasks import Task
from ogacli.models.training.history import SCHEMA_VERSION, by_id, is_training, write_history
from ogacli.models.training.loop import Epoch, TrainOptions, train_network
from ogacli.models.training.start import new_network


@dataclass(frozen=True, slots=True)
class Training:
    """A completed training."""

    folder: Path
    epochs: tuple[Epoch, ...]
    samples: int
    """The number of samples that were trained on."""
    skipped: Mapping[str, str]
    """``{id: reason}`` of the samples that could not be read."""
    columns: Columns | None = None
    """The use of the columns of a table; None where the samples are not rows of one."""

    @property
    def checkpoints(self) -> tuple[Path, ...]:
        """One an epoch, in order."""
        return tuple(self.folder / epoch_file(epoch.number) for epoch in self.epochs)

    def document(self) -> dict[str, Any]:
        """What ``--json`` prints."""
        return {
            "schema_version": SCHEMA_VERSION,
            "folder": str(self.folder),
            "checkpoints": [path.name for path in self.checkpoints],
            "samples": self.samples,
            "skipped": dict(self.skipped),
            "epochs": [asdict(epoch) for epoch in self.epochs],
            "columns": None if self.columns is None else asdict(self.columns),
        }


def train(
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
) -> Training:
    """Train a network on the samples and keep a checkpoint of each epoch.

    Args:
        samples: The training samples, as ``source.prepare`` returns them.
        source: Builds the network and saves its checkpoints.
        task: Gives the loss of each sample.
        options: How to train; ``output`` and ``folds`` are not used.
        output: The folder to write.
        settings: All settings of the training as plain values, for ``history.json``.
        weights: How much the loss of each sample counts; all the same where left out.
        workers: Processes that read and decode.
        overwrite: Replace an earlier training in the same folder.
        ranks: The processes that share each batch; the first one writes the folder.
        progress: Shows how many samples have been read and trained on.

    Raises:
        OgaError: A mistake of the user; nothing is written then.
    """
    check_free(output, overwrite=overwrite, ours=is_training)
    device = device_of(options.device)
    module = new_network(source, samples, start=options.start, seed=options.seed, device=device)
    with ExitStack() as stack:
        work = None
        if ranks.first:
            work = stack.enter_context(new_folder(output, overwrite=overwrite, ours=is_training))

        def keep(epoch: Epoch) -> None:
            if work is not None:
                source.save(module, work / epoch_file(epoch.number), samples.classes)

        history = train_network(
            module,
            samples,
            task,
            options,
            weights=weights,
            device=device,
            workers=workers,
            ranks=ranks,
            progress=progress,
            after_epoch=keep,
        )
        skipped = by_id(samples, history.skipped)
        training = Training(output, history.epochs, history.samples, skipped, samples.columns)
        if work is not None:
            write_history(work, training.document(), samples, seed=options.seed, settings=settings)
    return training


def epoch_file(number: int) -> str:
    """The name of an epoch's checkpoint; the number counts from 1."""
    return f"epoch-{number:03d}.safetensors"
