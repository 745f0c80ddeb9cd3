"""The loss of the sample: the baseline that needs no gradient."""

from jaxtyping import Float
from torch import Tensor

from ogacli.detectors import Detector, DetectorOptions, Needs, detectors
from ogacli.gradients import GradientBatch


@detectors.register
class LossValue(DetectorOptions):
    """Score = the sample's loss."""

    def detector(self) -> "Losses":
        """A detector that needs no fitting."""
        return Losses()


class Losses(Detector):
    """Scores a sample by its loss."""

    def needs(self, batch: GradientBatch | None = None) -> Needs:
        """None of the gradient."""
        return Needs()

    def score(self, batch: GradientBatch) -> Float[Tensor, " b"]:
        """The losses that were computed along with the gradients."""
        assert batch.losses is not None, "a batch that came from no model"
        return batch.losses
