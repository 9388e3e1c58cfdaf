"""The network that won ImageNet in 2012."""

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from pipeline.core.models.classic import Classic

if TYPE_CHECKING:
    from torch import nn


class AlexNet(Classic):
    """AlexNet (Krizhevsky, Sutskever & Hinton 2012), as Dive into Deep Learning, section 8.1, has
    it: one column instead of two half ones, no local response normalisation, a first convolution
    with padding 1.

    At 224 px: 96x54x54, pooled 96x26x26, 256x26x26, pooled 256x12x12, twice 384x12x12, 256x12x12,
    pooled 256x5x5, flatten 6400, 4096, 4096, classes; with one channel and ten classes 46,764,746
    parameters. (The paper's pictures of 227 px without padding give 55x55 and in the end 256x6x6 =
    9216.) With `padding` 2, as torchvision and many lecture notes have it, 96x55x55 and in the end
    256x6x6 = 9216; with three channels and 1,000 classes 62,378,344 parameters. Dropout acts before
    the last two linear layers.
    """

    min_size: ClassVar[int] = 65  # leaves one place for each of the last maps

    name: Literal["alexnet"] = "alexnet"
    width: int = Field(default=96, ge=2, le=1024, description="channels of the first stage")
    dropout: float = Field(
        default=0.5, ge=0, lt=1, description="probability of dropping a unit; 0 = off"
    )

    padding: Literal[1, 2] = Field(default=1, description="of the first convolution")

    def assemble(self, channels: int, size: int, num_classes: int) -> "nn.Module":
        from torch import nn

        second, middle, hidden = self.scaled(256), self.scaled(384), self.scaled(4096)
        stages = [
            self.convolution(channels, self.width, 11, stride=4, padding=self.padding),
            self.convolution(self.width, second, 5, padding=2),
            [
                *self.convolution(second, middle, 3, padding=1),
                *self.convolution(middle, middle, 3, padding=1),
                *self.convolution(middle, second, 3, padding=1),
            ],
        ]
        layers: list[nn.Module] = []
        side = (size + 2 * self.padding - 7) // 4
        for stage in stages:
            layers += [*stage, nn.MaxPool2d(3, stride=2), *self.stage_end()]
            side = (side - 1) // 2
        return nn.Sequential(
            *layers, *self.hidden_layers(second * side**2, (hidden, hidden), num_classes)
        )
