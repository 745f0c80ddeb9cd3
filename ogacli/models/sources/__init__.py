"""Model sources: one file a source.

In: the ``model:`` section and the samples that it must fit. Out: a ``Model``. A new source is a new file
here with one class under ``@sources.register``, named as its module.
"""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import torch
from jaxtyping import Int64
from torch import Tensor
from torch.nn.parameter import is_lazy

from ogacli.base.options import Options
from ogacli.base.registry import Registry
from ogacli.base.seeding import seeded
from ogacli.data import Samples
from ogacli.errors import CheckpointError, ConfigError, DataError
from ogacli.models.checkpoints import (
    check_classes,
    head_outputs,
    put_weights,
    read_weights,
    save_weights,
    sha256,
    trained_classes,
)
from ogacli.models.checkpoints.snapshots import Weights, files, scored_by
from ogacli.models.network import Model, Network
from ogacli.models.outputs import call
from ogacli.models.precision import taking_float32


class ModelSource(Options):
    """Base of the options of a ``model:`` section."""

    @property
    def returns_loss(self) -> bool:
        """True where the network returns no logits, but its loss, in parts that are added up."""
        return False

    @property
    def usual_loss(self) -> str:
        """The name of the loss where the config names none."""
        return "output" if self.returns_loss else "cross_entropy"

    @property
    def has_head(self) -> bool:
        """False where ``layers: head`` has no meaning."""
        return not self.returns_loss

    @property
    def gives_features(self) -> bool:
        """False where logits alone are known, so that gradients are residuals."""
        return True

    def prepare(self, samples: Samples) -> Samples:
        """The samples with the inputs of the model, such as tokens for texts."""
        return samples

    @abstractmethod
    def load(self, samples: Samples) -> Model:
        """The model, ready for batches of these samples."""

    def open(self, samples: Samples, device: torch.device) -> Model:
        """The model on a device, built under a fixed seed; the global random state is restored."""
        with seeded(0, device):
            model = self.load(samples)
        model.to(device)
        return model

    def snapshots(self, samples: Samples) -> "list[Snapshot]":
        """The model with each of its checkpoints, and the rows that each scores."""
        return [Snapshot(self, torch.arange(len(samples)))]

    def names_classes(self, samples: Samples) -> bool:
        """Whether the model itself names its outputs, as the classes of the samples and in their order."""
        return False

    def trained_on(self, classes: tuple[str, ...]) -> bool:
        """Whether ``oga train`` trained it on classes of these names in this order."""
        return False

    def checkpoint_files(self) -> tuple[str, ...]:
        """The files that the model's weights come from."""
        return ()

    def fingerprints(self) -> dict[str, str]:
        """SHA-256 of each file that the model's weights come from, for the provenance.

        Raises:
            CheckpointError: There is no such file, or it cannot be read.
        """
        return {path: sha256(path) for path in self.checkpoint_files()}


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A model with one set of weights, and the rows of the samples that it scores, ascending."""

    source: ModelSource
    rows: Int64[Tensor, " m"]
    held_out: bool = False
    """True where the weights are known not to have been trained on these rows."""
    name: str = ""
    """The file or folder of the weights."""
    key: str = "checkpoint"
    """The key of the model section that names it."""


@dataclass(frozen=True, slots=True)
class Fit:
    """The inputs and outputs that a new network must fit."""

    example: Any
    """The inputs of one sample, with a leading dimension of 1."""
    outputs: int
    """Logits: the number of classes, or of targets of a regression."""
    table: bool = False
    """Whether the inputs are the features of a table."""
    standardized: bool | None = None
    """Whether the network standardises its inputs, as its checkpoint says; None where there is none."""

    @classmethod
    def of(cls, samples: Samples) -> "Fit":
        """Read the first readable sample.

        Raises:
            DataError: None of the first hundred can be read.
        """
        for row in range(min(100, len(samples))):
            batch = samples.read([row])
            if len(batch.rows):
                outputs = samples.label_type.outputs(samples.labels, samples.classes)
                return cls(batch.inputs, outputs, samples.columns is not None and samples.columns.inputs > 0)
        reason = next(iter(samples.read([0]).quarantined.values()))
        raise DataError("none of the first 100 samples can be read", found=reason)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one sample's input.

        Raises:
            DataError: A sample is not one tensor.
        """
        if not isinstance(self.example, torch.Tensor):
            raise DataError(
                "this model takes one tensor a sample", found=type(self.example).__name__, expected="a tensor"
            )
        return tuple(self.example.shape[1:])


