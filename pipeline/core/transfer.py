"""Transfer learning: where the weights come from, and what of the network is trained."""

import re
from typing import Literal

from pydantic import Field, field_validator, model_validator

from pipeline.core.models import MODELS
from pipeline.core.models.base import Network
from pipeline.core.models.external import Library
from pipeline.core.models.resnet import ResNet
from pipeline.core.models.resnext import ResNeXt
from pipeline.core.models.vgg import VGG
from pipeline.counts import plural
from pipeline.errors import UserError, nearest, printable
from pipeline.frozen import Frozen

PUBLISHED = "pretrained"
SUFFIXES = (".safetensors", ".pth", ".pt", ".ckpt", ".bin", ".pth.tar")
FREE = (
    "depth",
    "dropout",
    "dropout_place",
    "init",
    "zero_gamma",
)  # knobs that weights fit at any value
RESNEXT = {(50, 32, 4), (101, 32, 8), (101, 64, 4)}  # depth, cardinality, base_width
TWINS = {  # networks that timm and torchvision have under two names, besides those under one
    "mobilenetv2_100": "mobilenet_v2",
    "mobilenetv3_small_100": "mobilenet_v3_small",
    "mobilenetv3_large_100": "mobilenet_v3_large",
    "vit_base_patch16_224": "vit_b_16",
    "vit_base_patch32_224": "vit_b_32",
    "vit_large_patch16_224": "vit_l_16",
}
SHARED = re.compile(
    r"densenet(121|161|169|201)|efficientnet_b[0-2]|convnext_(tiny|small|base|large)|resnet(18|34|50|101|152)|"
    r"wide_resnet(50|101)_2|resnext(50_32x4d|101_32x8d|101_64x4d)|vgg(11|13|16|19)(_bn)?"
)


class Transfer(Frozen):
    """Off by default. With `train` "head" or "last", frozen batch norms keep their running
    statistics too.

    A weights file may be `best.safetensors` of a finished run, or one of torchvision, timm or other
    programs; what agrees in name and shape is taken, names of the same network in a library and
    prefixes included. The head is new unless the file is of a run on the same classes; and where
    `hidden` gives it a layer more.
    """

    weights: str = Field(
        default="",
        max_length=4096,
        description="'' = none, 'pretrained' = published ones, else a .safetensors, .pth … file",
    )
    train: Literal["all", "last", "head"] = Field(
        default="all",
        description="all parameters, the last `num_last` stages and the head, or the head alone",
    )
    num_last: int = Field(
        default=1, ge=1, le=1000, description="stages that train = 'last' trains before the head"
    )
    hidden: int = Field(
        default=0, ge=0, le=65_536, description="units of an extra layer in a new head; 0 = none"
    )
    head_lr: float = Field(
        default=1.0,
        gt=0,
        le=1000,
        description="the head's learning rate, in multiples of the other layers'",
    )
    layer_decay: float = Field(
        default=1.0,
        gt=0,
        le=1,
        description=(
            "learning rate of each stage before the head, in multiples of the next one's; the last "
            "stage has this times the optimizer's"
        ),
    )
    freeze_epochs: int = Field(
        default=0,
        ge=0,
        le=100_000,
        description="epochs that the head is trained by itself in, before what `train` says",
    )

    @field_validator("weights")
    @classmethod
    def _source(cls, value: str) -> str:
        if value not in ("", PUBLISHED) and not value.endswith(SUFFIXES):
            got, files = printable(repr(value)), ", ".join(SUFFIXES)
            raise ValueError(
                f"got {got}; allowed: '', '{PUBLISHED}', or a file "
                f"{files}{nearest(value, [PUBLISHED])}"
            )
        return value

    @model_validator(mode="after")
    def _body_is_trained(self) -> "Transfer":
        idle = {"layer_decay": self.layer_decay != 1, "freeze_epochs": self.freeze_epochs > 0}
        if self.train == "head" and (unused := [name for name, used in idle.items() if used]):
            raise ValueError(
                f"train = 'head' trains no other layer, so {' and '.join(unused)} would do "
                "nothing; leave it out, or take train = 'all' or 'last'"
            )
        return self

    @property
    def words(self) -> tuple[str, ...]:
        """How the layers were trained, where not all alike, for people."""
        said = []
        if self.freeze_epochs:
            epochs = plural(self.freeze_epochs, "epoch")
            said.append(f"In the first {epochs} the head alone was trained")
        if self.layer_decay != 1:
            said.append(
                f"Each stage before the head learned at {self.layer_decay:g} times the next"
            )
        return tuple(said)

    @property
    def active(self) -> bool:
        """Whether anything differs from a network with fresh weights, all of them trained."""
        uneven = self.head_lr != 1 or self.layer_decay != 1 or self.freeze_epochs > 0
        return bool(self.weights or self.hidden) or self.train != "all" or uneven


def published_source(network: Network) -> str:
    """The "timm:NAME" or "torchvision:NAME" whose published weights fit the network; an empty
    string where none do.
    """
    if isinstance(network, Library):
        return network.source if network.published else ""
    name = _library_name(network)
    return f"torchvision:{name}" if name else ""


def library_sources(network: Network) -> tuple[str, ...]:
    """Every "torchvision:NAME" and "timm:NAME" that computes what the network does, its own
    aside.
    """
    if not isinstance(network, Library):
        name = _library_name(network)
        return (f"torchvision:{name}", f"timm:{name}") if name else ()
    library, _, full = network.source.partition(":")
    name = full.partition(".")[0]
    other = "torchvision" if library == "timm" else "timm"
    twins = TWINS if library == "timm" else {theirs: ours for ours, theirs in TWINS.items()}
    twin = name if SHARED.fullmatch(name) else twins.get(name, "")
    return (f"{other}:{twin}",) if twin else ()


def _library_name(network: Network) -> str:
    """What both libraries call one of our own networks, where it is in the form that they have."""
    name = ""
    if isinstance(network, ResNet):
        name = f"resnet{network.depth}"
    elif (
        isinstance(network, ResNeXt)
        and (network.depth, network.cardinality, network.base_width) in RESNEXT
    ):
        name = f"resnext{network.depth}_{network.cardinality}x{network.base_width}d"
    elif isinstance(network, VGG):
        name = f"vgg{network.depth}" + "_bn" * (network.norm == "batch")
    free = (*FREE, *(("cardinality", "base_width") if isinstance(network, ResNeXt) else ()))
    free = (
        (*free, "norm") if isinstance(network, VGG) and network.norm in ("batch", "none") else free
    )
    plain, given = (
        made.model_copy(update=dict.fromkeys(free, None)) for made in (type(network)(), network)
    )
    return name if plain == given else ""


def has_published(network: Network) -> bool:
    """Whether `weights = "pretrained"` is possible for the network; whether they can be downloaded
    is another question.
    """
    return published_source(network) != ""


def refuse_unpublished(network: Network) -> None:
    """Raise UserError, naming the networks that have published weights, where this one has none."""
    if not has_published(network):
        got = network.model_dump()
        having = sorted(
            str(member.model_fields["name"].default)
            for member in MODELS
            if issubclass(member, Library)
        )
        raise UserError(
            "transfer.weights: no published weights fit this network (got "
            f"'{printable(got.get('arch', got['name']))}'); allowed: {', '.join(having)}, and "
            "resnet, resnext and vgg with width, norm, activation, shortcut, stem and blocks as "
            "published"
        )
