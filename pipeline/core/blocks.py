"""The pieces that the networks are assembled from."""

import functools
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional, init

FALLING = ("silu", "gelu")  # activations that fall somewhere
# of group norm, as its paper has it (Wu & He 2018, arXiv 1803.08494); fewer where channels do not
# divide
GROUPS = 32


class ConvStage(nn.Sequential):
    """3x3 convolution, norm, activation, 2x2 max pooling where `pool`: [B, in, S, S] -> [B, out, S
    // 2 or S, …].

    Pooling goes before an activation that never falls: the two commute exactly, and it then works
    on a quarter of the values.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        norm_kind: str,
        activation_kind: str,
        *,
        pool: bool,
    ) -> None:
        last: list[nn.Module] = [
            nn.MaxPool2d(2) if pool else nn.Identity(),
            activation(activation_kind),
        ]
        if activation_kind in FALLING:
            last.reverse()
        super().__init__(
            nn.Conv2d(in_channels, out_channels, 3, padding=1), norm(norm_kind, out_channels), *last
        )


def norm(kind: str, channels: int) -> nn.Module:
    """The norm layer of [B, channels, S, S]: batch, layer (over channels and places), group,
    instance, none.
    """
    if kind == "batch":
        return nn.BatchNorm2d(channels)
    if kind == "layer":
        return nn.GroupNorm(1, channels)
    if kind == "group":
        return nn.GroupNorm(
            next(g for g in range(min(GROUPS, channels), 0, -1) if channels % g == 0), channels
        )
    if kind == "instance":
        return Instance(channels, channels)
    return nn.Identity()


class Instance(nn.GroupNorm):
    """Instance norm with scale and shift (Ulyanov et al. 2016, arXiv 1607.08022), as group norm of
    one channel a group.

    torch's own refuses a single value per channel in training, which small pictures come to in the
    last stages; here its norm is 0, and the shift is left.
    """


def activation(name: str) -> nn.Module:
    """The activation of that name, in place where that is allowed."""
    made: dict[str, Any] = {
        "sigmoid": nn.Sigmoid,
        "tanh": nn.Tanh,
        "relu": functools.partial(nn.ReLU, inplace=True),
        "leaky_relu": functools.partial(nn.LeakyReLU, 0.01, inplace=True),
        "silu": nn.SiLU,
        "gelu": nn.GELU,
    }
    module: nn.Module = made[name]()
    return module


def dropout(p: float) -> nn.Module:
    """Dropout, or for p = 0 a module that draws no random numbers."""
    return nn.Dropout(p) if p > 0 else nn.Identity()


def dropout2d(p: float) -> nn.Module:
    """Dropout of whole channels (Tompson et al. 2014, arXiv 1411.4280), or for p = 0 a module that
    draws no numbers.
    """
    return nn.Dropout2d(p) if p > 0 else nn.Identity()


def initialise(model: nn.Module, how: str) -> nn.Module:
    """Convolutions and linear layers by Xavier (Glorot & Bengio 2010) or He (2015, arXiv
    1502.01852), their biases 0.
    """
    fill: Any = {
        "xavier": init.xavier_uniform_,
        "he": functools.partial(init.kaiming_normal_, nonlinearity="relu"),
    }.get(how)
    if fill is not None:
        for module in model.modules():
            if isinstance(module, (nn.Conv2d, nn.Linear)):
                fill(module.weight)
                if module.bias is not None:
                    init.zeros_(module.bias)
    return model


def find_head(model: nn.Module, num_classes: int) -> str:
    """The name of the last linear layer or 1x1 convolution with `num_classes` outputs; raises
    LookupError without one.
    """
    found = ""
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear):
            found = name if module.out_features == num_classes else found
        elif isinstance(module, nn.Conv2d) and module.kernel_size == (1, 1):
            found = name if module.out_channels == num_classes else found
    if not found:
        raise LookupError(f"no linear layer or 1x1 convolution with {num_classes} outputs")
    return found


def enlarge(model: nn.Module, size: int) -> nn.Module:
    """Make `model` enlarge its pictures to `size` first; by a hook, so that its weights keep their
    names.
    """
    model.register_forward_pre_hook(functools.partial(_enlarge, size))
    return model


def _enlarge(size: int, _: nn.Module, args: tuple[Tensor]) -> Tensor:
    return functional.interpolate(
        args[0], size=(size, size), mode="bilinear", align_corners=False, antialias=False
    )


class Branches(nn.ModuleList):
    """Each module on the same maps, the results stacked: [B, in, S, S] -> [B, sum of the outs, S',
    S'].

    The form of an Inception block (Szegedy et al. 2014, arXiv 1409.4842, fig. 2). No branch may
    change its input in place.
    """

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([branch(x) for branch in self], dim=1)
