"""The training loop and its options.

In: a module, samples and a task. Out: the same module, trained, and a record of each epoch. On one machine a
seed determines the result; the global random state is restored.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn
from torch.optim import lr_scheduler

from ogacli.base.device import current
from ogacli.base.documents.json_tensor import of_json, to_json
from ogacli.base.options import Location, Options
from ogacli.base.precision import Precision, computing_in, products
from ogacli.base.processes.ranks import ALONE, Ranks
from ogacli.base.progress import SILENT, Progress
from ogacli.base.seeding import seeded
from ogacli.data import Batch, Samples
from ogacli.data.weights import weighted
from ogacli.errors import ConfigError, DataError, RunError
from ogacli.models.outputs import call, first_logits
from ogacli.models.tasks import Task
from ogacli.models.training.augment import Augmentation
from ogacli.models.training.epochs import Epochs
from ogacli.models.training.shared import share_gradients


class TrainOptions(Options):
    """The ``train:`` section: how a network is trained."""

    epochs: Annotated[int, Field(ge=1)] = 10
    """Passes over the samples."""
    batch_size: Annotated[int, Field(ge=1)] = 128
    """Samples a step."""
    optimizer: Literal["adamw", "adam", "sgd"] = "adamw"
    """``sgd`` with Nesterov momentum."""
    learning_rate: Annotated[float, Field(gt=0)] | None = None
    """The highest value; by default 0.003 for ``adam`` and ``adamw``, 0.1 for ``sgd``."""
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    """For ``sgd``."""
    weight_decay: Annotated[float, Field(ge=0)] = 5e-4
    """Pulls the weights towards zero."""
    schedule: Literal["cosine", "step", "constant"] = "cosine"
    """Of the learning rate: ``cosine`` falls to zero; ``step`` divides it by ten after half of the steps and
    again after three quarters."""
    group_by_length: bool = False
    """For texts: the samples of a batch have similar lengths, which saves padding."""
    precision: Precision = "float32"
    """Of the forward and backward pass; the weights are updated in ``float32``. ``bfloat16`` is faster on a
    GPU, and on a CPU with instructions for it; ``tf32`` on a GPU."""
    augment: bool = False
    """For pictures: a random crop after padding by 4 pixels, and a mirror image with probability 1/2."""
    seed: int = 0
    """Of the weights, the order of the samples, dropout and ``augment``."""
    device: str = "auto"
    """``cpu``, ``cuda``, ``cuda:1``; ``auto`` takes a GPU where there is one."""
    output: Location | None = None
    """The folder for the checkpoints; where left out, the config's ``output`` with ``-checkpoints`` added."""
    folds: Annotated[int, Field(ge=2)] | None = None
    """Train this many networks, each on all samples but those of one fold; their checkpoints go to the folder
    with ``-folds`` added."""
    weights: Location | None = None
    """How much the loss of each sample counts, relative to the mean: a manifest of ``oga trim --weights``, or
    another table with the columns ``id`` and ``weight``; or a run directory, whose weights are the
    probabilities that the given labels are right."""
    start: Location | None = None
    """A checkpoint to start from; by default fresh weights. The training does not use ``model.checkpoint``,
    which is what a scan loads."""

    @property
    def peak(self) -> float:
        """The highest learning rate."""
        return self.learning_rate or (0.1 if self.optimizer == "sgd" else 0.003)

    def weighted(self, samples: Samples) -> Samples:
        """The samples with the weights that ``weights`` names.

        Raises:
            DataError: They are not those of the samples.
        """
        if self.weights is None:
            return samples
        with DataError.within("train.weights"):
            return weighted(samples, self.weights)


@dataclass(frozen=True, slots=True)
class Epoch:
    """Means over one pass through the samples, while the weights change."""

    number: int
    """From 1."""
    loss: float
    """Mean over the samples."""
    accuracy: float | None
    """Share of the samples whose given label was predicted; None without classes."""


@dataclass(frozen=True, slots=True)
class History:
    """The record of a training."""

    epochs: tuple[Epoch, ...]
    samples: int
    """The number of samples that were trained on."""
    skipped: dict[int, str]
    """``{row: reason}`` of the samples that could not be read."""


