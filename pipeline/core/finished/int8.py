"""Layers in 8-bit integers, on plain int8 tensors: real integer kernels where this CPU has them,
the same sums in fp32 elsewhere.

An input x is q = round(x / s) + z with a scale s and a zero point z, a weight is symmetric with a
scale for each output channel; sums of products are whole numbers, scaled back to fp32 at the end
(Jacob et al. 2018, arXiv 1712.05877, section
2.2; the granularities of Krishnamoorthi 2018, arXiv 1806.08342).
"""

import functools
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

TINY = 1e-12  # the smallest scale, for inputs and weights that are all zero


class Linear8(nn.Module):
    """`nn.Linear` with int8 weights: fp32 [*, in] -> fp32 [*, out].

    Without a range every row of the input has a scale of its own, so that no result depends on the
    rest of its batch.
    """

    weight: Tensor
    scale: Tensor
    bias: Tensor | None

    def __init__(
        self, layer: nn.Linear, low: float | None = None, high: float | None = None
    ) -> None:
        """`low` and `high`: the range of the input; None measures every row as it comes."""
        super().__init__()
        _store(self, layer)
        self.range = None if low is None or high is None else affine(low, high)

    def forward(self, x: Tensor) -> Tensor:
        rows = x.float().reshape(-1, x.shape[-1])
        if self.range is None:
            scale = (rows.abs().amax(1, keepdim=True) / 127).clamp(min=TINY)
            sums = int_matmul((rows / scale).round().to(torch.int8), self.weight)
        else:
            scale, zero = torch.tensor(self.range[0], device=x.device), self.range[1] - 128
            codes = (quantized(rows, *self.range).to(torch.int16) - 128).to(torch.int8)
            sums = int_matmul(codes, self.weight) - zero * self.weight.sum(1, dtype=torch.int32)
        y = sums.float() * scale * self.scale
        y = y if self.bias is None else y + self.bias
        return y.view(*x.shape[:-1], -1)


class Conv8(nn.Module):
    """`nn.Conv2d` (zero padding) with int8 weights and inputs in the range `low` … `high`: fp32 ->
    fp32.
    """

    weight: Tensor
    scale: Tensor
    bias: Tensor | None

    def __init__(self, layer: nn.Conv2d, low: float, high: float) -> None:
        super().__init__()
        _store(self, layer)
        self.range = affine(low, high)
        assert not isinstance(layer.padding, str)
        self.geometry = (
            list(layer.stride),
            list(layer.padding),
            list(layer.dilation),
            layer.groups,
        )
        self.packed: Tensor | None = None

    def __getstate__(self) -> dict[str, Any]:
        """What is copied: not the weights in the kernel's own layout, which are made again."""
        return {**self.__dict__, "packed": None}

    def forward(self, x: Tensor) -> Tensor:
        codes, (scale, zero) = quantized(x, *self.range), self.range
        if x.device.type == "cpu" and has_int8():
            if self.packed is None:
                self.packed = _pack(self.weight, self.scale, self.range, self.geometry)
            return _convolve(codes, self.packed, self.scale, self.bias, self.range, self.geometry)
        stride, padding, dilation, groups = self.geometry
        sums = functional.conv2d(
            codes.float() - zero, self.weight.float(), None, stride, padding, dilation, groups
        )
        y = sums * (scale * self.scale).view(-1, 1, 1)
        return y if self.bias is None else y + self.bias.view(-1, 1, 1)


def _store(module: nn.Module, layer: nn.Linear | nn.Conv2d) -> None:
    """Weights as int8 with a scale for each output channel, and the bias in fp32."""
    weight = layer.weight.detach().float()
    scale = (weight.flatten(1).abs().amax(1) / 127).clamp(min=TINY)
    codes = (weight / scale.view(-1, *[1] * (weight.ndim - 1))).round().to(torch.int8)
    module.register_buffer("weight", codes.contiguous())
    module.register_buffer("scale", scale)
    module.register_buffer(
        "bias", None if layer.bias is None else layer.bias.detach().float().clone()
    )


def affine(low: float, high: float) -> tuple[float, int]:
    """Scale and zero point of 8 bits over a range, widened to hold 0 so that 0 is exact."""
    low, high = min(low, 0.0), max(high, 0.0)
    scale = max((high - low) / 255, TINY)
    return scale, min(255, max(0, round(-low / scale)))


def quantized(x: Tensor, scale: float, zero: int) -> Tensor:
    """Codes 0 … 255; what lies outside the range is clamped."""
    return (x.float() / scale).round_().add_(zero).clamp_(0, 255).to(torch.uint8)


def int_matmul(a: Tensor, b: Tensor) -> Tensor:
    """int8 [n, k] times int8 [m, k] transposed: whole numbers [n, m], int32 of an integer kernel or
    fp32.
    """
    if a.device.type == "cpu" and has_int8():
        return torch._int_mm(a, b.t())
    return a.float() @ b.float().t()


@functools.cache
def has_int8() -> bool:
    """Whether this CPU's integer kernels are there and right: those without VNNI add pairs in 16
    bits, which overflow.
    """
    ones = torch.full((4, 64), 127, dtype=torch.int8)
    geometry = ([1, 1], [1, 1], [1, 1], 1)
    unit = torch.ones(4)
    try:
        product = torch._int_mm(ones, ones.t())
        kernel = torch.full((4, 16, 3, 3), 127, dtype=torch.int8)
        codes = torch.full((1, 16, 5, 5), 255, dtype=torch.uint8)
        found = _convolve(
            codes, _pack(kernel, unit, (1.0, 3), geometry), unit, None, (1.0, 3), geometry
        )
    except (RuntimeError, AttributeError, TypeError, NotImplementedError):
        return False
    expected = functional.conv2d(codes.double() - 3, kernel.double(), padding=1)
    return bool((product == 127 * 127 * 64).all()) and bool(
        torch.allclose(found.double(), expected, rtol=1e-5)
    )


Geometry = tuple[list[int], list[int], list[int], int]  # stride, padding, dilation, groups


def _pack(weight: Tensor, scale: Tensor, spread: tuple[float, int], geometry: Geometry) -> Tensor:
    """The weights in the layout of oneDNN's kernel."""
    packed: Tensor = torch.ops.onednn.qconv_prepack(weight, scale, *spread, *geometry, None)
    return packed


def _convolve(
    codes: Tensor,
    packed: Tensor,
    scale: Tensor,
    bias: Tensor | None,
    spread: tuple[float, int],
    geometry: Geometry,
) -> Tensor:
    """oneDNN's integer convolution: uint8 codes -> fp32."""
    zeros = torch.zeros(len(scale), dtype=torch.int32)
    after: tuple[Any, ...] = (
        1.0,
        0,
        torch.float32,
        "none",
        [],
        None,
    )  # the output's scale and zero point are not used for fp32
    y: Tensor = torch.ops.onednn.qconv_pointwise(
        codes, *spread, packed, scale, zeros, bias, *geometry, *after
    )
    return y
