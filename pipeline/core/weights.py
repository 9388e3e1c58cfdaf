"""Weights from elsewhere into a network, a new head, and what of it is trained."""

import functools
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from pipeline.core import foreign
from pipeline.core.blocks import dropout, find_head, initialise
from pipeline.core.models.base import Network
from pipeline.core.transfer import (
    PUBLISHED,
    SUFFIXES,
    Transfer,
    library_sources,
    published_source,
    refuse_unpublished,
)
from pipeline.errors import UserError, printable

__all__ = ["apply", "find_head", "normalisation", "stages"]

log = logging.getLogger(__name__)

MIN_STAGES = 4
MAX_SPARE = 4  # of a file, that need not be said: a head of two layers
OWN_FILES = (
    "every network of timm and torchvision takes its own files: --set model.name=timm "
    "--set model.arch=NAME"
)


def apply(
    transfer: Transfer,
    network: Network,
    model: nn.Module,
    *,
    num_classes: int,
    classes: Sequence[str] = (),
    load: bool = True,
) -> nn.Module:
    """`model`, as `network` built it, with new head, loaded weights and frozen parts, in place;
    untouched where off.

    The head is loaded too where the file says that it is for the same `classes`, by name and order.
    Without `load` no weights are read, for models that get a checkpoint's. Draws from torch's
    global seed for a new head. Raises UserError where the weights cannot be had or are another
    network's, where the network has no single head, and where it has fewer than `num_last` stages.
    """
    if not transfer.active:
        return model
    head = _single_head(network, model, num_classes)
    if transfer.hidden:
        _deepen(model, head, transfer.hidden, network)
    if load and transfer.weights:
        file = (
            _published(network, model)
            if transfer.weights == PUBLISHED
            else foreign.read(transfer.weights)
        )
        _load(model, network, file, head, transfer.weights, classes)
    if transfer.train != "all":
        _freeze(
            model,
            [head, *(_last(model, head, transfer.num_last) if transfer.train == "last" else [])],
        )
    return model


def normalisation(
    transfer: Transfer, network: Network, *, channels: int = 3
) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
    """Mean and deviation per channel, of pictures in [0, 1], that the published weights expect;
    None where none are used.

    For grey pictures the means of the colours' values.
    """
    source = published_source(network)
    if transfer.weights != PUBLISHED or not source:
        return None
    from pipeline.core.libraries import (
        statistics,
    )  # timm takes seconds to import, and most runs need none of it

    mean, std = statistics(source)
    if channels == len(mean):
        return mean, std
    return (sum(mean) / len(mean),) * channels, (sum(std) / len(std),) * channels


def stages(model: nn.Module, head: str) -> list[list[str]]:
    """The names of the modules of each stage, in order, the head left out.

    Stages are the modules at the top that have weights; while they are fewer than four, the largest
    of them is opened. A module of vectors alone (a norm) belongs to the stage before it, the root's
    own parameters to none.
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
    names = [
        f"{part}.{name}" if part else name for name, _ in model.get_submodule(part).named_children()
    ]
    return [name for name in names if _params(model, name, head)]


def _params(model: nn.Module, part: str, head: str) -> list[Tensor]:
    """The parameters of a part, without those of the head."""
    return [
        p
        for name, p in model.named_parameters()
        if _within(name, [part]) and not _within(name, [head])
    ]


def _within(name: str, parts: Iterable[str]) -> bool:
    return any(name == part or name.startswith(f"{part}.") for part in parts)


def _single_head(network: Network, model: nn.Module, num_classes: int) -> str:
    made: Any = getattr(model, "get_classifier", lambda: None)()
    if isinstance(made, (tuple, list, nn.ModuleList)):
        raise UserError(
            f"transfer: needs a network with one head (got '{_called(network)}', with {len(made)})"
        )
    try:
        return find_head(model, num_classes)
    except LookupError as error:
        raise UserError(
            f"transfer: needs a network with a head (got '{_called(network)}', with {error})"
        ) from None


def _called(network: Network) -> str:
    """The network's name, for messages."""
    return printable(getattr(network, "arch", network.model_dump().get("name")))


def _deepen(model: nn.Module, name: str, hidden: int, network: Network) -> None:
    """Put a head of two layers in the place of the linear one, or of the 1x1 convolution."""
    old: Any = model.get_submodule(name)
    if isinstance(old, nn.Linear):
        ends: tuple[nn.Module, ...] = (
            nn.Linear(old.in_features, hidden),
            nn.Linear(hidden, old.out_features),
        )
    else:
        ends = nn.Conv2d(old.in_channels, hidden, 1), nn.Conv2d(hidden, old.out_channels, 1)
    new = nn.Sequential(ends[0], nn.ReLU(inplace=True), dropout(network.dropout), ends[1])
    for hook in old._forward_pre_hooks.values():
        new.register_forward_pre_hook(hook)
    model.set_submodule(
        name,
        initialise(new, getattr(network, "init", "default")).to(
            old.weight.device, old.weight.dtype
        ),
    )


