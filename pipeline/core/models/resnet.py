"""Residual networks."""

import dataclasses
from typing import TYPE_CHECKING, Literal

from pydantic import Field, model_validator

from pipeline.core.models.base import Own

if TYPE_CHECKING:
    from torch import nn

    from pipeline.core.residual import Plan


class ResNet18(Own):
    """ResNet-18 (He et al. 2015, arXiv 1512.03385, table 1), with convolution biases as in the code
    of the course's HW3.

    A 7x7 stem of stride 2, 3x3 max pooling, four stages of two basic blocks with width x (1, 2, 4,
    8) channels, global average pooling, dropout, one linear layer. At 128 px: 64x32x32, 128x16x16,
    256x8x8, 512x4x4. The network of the paper, without those biases, is `resnet`.
    """

    name: Literal["resnet18"] = "resnet18"

    def assemble(self, channels: int, size: int, num_classes: int) -> "nn.Module":  # noqa: ARG002
        from pipeline.core.residual import Plan, network

        plan = Plan(
            depth=18,
            width=self.width,
            norm=self.norm,
            activation=self.activation,
            bias=True,
            stage_dropout=self.stage_dropout,
            head_dropout=self.head_dropout,
        )
        return network(plan, channels, num_classes)


class Residual(Own):
    """The knobs of every residual network. Convolutions have a bias only where there is no norm,
    which would cancel it.

    `zero_gamma` starts the last norm of each block at 0, and so each block at its shortcut (Goyal
    et al. 2017, arXiv
    1706.02677, section 5.1).
    """

    depth: Literal[18, 34, 50, 101, 152] = Field(
        default=18, description="layers with weights; from 50 on in bottlenecks"
    )
    shortcut: Literal["A", "B", "C"] = Field(
        default="B",
        description=(
            "A: zero padding, no parameters; B: projections where the shape changes; C: projections"
        ),
    )
    stem: Literal["imagenet", "small"] = Field(
        default="imagenet",
        description=(
            "imagenet: 7x7, stride 2, max pooling; small: 3x3, stride 1, for small pictures"
        ),
    )
    zero_gamma: bool = Field(default=False, description="the last norm of each block starts at 0")

    @model_validator(mode="after")
    def _zero_gamma_has_a_norm(self) -> "Residual":
        if self.zero_gamma and self.norm == "none":
            raise ValueError(
                "zero_gamma sets the last norm of each block, and norm 'none' has none; choose one "
                "of the two"
            )
        return self

    def assemble(self, channels: int, size: int, num_classes: int) -> "nn.Module":  # noqa: ARG002
        from pipeline.core.residual import network

        return network(self.plan(), channels, num_classes)

    def plan(self) -> "Plan":
        """What is to be built."""
        from pipeline.core.residual import Plan

        return Plan(
            depth=self.depth,
            width=self.width,
            norm=self.norm,
            activation=self.activation,
            bias=self.norm == "none",
            shortcut=self.shortcut,
            stem=self.stem,
            zero_gamma=self.zero_gamma,
            stage_dropout=self.stage_dropout,
            head_dropout=self.head_dropout,
        )


class ResNet(Residual):
    """ResNet-18, 34, 50, 101 and 152 (He et al. 2015, arXiv 1512.03385, table 1), in the form that
    torchvision has.

    Four stages of width x (1, 2, 4, 8) channels, four times as many with bottlenecks; at 224 px and
    width 64: stem 64x112x112, 64x56x56 pooled, then 56, 28, 14 and 7 px. Bottlenecks have their
    stride at the 3x3 convolution. `pre_activation` is He et al. 2016 (arXiv 1603.05027); `plain`
    leaves out the shortcuts and with them the projections, all other layers being the same: the
    degradation experiment (1512.03385, section 4.1).
    """

    name: Literal["resnet"] = "resnet"
    pre_activation: bool = Field(
        default=False, description="norm and activation before each convolution"
    )
    plain: bool = Field(default=False, description="no shortcuts")

    @model_validator(mode="after")
    def _knobs_agree(self) -> "ResNet":
        if self.plain and self.shortcut != "B":
            raise ValueError(
                f"plain has no shortcuts, so shortcut '{self.shortcut}' would do nothing; leave it "
                "at 'B'"
            )
        if self.plain and self.zero_gamma:
            raise ValueError(
                "zero_gamma starts blocks at their shortcut, which plain lacks: every output would "
                "be the same"
            )
        if self.pre_activation and self.zero_gamma:
            raise ValueError(
                "zero_gamma needs blocks that end in a norm; with pre_activation they end in a "
                "convolution"
            )
        return self

    def plan(self) -> "Plan":
        shortcut = "none" if self.plain else self.shortcut
        return dataclasses.replace(
            super().plan(), shortcut=shortcut, pre_activation=self.pre_activation
        )
