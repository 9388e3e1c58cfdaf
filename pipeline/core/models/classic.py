"""What the classic networks share: they are older than batch norm, and end in hidden layers."""

from typing import TYPE_CHECKING

from pipeline.core.models.base import NormKind, Own

if TYPE_CHECKING:
    from torch import nn


class Classic(Own):
    """A network whose numbers of channels and units all grow with `width`; at its default they are
    the original's.
    """

    norm: NormKind = "none"

    def scaled(self, number: int) -> int:
        """`number` channels or units of the original network, at this width; at least 1."""
        return max(1, round(number * self.width / type(self).model_fields["width"].default))

    def convolution(
        self, channels: int, out: int, kernel: int, *, stride: int = 1, padding: int = 0
    ) -> "list[nn.Module]":
        """Convolution with bias, norm, activation: side S becomes (S + 2 * padding - kernel) //
        stride + 1.
        """
        from torch import nn

        from pipeline.core.blocks import activation, norm

        return [
            nn.Conv2d(channels, out, kernel, stride, padding),
            norm(self.norm, out),
            activation(self.activation),
        ]

    def stage_end(self) -> "list[nn.Module]":
        """The dropout of whole channels after a stage, where there is any."""
        from pipeline.core.blocks import dropout2d

        return [dropout2d(self.stage_dropout)] if self.stage_dropout else []

    def hidden_layers(
        self, inputs: int, hidden: tuple[int, int], num_classes: int, *, norm: bool = False
    ) -> "list[nn.Module]":
        """Three linear layers on the flattened maps, with dropout before the last two and, where
        `norm`, batch norm behind the first two: [B, C, S, S] -> [B, num_classes].
        """
        from torch import nn

        from pipeline.core.blocks import activation, dropout

        layers: list[nn.Module] = [nn.Flatten()]
        for units in hidden:
            layers += [
                nn.Linear(inputs, units),
                *([nn.BatchNorm1d(units)] if norm else []),
                activation(self.activation),
                dropout(self.head_dropout),
            ]
            inputs = units
        return [*layers, nn.Linear(inputs, num_classes)]
