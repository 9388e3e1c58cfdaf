"""The residual networks for pictures of 32 px."""

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from pipeline.core.models.base import Own

if TYPE_CHECKING:
    from torch import nn


class CifarResNet(Own):
    """ResNet-20 to 110 and 1202 of the CIFAR-10 experiments (He et al. 2015, arXiv 1512.03385,
    section 4.2): a 3x3 stem, three stages of (depth - 2) / 6 basic blocks with width x (1, 2, 4)
    channels, global average pooling, one linear layer; shortcuts without parameters (A).

    At 32 px: 16x32x32, 32x16x16, 64x8x8; with ten classes 269,722 parameters at depth 20.
    """

    name: Literal["resnet_cifar"] = "resnet_cifar"
    width: int = Field(default=16, ge=2, le=1024, description="channels of the first stage")
    depth: Literal[20, 32, 44, 56, 110, 1202] = Field(default=20, description="layers with weights")
    shortcut: Literal["A", "B", "C", "none"] = Field(
        default="A",
        description=(
            "A: zero padding, no parameters; B: projections where the shape changes; C: "
            "projections; none: a plain network"
        ),
    )

    def assemble(self, channels: int, size: int, num_classes: int) -> "nn.Module":  # noqa: ARG002
        from pipeline.core.residual import Plan, network

        plan = Plan(
            depth=self.depth,
            width=self.width,
            norm=self.norm,
            activation=self.activation,
            bias=self.norm == "none",
            shortcut=self.shortcut,
            stem="small",
            blocks=((self.depth - 2) // 6,) * 3,
            stage_dropout=self.stage_dropout,
            head_dropout=self.head_dropout,
        )
        return network(plan, channels, num_classes)
