"""Densely connected networks."""

from typing import Literal

from pipeline.core.models.external import Library


class DenseNet(Library):
    """DenseNet-BC of growth rate 32 (Huang et al. 2016, arXiv 1608.06993, table 1), from timm."""

    name: Literal["densenet"] = "densenet"
    depth: Literal[121, 169, 201] = 121

    @property
    def source(self) -> str:
        return f"timm:densenet{self.depth}"
