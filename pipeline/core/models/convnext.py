"""Convolutional networks built like transformers."""

from typing import Literal

from pipeline.core.models.external import Library


class ConvNeXt(Library):
    """ConvNeXt (Liu et al. 2022, arXiv 2201.03545), from timm: its tiny, and the three smaller ones
    that timm added.
    """

    name: Literal["convnext"] = "convnext"
    variant: Literal["atto", "femto", "pico", "tiny"] = "atto"

    @property
    def source(self) -> str:
        return f"timm:convnext_{self.variant}"
