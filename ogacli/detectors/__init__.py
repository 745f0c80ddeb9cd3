"""The detectors: a ``GradientBatch`` comes in, one score a sample goes out.

One file a detector: a class of options under ``@detectors.register``, named in YAML as its file, whose
``detector()`` gives a ``Detector``. Other distributions add theirs by an entry point (``base/registry.py``).
A module with a leading underscore, and ``norm``, hold what several detectors share.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from ogacli.base.options import Options
from ogacli.base.registry import Registry, type_name
from ogacli.data import Samples
from ogacli.detectors.label_noise.model import probability_wrong
from ogacli.detectors.label_noise.signals import Signals
from ogacli.gradients import GradientBatch

DEFAULT = "latent_label"
"""Decides where no detector is named and each sample has one class: on the whole the best in
`benchmarks/detection.py`."""
OF_ANNOTATORS = "latent_consensus"
"""Decides where several annotators labelled the samples."""
WITHOUT_CLASSES = "l2"
"""Decides where no detector is made for the kind of label."""
OF_PREDICTIONS = (
    *(
        DEFAULT,
        "latent_boxes",
        "latent_consensus",
        "latent_label_set",
        "latent_mask",
        "latent_tags",
        "latent_target",
    ),
)
"""Detectors that decide by default for a kind of label; they look at the predictions."""
_OF_GRADIENTS = "isolation_forest"
ATTRIBUTING = "isolation_forest"
"""The default of ``oga attribute`` where queries are compared with groups of samples."""


@dataclass(frozen=True, slots=True)
class Needs:
    """What a detector reads of a batch beside its labels, logits, residual, losses and features.

    ``Needs()`` is none of the gradient. The scan reduces the gradients of each layer to the union of what all
    detectors need, unless one of them needs everything.
    """

    norms: tuple[int, ...] = ()
    """Orders of the norms of the whole gradient, ascending."""
    coordinates: Int64[Tensor, " f"] | None = None
    """Single coordinates, ascending, each once; None for none."""
    everything: bool = False
    """Anything else, such as projections or inner products: the factors of the gradients must be kept."""

    @classmethod
    def union(cls, several: Iterable["Needs"]) -> "Needs":
        """What several detectors need together; the coordinates are on the CPU."""
        several = list(several)
        known = [one.coordinates.cpu() for one in several if one.coordinates is not None]
        return cls(
            norms=tuple(sorted({order for one in several for order in one.norms})),
            coordinates=torch.unique(torch.cat(known)) if known else None,
            everything=any(one.everything for one in several),
        )


class Detector(ABC):
    """Scores samples by their gradients; **higher = more anomalous**.

    The defaults are those of a detector that needs no fitting. Calls come in this order:
    ``see_samples``, ``see_validation``, ``fit_size``, ``fit`` (or ``restore``), ``score`` batch by batch,
    ``join``, ``finish``.
    """

    def fit_size(self, n: int) -> int:
        """The number of samples, of n, that ``fit`` must see; 0: there is nothing to fit."""
        return 0

    def fit(self, batches: Iterable[GradientBatch]) -> None:  # noqa: B027
        """Fit to ``fit_size(n)`` samples in random order.

        Args:
            batches: Can be iterated several times; each time the gradients may be computed again.
        """

    @abstractmethod
    def score(self, batch: GradientBatch) -> Float[Tensor, " b"]:
        """The scores of one batch, once fitted."""

    def needs(self, batch: GradientBatch | None = None) -> Needs:
        """What is read of a batch; everything, unless a subclass knows better.

        Args:
            batch: Where given (before ``fit``, after ``fit_size``), what ``fit`` and ``score`` together read
                of batches like this one. Where left out (once fitted), what ``score`` reads.
        """
        return Needs(everything=True)

    @property
    def finishes(self) -> bool:
        """Whether ``finish`` changes scores."""
        return type(self).finish is not Detector.finish

    def finish(self, scores: Float[Tensor, " n"], labels: Int64[Tensor, " n"]) -> Float[Tensor, " n"]:
        """The final scores, from those of all samples that could be scored; by default unchanged."""
        return scores

    def state(self) -> dict[str, Tensor]:
        """What was fitted, as named tensors on the CPU: for another process, or to resume later."""
        return {}

    def restore(self, state: Mapping[str, Tensor]) -> None:  # noqa: B027
        """Become as fitted as the detector that returned this ``state``."""

    def join(self, states: Sequence[Mapping[str, Tensor]]) -> None:  # noqa: B027
        """Take what detectors that were fitted alike have noted while they scored other samples.

        Args:
            states: What their ``state`` returned, in other processes.
        """

    def overlap(self, share: float) -> float | None:
        """Split-half stability of a randomised detector.

        Args:
            share: The fraction of the samples that counts as most anomalous.

        Returns:
            The fraction of these that two halves of the detector have in common; None where it is unknown.
        """
        return None

    def see_samples(self, samples: Samples) -> None:  # noqa: B027
        """Take what is known of the samples beside their gradients; called first of all."""

    @property
    def wants_validation(self) -> bool:
        """Whether it compares samples with those of the ``validation:`` section."""
        return False

    def see_validation(self, mean: Float[Tensor, " p"]) -> None:  # noqa: B027
        """Take the mean validation gradient; called only where there is one and it is wanted."""


def defaults(deciding: str | None, *, features: bool) -> list[str]:
    """The detectors of a scan for which none is named; the first decides.

    Args:
        deciding: The detector of the kind of label (``Task.deciding``); None: there is none.
        features: Whether gradients are more than the residuals of the logits. Without features a forest would
            isolate the k numbers that the other detectors read, and take longer than all the rest.
    """
    return [*([deciding] if deciding else []), WITHOUT_CLASSES, *([_OF_GRADIENTS] if features else [])]


class LabelDetector(Detector):
    """Gives the probability of each class to be the true one; scores by the probability of a wrong label.

    The evidence of several models, such as folds, can be put together and fitted as one: ``refit``.
    """

    held_out: bool = False
    """Whether the model was not trained on the labels that it is scored on; set before ``fit``."""

    @property
    def signals(self) -> Signals | None:
        """What tells label noise from the model's own mistakes, once fitted; None where it is unknown."""
        return None

    @abstractmethod
    def evidence(self, batch: GradientBatch) -> Float[Tensor, "b a"]:
        """What the probabilities are computed from: 2 k numbers a sample of k classes."""

    @abstractmethod
    def refit(self, evidence: Float[Tensor, "n a"], labels: Int64[Tensor, " n"]) -> None:
        """Fit to the evidence of all samples, as if it came from one model."""

    @abstractmethod
    def true_class(self, evidence: Float[Tensor, "b a"], labels: Int64[Tensor, " b"]) -> Float[Tensor, "b k"]:
        """The log-probability of each class to be the true one, given the evidence and the label."""

    def true_class_of(self, batch: GradientBatch) -> Float[Tensor, "b k"]:
        """The same for a batch, whose evidence is not kept."""
        return self.true_class(self.evidence(batch), batch.labels)

    def wrong(
        self, log_probabilities: Float[Tensor, "b k"], labels: Int64[Tensor, " b"]
    ) -> Float[Tensor, " b"]:
        """The probability that the given label is wrong, from the log-probabilities of ``true_class``."""
        return probability_wrong(log_probabilities, labels)

    def score(self, batch: GradientBatch) -> Float[Tensor, " b"]:
        """The probability that the given label is wrong, from 0 to 1."""
        return self.wrong(self.true_class_of(batch), batch.labels)

    def needs(self, batch: GradientBatch | None = None) -> Needs:
        """None of the gradient: the evidence comes from logits and features."""
        return Needs()


class DetectorOptions(Options):
    """Base of the options of all detectors, which are the keys of a ``detector:`` section."""

    @property
    def column(self) -> str:
        """The name of its column of scores: the detector's, followed by what tells its variants apart."""
        return type_name(self)

    @abstractmethod
    def detector(self) -> Detector:
        """A detector with these options, not fitted yet."""


class LayeredOptions(DetectorOptions):
    """Base of the options of detectors that may be restricted to some of the selected layers."""

    layers: str | list[str] | None = None
    """Which of the layers in ``gradients.layers`` it looks at, written like those; all where left out.
    For several detectors of different layers, the column ``agreement`` shows how far the layers agree."""

    @property
    def column(self) -> str:
        """The detector's name, followed by the layers."""
        named = [self.layers] if isinstance(self.layers, str) else self.layers or []
        return "_".join([super().column, *(re.sub(r"\W+", "_", name).strip("_") for name in named)])


detectors: Registry[type[DetectorOptions]] = Registry("ogacli.detectors", "detector")
