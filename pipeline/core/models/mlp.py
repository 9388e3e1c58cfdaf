"""The network without convolutions."""

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from pipeline.core.models.base import Own

if TYPE_CHECKING:
    from torch import nn


class MLP(Own):
    """The fully connected network that courses compare convolutions with (Rumelhart, Hinton &
    Williams 1986, "Learning representations by back-propagating errors").

    [B, C, S, S] flattened, `depth` hidden layers of `width` units, each with norm and activation,
    then a linear layer. Dropout acts before the last linear layer, of place stages behind every
    hidden layer but the last.
    """

    name: Literal["mlp"] = "mlp"
    width: int = Field(default=512, ge=2, le=65_536, description="units of a hidden layer")
    depth: int = Field(default=2, ge=0, le=100, description="hidden layers")
    norm: Literal["batch", "none"] = "none"

    def assemble(self, channels: int, size: int, num_classes: int) -> "nn.Module":
        from torch import nn

        from pipeline.core.blocks import activation, dropout

        layers: list[nn.Module] = [nn.Flatten()]
        inputs = channels * size**2
        for number in range(1, self.depth + 1):
            layers.append(nn.Linear(inputs, self.width))
            if self.norm == "batch":
                layers.append(nn.BatchNorm1d(self.width))
            last = number == self.depth
            p = self.head_dropout if last else self.stage_dropout
            layers += [activation(self.activation), dropout(p)]
            inputs = self.width
        return nn.Sequential(*layers, nn.Linear(inputs, num_classes))
