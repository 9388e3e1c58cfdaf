"""Any network of timm or torchvision, by its name there."""

from typing import TYPE_CHECKING, Literal

from pydantic import Field, field_validator

from pipeline.core.models.external import Library
from pipeline.errors import nearest, printable

if TYPE_CHECKING:
    from torch import nn


class Timm(Library):
    """Any network for classification in timm (Wightman 2019, doi 10.5281/zenodo.4414861), else in
    torchvision.

    Pictures keep their size where the network takes it (networks of patches: the next multiple),
    else they are resized to the size that it was made for.
    """

    name: Literal["timm"] = "timm"
    arch: str = Field(
        default="mobilenetv4_conv_small",
        max_length=200,
        description="a name of timm or torchvision",
    )

    @field_validator("arch")
    @classmethod
    def _exists(cls, value: str) -> str:
        from pipeline.core.libraries import names, source_of

        if source_of(value) is None:
            known = names()
            got = printable(repr(value))
            raise ValueError(
                f"got {got}; allowed: the {len(known)} networks of timm and "
                f"torchvision{nearest(value, known)}"
            )
        return value

    @property
    def source(self) -> str:
        from pipeline.core.libraries import source_of

        return source_of(self.arch) or ""

    @property
    def published(self) -> bool:
        from pipeline.core.libraries import is_published

        return is_published(self.source)

    def build(self, channels: int, size: int, num_classes: int) -> "nn.Module":
        from pipeline.core.blocks import enlarge
        from pipeline.core.libraries import create, fit

        side, options = fit(self.source, channels, max(size, self.min_size))
        model = create(self.source, channels, num_classes, dropout=self.dropout, **options)
        return model if side == size else enlarge(model, side)
