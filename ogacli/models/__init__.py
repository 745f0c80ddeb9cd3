"""Where a model comes from: one file a source.

In: the ``model:`` section and the samples that it must fit. Out: a ``Model``. A new source is a new file
here with one class under ``@sources.register``, named as its module.
"""

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any

import torch

from ogacli.data import Samples
from ogacli.errors import DataError
from ogacli.models.checkpoints import load_weights
from ogacli.models.network import Model, Network
from ogacli.options import Location, Options
from ogacli.registry import Registry

__all__ = ["Fit", "Model", "ModelSource", "Network", "NetworkSource", "sources"]


class ModelSource(Options):
    """What every ``model:`` section must be able to do."""

    @abstractmethod
    def load(self, samples: Samples) -> Model:
        """The model, ready to be asked for the outputs of batches of these samples."""

    def checkpoint_files(self) -> tuple[str, ...]:
        """The files that the model's weights come from, for the provenance."""
        return ()


@dataclass(frozen=True, slots=True)
class Fit:
    """What a new network must fit: the inputs and outputs of a dataset."""

    example: Any
    """The inputs of one sample, with a leading dimension of 1."""
    outputs: int
    """Logits: the number of classes, or of targets of a regression."""

    @classmethod
    def of(cls, samples: Samples) -> "Fit":
        """Read the first readable sample.

        Raises:
            DataError: None of the first hundred can be read.
        """
        for row in range(min(100, len(samples))):
            batch = samples.read([row])
            if len(batch.rows):
                targets = 1 if samples.labels.ndim == 1 else samples.labels.shape[1]
                return cls(batch.inputs, len(samples.classes) or targets)
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


class NetworkSource(ModelSource):
    """A source that builds a network and loads a checkpoint into it."""

    checkpoint: Location | None = None
    """The weights: ``.safetensors``, or a state dict that ``torch.save`` wrote."""
    head: str | None = None
    """The name of the last linear layer, where it is not found by itself."""

    @abstractmethod
    def build(self, fit: Fit) -> torch.nn.Module:
        """A network with fresh weights that fits the samples; global random state decides the weights."""

    def load(self, samples: Samples) -> Network:
        """The network with its checkpoint, in evaluation mode."""
        fit = Fit.of(samples)
        module = self.build(fit)
        if self.checkpoint is not None:
            load_weights(module, self.checkpoint)
        return Network(module, head=self.head, outputs=fit.outputs)

    def checkpoint_files(self) -> tuple[str, ...]:
        """The checkpoint, where there is one."""
        return () if self.checkpoint is None else (self.checkpoint,)


sources: Registry[type[ModelSource]] = Registry("ogacli.models", "model source")
