"""Compression of a finished model: a smaller copy, and what a copy weighs and takes."""

import copy
import functools
import itertools
import logging
import statistics
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from safetensors.torch import save
from torch import Tensor, nn
from torch.nn.utils import prune

from pipeline.core.finished.final import (
    MAX_REPEATS,
    MIN_REPEATS,
    WARM_UPS,
    Compress,
    Half,
    Int8Dynamic,
    Int8Static,
    NoCompression,
    Prune,
)
from pipeline.core.finished.int8 import Conv8, Linear8, has_int8
from pipeline.core.memory import in_parts
from pipeline.core.skips import skip_within

log = logging.getLogger(__name__)

DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}
PATIENCE_SECONDS = 0.5
Ranges = dict[nn.Module, tuple[float, float]]


@dataclass(frozen=True)
class Facts:
    """What a model costs.

    size_bytes: its weights as safetensors, see `packed`. seconds_per_picture: of a forward pass on
    one thread of this CPU; None where its integers are only simulated here, whose time would say
    nothing.
    """

    size_bytes: int
    seconds_per_picture: float | None


def compress(config: Compress, model: nn.Module, calibration: Iterable[Tensor]) -> nn.Module:
    """A compressed copy of `model`, in eval mode and without gradients; the original stays as it
    is.

    `calibration`: batches of normalised training pictures [B, C, S, S], as the model takes them.
    """
    small = copy.deepcopy(model).eval().requires_grad_(False)
    skip_within(small)
    match config:
        case Prune():
            _prune(small, config.amount)
        case Half():
            _halve(small, DTYPES[config.dtype])
        case Int8Dynamic():
            seen = _ranges(small, itertools.islice(calibration, 1))
            _replace(
                small, {layer: Linear8(layer) for layer in seen if isinstance(layer, nn.Linear)}
            )
        case Int8Static():
            seen = _ranges(small, _first(calibration, config.num_calibration))
            _replace(small, {layer: _int8(layer, *seen[layer]) for layer in seen})
        case NoCompression():
            pass
    return small


def is_simulated(model: nn.Module) -> bool:
    """Whether some of the model's integers are computed as fp32 numbers on this machine's CPU."""
    return not has_int8() and any(
        isinstance(module, (Linear8, Conv8)) for module in model.modules()
    )


def measure(model: nn.Module, x: Tensor) -> Facts:
    """Size, and the median time of repeated forward passes of `x` [B, C, S, S] in eval mode on one
    CPU thread, over B.

    Works on a copy on the CPU. Other processes on the machine slow it down as they slow down
    anything.
    """
    size = len(save(packed(model)))
    if is_simulated(model):
        return Facts(size, None)
    model, x = copy.deepcopy(model).cpu().eval(), x.cpu()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.inference_mode():
            for _ in range(WARM_UPS):  # packs weights, warms caches
                model(x)
            seconds: list[float] = []
            while len(seconds) < MIN_REPEATS or (
                len(seconds) < MAX_REPEATS and sum(seconds) < PATIENCE_SECONDS
            ):
                begin = time.perf_counter()
                model(x)
                seconds.append(time.perf_counter() - begin)
    finally:
        torch.set_num_threads(threads)
    return Facts(size, statistics.median(seconds) / len(x))


