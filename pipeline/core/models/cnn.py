"""The baseline network of the course's HW3."""

from typing import TYPE_CHECKING, Literal

from pipeline.core.models.base import Own

if TYPE_CHECKING:
    from torch import nn


class CNN(Own):
    """The baseline of HW3 (Hung-yi Lee, machine learning course, 2021 and later): five stages of
    3x3 convolution, batch norm, ReLU, pooling, then three linear layers.

    Channels are width x (1, 2, 4, 8, 8), hidden units 16 and 8 x width; at width 64 and 128 px that
    is 64-128-256-512-512, flatten 8192, 1024, 512. Convolutions keep their bias as in the course's
    code. Pooling is left out where the side is already 1, so that any size from 1 px works. Dropout
    acts before the last two linear layers.
    """

    name: Literal["cnn"] = "cnn"

    def assemble(self, channels: int, size: int, num_classes: int) -> "nn.Module":
        from torch import nn

        from pipeline.core.blocks import ConvStage, activation, dropout, dropout2d

        layers: list[nn.Module] = []
        for factor in (1, 2, 4, 8, 8):
            layers.append(
                ConvStage(channels, factor * self.width, self.norm, self.activation, pool=size > 1)
            )
            if self.stage_dropout:
                layers.append(dropout2d(self.stage_dropout))
            channels, size = factor * self.width, max(1, size // 2)
        layers += [
            nn.Flatten(),
            nn.Linear(channels * size**2, 16 * self.width),
            activation(self.activation),
        ]
        layers += [
            dropout(self.head_dropout),
            nn.Linear(16 * self.width, 8 * self.width),
            activation(self.activation),
        ]
        layers += [dropout(self.head_dropout), nn.Linear(8 * self.width, num_classes)]
        return nn.Sequential(*layers)
