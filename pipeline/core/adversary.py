"""Adversarial examples, to train on and to judge by: projected gradient descent (Madry et al. 2017,
arXiv 1706.06083).
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.core.augmentation.pixels import Pixels
from pipeline.core.mixed_precision import computing_in
from pipeline.core.regularize import Attack


def attack(
    how: Attack,
    model: nn.Module,
    x: Tensor,
    targets: Tensor,
    pixels: Pixels,
    *,
    dtype: torch.dtype,
    noise: Tensor | None = None,
) -> Tensor:
    """Normalised pictures [B, C, S, S] -> the same, changed within bounds so that their cross
    entropy rises.

    Starts at a random place in the epsilon box, where `noise`, of [0, 1), says. The network attacks
    in eval mode: its running statistics stay those of the pictures that it trains on. Parameters
    get no gradients; in float16 a pixel whose gradient is too small for it stays where it was.
    """
    epsilon = how.epsilon * 255 * pixels.scale
    clean = x.detach().float()
    low = torch.maximum(clean - epsilon, pixels.shift)
    high = torch.minimum(clean + epsilon, 255 * pixels.scale + pixels.shift)
    step = how.alpha * 255 * pixels.scale
    noise = torch.rand_like(clean) if noise is None else noise
    changed = (clean + (2 * noise - 1) * epsilon).clamp(low, high)
    training = model.training
    model.eval()
    for _ in range(how.steps):
        changed.requires_grad_()
        with computing_in(dtype, x.device):
            logits = model(changed.to(x.dtype))
        loss = functional.cross_entropy(logits.float(), targets, reduction="sum")
        (gradient,) = torch.autograd.grad(loss, changed)
        changed = (changed.detach() + step * gradient.sign()).clamp(low, high)
    model.train(training)
    return changed.to(x.dtype, memory_format=torch.preserve_format)
