"""Vision transformers."""

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from pipeline.core.models.external import Library

if TYPE_CHECKING:
    from torch import nn


class ViT(Library):
    """ViT-Tiny (Dosovitskiy et al. 2020, arXiv 2010.11929; this size: Touvron et al. 2020, arXiv
    2012.12877), from timm.

    12 layers, 192 channels, 3 heads. Pictures are enlarged to the next multiple of `patch_size`.
    The published weights are of 16 px patches in 224 px; timm resamples patches and positions to
    others.
    """

    min_size: ClassVar[int] = 1

    name: Literal["vit"] = "vit"
    patch_size: int = Field(
        default=16, ge=2, le=64, description="side in pixels; half of it is four times the work"
    )

    @property
    def source(self) -> str:
        return "timm:vit_tiny_patch16_224"

    def options(self, size: int) -> dict[str, Any]:
        return {"patch_size": self.patch_size, "img_size": size}

    def build(self, channels: int, size: int, num_classes: int) -> "nn.Module":
        from pipeline.core.blocks import enlarge

        side = -(-size // self.patch_size) * self.patch_size
        model = self.assemble(channels, side, num_classes)
        return model if side == size else enlarge(model, side)
