"""Networks of 3x3 convolutions alone."""

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from pipeline.core.models.base import InitKind
from pipeline.core.models.classic import Classic

if TYPE_CHECKING:
    from torch import nn

CONVOLUTIONS = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3)}  # of each stage


class VGG(Classic):
    """VGG-11, 13 and 16 (Simonyan & Zisserman 2014, arXiv 1409.1556, table 1, A, B and D); with
    norm batch, VGG-BN.

    Five stages of 3x3 convolutions with width x (1, 2, 4, 8, 8) channels and 2x2 max pooling, then
    three linear layers with twice 64 x width hidden units and dropout before the last two. At 224
    px: 64x112x112, 128x56x56, 256x28x28, 512x14x14, 512x7x7, flatten 25088, 4096, 4096, classes, as
    torchvision has it; other sizes flatten what is left of them. Without norm the deep ones need
    the initialisation of He et al. (2015, arXiv 1502.01852, which trains this kind of network).
    """

    min_size: ClassVar[int] = 32  # five times halved, 1

    name: Literal["vgg"] = "vgg"
    depth: Literal[11, 13, 16] = Field(default=11, description="layers with weights")
    dropout: float = Field(
        default=0.5, ge=0, lt=1, description="probability of dropping a unit; 0 = off"
    )
    init: InitKind = Field(default="he", description="default: torch's own")

    def assemble(self, channels: int, size: int, num_classes: int) -> "nn.Module":
        from torch import nn

        layers: list[nn.Module] = []
        for factor, convolutions in zip((1, 2, 4, 8, 8), CONVOLUTIONS[self.depth], strict=True):
            for _ in range(convolutions):
                layers += self.convolution(channels, factor * self.width, 3, padding=1)
                channels = factor * self.width
            layers += [nn.MaxPool2d(2), *self.stage_end()]
        hidden = 64 * self.width
        return nn.Sequential(
            *layers,
            *self.hidden_layers(channels * (size // 32) ** 2, (hidden, hidden), num_classes),
        )
