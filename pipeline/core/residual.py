"""Residual networks, built from a plan; the configurations are in `core.models` (resnet, resnext,
res2net, attention).
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.core.blocks import activation, dropout, dropout2d, leading, norm

# of each stage
BLOCKS = {
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
}
PUBLISHED_WIDTH = 64  # the width of the first stage that `base_width` is given for


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is built. `shortcut` is A, B, C or none; `gate` makes the attention on a branch of so
    many channels.

    `blocks`: how many basic blocks each stage has; empty: those of the ImageNet network of this
    depth.

    The bottleneck's 3x3 layer has `groups` groups, or `scale` splits in a hierarchy, of base_width
    channels each at the published width, and as many times as many as the stage is wider.
    """

    depth: int
    width: int
    norm: str
    activation: str
    bias: bool
    shortcut: str = "B"
    stem: str = "imagenet"
    pre_activation: bool = False
    zero_gamma: bool = False
    groups: int = 1
    scale: int = 1
    base_width: int = PUBLISHED_WIDTH
    gate: Callable[[int], nn.Module] | None = None
    blocks: tuple[int, ...] = ()
    stage_dropout: float = 0.0
    head_dropout: float = 0.0

    @property
    def expansion(self) -> int:
        """Channels that a block gives for each that its stage counts: 4 with bottlenecks (50 layers
        and more), else 1.
        """
        return 4 if self.depth >= 50 and not self.blocks else 1

    def conv(
        self, inputs: int, outputs: int, kernel: int, *, stride: int = 1, groups: int = 1
    ) -> nn.Conv2d:
        """A convolution that keeps the side, up to its stride: [B, inputs, S, S] -> [B, outputs,
        ceil(S / stride), …].
        """
        return nn.Conv2d(
            inputs, outputs, kernel, stride, padding=kernel // 2, groups=groups, bias=self.bias
        )

    def active(self, channels: int) -> list[nn.Module]:
        """Norm and activation."""
        return [norm(self.norm, channels), activation(self.activation)]


def network(plan: Plan, channels: int, num_classes: int) -> nn.Sequential:
    """[B, channels, S, S] -> logits [B, num_classes]: stem, stages of blocks, global average
    pooling, a linear layer.

    The imagenet stem and the stages divide S by 32, the small stem and the stages by 8 (each
    rounded up).
    """
    small = plan.stem == "small"
    layers: list[nn.Module] = [
        plan.conv(channels, plan.width, 3 if small else 7, stride=1 if small else 2)
    ]
    layers += plan.active(plan.width)
    if not small:
        layers.append(nn.MaxPool2d(3, stride=2, padding=1))
    channels = plan.width
    for stage, num_blocks in enumerate(plan.blocks or BLOCKS[plan.depth]):
        planes = plan.width * 2**stage
        for block in range(num_blocks):
            stride = 2 if stage and not block else 1
            layers.append(
                Block(plan, channels, planes, stride=stride, activated=not stage and not block)
            )
            channels = planes * plan.expansion
        if plan.stage_dropout:
            layers.append(dropout2d(plan.stage_dropout))
    if plan.pre_activation:
        layers += plan.active(channels)
    layers += [
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        dropout(plan.head_dropout),
        nn.Linear(channels, num_classes),
    ]
    return nn.Sequential(*layers)


class Block(nn.Module):
    """Convolutions around a shortcut: [B, inputs, S, S] -> [B, planes x expansion, ceil(S /
    stride), …].

    After He et al. 2015 (arXiv 1512.03385, fig. 5) the sum is activated. With pre-activation (He et
    al. 2016, arXiv
    1603.05027, fig. 4e and appendix) norm and activation come before each convolution and nothing
    after the sum; a projection then reads the activated input, an identity the input itself, and
    the first block of a network, which the stem has `activated`, has none of its own.
    """

    def __init__(
        self, plan: Plan, inputs: int, planes: int, *, stride: int, activated: bool
    ) -> None:
        super().__init__()
        outputs = planes * plan.expansion
        lead: nn.Module = nn.Identity()
        if plan.pre_activation and not activated:
            lead = leading(plan.norm, plan.activation, inputs)
        layers = (
            _basic(plan, inputs, planes, stride)
            if plan.expansion == 1
            else _bottleneck(plan, inputs, planes, stride)
        )
        if not plan.pre_activation:
            layers.append(norm(plan.norm, outputs))
            if plan.zero_gamma:
                nn.init.zeros_(layers[-1].get_parameter("weight"))
            if plan.gate:
                layers.append(plan.gate(outputs))
        changes = stride != 1 or inputs != outputs
        projects = plan.shortcut == "C" or (plan.shortcut == "B" and changes)
        self.lead = lead if projects else nn.Identity()
        self.branch = nn.Sequential(*layers) if projects else nn.Sequential(lead, *layers)
        self.shortcut: nn.Module | None = nn.Identity()
        if projects:
            after = nn.Identity() if plan.pre_activation else norm(plan.norm, outputs)
            self.shortcut = nn.Sequential(plan.conv(inputs, outputs, 1, stride=stride), after)
        elif plan.shortcut == "none":
            self.shortcut = None
        elif changes:
            self.shortcut = Pad(stride, outputs - inputs)
        self.last = nn.Identity() if plan.pre_activation else activation(plan.activation)

    def forward(self, x: Tensor) -> Tensor:
        x = self.lead(x)
        y = self.branch(x)
        if self.shortcut is not None:
            y += self.shortcut(x)
        out: Tensor = self.last(y)
        return out


