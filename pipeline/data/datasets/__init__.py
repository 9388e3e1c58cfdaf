"""Datasets: one module and one config class each; `scan` lists what is there, `read` gives one
picture.

A new dataset is a new module in this package (and its test): the union is collected from it.
"""

from typing import TYPE_CHECKING, Annotated, Union

from pydantic import Field

from pipeline.data.datasets.base import PictureSet
from pipeline.data.datasets.digits import Digits
from pipeline.data.datasets.folder import Folder
from pipeline.frozen import members
from pipeline.own.parts import Kind

__all__ = ["DATASETS", "Dataset", "Digits", "Folder", "PictureSet"]

DATASETS: tuple[type[PictureSet], ...] = members("pipeline.data.datasets", PictureSet)

if TYPE_CHECKING:
    Dataset = PictureSet
else:
    Dataset = Annotated[
        Union[DATASETS],  # noqa: UP007  (made at run time)
        Field(discriminator="name"),
        Kind("dataset", DATASETS, PictureSet, guarded=("scan", "read")),
    ]
