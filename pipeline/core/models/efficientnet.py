"""Networks whose depth, width and picture size grow together."""

from typing import Literal

from pipeline.core.models.external import Library


class EfficientNet(Library):
    """EfficientNet B0 to B2 (Tan & Le 2019, arXiv 1905.11946), from timm; at the data set's own
    picture size.
    """

    name: Literal["efficientnet"] = "efficientnet"
    variant: Literal["b0", "b1", "b2"] = "b0"

    @property
    def source(self) -> str:
        return f"timm:efficientnet_{self.variant}"
