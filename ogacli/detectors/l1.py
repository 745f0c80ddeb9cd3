"""The L1 norm of the per-sample gradient; nothing is fitted."""

from typing import ClassVar

from ogacli.detectors import detectors
from ogacli.detectors.norm import NormOptions


@detectors.register
class L1(NormOptions):
    """Score = L1 norm of the sample's gradient, in the loss's units."""

    order: ClassVar[int] = 1