def _published(network: Network, model: nn.Module) -> foreign.File:
    from pipeline.core.libraries import published

    refuse_unpublished(network)
    source = published_source(network)
    channels = next(m.in_channels for m in model.modules() if isinstance(m, nn.Conv2d))
    try:
        state = published(source, channels, **getattr(model, "made_with", {}))
    except Exception as error:  # every library and every server has its own
        raise UserError(
            f"transfer.weights: cannot get the published weights of '{_called(network)}' "
            f"({source}): {foreign.brief(error)}; they need a network, once; without one set "
            f"transfer.weights to a file ({', '.join(SUFFIXES)})"
        ) from None
    return foreign.File((foreign.Table("", state),))


def _forms(network: Network, model: nn.Module, head: str) -> Iterator[foreign.Form]:
    """The network's own names, then those of libraries."""
    yield foreign.own_form(model)
    for source in library_sources(network):
        found = foreign.library_form(source, model, head)
        if found is not None:
            yield found


def _load(
    model: nn.Module,
    network: Network,
    file: foreign.File,
    head: str,
    source: str,
    classes: Sequence[str],
) -> None:
    """Take what agrees in name and shape, and the head where it is known to be of the same
    `classes`; say what was done.
    """
    own = model.state_dict()
    wanted = [name for name, _ in model.named_parameters() if not _within(name, [head])]
    found = foreign.match(file.tables, _forms(network, model, head), own, wanted)
    left = [name for name in wanted if name not in found.tensors]
    num = len(wanted) - len(left)
    where = f"transfer.weights: '{printable(source)}'"
    if num == 0 or 2 * num < len(wanted):
        there = [
            name for name in found.table.tensors if found.form.names.get(name) not in found.tensors
        ]
        raise UserError(
            f"{where}: weights of another network: {num} of {len(wanted)} parameters agree in name "
            f"and shape (tried: {found.tried}); without a match: {_examples(left, own)}; in the "
            f"file: {_examples(there, found.table.tensors)}; {OWN_FILES}"
        )
    of_head = {name for name in own if _within(name, [head])}
    same = bool(classes) and file.classes == tuple(classes) and of_head <= found.tensors.keys()
    taken = {name: value for name, value in found.tensors.items() if same or name not in of_head}
    broken = [name for name, value in taken.items() if not value.isfinite().all()]
    if broken:
        raise UserError(
            f"{where}: {len(broken)} tensors hold values that are not finite: "
            f"{_examples(broken, own)}"
        )
    said = [f"found {found.found}"] if found.found and source != PUBLISHED else []
    said += [f"not in it: {_examples(left, own)}"] if left else []
    said += _doubts(found, own) if source != PUBLISHED else []
    if not same and file.classes != ():
        said.append("the head is new: it was learnt on other classes")
    elif not same and source != PUBLISHED:
        said.append("the head is new: the file does not say which classes its own is for")
    if said:
        log.warning("%s: %d of %d parameters taken; %s", where, num, len(wanted), "; ".join(said))
    model.load_state_dict(taken, strict=False)


def _doubts(found: foreign.Match, own: Mapping[str, Tensor]) -> list[str]:
    """What there is to be said of weights that fit, and may be of another network all the same or
    not whole.
    """
    bare = sum(name.endswith("running_mean") and name not in found.tensors for name in own)
    said = [f"{bare} norms have no running statistics in it and begin without"] if bare else []
    spare = found.spare
    if len(spare) > MAX_SPARE:
        said.append(
            f"{len(spare)} tensors of it have no place here: "
            f"{_examples(spare, found.table.tensors)}"
        )
    return said


def _examples(names: list[str], state: Mapping[str, Tensor]) -> str:
    shown = ", ".join(f"{printable(name, 60)} {tuple(state[name].shape)}" for name in names[:3])
    return shown + (", …" if len(names) > 3 else "") if names else "(none)"


def _last(model: nn.Module, head: str, num: int) -> list[str]:
    found = stages(model, head)
    if num > len(found):
        raise UserError(
            f"transfer.num_last: the network has {len(found)} stages before its head (got {num})"
        )
    return [part for stage in found[-num:] for part in stage]


def _freeze(model: nn.Module, trained: list[str]) -> None:
    """Only the `trained` modules get gradients; batch norms elsewhere stay in evaluation, else
    their statistics drift.
    """
    for name, param in model.named_parameters():
        param.requires_grad_(_within(name, trained))
    for name, module in model.named_modules():
        if isinstance(module, _BatchNorm) and not _within(name, trained):
            keep_in_evaluation(module)


def keep_in_evaluation(norm: nn.Module) -> None:
    """Whatever its network is told; until its own `train` is taken from it."""
    norm.eval()
    vars(norm)["train"] = functools.partial(_stay, norm)


def _stay(module: nn.Module, mode: bool = True) -> nn.Module:  # noqa: ARG001
    """In place of a frozen module's `train`."""
    return module
