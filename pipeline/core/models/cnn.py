"""The baseline network of the course's HW3."""

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from pipeline.core.models.base import Own

if TYPE_CHECKING:
    from torch import nn


class CNN(Own):
    """The baseline of HW3 (Hung-yi Lee, machine learning course, 2021 and later): five stages of
    3x3 convolution, batch norm, ReLU, pooling, then three linear layers.

    Channels are width x (1, 2, 4, 8, 8), hidden units 16 and 8 x width; at width 64 and 128 px that
    is 64-128-256-512-512, flatten 8192, 1024, 512. Convolutions keep their bias as in the course's
    code. Pooling is left out where the side is already 1, so that any size from 1 px works. Dropout
    acts before the last two linear layers. `depth`, `kernel` and `pool` make others of it: stages,
    side of the kernels, and what halves the maps.
    """

    name: Literal["cnn"] = "cnn"
    depth: int = Field(default=5, ge=1, le=8, description="stages; their channels end at 8 x width")
    kernel: Literal[1, 3, 5, 7] = 3
    pool: Literal["max", "avg", "stride"] = Field(
        default="max", description="stride: convolutions of stride 2 in place of pooling"
    )

    def assemble(self, channels: int, size: int, num_classes: int) -> "nn.Module":
        from torch import nn

        from pipeline.core.blocks import ConvStage, activation, dropout, dropout2d

        layers: list[nn.Module] = []
        for factor in (1, 2, 4, *[8] * 5)[: self.depth]:
            pool = self.pool if size > 1 else ""
            out = factor * self.width
            layers.append(
                ConvStage(channels, out, self.norm, self.activation, pool=pool, kernel=self.kernel)
            )
            if self.stage_dropout:
                layers.append(dropout2d(self.stage_dropout))
            channels = out
            size = (size + 1) // 2 if pool == "stride" else max(1, size // 2)
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
