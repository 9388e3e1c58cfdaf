"""Networks: a module for each family, with the config classes and their `assemble`; shared pieces
live in `core.blocks`.

A new network is a new module in this package (and its test): the union is collected from it.
"""

from typing import TYPE_CHECKING, Annotated, Union

from pydantic import Field

from pipeline.core.models.base import Network
from pipeline.core.models.cnn import CNN
from pipeline.core.models.plain import PlainNetwork
from pipeline.core.models.resnet import ResNet18
from pipeline.frozen import members
from pipeline.own.parts import Kind

__all__ = ["CNN", "MODELS", "Model", "Network", "ResNet18"]

MODELS = members("pipeline.core.models", Network)

if TYPE_CHECKING:
    Model = Network
else:
    Model = Annotated[
        Union[MODELS],  # noqa: UP007  (made at run time)
        Field(discriminator="name"),
        Kind("network", MODELS, Network, PlainNetwork),
    ]
