"""Weights from elsewhere into a network, a new head, and what of it is trained."""

import functools
import logging
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from pipeline.core.blocks import dropout, find_head, initialise
from pipeline.core.models.base import Network
from pipeline.core.models.external import Library
from pipeline.core.transfer import PUBLISHED, SUFFIXES, Transfer, published_source, refuse_unpublished
from pipeline.errors import UserError, printable

__all__ = ["apply", "find_head", "normalisation", "stages"]

log = logging.getLogger(__name__)

MIN_STAGES = 4
NESTS = ("state_dict", "model")  # where published checkpoints keep their weights beside other things


def apply(transfer: Transfer, network: Network, model: nn.Module, *, num_classes: int, load: bool = True) -> nn.Module:
    """`model`, as `network` built it, with new head, loaded weights and frozen parts, in place; untouched where off.

    Without `load` no weights are read, for models that get a checkpoint's. Draws from torch's global seed for a new head.
    Raises UserError where the weights cannot be had or are another network's, where the network has no single head, and
    where it has fewer than `num_last` stages.
    """
    if not transfer.active:
        return model
    head = _single_head(network, model, num_classes)
    if transfer.hidden:
        _deepen(model, head, transfer.hidden, network)
    if load and transfer.weights == PUBLISHED:
        _load(model, _published(network, model, head), head, transfer.weights)
    elif load and transfer.weights:
        _load(model, _read(transfer.weights), head, transfer.weights)
    if transfer.train != "all":
        _freeze(model, [head, *(_last(model, head, transfer.num_last) if transfer.train == "last" else [])])
    return model


def normalisation(
    transfer: Transfer, network: Network, *, channels: int = 3
) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
    """Mean and deviation per channel, of pictures in [0, 1], that the published weights expect; None where none are used.

    For grey pictures the means of the colours' values.
    """
    source = published_source(network)
    if transfer.weights != PUBLISHED or not source:
        return None
    from pipeline.core.libraries import statistics  # timm takes seconds to import, and most runs need none of it

    mean, std = statistics(source)
    if channels == len(mean):
        return mean, std
    return (sum(mean) / len(mean),) * channels, (sum(std) / len(std),) * channels


def stages(model: nn.Module, head: str) -> list[list[str]]:
    """The names of the modules of each stage, in order, the head left out.

    Stages are the modules at the top that have weights; while they are fewer than four, the largest of them is opened. A
    module of vectors alone (a norm) belongs to the stage before it, the root's own parameters to none.
    """
    parts = _children(model, "", head)
    while True:
        found: list[list[str]] = []
        for part in parts:
            if found and not any(p.ndim > 1 for p in _params(model, part, head)):
                found[-1].append(part)
            else:
                found.append([part])
        opened = {part: _children(model, part, head) for part in parts}
        able = [part for part in parts if opened[part]]
        if len(found) >= MIN_STAGES or not able:
            return found
        largest = max(able, key=lambda part: sum(p.numel() for p in _params(model, part, head)))
        at = parts.index(largest)
        parts[at : at + 1] = opened[largest]


def _children(model: nn.Module, part: str, head: str) -> list[str]:
    names = [f"{part}.{name}" if part else name for name, _ in model.get_submodule(part).named_children()]
    return [name for name in names if _params(model, name, head)]


def _params(model: nn.Module, part: str, head: str) -> list[Tensor]:
    """The parameters of a part, without those of the head."""
    return [p for name, p in model.named_parameters() if _within(name, [part]) and not _within(name, [head])]


def _within(name: str, parts: Iterable[str]) -> bool:
    return any(name == part or name.startswith(f"{part}.") for part in parts)


def _single_head(network: Network, model: nn.Module, num_classes: int) -> str:
    made: Any = getattr(model, "get_classifier", lambda: None)()
    if isinstance(made, (tuple, list, nn.ModuleList)):
        raise UserError(f"transfer: needs a network with one head (got '{_called(network)}', with {len(made)})")
    try:
        return find_head(model, num_classes)
    except LookupError as error:
        raise UserError(f"transfer: needs a network with a head (got '{_called(network)}', with {error})") from None


def _called(network: Network) -> str:
    """The network's name, for messages."""
    return printable(getattr(network, "arch", network.model_dump().get("name")))


def _deepen(model: nn.Module, name: str, hidden: int, network: Network) -> None:
    """Put a head of two layers in the place of the linear one, or of the 1x1 convolution."""
    old: Any = model.get_submodule(name)
    if isinstance(old, nn.Linear):
        ends: tuple[nn.Module, ...] = nn.Linear(old.in_features, hidden), nn.Linear(hidden, old.out_features)
    else:
        ends = nn.Conv2d(old.in_channels, hidden, 1), nn.Conv2d(hidden, old.out_channels, 1)
    new = nn.Sequential(ends[0], nn.ReLU(inplace=True), dropout(network.dropout), ends[1])
    for hook in old._forward_pre_hooks.values():
        new.register_forward_pre_hook(hook)
    model.set_submodule(name, initialise(new, getattr(network, "init", "default")).to(old.weight.device, old.weight.dtype))


