"""Residual networks whose blocks weigh their channels and places."""

import dataclasses
import functools
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from pipeline.core.models.resnet import Residual

if TYPE_CHECKING:
    from pipeline.core.residual import Plan


class Attentive(Residual):
    """What both have: shapes and blocks are those of `resnet`, with attention on each branch before
    the sum.
    """

    reduction: int = Field(
        default=16, ge=1, le=64, description="channels for each hidden unit of the attention"
    )


class SEResNet(Attentive):
    """SE-ResNet (Hu et al. 2017, arXiv 1709.01507, fig. 3): squeeze-and-excitation, a factor for
    each channel.
    """

    name: Literal["se_resnet"] = "se_resnet"

    def plan(self) -> "Plan":
        from pipeline.core.residual import SqueezeExcitation

        return dataclasses.replace(
            super().plan(), gate=functools.partial(SqueezeExcitation, reduction=self.reduction)
        )


class CBAMResNet(Attentive):
    """ResNet with CBAM (Woo et al. 2018, arXiv 1807.06521, fig. 3): a factor for each channel, then
    for each place.
    """

    name: Literal["cbam_resnet"] = "cbam_resnet"

    def plan(self) -> "Plan":
        from pipeline.core.residual import CBAM

        return dataclasses.replace(
            super().plan(), gate=functools.partial(CBAM, reduction=self.reduction)
        )
