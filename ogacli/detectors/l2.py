"""The L2 norm of the per-sample gradient; nothing is fitted."""

from typing import ClassVar

from ogacli.detectors import detectors
from ogacli.detectors.norm import NormOptions


@detectors.register
class L2(NormOptions):
    """Score = L2 norm of the sample's gradient, in the loss's units."""

    order: ClassVar[int] = 2
