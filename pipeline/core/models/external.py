"""What networks taken from timm and torchvision share."""

from abc import abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar

from pipeline.core.models.base import Network

if TYPE_CHECKING:
    from torch import nn


class Library(Network):
    """A network as timm or torchvision makes it. `dropout` acts before the head; all else that they
    drop by is off.

    Smaller pictures are enlarged to 32 px, which strides of 32 bring down to 1.
    """

    min_size: ClassVar[int] = 32

    @property
    @abstractmethod
    def source(self) -> str:
        """The library and the name there: "timm:NAME" or "torchvision:NAME"."""

    @property
    def published(self) -> bool:
        """Whether there are published weights of it."""
        return True

    def options(self, size: int) -> dict[str, Any]:  # noqa: ARG002
        """What the library is told beyond channels and classes, for pictures of `size`."""
        return {}

    def assemble(self, channels: int, size: int, num_classes: int) -> "nn.Module":
        from pipeline.core.libraries import create

        return create(
            self.source, channels, num_classes, dropout=self.dropout, **self.options(size)
        )
