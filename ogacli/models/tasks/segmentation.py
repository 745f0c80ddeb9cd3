"""A class a pixel: the mean cross-entropy over the labelled pixels of a picture."""

from typing import ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from PIL import Image
from torch import Tensor

from ogacli.data import Preview, Samples
from ogacli.data.images.overlay import overlaid
from ogacli.data.labels.label_types import IGNORED
from ogacli.errors import GradientError
from ogacli.models.network import Model, Network
from ogacli.models.outputs import call
from ogacli.models.tasks import Labels, Logits, tasks
from ogacli.models.tasks._places import Places


@tasks.register_as("pixel_cross_entropy")
class Segmentation(Places):
    """Softmax over the logits of each pixel and cross-entropy with its class; the mean over labelled pixels.

    Logits of a lower resolution than the masks are upsampled bilinearly, as transformers does in training.
    """

    deciding = "latent_mask"
    places = "pixels"
    of_pixels: ClassVar[bool] = True

    def loss(self, logits: Logits, labels: Labels) -> Float[Tensor, " b"]:
        """The mean cross-entropy of each sample.

        Raises:
            GradientError: The labels are not one class a pixel, or the logits do not fit them.
        """
        sized = self._sized(logits, labels)
        losses = F.cross_entropy(sized, labels, reduction="none", ignore_index=IGNORED)
        return losses.flatten(1).sum(1) / _labelled(labels)

    @torch.no_grad()
    def residual(self, logits: Logits, labels: Labels) -> Logits:
        """Softmax minus the given class, over the number of labelled pixels; 0 at those without a class.

        For the given class that difference cancels to zero where a pixel is predicted confidently, so it is
        computed as minus the sum of the others.

        Raises:
            GradientError: As :meth:`loss`.
        """
        sized = self._sized(logits, labels)
        known, index = (labels != IGNORED)[:, None], labels.clamp_min(0)[:, None]
        found = sized.softmax(1)
        others = found.scatter(1, index, 0.0).sum(1, keepdim=True)
        found = found.scatter(1, index, -others) * known / _labelled(labels)[:, None, None, None]
        if sized.shape == logits.shape:
            return found
        with torch.inference_mode(False), torch.enable_grad():
            low = torch.zeros_like(logits).requires_grad_()
            (residual,) = torch.autograd.grad(upsampled(low, labels), low, found.clone())
        return residual

    def preview(self, model: Model, samples: Samples, row: int, device: torch.device) -> Preview:
        """The picture in the colours of its mask, beside those of the prediction; what differs is outlined.

        Raises:
            Unreadable: It cannot be read.
        """
        assert isinstance(model, Network), "a network of pixels"
        batch = samples.read_one(row).to(device)
        with torch.inference_mode():
            logits = self._sized(call(model.module, batch.inputs), batch.labels)
        given, predicted = batch.labels[0].cpu().numpy(), logits[0].argmax(0).cpu().numpy()
        picture = _picture(batch.inputs[0].cpu())
        return overlaid(picture, [given, predicted], (given != predicted) & (given >= 0))

    def _sized(self, logits: Logits, labels: Labels) -> Float[Tensor, "b k h w"]:
        """The logits at the resolution of the labels.

        Raises:
            GradientError: There is no class a pixel, or not one map of logits a class.
        """
        if labels.ndim != 3 or labels.is_floating_point():
            raise GradientError(
                "takes a mask a sample",
                place=self.place,
                found=f"labels {list(labels.shape)} of {str(labels.dtype).removeprefix('torch.')}",
                expected="one class a pixel",
                hint="use `data: {source: segmentation}`, or `loss: cross_entropy` for one class a sample",
            )
        if logits.ndim != 4 or any(
            own > mask for own, mask in zip(logits.shape[2:], labels.shape[1:], strict=True)
        ):
            raise GradientError(
                "the network does not return logits of each pixel",
                place=self.place,
                found=f"logits {list(logits.shape)}",
                expected=f"[{len(labels)}, classes, {labels.shape[1]}, {labels.shape[2]}], or fewer pixels",
            )
        return upsampled(logits, labels)


def upsampled(logits: Float[Tensor, "b k i j"], labels: Int64[Tensor, "b h w"]) -> Float[Tensor, "b k h w"]:
    """The logits at the resolution of the masks, bilinearly; themselves where they have it."""
    if logits.shape[2:] == labels.shape[1:]:
        return logits
    return F.interpolate(logits, size=labels.shape[1:], mode="bilinear", align_corners=False)


def _labelled(labels: Int64[Tensor, "b h w"]) -> Float[Tensor, " b"]:
    """The number of labelled pixels; at least 1."""
    return (labels != IGNORED).flatten(1).sum(1).clamp_min(1)


def _picture(inputs: Float[Tensor, "c h w"]) -> Image.Image:
    """The input of the network as a picture, its values spread from black to white."""
    low, high = inputs.amin(), inputs.amax()
    pixels = ((inputs - low) / (high - low).clamp_min(1e-12) * 255).byte()
    chosen = pixels[:3] if len(pixels) >= 3 else pixels[:1].expand(3, -1, -1)
    return Image.fromarray(np.ascontiguousarray(chosen.permute(1, 2, 0).numpy()))
