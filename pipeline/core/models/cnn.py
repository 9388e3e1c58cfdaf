"""Networks: one config class each, with `build`; the pieces that are modules of their own live in `blocks`."""

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from pipeline.frozen import Frozen

if TYPE_CHECKING:
    from torch import nn


class Network(Frozen):
    """What every network has: these keep their values where an override names another network."""

    width: int = Field(default=64, ge=4, le=512, description="channels of the first stage")
    dropout: float = Field(default=0.0, ge=0, lt=1)


class CNN(Network):
    """The baseline of the course's HW3: five stages of 3x3 convolution, batch norm, ReLU, pooling, then three linear layers.

    Channels are width x (1, 2, 4, 8, 8), hidden units 16 and 8 x width; at width 64 and 128 px that is
    64-128-256-512-512, flatten 8192, 1024, 512. Convolutions keep their bias as in the course's code. Pooling is left
    out where the side is already 1, so that any size from 1 px works. Dropout acts before the last two linear layers.
    """

    name: Literal["cnn"] = "cnn"

    def build(self, channels: int, size: int, num_classes: int) -> "nn.Module":
        """[B, channels, size, size] -> logits [B, num_classes]; initialised by torch's defaults and global seed."""
        from torch import nn

        from pipeline.core.blocks import ConvStage, dropout

        layers: list[nn.Module] = []
        for factor in (1, 2, 4, 8, 8):
            layers.append(ConvStage(channels, factor * self.width, pool=size > 1))
            channels, size = factor * self.width, max(1, size // 2)
        layers += [nn.Flatten(), nn.Linear(channels * size**2, 16 * self.width), nn.ReLU(inplace=True)]
        layers += [dropout(self.dropout), nn.Linear(16 * self.width, 8 * self.width), nn.ReLU(inplace=True)]
        layers += [dropout(self.dropout), nn.Linear(8 * self.width, num_classes)]
        return nn.Sequential(*layers)


class ResNet18(Network):
    """ResNet-18 (He et al. 2015, arXiv 1512.03385, table 1), with convolution biases as in the course's code.

    A 7x7 stem of stride 2, 3x3 max pooling, four stages of two basic blocks with width x (1, 2, 4, 8) channels, global
    average pooling, dropout, one linear layer.
    """

    name: Literal["resnet18"] = "resnet18"

    def build(self, channels: int, size: int, num_classes: int) -> "nn.Module":  # noqa: ARG002
        """[B, channels, size, size] -> logits [B, num_classes]; initialised by torch's defaults and global seed."""
        from torch import nn

        from pipeline.core.blocks import BasicBlock, dropout

        layers: list[nn.Module] = [
            nn.Conv2d(channels, self.width, 7, stride=2, padding=3),
            nn.BatchNorm2d(self.width),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(3, stride=2, padding=1),
        ]
        channels = self.width
        for stage in range(4):
            out = self.width * 2**stage
            layers += [BasicBlock(channels, out, stride=1 if stage == 0 else 2), BasicBlock(out, out, stride=1)]
            channels = out
        layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), dropout(self.dropout), nn.Linear(channels, num_classes)]
        return nn.Sequential(*layers)


Model = Annotated[CNN | ResNet18, Field(discriminator="name")]
MODELS = (CNN, ResNet18)
