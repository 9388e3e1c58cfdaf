"""Residual networks of grouped convolutions."""

import dataclasses
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from pipeline.core.models.resnet import Residual

if TYPE_CHECKING:
    from pipeline.core.residual import Plan


class ResNeXt(Residual):
    """ResNeXt-50 and 101 (Xie et al. 2016, arXiv 1611.05431, table 1): bottlenecks whose 3x3
    convolution is grouped.

    A block's branch is the sum of `cardinality` bottlenecks of base_width channels in the first
    stage, twice as many in each that follows. Shapes outside the blocks are those of ResNet-50;
    cardinality 1 with base_width 64 is ResNet-50. At another width than 64 base_width scales with
    it, down to one channel.
    """

    name: Literal["resnext"] = "resnext"
    depth: Literal[50, 101] = Field(default=50, description="layers with weights")
    cardinality: int = Field(default=32, ge=1, le=128, description="groups of the 3x3 convolutions")
    base_width: int = Field(
        default=4,
        ge=1,
        le=128,
        description="channels of each group in the first stage, at width 64",
    )

    def plan(self) -> "Plan":
        return dataclasses.replace(
            super().plan(), groups=self.cardinality, base_width=self.base_width
        )
