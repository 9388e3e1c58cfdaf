"""The first convolutional network that was in wide use."""

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field, model_validator

from pipeline.core.models.base import ActivationKind, InitKind
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
    own initialisation stays at chance, so the default is Xavier's, as there. Its section 8.5 has it
    with norm batch, also behind the hidden layers (`hidden_norm`), and no padding: 44,878
    parameters.
    """

    min_size: ClassVar[int] = 12  # leaves one place for each of the last maps

    name: Literal["lenet"] = "lenet"
    width: int = Field(default=6, ge=2, le=1024, description="channels of the first stage")
    activation: ActivationKind = "sigmoid"
    init: InitKind = Field(default="xavier", description="default: torch's own")
    pool: Literal["avg", "max"] = "avg"
    padding: Literal[0, 2] = Field(default=2, description="of the first convolution")
    hidden_norm: bool = Field(default=False, description="batch norm behind the hidden layers too")

    @model_validator(mode="after")
    def _hidden_norm_is_of_batches(self) -> "LeNet":
        if self.hidden_norm and self.norm != "batch":
            raise ValueError(
                f"hidden_norm is batch norm, and norm is '{self.norm}'; choose norm 'batch' or "
                "leave hidden_norm out"
            )
        return self

    @property
    def smallest(self) -> int:
        return self.min_size if self.padding else 16

    def assemble(self, channels: int, size: int, num_classes: int) -> "nn.Module":
        from torch import nn

        pool = {"avg": nn.AvgPool2d, "max": nn.MaxPool2d}[self.pool]
        first, second = self.width, self.scaled(16)
        layers = [
            *self.convolution(channels, first, 5, padding=self.padding),
            pool(2),
            *self.stage_end(),
        ]
        layers += [*self.convolution(first, second, 5), pool(2), *self.stage_end()]
        side = ((size + 2 * self.padding - 4) // 2 - 4) // 2
        return nn.Sequential(
            *layers,
            *self.hidden_layers(
                second * side**2,
                (self.scaled(120), self.scaled(84)),
                num_classes,
                norm=self.hidden_norm,
            ),
        )
