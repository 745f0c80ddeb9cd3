"""Random crops and mirror images, for whole batches of pictures at once.

In: pictures [b, c, h, w]. Out: as many of the same size (He et al., 2016, section 4.2).
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from ogacli.data.samples import Inputs
from ogacli.errors import ConfigError

_PADDING = 4
"""Pixels added on each side before the crop."""


class Augmentation:
    """Moves each picture by up to four pixels and mirrors every other one.

    Args:
        generator: Where the random numbers come from; on the CPU.
    """

    def __init__(self, generator: torch.Generator) -> None:
        self.generator = generator

    def __call__(self, pictures: Inputs) -> Float[Tensor, "b c h w"]:
        """Other views of the same pictures.

        Raises:
            ConfigError: The inputs are not pictures.
        """
        if not isinstance(pictures, Tensor) or pictures.ndim != 4:
            found = list(pictures.shape) if isinstance(pictures, Tensor) else type(pictures).__name__
            raise ConfigError(
                "only pictures can be augmented",
                place="train.augment",
                found=f"inputs {found}",
                expected="[b, c, h, w]",
                hint="drop `augment`",
            )
        b, c, h, w = pictures.shape
        places = torch.randint(2 * _PADDING + 1, (2, b, 1), generator=self.generator)
        mirrored = torch.rand(b, 1, generator=self.generator) < 0.5
        across = torch.arange(w).expand(b, w)
        rows = (places[0] + torch.arange(h))[:, None, :, None]
        columns = (places[1] + torch.where(mirrored, w - 1 - across, across))[:, None, None, :]
        index = [axis.to(pictures.device) for axis in (torch.arange(b), torch.arange(c), rows, columns)]
        index[:2] = [index[0][:, None, None, None], index[1][:, None, None]]
        return F.pad(pictures, (_PADDING,) * 4)[index[0], index[1], index[2], index[3]]
