"""The probability that a region of a mask is wrong, under a model of label noise of pixels."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from ogacli.base.device import sent
from ogacli.data.labels.label_types import IGNORED
from ogacli.detectors import detectors
from ogacli.detectors._cells import CellDetector, CellOptions, Cells
from ogacli.detectors._state import prefixed, under
from ogacli.detectors.label_noise.class_noise import ClassNoise
from ogacli.detectors.label_noise.pixels import MaskNoise
from ogacli.detectors.label_noise.regions import Regions, parts_of
from ogacli.errors import DataError, GradientError
from ogacli.gradients import GradientBatch
from ogacli.models.tasks.segmentation import upsampled

MOST = 16
"""Regions that are kept of a mask: those that are most probably wrong."""
_PIXELS = 256
"""Pixels of each mask that the noise is fitted to."""
_COARSE = 64
"""Pixels of a side at which parts of masks are sought, to fit the noise to."""
_ENTRIES = 1 << 20
"""Logits that are held while fitting. With more it sees no further samples."""


@detectors.register
class LatentMask(CellOptions):
    """For a class a pixel: score = how probable it is that some region of the mask has a wrong class.

    A region is connected pixels of one given class that are more probably wrong than right; see
    :mod:`ogacli.detectors.label_noise.regions`.
    """

    def detector(self) -> "Mask":
        """A detector that is not fitted yet."""
        return Mask(self)


@dataclass(frozen=True, slots=True)
class RegionCells(Cells):
    """The regions of the masks of a batch, most probably wrong first; of no pixels where there are fewer."""

    region: Int64[Tensor, "b m 6"]
    """The given class, left, top, right and bottom (the last two beyond the region), and the pixels."""
    of_mask: Float[Tensor, " b"]
    """The probability that a region of each mask is wrong; where there is none the mean over pixels."""

    @property
    def score(self) -> Float[Tensor, " b"]:
        """The score of each mask, from 0 to 1."""
        return self.of_mask


class Mask(CellDetector):
    """A cell is a region; its most probable class is suggested."""

    def __init__(self, options: LatentMask) -> None:
        self.options = options
        self.noise: MaskNoise | None = None

    def fit_size(self, n: int) -> int:
        """All samples, up to ``fit_samples``."""
        return min(n, self.options.fit_samples)

    def fit(self, batches: Iterable[GradientBatch]) -> None:
        """Fit how classes become wrong, to some pixels and to the parts of each mask.

        Raises:
            DataError: There is no sample.
            GradientError: The labels are not masks.
        """
        logits, labels, parts, held = list[Tensor](), list[Tensor](), list[tuple[Tensor, Tensor]](), 0
        for batch in batches:
            every, given = _sized(batch)
            parts.append(_parts(every, given))
            every, given = every.flatten(2).transpose(1, 2), given.flatten(1)
            step = max(1, given.shape[1] // _PIXELS)
            every, given = every[:, ::step], given[:, ::step]
            known = given != IGNORED
            logits.append(every[known])
            labels.append(given[known])
            held += logits[-1].numel()
            del batch  # before the next one is computed
            if held >= _ENTRIES:
                break
        if not held:
            raise DataError("no mask to fit the label noise to", expected="at least one that can be read")
        columns = (logits, labels, *zip(*parts, strict=True))
        self.noise = MaskNoise.fitted(
            *(torch.cat(tuple(column)) for column in columns), held_out=self.held_out
        )

    def cells(self, batch: GradientBatch) -> RegionCells:
        """The regions, once fitted."""
        assert self.noise is not None, "fit or restore first"
        self.noise = self.noise.to(batch.logits.device)
        logits, labels = _sized(batch)
        known = (labels != IGNORED).flatten()
        every, index = logits.permute(0, 2, 3, 1).flatten(0, 2), labels.clamp_min(0).flatten()
        wrong = self.noise.pixels.judged(every, index)[0] * known
        doubtful = (wrong > 0.5).cpu()
        place = sent(doubtful.nonzero()[:, 0], every.device)
        found = Regions.of(
            doubtful.view(labels.shape).numpy(),
            labels.cpu().numpy(),
            every[place].cpu().double().numpy(),
            self.noise.parts,
        )
        doubt, size = (each.view(labels.shape).sum((1, 2)) for each in (wrong, known))
        return _by_mask(found, doubt / size.clamp_min(1))

    def state(self) -> dict[str, Tensor]:
        """The parameters."""
        if self.noise is None:
            return {}
        return prefixed("pixels.", self.noise.pixels.state()) | prefixed("parts.", self.noise.parts.state())

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Take over the parameters."""
        self.noise = None
        if state:
            self.noise = MaskNoise(*(ClassNoise.of(under(name, state)) for name in ("pixels.", "parts.")))


def _sized(batch: GradientBatch) -> tuple[Float[Tensor, "b k h w"], Int64[Tensor, "b h w"]]:
    """The logits at the resolution of the masks, and the classes.

    Raises:
        GradientError: Labels are not masks.
    """
    if batch.labels.ndim != 3 or batch.logits.ndim != 4 or batch.logits.shape[1] < 2:
        raise GradientError(
            "takes a class a pixel, of two or more",
            place="detector.name latent_mask",
            found=f"labels {list(batch.labels.shape)}, logits {list(batch.logits.shape)}",
            expected="masks [b, h, w] and logits [b, classes, h, w]",
            hint="`latent_label` takes one class a sample, `latent_label_set` several",
        )
    return upsampled(batch.logits, batch.labels), batch.labels


def _parts(
    logits: Float[Tensor, "b k h w"], given: Int64[Tensor, "b h w"]
) -> tuple[Float[Tensor, "q k"], Int64[Tensor, " q"]]:
    """The mean logits, and the given class, of each part of the masks, at fewer pixels."""
    down, across = (slice(None, None, -(-side // _COARSE)) for side in given.shape[1:])
    few = given[:, down, across].cpu().numpy()
    return parts_of(logits[:, :, down, across].cpu().double().numpy(), few, few != IGNORED)


def _by_mask(found: Regions, doubt: Float[Tensor, " b"]) -> RegionCells:
    """The regions of each mask in a row, at most ``MOST``.

    Args:
        found: All regions.
        doubt: The mean probability of the pixels of each mask to be wrong.
    """
    b, device = len(doubt), doubt.device
    wrong, suggested = torch.zeros(2, b, MOST, dtype=torch.float64)
    region = torch.zeros(b, MOST, 6, dtype=torch.int64)
    right, taken = np.zeros(b), [0] * b
    with np.errstate(divide="ignore"):  # a region may be wrong for certain
        np.add.at(right, found.sample, np.log1p(-found.wrong.clip(max=1)))
    for i in (-found.wrong).argsort(kind="stable").tolist():
        sample = int(found.sample[i])
        if (place := taken[sample]) == MOST:
            continue
        taken[sample] += 1
        wrong[sample, place], suggested[sample, place] = float(found.wrong[i]), float(found.suggested[i])
        region[sample, place] = torch.tensor([found.given[i], *found.box[i], found.pixels[i]])
    # In logarithms, so that scores of masks that are hardly doubtful differ.
    score = -torch.expm1(sent(torch.from_numpy(right), device) + torch.log1p(-doubt.clamp_max(1)))
    none = torch.zeros_like(wrong)
    return RegionCells(*(sent(one, device) for one in (wrong, suggested, none, region, score)))
