"""The network without linear layers."""

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from pipeline.core.models.base import InitKind
from pipeline.core.models.classic import Classic

if TYPE_CHECKING:
    from torch import nn


class NiN(Classic):
    """Network in Network (Lin, Chen & Yan 2013, arXiv 1312.4400), with the numbers of the authors'
    ImageNet model; first three blocks as in Dive into Deep Learning, section 8.3.

    A block is a convolution followed by two of 1x1, each with its activation. Three blocks with
    pooling, dropout, and a fourth of 1024 channels that ends in one map a class, whose means are
    the logits. At 224 px: 96x54x54, pooled 96x26x26, 256x26x26, pooled 256x12x12, 384x12x12, pooled
    384x5x5, twice 1024x5x5, classes x5x5.

    Two things keep it from never learning some classes. The fourth block stays wide, where the
    textbook has one channel a class in all of it: with two or three classes those few units are
    often all dead. And its last convolution has neither norm nor activation, other than the
    original's: a class map below zero everywhere would get no gradient. With `last` classes the
    block is the textbook's: with one channel and ten classes 1,992,166 parameters.
    """

    min_size: ClassVar[int] = 67  # leaves one place for each of the last maps

    name: Literal["nin"] = "nin"
    width: int = Field(default=96, ge=2, le=1024, description="channels of the first stage")
    dropout: float = Field(
        default=0.5, ge=0, lt=1, description="probability of dropping a unit; 0 = off"
    )
    init: InitKind = Field(default="xavier", description="default: torch's own")

    last: Literal["wide", "classes"] = Field(
        default="wide", description="maps of the last block: 1024, or one a class throughout"
    )

    def assemble(self, channels: int, size: int, num_classes: int) -> "nn.Module":  # noqa: ARG002
        from torch import nn

        from pipeline.core.blocks import dropout

        layers: list[nn.Module] = []
        for number, kernel, stride, padding in ((96, 11, 4, 0), (256, 5, 1, 2), (384, 3, 1, 1)):
            out = self.scaled(number)
            layers += [*self.convolution(channels, out, kernel, stride=stride, padding=padding)]
            layers += [*self.convolution(out, out, 1), *self.convolution(out, out, 1)]
            layers += [nn.MaxPool2d(3, stride=2), *self.stage_end()]
            channels = out
        wide = self.scaled(1024) if self.last == "wide" else num_classes
        layers += [dropout(self.head_dropout), *self.convolution(channels, wide, 3, padding=1)]
        layers += self.convolution(wide, wide, 1)
        if self.last == "wide":
            layers.append(nn.Conv2d(wide, num_classes, 1))
        else:
            layers += self.convolution(wide, num_classes, 1)
        return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())
