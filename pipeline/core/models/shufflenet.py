"""Networks of shuffled channels."""

from typing import Literal

from pipeline.core.models.external import Library


class ShuffleNet(Library):
    """ShuffleNetV2 (Ma et al. 2018, arXiv 1807.11164, table 5), from torchvision; the variants are
    its widths.
    """

    name: Literal["shufflenet"] = "shufflenet"
    variant: Literal["x0.5", "x1.0", "x1.5", "x2.0"] = "x1.0"

    @property
    def source(self) -> str:
        return f"torchvision:shufflenet_v2_{self.variant.replace('.', '_')}"
