"""Residual networks with a hierarchy of scales inside each block."""

import dataclasses
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from pipeline.core.models.resnet import Residual

if TYPE_CHECKING:
    from pipeline.core.residual import Plan


class Res2Net(Residual):
    """Res2Net-50 and 101, 26w x 4s (Gao et al. 2019, arXiv 1904.01169, fig. 2 and table 1).

    The 3x3 convolution of each bottleneck becomes `scale` splits of base_width channels (in the
    first stage, at width 64; twice as many in each that follows), where a split also reads the
    result of the one before. Shapes outside the blocks are those of ResNet-50; scale 1 with
    base_width 64 is ResNet-50.
    """

    name: Literal["res2net"] = "res2net"
    depth: Literal[50, 101] = Field(default=50, description="layers with weights")
    scale: int = Field(default=4, ge=1, le=8, description="splits of the 3x3 layer")
    base_width: int = Field(
        default=26,
        ge=1,
        le=128,
        description="channels of each split in the first stage, at width 64",
    )

    def plan(self) -> "Plan":
        return dataclasses.replace(super().plan(), scale=self.scale, base_width=self.base_width)
