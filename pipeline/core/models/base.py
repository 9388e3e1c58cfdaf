"""What networks share: size limits, dropout, and for those of our own the knobs that every one of
them has.
"""

from abc import abstractmethod
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from pipeline.frozen import Frozen

if TYPE_CHECKING:
    from torch import nn

NormKind = Literal["batch", "layer", "group", "instance", "none"]
ActivationKind = Literal["sigmoid", "tanh", "scaled_sigmoid", "relu", "leaky_relu", "silu", "gelu"]
InitKind = Literal["default", "xavier", "he", "lecun", "orthogonal", "trunc_normal"]


class Network(Frozen):
    """Any network. Pictures smaller than `min_size` are enlarged to it (bilinear), so that every
    size works.
    """

    min_size: ClassVar[int] = 1

    dropout: float = Field(
        default=0.0, ge=0, lt=1, description="probability of dropping a unit; 0 = off"
    )

    def build(self, channels: int, size: int, num_classes: int) -> "nn.Module":
        """[B, channels, size, size] -> logits [B, num_classes]; initialised from torch's global
        seed.
        """
        from pipeline.core.blocks import enlarge

        least = self.smallest
        model = self.assemble(channels, max(size, least), num_classes)
        return model if size >= least else enlarge(model, least)

    @property
    def smallest(self) -> int:
        """`min_size` of this very network, where its knobs change it."""
        return self.min_size

    @abstractmethod
    def assemble(self, channels: int, size: int, num_classes: int) -> "nn.Module":
        """The network for pictures of at least `min_size`."""


class Own(Network):
    """A network built here, layer by layer. Another network keeps those of these knobs whose
    default it shares.
    """

    width: int = Field(default=64, ge=2, le=1024, description="channels of the first stage")
    norm: NormKind = "batch"
    activation: ActivationKind = "relu"
    init: InitKind = Field(default="default", description="default: torch's own")
    dropout_place: Literal["head", "stages", "both"] = Field(
        default="head",
        description="head: before the last linear layers; stages: whole channels after each stage",
    )

    def build(self, channels: int, size: int, num_classes: int) -> "nn.Module":
        """As of every network, then `init`."""
        from pipeline.core.blocks import initialise

        return initialise(super().build(channels, size, num_classes), self.init)

    @property
    def head_dropout(self) -> float:
        return self.dropout if self.dropout_place in ("head", "both") else 0.0

    @property
    def stage_dropout(self) -> float:
        return self.dropout if self.dropout_place in ("stages", "both") else 0.0
