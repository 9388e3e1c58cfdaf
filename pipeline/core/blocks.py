"""The pieces that `models` assembles into networks."""

from torch import Tensor, nn
from torch.nn import functional


class ConvStage(nn.Sequential):
    """3x3 convolution, batch norm, 2x2 max pooling where `pool`, ReLU: [B, in, S, S] -> [B, out, S // 2 or S, …].

    Pooling comes before ReLU: the two commute exactly, and ReLU then works on a quarter of the values.
    """

    def __init__(self, in_channels: int, out_channels: int, *, pool: bool) -> None:
        super().__init__(
            nn.Conv2d(in_channels, out_channels, 3, padding=1),
            nn.BatchNorm2d(out_channels),
            nn.MaxPool2d(2) if pool else nn.Identity(),
            nn.ReLU(inplace=True),
        )


class BasicBlock(nn.Module):
    """Two 3x3 convolutions around a shortcut (He et al. 2015, arXiv 1512.03385, fig. 5 left).

    Where stride or channels change the shortcut is a 1x1 convolution with batch norm (their option B).
    """

    def __init__(self, in_channels: int, out_channels: int, *, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride, padding=1)
        self.bn1 = nn.BatchNorm2d(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.downsample: nn.Module = nn.Identity()
        if stride != 1 or in_channels != out_channels:
            self.downsample = nn.Sequential(nn.Conv2d(in_channels, out_channels, 1, stride), nn.BatchNorm2d(out_channels))

    def forward(self, x: Tensor) -> Tensor:
        y = functional.relu(self.bn1(self.conv1(x)), inplace=True)
        y = self.bn2(self.conv2(y))
        y += self.downsample(x)
        return functional.relu(y, inplace=True)


def dropout(p: float) -> nn.Module:
    """Dropout, or for p = 0 a module that draws no random numbers."""
    return nn.Dropout(p) if p > 0 else nn.Identity()
