"""Training a network on samples: the loop, its options, and the accuracy of what it made.

In: a module with fresh or loaded weights, samples, a loss. Out: the same module, trained, and a record of
each epoch. One seed gives one result on one machine; the caller's random state is left as it was.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import torch
from jaxtyping import Float, Int64
from pydantic import Field
from torch import Tensor, nn

from ogacli.base.device import Precision, computing_in
from ogacli.base.options import Location, Options
from ogacli.base.progress import SILENT, Progress
from ogacli.base.seeding import seeded
from ogacli.data import Batch, Samples
from ogacli.data.loader import batches
from ogacli.errors import ConfigError, DataError, RunError
from ogacli.models.outputs import call, first_logits
from ogacli.models.tasks.losses import Loss
from ogacli.models.training.augment import Augmentation
from ogacli.models.training.feed import Feed

_READ = 128
"""Samples that are predicted at a time."""
_NEAR = 50
"""Batches whose samples are sorted by length among themselves."""


class FitOptions(Options):
    """How a network is trained."""

    epochs: Annotated[int, Field(ge=1)] = 10
    """Passes over the samples."""
    batch_size: Annotated[int, Field(ge=1)] = 128
    """Samples a step."""
    optimizer: Literal["adamw", "adam", "sgd"] = "adamw"
    """``sgd`` with Nesterov momentum."""
    learning_rate: Annotated[float, Field(gt=0)] | None = None
    """Its highest value; where left out 0.003 for ``adam`` and ``adamw``, 0.1 for ``sgd``."""
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    """Of ``sgd``."""
    weight_decay: Annotated[float, Field(ge=0)] = 5e-4
    """Pulls the weights towards zero."""
    schedule: Literal["cosine", "step", "constant"] = "cosine"
    """Of the learning rate: ``cosine`` falls to zero, ``step`` is divided by ten after half of the steps and
    again after three quarters."""
    group_by_length: bool = False
    """For texts: a batch holds samples of about one length, so that less is padded."""
    precision: Precision = "float32"
    """Of the forward and backward pass; the weights are updated in ``float32``. ``bfloat16`` is quicker on a
    GPU, and on a CPU with instructions for it."""
    augment: bool = False
    """For pictures: a crop at a random place after padding by 4 pixels, and a mirror image half of the
    time."""
    seed: int = 0
    """Of the weights, the order of the samples, dropout and ``augment``."""
    device: str = "auto"
    """``cpu``, ``cuda``, ``cuda:1``; ``auto`` takes a GPU where there is one."""

    @property
    def peak(self) -> float:
        """The highest learning rate."""
        return self.learning_rate or (0.1 if self.optimizer == "sgd" else 0.003)

    def rate(self, done: float) -> float:
        """The learning rate after this share of all steps."""
        match self.schedule:
            case "cosine":
                return self.peak * (1 + math.cos(math.pi * done)) / 2
            case "step":
                return self.peak * (1.0 if done < 0.5 else 0.1 if done < 0.75 else 0.01)
            case _:
                return self.peak


class TrainOptions(FitOptions):
    """The ``train:`` section."""

    output: Location | None = None
    """The folder for the checkpoints; where left out, the config's ``output`` with ``-checkpoints`` added."""
    folds: Annotated[int, Field(ge=2)] | None = None
    """Train so many networks instead, each on all samples but those of one fold; their checkpoints go to the
    folder with ``-folds`` added."""
    start: Location | None = None
    """A checkpoint to start from; fresh weights where left out. ``model.checkpoint`` is what is scanned, and
    plays no part here."""


class VerifyOptions(Options):
    """The ``verify:`` section; ``test:`` in it is a data section, the test split."""

    seeds: Annotated[int, Field(ge=2)] = 5
    """Trainings of each arm."""
    holdout: Annotated[float, Field(gt=0, lt=1)] = 0.2
    """Without ``test``: the share of the samples that is kept from all trainings as the test split. Their
    true labels are used where known; otherwise the given ones, wrong ones among them."""


@dataclass(frozen=True, slots=True)
class Epoch:
    """What one pass over the samples showed, while the weights were moving."""

    number: int
    """From 1."""
    loss: float
    """Mean over the samples."""
    accuracy: float | None
    """Share of the samples whose given label was predicted; None without classes."""


@dataclass(frozen=True, slots=True)
class History:
    """A training."""

    epochs: tuple[Epoch, ...]
    samples: int
    """How many were trained on."""
    skipped: dict[int, str]
    """``{row: reason}`` of the samples that could not be read."""


def fit(
    module: nn.Module,
    samples: Samples,
    loss: Loss,
    options: FitOptions,
    *,
    device: torch.device | None = None,
    workers: int | Literal["auto"] = "auto",
    progress: Progress = SILENT,
    after_epoch: Callable[[Epoch], None] = lambda epoch: None,
) -> History:
    """Train ``module`` in place and leave it in evaluation mode.

    Args:
        module: The network.
        samples: What it learns; those that cannot be read are skipped.
        loss: Of a sample; the mean over a batch is minimised.
        options: How.
        device: Where; the CPU where left out.
        workers: Processes that read and decode.
        progress: Told how far it is.
        after_epoch: Called when a pass is done.

    Raises:
        GradientError: The network does not fit the samples.
        DataError: No sample can be read.
        RunError: The loss is no longer finite.
    """
    device = device or torch.device("cpu")
    module.to(device)
    for parameter in module.parameters():
        if parameter.ndim == 4:
            # Training convolutions is about a fifth faster in this layout.
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
    feed = Feed(samples, device, workers, progress)
    epochs = []
    with seeded(options.seed, device):
        trainer = _Trainer(module, feed, loss, options)
        with progress.bar("training", options.epochs * len(feed)) as advance:
            for number in range(1, options.epochs + 1):
                epochs.append(trainer.epoch(number, advance))
                after_epoch(epochs[-1])
    module.eval()
    return History(tuple(epochs), len(samples) - len(feed.skipped), dict(sorted(feed.skipped.items())))