def train_network(
    module: nn.Module,
    samples: Samples,
    task: Task,
    options: TrainOptions,
    *,
    weights: Float[Tensor, " n"] | None = None,
    device: torch.device | None = None,
    workers: int | Literal["auto"] = "auto",
    ranks: Ranks = ALONE,
    progress: Progress = SILENT,
    step: str = "training",
    after_epoch: Callable[[Epoch], None] = lambda epoch: None,
) -> History:
    """Train ``module`` in place and leave it in evaluation mode.

    Args:
        module: The network.
        samples: The training samples; those that cannot be read are skipped.
        task: Gives the loss of each sample; the mean over a batch is minimised.
        options: How to train. ``device``, ``output``, ``folds``, ``weights`` and ``start`` are not used.
        weights: How much the loss of each sample counts, relative to the mean weight; multiplied with the
            weights of the samples. All the same where neither has any.
        device: Where to train; the CPU where left out.
        workers: Processes that read and decode.
        ranks: The processes that share each batch; all have the same weights after each step.
        progress: Shows how many samples have been read and trained on.
        step: What the progress calls the training.
        after_epoch: Called after each epoch.

    Raises:
        GradientError: The network does not fit the samples.
        ConfigError: The network has no trainable parameter, or ``augment`` meets inputs other than pictures.
        DataError: No sample can be read.
        RunError: The loss is no longer finite.
    """
    device = device or torch.device("cpu")
    module.to(device)
    for parameter in module.parameters():
        if parameter.ndim == 4:
            # Convolutions train about a fifth faster in this layout.
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
    batches = Epochs(
        samples,
        options.batch_size,
        device,
        group_by_length=options.group_by_length,
        workers=workers,
        ranks=ranks,
        progress=progress,
    )
    if ranks.several:
        _enough(batches, ranks)
        _same_weights(module, ranks)
    done = []
    short = options.precision == "tf32"
    with seeded(options.seed + ranks.rank, device), current(device), products(short=short):
        loop = _Loop(module, batches, task, options, _product(samples.weights, weights))
        with progress.bar(step, options.epochs * batches.size) as advance:
            for number in range(1, options.epochs + 1):
                done.append(loop.epoch(number, advance))
                after_epoch(done[-1])
    module.eval()
    skipped = dict(sorted(_skipped(batches, ranks).items()))
    return History(tuple(done), len(samples) - len(skipped), skipped)


def _enough(batches: Epochs, ranks: Ranks) -> None:
    """Refuse batches of which not every rank has a part.

    Raises:
        ConfigError: The batches have fewer samples than there are ranks.
    """
    size = min(batches.batch_size, batches.size)
    if size < ranks.count:
        raise ConfigError(
            "a batch has too few samples for so many processes",
            place="train.batch_size",
            found=f"{size} samples a batch, {ranks.count} processes",
            expected="at least one sample for each process",
        )


def _same_weights(module: nn.Module, ranks: Ranks) -> None:
    """Start with the weights of the first rank, as another machine may draw others."""
    first = ranks.of_first(lambda: {name: one.detach() for name, one in _state(module).items()})
    for name, one in _state(module).items():
        one.detach().copy_(first[name])


def _state(module: nn.Module) -> dict[str, Tensor]:
    """Parameters and buffers, each once."""
    return dict(module.named_parameters()) | dict(module.named_buffers())


def _skipped(batches: Epochs, ranks: Ranks) -> dict[int, str]:
    """``{row: reason}`` of the samples that any rank could not read."""
    told = ranks.gathered({"skipped": to_json(list(batches.skipped.items()))})
    return {row: reason for one in told for row, reason in of_json(one["skipped"])}


def _product(
    one: Float[Tensor, " n"] | None, other: Float[Tensor, " n"] | None
) -> Float[Tensor, " n"] | None:
    return other if one is None else one if other is None else one * other


def optimizer_of(module: nn.Module, options: TrainOptions, device: torch.device) -> torch.optim.Optimizer:
    """The optimizer of the module's trainable parameters.

    Raises:
        ConfigError: There are none.
    """
    parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
    if not parameters:
        raise ConfigError(
            "the network has nothing to train",
            place=type(module).__name__,
            found="no parameter requires grad",
        )
    common: dict[str, Any] = {
        "lr": options.peak,
        "weight_decay": options.weight_decay,
        "fused": device.type in ("cpu", "cuda"),
    }
    if options.optimizer == "sgd":
        momentum = options.momentum
        return torch.optim.SGD(parameters, momentum=momentum, nesterov=momentum > 0, **common)
    adam = torch.optim.Adam if options.optimizer == "adam" else torch.optim.AdamW
    return adam(parameters, **common)


def schedule_of(
    optimizer: torch.optim.Optimizer, name: Literal["cosine", "step", "constant"], steps: int
) -> lr_scheduler.LRScheduler:
    """The learning rate of each step; ``name`` is ``TrainOptions.schedule``."""
    match name:
        case "cosine":
            return lr_scheduler.CosineAnnealingLR(optimizer, T_max=steps)
        case "step":
            falls = [math.ceil(steps / 2), math.ceil(3 * steps / 4)]
            return lr_scheduler.MultiStepLR(optimizer, falls, gamma=0.1)
        case _:
            return lr_scheduler.ConstantLR(optimizer, factor=1.0)


