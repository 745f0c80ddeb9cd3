"""The loss itself: what there is to compare with before any gradient."""

from jaxtyping import Float
from torch import Tensor

from ogacli.detectors import detectors
from ogacli.detectors._unfitted import UnfittedOptions
from ogacli.gradients import GradientBatch


@detectors.register
class LossValue(UnfittedOptions):
    """Score = the sample's loss."""

    def score(self, batch: GradientBatch) -> Float[Tensor, " b"]:
        """The losses that the computation of the gradients left behind."""
        assert batch.losses is not None, "a batch that came from no model"
        return batch.losses