def accuracy(
    module: nn.Module,
    samples: Samples,
    *,
    device: torch.device | None = None,
    workers: int | Literal["auto"] = "auto",
) -> float:
    """Share of the readable samples whose label the network predicts.

    Raises:
        DataError: The labels are not one class a sample, or no sample can be read.
    """
    if not samples.categorical:
        raise DataError(
            "accuracy needs one class a sample", found="labels of several numbers or of a regression"
        )
    device = device or torch.device("cpu")
    module.to(device).eval()
    right = seen = 0
    with torch.inference_mode():
        order = samples.longest_first(torch.arange(len(samples)))
        for batch in batches(samples, order, _READ, workers=workers):
            if len(batch.rows):
                here = batch.to(device)
                right += int((call(module, here.inputs).argmax(1) == here.labels).sum())
                seen += len(here.rows)
    if not seen:
        raise DataError("none of the samples can be read", place=f"sample {samples.ids[0].as_py()!r}")
    return right / seen


class _Trainer:
    """One network on its way."""

    def __init__(self, module: nn.Module, feed: Feed, loss: Loss, options: FitOptions) -> None:
        self.module = module
        self.feed = feed
        self.loss = loss
        self.options = options
        self.optimizer = _optimizer(module, options, feed.device)
        self.generator = torch.Generator().manual_seed(options.seed)
        self.augmentation = Augmentation(self.generator) if options.augment else None
        self.steps = options.epochs * math.ceil(len(feed) / options.batch_size)
        self.step = 0

    def epoch(self, number: int, advance: Callable[[int], None]) -> Epoch:
        """One pass over the samples in random order."""
        self.module.train()
        order = self._order()
        lost = torch.zeros((), dtype=torch.float64, device=self.feed.device)
        right = torch.zeros((), dtype=torch.int64, device=self.feed.device)
        seen = 0
        for batch in self.feed.read(order, self.options.batch_size):
            if len(batch.rows) == 1 and seen:
                # Batch norm cannot learn from a batch of one; another order will bring the sample back.
                continue
            logits, values = self._learn(batch)
            lost += values.sum(dtype=torch.float64)
            if self.feed.samples.categorical:
                right += (logits.argmax(1) == batch.labels).sum()
            seen += len(batch.rows)
            advance(len(batch.rows))
        mean = lost.item() / max(1, seen)
        if not math.isfinite(mean):
            raise RunError(
                "the training went astray: the loss is not finite",
                place=f"epoch {number}",
                found=mean,
                hint=f"lower train.learning_rate, now {self.options.peak}",
            )
        share = right.item() / seen if self.feed.samples.categorical else None
        return Epoch(number, mean, share)

    def _order(self) -> Int64[Tensor, " n"]:
        """The rows at random; with ``group_by_length`` in random batches of about one length."""
        order = self.feed.rows[torch.randperm(len(self.feed), generator=self.generator)]
        size = self.options.batch_size
        lengths = self.feed.samples.lengths(order) if self.options.group_by_length else None
        if lengths is None:
            return order
        whole = len(order) // size * size  # the others are a last and smaller batch
        near = [
            part[own.argsort(stable=True)]
            for part, own in zip(
                order[:whole].split(_NEAR * size), lengths[:whole].split(_NEAR * size), strict=True
            )
        ]
        grouped = torch.cat([*near, order[:0]]).view(-1, size)
        mixed = grouped[torch.randperm(len(grouped), generator=self.generator)]
        return torch.cat([mixed.flatten(), order[whole:]])

    def _learn(self, batch: Batch) -> tuple[Float[Tensor, "b k"], Float[Tensor, " b"]]:
        for group in self.optimizer.param_groups:
            group["lr"] = self.options.rate(self.step / self.steps)
        inputs = batch.inputs if self.augmentation is None else self.augmentation(batch.inputs)
        if isinstance(inputs, Tensor) and inputs.ndim == 4:
            inputs = inputs.contiguous(memory_format=torch.channels_last)
        with computing_in(self.options.precision, self.feed.device):
            if self.step == 0:
                logits = first_logits(
                    self.module, Batch(batch.rows, inputs, batch.labels, {}), self._needed()
                )
            else:
                logits = call(self.module, inputs)
        logits = logits.float()
        values = self.loss.value(logits, batch.labels)
        self.optimizer.zero_grad()
        values.mean().backward()
        self.optimizer.step()
        self.step += 1
        return logits.detach(), values.detach()

    def _needed(self) -> int:
        samples = self.feed.samples
        if self.loss.options.name == "output":
            return 0  # the loss comes in parts that have nothing to do with the classes
        return len(samples.classes) or samples.labels[:1].numel()


def _optimizer(module: nn.Module, options: FitOptions, device: torch.device) -> torch.optim.Optimizer:
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
    match options.optimizer:
        case "sgd":
            momentum = options.momentum
            return torch.optim.SGD(parameters, momentum=momentum, nesterov=momentum > 0, **common)
        case "adam":
            return torch.optim.Adam(parameters, **common)
        case _:
            return torch.optim.AdamW(parameters, **common)