def _basic(plan: Plan, inputs: int, planes: int, stride: int) -> list[nn.Module]:
    """Two 3x3 convolutions, and norm and activation between them."""
    return [
        plan.conv(inputs, planes, 3, stride=stride),
        *plan.active(planes),
        plan.conv(planes, planes, 3),
    ]


def _bottleneck(plan: Plan, inputs: int, planes: int, stride: int) -> list[nn.Module]:
    """1x1, 3x3 and 1x1 convolution, with norm and activation between them.

    The 3x3 convolution has the stride, not the first 1x1 convolution as in the paper: so do
    torchvision and the networks with published weights (Goyal et al. 2017, arXiv 1706.02677,
    section 5.1).
    """
    group = max(1, planes * plan.base_width // PUBLISHED_WIDTH)
    inner, outputs = group * plan.groups * plan.scale, planes * plan.expansion
    if plan.scale > 1:
        middle: list[nn.Module] = [
            Hierarchy(plan, group, stride=stride, pools=stride != 1 or inputs != outputs)
        ]
    else:
        middle = [
            plan.conv(inner, inner, 3, stride=stride, groups=plan.groups),
            *plan.active(inner),
        ]
    return [plan.conv(inputs, inner, 1), *plan.active(inner), *middle, plan.conv(inner, outputs, 1)]


class Pad(nn.Module):
    """The shortcut without parameters where the shape changes (option A): every `stride`-th place,
    then channels of 0.
    """

    def __init__(self, stride: int, extra: int) -> None:
        super().__init__()
        self.stride, self.extra = stride, extra

    def forward(self, x: Tensor) -> Tensor:
        return functional.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.extra))


class Hierarchy(nn.Module):
    """The 3x3 layer of Res2Net (Gao et al. 2019, arXiv 1904.01169, eq. 1): [B, scale x group, S, S]
    -> the same, / stride.

    Each split but the last is added to what the split before became, then goes through convolution,
    norm, activation; the last passes (the paper counts from the other end). Where the block's shape
    changes (`pools`) nothing is added and the last is averaged over 3x3 places, as in the authors'
    code.
    """

    def __init__(self, plan: Plan, group: int, *, stride: int, pools: bool) -> None:
        super().__init__()
        self.group = group
        self.layers = nn.ModuleList(
            nn.Sequential(plan.conv(group, group, 3, stride=stride), *plan.active(group))
            for _ in range(plan.scale - 1)
        )
        self.pool = nn.AvgPool2d(3, stride, padding=1) if pools else None

    def forward(self, x: Tensor) -> Tensor:
        splits = torch.split(x, self.group, 1)
        done: list[Tensor] = []
        for layer, split in zip(self.layers, splits, strict=False):
            done.append(layer(split if self.pool or not done else split + done[-1]))
        return torch.cat([*done, self.pool(splits[-1]) if self.pool else splits[-1]], 1)


class SqueezeExcitation(nn.Module):
    """A factor in (0, 1) for each channel, from the channels' means (Hu et al. 2017, arXiv
    1709.01507, eq. 2 to 4).

    [B, channels, S, S] -> the same; two linear layers without bias, channels / reduction units
    between them.
    """

    def __init__(self, channels: int, reduction: int) -> None:
        super().__init__()
        self.mlp = _mlp(channels, reduction, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.mlp(x.mean((2, 3))).sigmoid()[:, :, None, None]


class CBAM(nn.Module):
    """A factor for each channel, then one for each place (Woo et al. 2018, arXiv 1807.06521, eq. 2
    and 3).

    [B, channels, S, S] -> the same. The first comes from means and maxima over places, through one
    shared pair of linear layers, whose biases the paper's parameter counts include; the second from
    mean and maximum over channels, through a 7x7 convolution.
    """

    def __init__(self, channels: int, reduction: int) -> None:
        super().__init__()
        self.mlp = _mlp(channels, reduction, bias=True)
        self.conv = nn.Conv2d(2, 1, 7, padding=3, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x = x * (self.mlp(x.mean((2, 3))) + self.mlp(x.amax((2, 3)))).sigmoid()[:, :, None, None]
        pooled = torch.cat([x.mean(1, keepdim=True), x.amax(1, keepdim=True)], 1)
        out: Tensor = x * self.conv(pooled).sigmoid()
        return out


def _mlp(channels: int, reduction: int, *, bias: bool) -> nn.Sequential:
    units = max(1, channels // reduction)
    return nn.Sequential(
        nn.Linear(channels, units, bias=bias),
        nn.ReLU(inplace=True),
        nn.Linear(units, channels, bias=bias),
    )
