"""Convolutions of one pixel that skip pixels, as a ResNet's shortcuts, where torch computes them
wrongly.
"""

import functools

from torch import Tensor, nn


def skip_before(model: nn.Module) -> None:
    """Narrow ones get a picture in which those pixels are left out already: the same function.

    In channels_last fp32 their backward writes past its memory for 2 to 7 channels (torch 2.15 on
    CPUs), which kills the process or changes what lies there.
    """
    for layer in model.modules():
        if (
            isinstance(layer, nn.Conv2d)
            and layer.kernel_size == (1, 1)
            and layer.stride != (1, 1)
            and layer.padding in ((0, 0), "valid")
            and layer.groups == 1
            and layer.in_channels < 8
        ):
            layer.register_forward_pre_hook(functools.partial(_skip, layer.stride))
            layer.stride = (1, 1)


def skip_within(model: nn.Module) -> None:
    """Undo `skip_before`, for a model that is not trained any more: who replaces a layer by what
    it says of itself does not see what is done before it.
    """
    for layer in model.modules():
        for key, hook in list(layer._forward_pre_hooks.items()):
            if isinstance(hook, functools.partial) and hook.func is _skip:
                (layer.stride,) = hook.args
                del layer._forward_pre_hooks[key]


def _skip(
    stride: tuple[int, ...], _layer: nn.Module, given: tuple[Tensor, ...]
) -> tuple[Tensor, ...]:
    down, right = stride
    return (given[0][..., ::down, ::right], *given[1:])
