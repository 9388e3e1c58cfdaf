"""Densely connected networks of plain 3x3 layers."""

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from pipeline.core.models.base import Own

if TYPE_CHECKING:
    from torch import nn


class DenseBlocks(Own):
    """DenseNet without bottlenecks (Huang et al. 2016, arXiv 1608.06993, section 3), as Dive into
    Deep Learning, section 8.7, has it.

    A stem as ResNet's, then blocks of norm, activation and 3x3 convolution, each of which adds
    `growth_rate` maps to all that it reads; between blocks a 1x1 convolution halves the maps and
    average pooling the side. With one channel and ten classes 758,226 parameters. The deep networks
    with bottlenecks are `densenet`.
    """

    name: Literal["dense_blocks"] = "dense_blocks"
    growth_rate: int = Field(default=32, ge=1, le=512, description="maps that each layer adds")
    num_blocks: int = Field(default=4, ge=1, le=5)
    block_layers: int = Field(default=4, ge=1, le=64, description="convolutions of a block")

    @property
    def smallest(self) -> int:
        return int(2 ** (self.num_blocks + 1)) - 1  # leaves one place for each of the last maps

    def assemble(self, channels: int, size: int, num_classes: int) -> "nn.Module":  # noqa: ARG002
        from torch import nn

        from pipeline.core.blocks import Dense, activation, dropout, dropout2d, leading, norm

        layers: list[nn.Module] = [
            nn.Conv2d(channels, self.width, 7, 2, 3),
            norm(self.norm, self.width),
            activation(self.activation),
            nn.MaxPool2d(3, 2, 1),
        ]
        channels = self.width
        for number in range(self.num_blocks):
            if number:
                half = max(1, channels // 2)
                layers += [leading(self.norm, self.activation, channels)]
                layers += [nn.Conv2d(channels, half, 1), nn.AvgPool2d(2)]
                channels = half
            layers.append(
                Dense(channels, self.growth_rate, self.block_layers, self.norm, self.activation)
            )
            channels += self.growth_rate * self.block_layers
            if self.stage_dropout:
                layers.append(dropout2d(self.stage_dropout))
        layers += [leading(self.norm, self.activation, channels), nn.AdaptiveAvgPool2d(1)]
        layers += [nn.Flatten(), dropout(self.head_dropout), nn.Linear(channels, num_classes)]
        return nn.Sequential(*layers)