def _published(network: Network, model: nn.Module, head: str) -> Mapping[str, Tensor]:
    from pipeline.core.libraries import published

    refuse_unpublished(network)
    source = published_source(network)
    channels = next(m.in_channels for m in model.modules() if isinstance(m, nn.Conv2d))
    try:
        state = published(source, channels, **getattr(model, "made_with", {}))
    except Exception as error:  # every library and every server has its own
        raise UserError(
            f"transfer.weights: cannot get the published weights of '{_called(network)}' ({source}): {_brief(error)}; "
            f"they need a network, once; without one set transfer.weights to a file ({', '.join(SUFFIXES)})"
        ) from None
    if isinstance(network, Library):
        return state
    # our own network: the same layers in the same order, under other names
    ours = [name for name in model.state_dict() if not name.endswith("num_batches_tracked") and not _within(name, [head])]
    theirs = [value for name, value in state.items() if not name.endswith("num_batches_tracked")]
    return dict(zip(ours, theirs, strict=False))


def _read(text: str) -> Mapping[str, Tensor]:
    """The tensors of a weights file, by name; nothing of it is run."""
    path, where = Path(text).expanduser(), f"transfer.weights: '{printable(text)}'"
    try:
        state = load_file(path) if path.suffix == SUFFIXES[0] else torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise UserError(f"{where}: no such file") from None
    except Exception as error:  # a damaged file fails in one of many ways
        raise UserError(f"{where}: cannot be read as weights: {_brief(error)}") from None
    for key in NESTS:
        if isinstance(state, Mapping) and isinstance(state.get(key), Mapping):
            state = state[key]
    tensors = state.items() if isinstance(state, Mapping) else ()
    found = {str(name).removeprefix("module."): value for name, value in tensors if isinstance(value, Tensor)}
    if not found:
        raise UserError(f"{where}: holds no weights by name")
    return found


def _brief(error: Exception) -> str:
    return f"{type(error).__name__}: {printable(str(error).strip().partition(chr(10))[0])}"


def _load(model: nn.Module, state: Mapping[str, Tensor], head: str, source: str) -> None:
    """Take what agrees in name and shape; the head as a whole or not at all."""
    own = model.state_dict()
    fits = {name: value for name, value in state.items() if name in own and own[name].shape == value.shape}
    if any(_within(name, [head]) and name not in fits for name in own):
        fits = {name: value for name, value in fits.items() if not _within(name, [head])}
    wanted = [name for name, _ in model.named_parameters() if not _within(name, [head])]
    left = [name for name in wanted if name not in fits]
    num = len(wanted) - len(left)
    where = f"transfer.weights: '{printable(source)}'"
    if num == 0 or 2 * num < len(wanted):
        there = [name for name in state if name not in fits]
        raise UserError(
            f"{where}: weights of another network: {num} of {len(wanted)} parameters agree in name and shape; "
            f"without a match: {_examples(left, own)}; in the file: {_examples(there, state)}"
        )
    if left:
        log.warning("%s: %d of %d parameters taken; not in it: %s", where, num, len(wanted), _examples(left, own))
    model.load_state_dict(fits, strict=False)


def _examples(names: list[str], state: Mapping[str, Tensor]) -> str:
    shown = ", ".join(f"{printable(name, 60)} {tuple(state[name].shape)}" for name in names[:3])
    return shown + (", …" if len(names) > 3 else "") if names else "(none)"


def _last(model: nn.Module, head: str, num: int) -> list[str]:
    found = stages(model, head)
    if num > len(found):
        raise UserError(f"transfer.num_last: the network has {len(found)} stages before its head (got {num})")
    return [part for stage in found[-num:] for part in stage]


def _freeze(model: nn.Module, trained: list[str]) -> None:
    """Only the `trained` modules get gradients; batch norms elsewhere stay in evaluation, else their statistics drift."""
    for name, param in model.named_parameters():
        param.requires_grad_(_within(name, trained))
    for name, module in model.named_modules():
        if isinstance(module, _BatchNorm) and not _within(name, trained):
            module.eval()
            vars(module)["train"] = functools.partial(_stay, module)


def _stay(module: nn.Module, mode: bool = True) -> nn.Module:  # noqa: ARG001
    """In place of a frozen module's `train`."""
    return module