class CheckpointSource(ModelSource):
    """Base of sources whose weights are files."""

    checkpoint: Weights | None = None
    """The weights: ``.safetensors``, or a state dict that ``torch.save`` wrote. Several, as a list or a
    pattern such as ``epoch-*.safetensors``: a sample's score is the mean over these checkpoints of one
    training. ``{folds: [{checkpoint: .., samples: ..}]}``: each sample is scored by the checkpoint that was
    not trained on it."""

    def checkpoint_files(self) -> tuple[str, ...]:
        """The checkpoints; empty without any."""
        return () if self.checkpoint is None else files(self.checkpoint)

    def snapshots(self, samples: Samples) -> list[Snapshot]:
        """One for each checkpoint."""
        if self.checkpoint is None:
            return super().snapshots(samples)
        return [
            Snapshot(self.model_copy(update={"checkpoint": path}), rows, len(rows) < len(samples), path)
            for path, rows in scored_by(self.checkpoint, samples)
        ]

    def file(self) -> str:
        """The only checkpoint."""
        assert self.checkpoint is not None, "there is none"
        (path,) = files(self.checkpoint)  # of several, take one of the snapshots
        return path


class NetworkSource(CheckpointSource):
    """Base of sources that build a network and load a checkpoint into it."""

    head: str | None = None
    """The name of the last linear layer, or of the last convolution for logits of each pixel; where it is not
    found automatically."""

    needs_checkpoint: ClassVar[bool] = True
    """False where a network may be built with its weights."""

    @property
    def partial(self) -> bool:
        """True where checkpoints hold the trainable parameters only."""
        return False

    @abstractmethod
    def build(self, fit: Fit) -> torch.nn.Module:
        """A network with fresh weights that fits the samples; the global random state determines them."""

    def load(self, samples: Samples) -> Network:
        """The network with its checkpoint, in evaluation mode.

        Raises:
            CheckpointError: There is none, or it does not fit the network or the samples and their classes.
        """
        if self.checkpoint is None and self.needs_checkpoint:
            raise CheckpointError(
                "the model has no checkpoint, and gradients at random weights mean nothing",
                place="model.checkpoint",
                expected="a .safetensors file or a state dict that torch.save wrote",
                hint="train one with `oga train`",
            )
        fit = Fit.of(samples)
        module = taking_float32(self.network(fit), fit.example)
        if self.checkpoint is not None:
            check_classes(self.file(), samples.classes)
        return Network(module, head=self.head, outputs=0 if self.returns_loss else fit.outputs)

    def names_classes(self, samples: Samples) -> bool:
        """By the names that ``oga train`` wrote to the checkpoint."""
        return samples.class_order != "indices" and self.trained_on(samples.classes)

    def trained_on(self, classes: tuple[str, ...]) -> bool:
        """By the names that it wrote to the checkpoint."""
        return bool(classes) and self.checkpoint is not None and trained_classes(self.file()) == classes

    def network(self, fit: Fit) -> torch.nn.Module:
        """A new network; with the weights of the checkpoint where there is one.

        It has as many outputs as the checkpoint's head, which may be more than the samples have classes.

        Raises:
            CheckpointError: The checkpoint does not fit the network, or its head has too few outputs.
        """
        module = self._built(fit)
        if self.checkpoint is None:
            return module
        path = self.file()
        weights = read_weights(path)
        if (saved := self.as_saved(fit, weights, path)) is not fit:
            fit, module = saved, self._built(saved)
        outputs = head_outputs(module, weights, fit.outputs)
        if outputs is not None and outputs < fit.outputs:
            raise CheckpointError(
                "more classes in the data than the checkpoint's head has outputs",
                place=path,
                found=f"{outputs} outputs",
                expected=f"at least {fit.outputs}, as in the data",
                hint="load a checkpoint that was trained on these classes, or check the label column",
            )
        if outputs is not None:
            module = self._built(replace(fit, outputs=outputs))
        put_weights(module, weights, path, partial=self.partial)
        return module

    def as_saved(self, fit: Fit, weights: Mapping[str, Tensor], path: str) -> Fit:
        """What a network must fit to take these weights, where that is more than the samples.

        Returns:
            ``fit`` itself where the network of the samples takes them.

        Raises:
            CheckpointError: The weights are those of another network.
        """
        return fit

    def fit_inputs(self, module: torch.nn.Module, samples: Samples) -> None:
        """Take from the training samples what is not trained, such as the mean of each feature."""
        return

    def save(self, module: torch.nn.Module, path: Path, classes: Sequence[str]) -> None:
        """Write a checkpoint of ``module``, which this source built, for :meth:`network` to load."""
        save_weights(module, path, partial=self.partial, classes=classes)

    def _built(self, fit: Fit) -> torch.nn.Module:
        module = self.build(fit)
        if any(is_lazy(tensor) for tensor in (*module.parameters(), *module.buffers())):
            # Lazy layers take their shapes from their first inputs.
            with torch.no_grad():
                call(module.eval(), fit.example)
        return module


def checked(module: object, place: str) -> torch.nn.Module:
    """What a function of the user returned, as a network.

    Raises:
        ConfigError: It is something else.
    """
    if isinstance(module, torch.nn.Module):
        return module
    raise ConfigError(
        "the function does not return a network",
        place=place,
        found=type(module).__name__,
        expected="a torch.nn.Module",
    )


sources: Registry[type[ModelSource]] = Registry("ogacli.models.sources", "model source")
