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
    """Convolution that keeps the side, norm, activation, and 2x2 pooling where `pool` names one
    ("max", "avg"): [B, in, S, S] -> [B, out, S // 2 or S, …]; with "stride" the convolution itself
    halves the side (rounded up).

    Max pooling goes before an activation that never falls: the two commute exactly, and it then
    works on a quarter of the values.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        norm_kind: str,
        activation_kind: str,
        *,
        pool: str,
        kernel: int = 3,
    ) -> None:
        pooling = {"max": nn.MaxPool2d, "avg": nn.AvgPool2d}.get(pool)
        last: list[nn.Module] = [pooling(2) if pooling else nn.Identity()]
        last.append(activation(activation_kind))
        if activation_kind in FALLING or pool == "avg":
            last.reverse()
        stride = 2 if pool == "stride" else 1
        super().__init__(
            nn.Conv2d(in_channels, out_channels, kernel, stride, padding=kernel // 2),
            norm(norm_kind, out_channels),
            *last,
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
        return Groups(
            next(g for g in range(min(GROUPS, channels), 0, -1) if channels % g == 0), channels
        )
    if kind == "instance":
        return Instance(channels, channels)
    return nn.Identity()


class Groups(nn.GroupNorm):
    """Group norm that takes a single value per group too, which small pictures come to in the last
    stages: its norm is 0, and the shift is left. torch's own refuses that of a batch of one.
    """

    def forward(self, x: Tensor) -> Tensor:
        if x[0].numel() == self.num_groups and len(x) == 1:
            return x * 0 + self.bias[:, None, None]
        return super().forward(x)


class Instance(Groups):
    """Instance norm with scale and shift (Ulyanov et al. 2016, arXiv 1607.08022), as group norm of
    one channel a group.
    """


class ScaledSigmoid(nn.Module):
    """4 sigmoid(x) - 2: like tanh it has slope 1 at 0 and goes through it (Xu, Huang & Li 2016,
    arXiv 1602.05980).
    """

    def forward(self, x: Tensor) -> Tensor:
        return 4 * x.sigmoid() - 2


def activation(name: str) -> nn.Module:
    """The activation of that name, in place where that is allowed."""
    made: dict[str, Any] = {
        "sigmoid": nn.Sigmoid,
        "tanh": nn.Tanh,
        "scaled_sigmoid": ScaledSigmoid,
        "relu": functools.partial(nn.ReLU, inplace=True),
        "leaky_relu": functools.partial(nn.LeakyReLU, 0.01, inplace=True),
        "silu": nn.SiLU,
        "gelu": nn.GELU,
    }
    module: nn.Module = made[name]()
    return module


def leading(norm_kind: str, activation_kind: str, channels: int) -> nn.Sequential:
    """Norm and activation ahead of a layer; what they read is left as it is, for others."""
    first, act = norm(norm_kind, channels), activation(activation_kind)
    if isinstance(first, nn.Identity) and isinstance(act, (nn.ReLU, nn.LeakyReLU)):
        act.inplace = False
    return nn.Sequential(first, act)


def dropout(p: float) -> nn.Module:
    """Dropout, or for p = 0 a module that draws no random numbers."""
    return nn.Dropout(p) if p > 0 else nn.Identity()


def dropout2d(p: float) -> nn.Module:
    """Dropout of whole channels (Tompson et al. 2014, arXiv 1411.4280), or for p = 0 a module that
    draws no numbers.
    """
    return nn.Dropout2d(p) if p > 0 else nn.Identity()


def initialise(model: nn.Module, how: str) -> nn.Module:
    """Convolutions and linear layers, their biases 0: by Xavier (Glorot & Bengio 2010), He (2015,
    arXiv 1502.01852), LeCun (1998, "Efficient BackProp", section 4.6: variance 1 / inputs),
    orthogonal (Saxe, McClelland & Ganguli 2013, arXiv 1312.6120; each kernel one matrix with a row
    an output, times He's root of 2), or a normal of deviation 0.02 that is cut at two of them, as
    BERT's code has it.
    """
    fill: Any = {
        "xavier": init.xavier_uniform_,
        "he": functools.partial(init.kaiming_normal_, nonlinearity="relu"),
        "lecun": functools.partial(init.kaiming_normal_, nonlinearity="linear"),
        "orthogonal": functools.partial(init.orthogonal_, gain=2**0.5),
        "trunc_normal": functools.partial(init.trunc_normal_, std=0.02, a=-0.04, b=0.04),
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


def resize_first(model: nn.Module, before: int, size: int) -> nn.Module:
    """Make `model` bring its pictures of `before` pixels to `size` before all else, smaller ones
    without aliasing; by a hook, so that its weights keep their names.
    """
    if size > before:
        hook = functools.partial(_enlarge, size)
    else:
        shares = _shrink(torch.eye(before, device="cpu")[None, None], size, before)
        hook = functools.partial(_resize, size, shares)
    model.register_forward_pre_hook(hook, prepend=True)
    return model


def _resize(size: int, shares: Tensor, _: nn.Module, args: tuple[Tensor]) -> Tensor:
    """`shares` [size, S]: of which pixel how much is in which of the new ones."""
    (x,) = args
    if torch.onnx.is_in_onnx_export():  # the same by operators that ONNX has
        return shares @ x @ shares.transpose(-1, -2)
    return _shrink(x.float(), size, size).to(x.dtype)  # no CPU has the kernel in 16 bits


def _shrink(x: Tensor, height: int, width: int) -> Tensor:
    return functional.interpolate(
        x, size=(height, width), mode="bilinear", align_corners=False, antialias=True
    )


class Branches(nn.ModuleList):
    """Each module on the same maps, the results stacked: [B, in, S, S] -> [B, sum of the outs, S',
    S'].

    The form of an Inception block (Szegedy et al. 2014, arXiv 1409.4842, fig. 2). No branch may
    change its input in place.
    """

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([branch(x) for branch in self], dim=1)


class Dense(nn.ModuleList):
    """Layers that each read all maps before them: [B, in, S, S] -> [B, in + layers x growth, S, S].

    Huang et al. 2016 (arXiv 1608.06993), eq. 2: norm, activation, 3x3 convolution, stacked below
    what they read.
    """

    def __init__(
        self, channels: int, growth: int, layers: int, norm_kind: str, activation_kind: str
    ) -> None:
        super().__init__(
            nn.Sequential(
                leading(norm_kind, activation_kind, channels + number * growth),
                nn.Conv2d(channels + number * growth, growth, 3, padding=1),
            )
            for number in range(layers)
        )

    def forward(self, x: Tensor) -> Tensor:
        for layer in self:
            x = torch.cat([x, layer(x)], dim=1)
        return x
