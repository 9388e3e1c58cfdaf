"""The first network of Inception blocks."""

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from pipeline.core.models.base import InitKind
from pipeline.core.models.classic import Classic

if TYPE_CHECKING:
    from torch import nn

# Channels of a block as in the paper's table 1: 1x1; reduced, 3x3; reduced, 5x5; after pooling.
INCEPTION = (
    ((64, 96, 128, 16, 32, 32), (128, 128, 192, 32, 96, 64)),
    (
        (192, 96, 208, 16, 48, 64),
        (160, 112, 224, 24, 64, 64),
        (128, 128, 256, 24, 64, 64),
        (112, 144, 288, 32, 64, 64),
        (256, 160, 320, 32, 128, 128),
    ),
    ((256, 160, 320, 32, 128, 128), (384, 192, 384, 48, 128, 128)),
)


class GoogLeNet(Classic):
    """GoogLeNet (Szegedy et al. 2014, arXiv 1409.4842, table 1), without its two auxiliary
    classifiers and its local response normalisation, as Dive into Deep Learning, section 8.4, has
    it.

    A stem of two stages, nine Inception blocks in three, global average pooling, dropout, one
    linear layer. Channels after the stages, at 96 px: 64x24x24, 192x12x12, 480x6x6, 832x3x3,
    1024x3x3; then 1024 means. 6,998,552 parameters with 1000 classes. It was trained without norm;
    22 layers without one need the initialisation of He et al.
    """

    name: Literal["googlenet"] = "googlenet"
    dropout: float = Field(
        default=0.4, ge=0, lt=1, description="probability of dropping a unit; 0 = off"
    )
    init: InitKind = Field(default="he", description="default: torch's own")

    def assemble(self, channels: int, size: int, num_classes: int) -> "nn.Module":  # noqa: ARG002
        from torch import nn

        from pipeline.core.blocks import dropout

        third = self.scaled(192)
        layers: list[nn.Module] = [
            *self.convolution(channels, self.width, 7, stride=2, padding=3),
            self._halve(),
        ]
        layers += [*self.stage_end(), *self.convolution(self.width, self.width, 1)]
        layers += [
            *self.convolution(self.width, third, 3, padding=1),
            self._halve(),
            *self.stage_end(),
        ]
        channels = third
        for stage, blocks in enumerate(INCEPTION):
            for numbers in blocks:
                block, channels = self._inception(
                    channels, [self.scaled(number) for number in numbers]
                )
                layers.append(block)
            layers += [*([] if stage == 2 else [self._halve()]), *self.stage_end()]
        layers += [
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            dropout(self.head_dropout),
            nn.Linear(channels, num_classes),
        ]
        return nn.Sequential(*layers)

    def _halve(self) -> "nn.Module":
        from torch import nn

        return nn.MaxPool2d(3, stride=2, padding=1)

    def _inception(self, channels: int, numbers: list[int]) -> "tuple[nn.Module, int]":
        """The block of the paper's figure 2b and its channels; the maps keep their size."""
        from torch import nn

        from pipeline.core.blocks import Branches

        one, reduced3, three, reduced5, five, pooled = numbers
        branches = [
            self.convolution(channels, one, 1),
            [
                *self.convolution(channels, reduced3, 1),
                *self.convolution(reduced3, three, 3, padding=1),
            ],
            [
                *self.convolution(channels, reduced5, 1),
                *self.convolution(reduced5, five, 5, padding=2),
            ],
            [nn.MaxPool2d(3, stride=1, padding=1), *self.convolution(channels, pooled, 1)],
        ]
        return Branches(nn.Sequential(*branch) for branch in branches), one + three + five + pooled
