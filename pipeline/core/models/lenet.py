"""The first convolutional network that was in wide use."""

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from pipeline.core.models.base import ActivationKind
from pipeline.core.models.classic import Classic

if TYPE_CHECKING:
    from torch import nn


class LeNet(Classic):
    """LeNet-5 (LeCun et al. 1998, "Gradient-based learning applied to document recognition"), as
    Dive into Deep Learning, section 7.6, has it: sigmoid, average pooling without weights, every
    map seeing all maps before it, a linear output.

    At 28 px: 6x28x28, pooled 6x14x14, 16x10x10, pooled 16x5x5, flatten 400, 120, 84, classes;
    61,706 parameters with one channel and ten classes. Its modern variant is activation relu with
    max pooling, and norm batch the normalised one. With sigmoid and plain gradient descent torch's
    own initialisation stays at chance, so the default is Xavier's, as there.
    """

    min_size: ClassVar[int] = 12  # leaves one place for each of the last maps

    name: Literal["lenet"] = "lenet"
    width: int = Field(default=6, ge=2, le=1024, description="channels of the first stage")
    activation: ActivationKind = "sigmoid"
    init: Literal["default", "xavier", "he"] = Field(
        default="xavier", description="default: torch's own"
    )
    pool: Literal["avg", "max"] = "avg"

    def assemble(self, channels: int, size: int, num_classes: int) -> "nn.Module":
        from torch import nn

        pool = {"avg": nn.AvgPool2d, "max": nn.MaxPool2d}[self.pool]
        first, second = self.width, self.scaled(16)
        layers = [*self.convolution(channels, first, 5, padding=2), pool(2), *self.stage_end()]
        layers += [*self.convolution(first, second, 5), pool(2), *self.stage_end()]
        side = (size // 2 - 4) // 2
        return nn.Sequential(
            *layers,
            *self.hidden_layers(second * side**2, (self.scaled(120), self.scaled(84)), num_classes),
        )
