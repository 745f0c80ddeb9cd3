"""``GradientBatch`` -> score: one file a detector.

A new detector is a new file here with one class under ``@detectors.register``, named as its module.
"""

import re
from abc import abstractmethod
from collections.abc import Iterable, Mapping
from typing import Protocol, runtime_checkable

from jaxtyping import Float, Int64
from torch import Tensor

from ogacli.base.options import Options
from ogacli.base.registry import Registry, type_name
from ogacli.gradients import GradientBatch

DEFAULT = "latent_label"
"""The detector of a config that names none: on the whole the best of `benchmarks/detection.py`."""
WITHOUT_CLASSES = "l2"
"""The same where samples do not have one class each."""
ATTRIBUTING = "isolation_forest"
"""The same where queries are attributed to groups of samples, by their gradients."""


class Detector(Protocol):
    """Scores samples by their gradients; **higher = more anomalous**."""

    def fit_size(self, n: int) -> int:
        """How many of n samples it must see before it can score; 0: none."""
        ...

    def fit(self, batches: Iterable[GradientBatch]) -> None:
        """See ``fit_size(n)`` samples, in random order; the batches may be gone through several times."""
        ...

    def score(self, batch: GradientBatch) -> Float[Tensor, " b"]:
        """The scores of one batch."""
        ...

    def finish(self, scores: Float[Tensor, " n"], labels: Int64[Tensor, " n"]) -> Float[Tensor, " n"]:
        """The final scores, once all samples that could be scored have one."""
        ...

    def state(self) -> dict[str, Tensor]:
        """What fitting found, as named tensors on the CPU: for another process, or to go on later."""
        ...

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Be as fitted as the detector whose ``state`` this was."""
        ...


@runtime_checkable
class Frugal(Detector, Protocol):
    """A detector that asks for few coordinates, and can say which before it sees a sample."""

    def coordinates(self, batch: GradientBatch) -> Int64[Tensor, " f"] | None:
        """All coordinates that ``fit`` and ``score`` will ask batches like this for, ascending.

        None where they are too many to keep. Called after ``fit_size``.
        """
        ...

    def scored(self) -> Int64[Tensor, " f"]:
        """All coordinates that ``score`` will ask for, once fitted; ascending, each once."""
        ...


@runtime_checkable
class Drawn(Detector, Protocol):
    """A detector whose scores are drawn by lot, and that knows how much of them is luck."""

    def overlap(self, share: float) -> float | None:
        """How much two halves of it have in common of the most anomalous samples.

        Args:
            share: How large a part of the samples those are.

        Returns:
            The share of them; None where that is not known.
        """
        ...


@runtime_checkable
class Comparing(Detector, Protocol):
    """A detector that can hold samples against those of the ``validation:`` section."""

    @property
    def wants_validation(self) -> bool:
        """Whether it would, as its options are."""
        ...

    def see_validation(self, mean: Float[Tensor, " p"]) -> None:
        """Take the mean validation gradient; before ``fit_size`` and ``fit``, and only where there is one."""
        ...


@runtime_checkable
class Answering(Detector, Protocol):
    """A detector that knows from the model's answers how probable each class is to be the true one."""

    def answers(self, batch: GradientBatch) -> Float[Tensor, "b a"]:
        """What it looks at, of a batch; of k classes 2 k numbers a sample."""
        ...

    def refit(self, answers: Float[Tensor, "n a"], labels: Int64[Tensor, " n"]) -> None:
        """Fit to what it saw of several models, as if they were one."""
        ...

    def beliefs(self, answers: Float[Tensor, "b a"], labels: Int64[Tensor, " b"]) -> Float[Tensor, "b k"]:
        """The logarithm of the probability of each class to be the true one, given the label."""
        ...

    def judge(self, beliefs: Float[Tensor, "b k"], labels: Int64[Tensor, " b"]) -> Float[Tensor, " b"]:
        """The scores that follow: the probability that the given label is wrong."""
        ...


class DetectorOptions(Options):
    """What every ``detector:`` section must be able to do."""

    @property
    def column(self) -> str:
        """What its scores are called: the detector's name, and what tells its variants apart."""
        return type_name(self)

    @abstractmethod
    def detector(self) -> Detector:
        """The detector that these options describe, not fitted yet."""


class LayeredOptions(DetectorOptions):
    """A detector that may look at some of the selected layers."""

    layers: str | list[str] | None = None
    """Which of the layers in ``gradients.layers`` it looks at, written like those; all where left out.
    Several detectors of different layers say by their ``agreement`` how far the layers agree."""

    @property
    def column(self) -> str:
        """With the layers."""
        named = [self.layers] if isinstance(self.layers, str) else self.layers or []
        return "_".join([super().column, *(re.sub(r"\W+", "_", name).strip("_") for name in named)])


detectors: Registry[type[DetectorOptions]] = Registry("ogacli.detectors", "detector")
