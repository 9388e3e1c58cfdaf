"""Transfer learning: where the weights come from, and what of the network is trained."""

from typing import Literal

from pydantic import Field, field_validator

from pipeline.core.models import MODELS
from pipeline.core.models.base import Network
from pipeline.core.models.external import Library
from pipeline.core.models.resnet import ResNet
from pipeline.errors import UserError, nearest, printable
from pipeline.frozen import Frozen

PUBLISHED = "pretrained"
SUFFIXES = (".safetensors", ".pth", ".pt")
FREE = ("depth", "dropout", "dropout_place", "init", "zero_gamma")  # knobs of a ResNet that its weights fit at any value
AS_PUBLISHED = ResNet().model_copy(update=dict.fromkeys(FREE, None))


class Transfer(Frozen):
    """Off by default. With `train` "head" or "last", frozen batch norms keep their running statistics too.

    A weights file may be `best.safetensors` of a finished run, or another network's; what agrees in name and shape is
    taken. The head is new where the classes are others, or where `hidden` gives it a layer more.
    """

    weights: str = Field(
        default="", max_length=4096, description="'' = none, 'pretrained' = published ones, else a .safetensors or .pth file"
    )
    train: Literal["all", "last", "head"] = Field(
        default="all", description="all parameters, the last `num_last` stages and the head, or the head alone"
    )
    num_last: int = Field(default=1, ge=1, le=1000, description="stages that train = 'last' trains before the head")
    hidden: int = Field(default=0, ge=0, le=65_536, description="units of an extra layer in a new head; 0 = none")

    @field_validator("weights")
    @classmethod
    def _source(cls, value: str) -> str:
        if value not in ("", PUBLISHED) and not value.endswith(SUFFIXES):
            got, files = printable(repr(value)), ", ".join(SUFFIXES)
            raise ValueError(f"got {got}; allowed: '', '{PUBLISHED}', or a file {files}{nearest(value, [PUBLISHED])}")
        return value

    @property
    def active(self) -> bool:
        """Whether anything differs from a network with fresh weights, all of them trained."""
        return bool(self.weights or self.hidden) or self.train != "all"


def published_source(network: Network) -> str:
    """The "timm:NAME" or "torchvision:NAME" whose published weights fit the network; an empty string where none do."""
    if isinstance(network, Library):
        return network.source if network.published else ""
    if isinstance(network, ResNet) and network.model_copy(update=dict.fromkeys(FREE, None)) == AS_PUBLISHED:
        return f"torchvision:resnet{network.depth}"
    return ""


def has_published(network: Network) -> bool:
    """Whether `weights = "pretrained"` is possible for the network; whether they can be downloaded is another question."""
    return published_source(network) != ""


def refuse_unpublished(network: Network) -> None:
    """Raise UserError, naming the networks that have published weights, where this one has none."""
    if not has_published(network):
        got = network.model_dump()
        having = sorted(str(member.model_fields["name"].default) for member in MODELS if issubclass(member, Library))
        raise UserError(
            f"transfer.weights: no published weights fit this network (got '{printable(got.get('arch', got['name']))}'); "
            f"allowed: {', '.join(having)}, and resnet with width, norm, activation, shortcut, stem and blocks as published"
        )
