"""What a network's layers see: the activations of its middle and of its top layer, laid out in a
plane.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from pipeline.core.augmentation.pixels import Pixels
from pipeline.core.evaluate import BATCH
from pipeline.core.finished.evidence import MAX_POINTS, Embedding
from pipeline.core.members import each, prefixes
from pipeline.core.memory import in_parts
from pipeline.core.pictures import Pictures, cut, evenly

log = logging.getLogger(__name__)

MIN_POINTS = 10
NEAR = 0.1  # of the network's depth: how far from its very middle the end of a large block may lie
MAX_DIMENSIONS = 50  # that t-SNE starts from, by principal components, as its authors do
ITERATIONS = 500


@dataclass(frozen=True)
class Call:
    """The `number`-th call of the module `path` in a forward pass. begin, end: layers with weights
    that were through before and after it; layer: whether it is one; usable: whether its input and
    its output have a row a picture."""

    path: str
    number: int
    begin: int
    end: int
    layer: bool
    usable: tuple[bool, bool]


def embeddings(model: nn.Module, pictures: Pictures, pixels: Pixels) -> tuple[Embedding, ...]:
    """t-SNE of the middle and of the top layer over at most MAX_POINTS pictures, spread evenly over
    the split, of an ensemble those of its first member.

    L. van der Maaten, G. Hinton, "Visualizing Data using t-SNE", JMLR 2008. None for fewer than
    MIN_POINTS pictures; a layer whose activations are not finite, or all the same, is left out.
    """
    order = evenly(len(pictures), MAX_POINTS)
    if len(order) < MIN_POINTS:
        return ()
    labels = pictures.labels.cpu().numpy()[order]
    found = []
    for (layer, module), values in activations(model, pictures, pixels, order).items():
        points = plane(values)
        if points is None:
            log.warning(
                "no embedding of the %s layer: its activations are not finite, or all the same",
                layer,
            )
        else:
            found.append(Embedding(layer, module, points, labels))
    return tuple(found)


def activations(
    model: nn.Module, pictures: Pictures, pixels: Pixels, order: npt.NDArray[np.int64]
) -> dict[tuple[str, str], npt.NDArray[np.float32]]:
    """(layer, path of its module) → float32 [P, D] of the pictures at `order`, averaged over space.

    top: the input of the last layer with weights; middle: the output of the module half way there
    (see `middle`).
    """
    model.eval()
    collected: dict[tuple[str, str], list[Tensor]] = {}
    targets: dict[tuple[str, int, bool], tuple[str, str]] = {}

    def layers(x: Tensor) -> dict[tuple[str, str], Tensor]:
        seen: dict[tuple[str, str], Tensor] = {}

        def keep(path: str, number: int, entering: bool, value: Any) -> None:
            layer = targets.get((path, number, entering))
            if layer is not None:
                seen[layer] = pooled(value)

        watched(model, x, keep)
        return seen

    with torch.inference_mode():
        for _, images, _ in pictures.batches(
            order, cut(len(order), BATCH.get(pictures.device.type, 512))
        ):
            x = pixels(images)
            if not targets:
                calls = traced(model, x[:2])
                half, top = (
                    middle(calls),
                    next((c for c in reversed(calls) if c.layer and c.usable[0]), None),
                )
                targets |= {(half.path, half.number, False): ("middle", half.path)} if half else {}
                targets |= {(top.path, top.number, True): ("top", top.path)} if top else {}
            for seen in in_parts(layers, x):
                for layer, values in seen.items():
                    collected.setdefault(layer, []).append(values)
    return {layer: torch.cat(collected[layer]).cpu().numpy() for layer in targets.values()}


def traced(model: nn.Module, x: Tensor) -> list[Call]:
    """The calls of a forward pass of `x` [B, C, S, S] in the order in which they end, the whole
    network's left out.
    """
    calls: list[Call] = []
    begun: list[tuple[int, bool]] = []
    through = 0
    has_weights = {name: _has_weights(module) for name, module in model.named_modules()}

    def see(path: str, number: int, entering: bool, value: Any) -> None:
        nonlocal through
        usable = (
            isinstance(value, Tensor)
            and value.is_floating_point()
            and value.ndim > 1
            and len(value) == len(x)
        )
        if entering:
            begun.append((through, usable))
            return
        through += has_weights[path]
        begin, before = begun.pop()
        calls.append(Call(path, number, begin, through, has_weights[path], (before, usable)))

    with torch.inference_mode():
        watched(model, x, see)
    return calls


def middle(calls: list[Call]) -> Call | None:
    """The module whose output lies half way through the layers with weights: within NEAR of that
    the largest block.

    Of several the nearest, then the last, which is behind norm and activation. None where there is
    nothing between.
    """
    total = max((call.end for call in calls), default=0)
    inner = [call for call in calls if call.usable[1] and call.end < total]
    if not inner:
        return None
    away = [abs(call.end - total / 2) for call in inner]
    near = [i for i in range(len(inner)) if away[i] <= max(min(away), NEAR * total)]
    best = max(near, key=lambda i: (max(1, inner[i].end - inner[i].begin), -away[i], i))
    return inner[best]


def watched(model: nn.Module, x: Tensor, see: Callable[[str, int, bool, Any], None]) -> None:
    """A forward pass that shows the first input and the output of every module, of an ensemble of
    its first member's: see(path, number of the call, entering?, it).
    """
    counts: dict[str, int] = {}
    hooks = []
    first = prefixes(len(each(model)))[0]
    for path, module in model.named_modules():
        if not path.startswith(first) or path in ("", first[:-1]):
            continue

        def enter(_: nn.Module, args: tuple[Any, ...], path: str = path) -> None:
            counts[path] = counts.get(path, 0) + 1
            see(path, counts[path], True, args[0] if args else None)

        def leave(_: nn.Module, _args: Any, output: Any, path: str = path) -> None:
            see(path, counts[path], False, output)

        hooks += [module.register_forward_pre_hook(enter), module.register_forward_hook(leave)]
    try:
        model(x)
    finally:
        for hook in hooks:
            hook.remove()


def pooled(x: Tensor) -> Tensor:
    """float32 [B, D]: the mean over space of maps [B, D, S, S] or [B, S, S, D], or over the tokens
    of [B, T, D].

    A copy: what comes later may write into `x`.
    """
    x = x.detach().float()
    if x.ndim == 4 and x.shape[2] != x.shape[3] and x.shape[1] == x.shape[2]:
        return x.mean((1, 2))
    if x.ndim == 4:
        return x.mean((2, 3))
    return x.mean(1) if x.ndim == 3 else x.flatten(1).clone()


def plane(values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32] | None:
    """Float32 [P, D] → float32 [P, 2] by t-SNE of the standardised values; the same for the same
    values.

    None where they are not finite, or all the same.
    """
    if not np.isfinite(values).all():
        return None
    deviation = values.std(0)
    varied = deviation > 0
    if not varied.any():
        return None
    from sklearn.decomposition import PCA  # slow to import, and most runs need neither
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    x = (values[:, varied] - values[:, varied].mean(0)) / deviation[varied]
    with threadpool_limits(1):
        x = PCA(min(MAX_DIMENSIONS, *x.shape), random_state=0).fit_transform(x)
        perplexity = min(30.0, (len(x) - 1) / 3)
        start = np.zeros((len(x), 2), np.float32)
        start[:, : min(2, x.shape[1])] = (
            x[:, :2] / x[:, 0].std() * 1e-4
        )  # its own start from PCA wants two columns
        tsne = TSNE(
            init=start, random_state=0, perplexity=perplexity, max_iter=ITERATIONS, n_jobs=1
        )
        points: npt.NDArray[np.float32] = tsne.fit_transform(x).astype(np.float32)
    return points if np.isfinite(points).all() else None


def _has_weights(module: nn.Module) -> bool:
    """Whether it has a matrix or kernel of its own, in integers or not."""
    own = [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]
    return any(name.endswith("weight") and value.ndim > 1 for name, value in own)
