"""What a network computes: the multiplications of a forward pass, counted without computing any."""

import contextlib
from collections.abc import Iterator

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.flop_counter import FlopCounterMode

from pipeline.core.finished.artifact import Artifact


def count(model: nn.Module, channels: int, size: int) -> int:
    """Multiply-accumulates of convolutions, linear layers and attention, for one picture; leaves
    `model` in eval mode.

    Best of a network on the meta device. Its parameters want gradients afterwards: without, torch
    computes attention by a kernel that no counter sees into.
    """
    model.eval().requires_grad_(True)
    device = next(model.parameters()).device
    with torch.enable_grad(), _without_norms(model), FlopCounterMode(display=False) as counter:
        model(torch.empty(1, channels, size, size, device=device))
    return int(counter.get_total_flops()) // 2


@contextlib.contextmanager
def _without_norms(model: nn.Module) -> Iterator[None]:
    """Batch norms count nothing and keep the shape, and on the meta device torch takes most of the
    time for them.
    """
    norms = [
        one
        for one in model.modules()
        if getattr(type(one), "forward", None) is _BatchNorm.forward and "forward" not in vars(one)
    ]
    for norm in norms:
        norm.forward = lambda input: input
    try:
        yield
    finally:
        for norm in norms:
            del norm.forward


def num_macs(artifact: Artifact) -> int:
    """The same of a run's network as it is trained; what compression saves is told by its size and
    latency.
    """
    try:
        with torch.device("meta"):
            model = artifact.build()
    except NotImplementedError:  # a few look at their weights while they are made
        model = artifact.build()
    return count(model.to("meta"), artifact.channels, artifact.size)
