"""Networks of depthwise separable convolutions, made for telephones."""

from typing import Literal

from pipeline.core.models.external import Library

NAMES = {
    "v1": "mobilenetv1_100",
    "v2": "mobilenetv2_100",
    "v3_small": "mobilenetv3_small_100",
    "v3_large": "mobilenetv3_large_100",
}


class MobileNet(Library):
    """MobileNetV1 (Howard et al. 2017, arXiv 1704.04861), V2 (Sandler et al. 2018, arXiv
    1801.04381) and V3 (Howard et al. 2019, arXiv 1905.02244), from timm.
    """

    name: Literal["mobilenet"] = "mobilenet"
    variant: Literal["v1", "v2", "v3_small", "v3_large"] = "v2"

    @property
    def source(self) -> str:
        return f"timm:{NAMES[self.variant]}"
