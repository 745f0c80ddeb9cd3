"""The probability that a target of a regression is wrong, under a mixture of residuals."""

from jaxtyping import Float
from torch import Tensor

from ogacli.detectors import detectors
from ogacli.detectors._cells import CellOptions, FittedCells
from ogacli.detectors.label_noise.target import TargetNoise
from ogacli.errors import GradientError
from ogacli.gradients import GradientBatch


@detectors.register
class LatentTarget(CellOptions):
    """For a regression: score = probability that the target is wrong; of several, mostly the most doubtful.

    A target is right up to the model's residual, or belongs to another sample, or is shifted, or broadly off;
    see :mod:`ogacli.detectors.label_noise.target`.
    """

    def detector(self) -> "Target":
        """A detector that is not fitted yet."""
        return Target(self, TargetNoise)


class Target(FittedCells[TargetNoise]):
    """A cell is a target; the prediction is suggested in its place."""

    def read(self, batch: GradientBatch) -> tuple[Float[Tensor, "b m"], Float[Tensor, "b m"]]:
        """The predictions and the targets.

        Raises:
            GradientError: Labels are no targets.
        """
        labels = batch.labels
        if batch.returns_loss or not labels.is_floating_point() or labels.numel() != batch.logits.numel():
            raise GradientError(
                "takes numbers to be predicted",
                place="detector.name latent_target",
                found=f"labels {list(labels.shape)} of {str(labels.dtype).removeprefix('torch.')}",
                expected="one number for each output",
                hint="`latent_label` takes one class a sample, `latent_label_set` several",
            )
        targets = labels.double() if labels.ndim == 2 else labels.double()[:, None]
        return batch.logits.reshape(targets.shape).double(), targets
