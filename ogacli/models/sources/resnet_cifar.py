"""Residual networks for small pictures (He et al., 2016, arXiv 1512.03385).

Depths 8, 14, 20 and 32 are the paper's nets for CIFAR-10 (section 4.2): three stages of 16, 32 and 64
channels, shortcuts without parameters. Depths 18 and 34 are the block layout of its ImageNet nets (table
1), four stages of 64 to 512 channels with projection shortcuts, behind a 3x3 stem without pooling.
"""

from collections.abc import Sequence
from typing import Literal

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from ogacli.errors import DataError
from ogacli.models.sources import Fit, NetworkSource, sources

_WIDE = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3)}
"""Blocks of each stage of the nets of 64 to 512 channels."""


@sources.register
class ResnetCifar(NetworkSource):
    """A ResNet for pictures of about 32 x 32, of any number of channels."""

    depth: Literal[8, 14, 18, 20, 32, 34] = 20
    """Layers; 8, 14, 20, 32: at most 64 channels (0.08 to 0.46 million weights); 18, 34: at most 512
    (11 and 21 million)."""

    def build(self, fit: Fit) -> nn.Module:
        """A network for pictures [c, h, w]."""
        if len(fit.shape) != 3:
            raise DataError(
                "resnet_cifar takes pictures", found=f"inputs {list(fit.shape)}", expected="[c, h, w]"
            )
        channels = fit.shape[0]
        if self.depth in _WIDE:
            return ResNet(_WIDE[self.depth], 64, channels, fit.outputs, projected=True)
        return ResNet([(self.depth - 2) // 6] * 3, 16, channels, fit.outputs, projected=False)


class ResNet(nn.Module):
    """A 3x3 stem, stages of basic blocks of doubling width and halving size, mean, linear head ``fc``."""

    def __init__(
        self, blocks: Sequence[int], width: int, channels: int, outputs: int, *, projected: bool
    ) -> None:
        super().__init__()
        self.conv1 = _conv3x3(channels, width)
        self.bn1 = nn.BatchNorm2d(width)
        inputs, stages = width, []
        for stage, count in enumerate(blocks):
            outs, layers = width << stage, []
            for block in range(count):
                stride = 2 if stage and not block else 1
                layers.append(BasicBlock(inputs, outs, stride, projected=projected))
                inputs = outs
            stages.append(nn.Sequential(*layers))
        self.layers = nn.Sequential(*stages)
        self.fc = nn.Linear(inputs, outputs)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, pictures: Float[Tensor, "b c h w"]) -> Float[Tensor, "b k"]:
        """Logits."""
        found = F.relu(self.bn1(self.conv1(pictures)))
        return self.fc(self.layers(found).mean((2, 3)))  # type: ignore[no-any-return]


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut around them."""

    def __init__(self, inputs: int, outputs: int, stride: int, *, projected: bool) -> None:
        super().__init__()
        self.conv1 = _conv3x3(inputs, outputs, stride)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = _conv3x3(outputs, outputs)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.shortcut: nn.Module = nn.Identity()
        if inputs != outputs or stride != 1:
            self.shortcut = (
                nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))
                if projected
                else Subsample(outputs - inputs, stride)
            )

    def forward(self, inputs: Float[Tensor, "b c h w"]) -> Float[Tensor, "b o h2 w2"]:
        """The block's features."""
        found = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(inputs)))))
        return F.relu(found + self.shortcut(inputs))


class Subsample(nn.Module):
    """The shortcut without parameters: every other pixel, the new channels zero."""

    def __init__(self, added: int, stride: int) -> None:
        super().__init__()
        self.added = added
        self.stride = stride

    def forward(self, inputs: Float[Tensor, "b c h w"]) -> Float[Tensor, "b o h2 w2"]:
        """Fewer pixels, more channels."""
        return F.pad(inputs[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.added))


def _conv3x3(inputs: int, outputs: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