def packed(model: nn.Module) -> dict[str, Tensor]:
    """The model's weights as they would be stored.

    A tensor with many zeros is two: `NAME.mask`, one bit per value (row by row, highest bit first)
    that says whether it is kept, and `NAME.values`, the values that are not zero in their order.
    Any tensor that this makes no smaller is stored whole, with its own number of bytes per value.
    """
    stored: dict[str, Tensor] = {}
    for name, tensor in model.state_dict().items():
        flat = tensor.detach().cpu().contiguous().flatten()
        kept = flat != 0
        num_bytes = -(-len(flat) // 8)
        if (
            flat.is_floating_point()
            and num_bytes + int(kept.sum()) * flat.element_size() < flat.nbytes
        ):
            bits = nn.functional.pad(kept, (0, 8 * num_bytes - len(flat))).view(-1, 8)
            powers = torch.tensor([128, 64, 32, 16, 8, 4, 2, 1], dtype=torch.uint8)
            stored[f"{name}.mask"] = (bits * powers).sum(1).to(torch.uint8)
            stored[f"{name}.values"] = flat[kept]
        else:
            stored[name] = flat.clone().view(
                tensor.shape
            )  # a copy: tied weights may not share memory in a file
    return stored


def _prune(model: nn.Module, amount: float) -> None:
    """Zero the smallest `amount` of all kernels and matrices; ties go as torch's topk has them.

    torch's pruning wants contiguous weights; the layout is given back afterwards.
    """
    layouts = {name: parameter.stride() for name, parameter in model.named_parameters()}
    model.to(memory_format=torch.contiguous_format)
    weights = [
        (module, name)
        for module in model.modules()
        for name, weight in module.named_parameters(recurse=False)
        if name.endswith("weight") and weight.ndim >= 2
    ]
    prune.global_unstructured(weights, pruning_method=prune.L1Unstructured, amount=amount)
    for module, name in weights:
        prune.remove(module, name)  # type: ignore[no-untyped-call]
    if any(parameter.stride() != layouts[name] for name, parameter in model.named_parameters()):
        model.to(memory_format=torch.channels_last)
    model.requires_grad_(False)


def _halve(model: nn.Module, dtype: torch.dtype) -> None:
    """All floating-point numbers in `dtype`; pictures are cast on their way in, logits on their way
    out.
    """
    model.to(dtype)
    model.register_forward_pre_hook(functools.partial(_cast, dtype))
    model.register_forward_hook(lambda _module, _args, logits: logits.float())


def _cast(dtype: torch.dtype, _module: nn.Module, args: tuple[Tensor]) -> Tensor:
    return args[0].to(dtype)


def _first(batches: Iterable[Tensor], num: int) -> Iterable[Tensor]:
    """The first `num` pictures of some batches."""
    for batch in batches:
        yield batch[:num]
        num -= len(batch)
        if num <= 0:
            return


def _ranges(model: nn.Module, batches: Iterable[Tensor]) -> Ranges:
    """Layer -> (smallest, largest) of its inputs. Layers that are not called (whose weights others
    use) are left out.

    Subclasses are left out too: what they do with their weights is not known.
    """
    seen: Ranges = {}

    def look(module: nn.Module, args: tuple[Tensor]) -> None:
        low, high = (value.item() for value in args[0].float().aminmax())
        old = seen.get(module, (low, high))
        seen[module] = (min(low, old[0]), max(high, old[1]))

    plain = [
        m
        for m in model.modules()
        if type(m) is nn.Linear or (type(m) is nn.Conv2d and _has_zero_padding(m))
    ]
    hooks = [module.register_forward_pre_hook(look) for module in plain]
    with torch.inference_mode():
        for batch in batches:
            in_parts(model, batch)  # a range is the same, seen twice
    for hook in hooks:
        hook.remove()
    return seen


def _has_zero_padding(layer: nn.Conv2d) -> bool:
    return layer.padding_mode == "zeros" and not isinstance(layer.padding, str)


def _int8(layer: nn.Module, low: float, high: float) -> nn.Module:
    if isinstance(layer, nn.Linear):
        return Linear8(layer, low, high)
    assert isinstance(layer, nn.Conv2d)
    return Conv8(layer, low, high)


def _replace(model: nn.Module, new: Mapping[nn.Module, nn.Module]) -> None:
    """Put the new layers in every place of the old ones."""
    places = {name: m for name, m in model.named_modules(remove_duplicate=False) if m in new}
    for name, layer in places.items():
        parent, _, own = name.rpartition(".")
        setattr(model.get_submodule(parent), own, new[layer])
    if not places:
        log.warning("compression changes nothing: the network has no layer that it acts on")
