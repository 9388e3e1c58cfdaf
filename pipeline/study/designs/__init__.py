"""Ablation designs: which arms a study trains, as overrides of the baseline, and what may be asked
of them. Pure.

A new design is a new module in this package (and its test): the union is collected from it.
"""

from typing import TYPE_CHECKING, Annotated, Union

from pydantic import Field

from pipeline.frozen import members
from pipeline.study.designs.arms import Arms
from pipeline.study.designs.base import Arm, Factors, Label, Overrides, Scheme
from pipeline.study.designs.crossed import Crossed
from pipeline.study.designs.factorial import Factorial
from pipeline.study.designs.fractional import Fractional
from pipeline.study.designs.one_at_a_time import AddOneIn, Auto, Both, LeaveOneOut
from pipeline.study.designs.ordered import Ladder, OrderedPath

__all__ = [
    "DESIGNS",
    "AddOneIn",
    "Arm",
    "Arms",
    "Auto",
    "Both",
    "Crossed",
    "Design",
    "Factorial",
    "Factors",
    "Fractional",
    "Label",
    "Ladder",
    "LeaveOneOut",
    "OrderedPath",
    "Overrides",
    "Scheme",
]

DESIGNS = members("pipeline.study.designs", Scheme)

if TYPE_CHECKING:
    Design = Scheme
else:
    Design = Annotated[Union[DESIGNS], Field(discriminator="name")]  # noqa: UP007  (made at run time)
