"""The probability that some class of a sample is wrongly given or forgotten, under a model of label noise."""

from jaxtyping import Float
from torch import Tensor

from ogacli.detectors import detectors
from ogacli.detectors._cells import CellOptions, FittedCells
from ogacli.detectors.label_noise.present import PresenceNoise
from ogacli.errors import GradientError
from ogacli.gradients import GradientBatch


@detectors.register
class LatentLabelSet(CellOptions):
    """For any number of classes a sample: score = how probable it is that one of them is wrong or missing.

    Each class is a binary latent label with its own noise rates; see
    :mod:`ogacli.detectors.label_noise.present`.
    """

    def detector(self) -> "LabelSet":
        """A detector that is not fitted yet."""
        return LabelSet(self, PresenceNoise)


class LabelSet(FittedCells[PresenceNoise]):
    """A cell is a class; the other one of 0 and 1 is suggested in its place."""

    def read(self, batch: GradientBatch) -> tuple[Float[Tensor, "b k"], Float[Tensor, "b k"]]:
        """The logits, and 0 or 1 for each class.

        Raises:
            GradientError: Labels are not 0 or 1 for each class.
        """
        labels = batch.labels
        several = labels.ndim == 2 and not batch.returns_loss and labels.shape == batch.logits.shape
        if not several or not ((labels == 0) | (labels == 1)).all():
            raise GradientError(
                "takes samples with any number of classes",
                place="detector.name latent_label_set",
                found=f"labels {list(labels.shape)}, logits {list(batch.logits.shape)}",
                expected="a 0 or 1 for each class",
                hint="`latent_label` takes one class a sample, `latent_target` numbers",
            )
        return batch.logits.double(), labels.double()