class _Loop:
    """The state of one training."""

    def __init__(
        self,
        module: nn.Module,
        batches: Epochs,
        task: Task,
        options: TrainOptions,
        weights: Float[Tensor, " n"] | None,
    ) -> None:
        self.module = module
        # Divided by their mean, so that the mean over the batches of an epoch is the weighted mean of the
        # losses, and the steps of the optimizer are as large as without weights.
        self.weights = None
        if weights is not None:
            self.weights = (weights / weights[batches.rows].mean()).float().to(batches.device)
        self.batches = batches
        self.task = task
        self.options = options
        self.optimizer = optimizer_of(module, options, batches.device)
        self.schedule = schedule_of(self.optimizer, options.schedule, options.epochs * batches.steps)
        self.ranks = batches.ranks
        self.generator = torch.Generator().manual_seed(options.seed)
        if options.augment and task.of_pixels:
            raise ConfigError(
                "masks would not move with their pictures", place="train.augment", hint="drop `augment`"
            )
        views = self.generator
        if self.ranks.several:  # the order of the samples is the same on all ranks, the views are not
            views = torch.Generator().manual_seed(options.seed + 1 + self.ranks.rank)
        self.augmentation = Augmentation(views) if options.augment else None
        self.called = False

    def epoch(self, number: int, advance: Callable[[int], None]) -> Epoch:
        """One pass over the samples in random order.

        Raises:
            RunError: The mean loss is not finite.
        """
        self.module.train()
        total = torch.zeros((), dtype=torch.float64, device=self.batches.device)
        correct = torch.zeros((), dtype=torch.int64, device=self.batches.device)
        categorical, seen = self.batches.samples.class_index is not None, 0
        for batch in self.batches.epoch(self.generator):
            if batch is not None and len(batch.rows) == 1 and seen:
                # Batch norm cannot be trained on one sample; in the next epoch it is in another batch. Of
                # several ranks those with one sample leave it out.
                batch = None
            self.optimizer.zero_grad()
            if batch is not None:
                logits, losses = self._backward(batch)
                total += losses.sum(dtype=torch.float64)
                if categorical:
                    correct += (logits.argmax(1) == batch.labels).sum()
                seen += len(batch.rows)
            advance(self._step(0 if batch is None else len(batch.rows)))
        sums = torch.tensor([total.item(), correct.item(), seen], dtype=torch.float64)
        loss, right, count = self.ranks.added(sums).tolist()
        mean = loss / max(1, count)
        if not math.isfinite(mean):
            raise RunError(
                "the training diverged: the loss is not finite",
                place=f"epoch {number}",
                found=mean,
                hint=f"lower train.learning_rate, now {self.options.peak}",
            )
        return Epoch(number, mean, right / count if categorical else None)

    def _backward(self, batch: Batch) -> tuple[Float[Tensor, "b k"], Float[Tensor, " b"]]:
        """Logits and losses of a batch; leaves gradients of their mean, with several ranks of their sum."""
        inputs = batch.inputs if self.augmentation is None else self.augmentation(batch.inputs)
        if isinstance(inputs, Tensor) and inputs.ndim == 4:
            inputs = inputs.contiguous(memory_format=torch.channels_last)
        with computing_in(self.options.precision, self.batches.device):
            logits = self._logits(Batch(batch.rows, inputs, batch.labels, {})).float()
        losses = counted = self.task.loss(logits, batch.labels)
        if self.weights is not None:
            counted = losses * self.weights[batch.rows.to(self.weights.device)]
        (counted.sum() if self.ranks.several else counted.mean()).backward()
        return logits.detach(), losses.detach()

    def _step(self, samples: int) -> int:
        """One update of the weights by the samples of all ranks.

        Args:
            samples: Of this rank, whose gradients are there; it may have none.

        Returns:
            The number of samples of all ranks; 0 where none has any, and then the weights stay.
        """
        if self.ranks.several:
            trained = (one for one in self.module.parameters() if one.requires_grad)
            samples = share_gradients(trained, samples, self.ranks)
        if samples:
            self.optimizer.step()
            self.schedule.step()
        return samples

    def _logits(self, batch: Batch) -> Float[Tensor, "b k"]:
        """The module's output; that of the first batch is checked against the samples."""
        if self.called:
            logits: Tensor = call(self.module, batch.inputs)
            return logits
        self.called = True
        samples = self.batches.samples
        needed = samples.label_type.outputs(samples.labels, samples.classes)
        if self.task.returns_loss:
            needed = 0  # the number of parts of the loss does not depend on the classes
        return first_logits(self.module, batch, needed)
