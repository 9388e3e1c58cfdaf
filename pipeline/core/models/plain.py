"""A network of the user's own that is no config class: any class or function that makes an
nn.Module.
"""

from typing import TYPE_CHECKING, ClassVar

from pipeline.own.parts import Plain

if TYPE_CHECKING:
    from torch import nn


class PlainNetwork(Plain):
    """An nn.Module class, or a function that returns one. It is told the pictures' `channels`,
    their `size` and `num_classes` where it asks for them.
    """

    GIVEN: ClassVar[tuple[str, ...]] = ("channels", "size", "num_classes")

    def build(self, channels: int, size: int, num_classes: int) -> "nn.Module":
        """[B, channels, size, size] -> logits [B, num_classes]."""
        from torch import nn

        found = self.call(channels=channels, size=size, num_classes=num_classes)
        if not isinstance(found, nn.Module):
            raise self.wrong(f"an nn.Module is expected, got {type(found).__name__}")
        return found
