"""The curvature of the loss at the end of training: extreme eigenvalues of its Hessian, and what
they say.

Lanczos' method needs products of the Hessian with vectors alone, and those are two backward passes
(Pearlmutter 1994, "Fast exact multiplication by the Hessian"); used on networks by Sagun et al.
2016 (arXiv 1611.07476) and Ghorbani et al. 2019 (arXiv 1901.10159).
"""

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel

from pipeline.counts import plural

NOISE = 1e-4  # of the largest eigenvalue: what fp32 leaves uncertain
# of the loss: what one step down the gradient may still win where training is said to have ended
AT_REST = 0.01


@dataclass(frozen=True)
class Extremes:
    """Largest and smallest Ritz value after `num_steps`, each with its residual: an eigenvalue is
    no further away than that.

    Ritz values lie within the spectrum: the true largest is at least `top`, the true smallest at
    most `bottom`.
    """

    top: float
    bottom: float
    top_residual: float
    bottom_residual: float
    num_steps: int


@dataclass(frozen=True)
class Curvature:
    """The extremes of the Hessian of the mean cross entropy, and the gradient's norm, on one batch
    in eval mode.
    """

    extremes: Extremes
    gradient_norm: float
    loss: float

    @property
    def is_saddle(self) -> bool:
        """Whether a direction of negative curvature was found, beyond the noise of the
        arithmetic.
        """
        top, bottom = self.extremes.top, self.extremes.bottom
        return bottom < -NOISE * max(abs(top), abs(bottom))

    @property
    def gain(self) -> float:
        """What the best step down the gradient wins at least, were the loss a parabola: |g|² / (2
        top).
        """
        return self.gradient_norm**2 / (2 * max(abs(self.extremes.top), 1e-12))

    @property
    def verdict(self) -> str:
        """In words, with the numbers."""
        e = self.extremes
        numbers = (
            f"Hessian eigenvalues {e.bottom:.3g} (±{e.bottom_residual:.1g}) to {e.top:.3g} "
            f"(±{e.top_residual:.1g}), gradient norm {self.gradient_norm:.2g}, loss {self.loss:.3g}"
        )
        if self.gain > AT_REST * self.loss:
            found = "negative" if self.is_saddle else "no negative"
            return (
                f"no end point: the gradient still leads down, training had not ended; {found} "
                f"curvature; {numbers}"
            )
        if self.is_saddle:
            return (
                "saddle: the loss still falls along some direction of negative curvature; "
                f"{numbers}"
            )
        return f"minimum: no negative curvature in {plural(e.num_steps, 'Lanczos step')}; {numbers}"


def curvature(
    model: nn.Module, x: Tensor, labels: Tensor, *, num_steps: int = 30, seed: int = 0
) -> Curvature:
    """Extreme eigenvalues of the Hessian over all trainable parameters, on one batch, in eval mode;
    `model` stays as it is.

    Memory: `num_steps` vectors as long as the parameters.
    """
    model = copy.deepcopy(model).eval()
    params = [p for p in model.parameters() if p.requires_grad]
    with sdpa_kernel(SDPBackend.MATH):  # the fast kernels of attention have no second derivative
        loss = functional.cross_entropy(model(x).float(), labels)
        grads = torch.autograd.grad(loss, params, create_graph=True, materialize_grads=True)
        gradient = _flat(grads)

        def product(vector: Tensor) -> Tensor:
            if not gradient.requires_grad:
                return torch.zeros_like(vector)
            parts = torch.autograd.grad(
                gradient, params, vector, retain_graph=True, materialize_grads=True
            )
            return _flat(parts).detach()

        extremes = lanczos(product, gradient.detach(), num_steps=num_steps, seed=seed)
    return Curvature(extremes, gradient.detach().norm().item(), loss.item())


def lanczos(
    product: Callable[[Tensor], Tensor], like: Tensor, *, num_steps: int, seed: int = 0
) -> Extremes:
    """Extreme eigenvalues of the symmetric operator `product` on vectors like `like` [n], with full
    reorthogonalisation.

    Without it, rounding lets eigenvalues that were found come back as copies (Golub & Van Loan,
    "Matrix computations", section 10.1). Exact after n steps; ends early where the Krylov space is
    exhausted.
    """
    generator = torch.Generator().manual_seed(seed)
    vector = torch.randn(len(like), generator=generator, dtype=torch.float64).to(like)
    basis = torch.empty(min(num_steps, len(like)), len(like), dtype=like.dtype, device=like.device)
    diagonal: list[float] = []
    beside: list[float] = []
    vector /= vector.norm()
    for step in range(len(basis)):
        basis[step] = vector
        image = product(vector)
        diagonal.append(torch.dot(image, vector).item())
        known = basis[: step + 1]
        for _ in range(
            2
        ):  # twice is enough (Parlett 1998, "The symmetric eigenvalue problem", section 6.9)
            image = image - known.t() @ (known @ image)
        beside.append(image.norm().item())
        scale = max(map(abs, (*diagonal, *beside[:-1])))
        if not math.isfinite(beside[-1]) or beside[-1] <= torch.finfo(like.dtype).eps * scale * 10:
            break
        vector = image / beside[-1]
    matrix = torch.diag(torch.tensor(diagonal, dtype=torch.float64))
    off = torch.tensor(beside[:-1], dtype=torch.float64)
    if len(off):
        matrix += torch.diag(off, 1) + torch.diag(off, -1)
    values, vectors = torch.linalg.eigh(matrix)
    residuals = (beside[-1] * vectors[-1].abs()).tolist()
    return Extremes(values[-1].item(), values[0].item(), residuals[-1], residuals[0], len(diagonal))


def _flat(parts: "tuple[Tensor, ...]") -> Tensor:
    return torch.cat([part.reshape(-1) for part in parts])
