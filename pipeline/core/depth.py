"""What a network's layers learn by, from its input to its head: rates that fall towards the input,
and a body that is held still at first.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim import Optimizer

from pipeline.core.blocks import find_head
from pipeline.core.members import each, prefixes
from pipeline.core.transfer import Transfer
from pipeline.core.weights import keep_in_evaluation, stages

Part = TypeVar("Part")


class Depth(NamedTuple):
    """A part of a network, named after its modules, and its learning rate in multiples of the
    optimizer's.
    """

    names: tuple[str, ...]
    scale: float
    params: list[nn.Parameter]


def depths(transfer: Transfer, model: nn.Module, *, num_classes: int) -> list[Depth]:
    """From the input to the head, which comes last.

    With `layer_decay` d the stages before the head, of n the k-th, learn at d ** (n + 1 - k) times
    the rate (Clark et al. 2020, arXiv 2003.10555; by whole layers, as in Bao et al. 2021, arXiv
    2106.08254); what belongs to none, such as a vision transformer's positions, is of the first.
    Without, all that is not the head is one part.
    """
    head = _head(model, transfer, num_classes)
    of_head = list(model.get_submodule(head).parameters())
    found = stages(model, head) if transfer.layer_decay != 1 else []
    left = {id(p): p for p in model.parameters()}
    for param in of_head:
        del left[id(param)]
    parts: list[Depth] = []
    for number, stage in enumerate(found):
        scale = transfer.layer_decay ** (len(found) - number)
        own = [p for name in stage for p in model.get_submodule(name).parameters()]
        parts.append(Depth(tuple(stage), scale, [p for p in own if left.pop(id(p), None) is p]))
    if left:
        first = parts[0] if parts else Depth((), 1.0, [])
        parts[:1] = [first._replace(params=[*left.values(), *first.params])]
    return [*parts, Depth((head,), transfer.head_lr, of_head)]


def set_apart(
    optimizer: Optimizer, transfer: Transfer, model: nn.Module, *, num_classes: int
) -> Optimizer:
    """`optimizer`, with the parameters of each depth in groups of their own, whose rates are
    `lr_scale` times the optimizer's; untouched where they are the same and all are trained from
    the beginning (a fused SGD takes its first step of all of a group, or of none). Before its
    first step.
    """
    if transfer.head_lr == 1 and transfer.layer_decay == 1 and not transfer.freeze_epochs:
        return optimizer
    parts = [part for one in each(model) for part in depths(transfer, one, num_classes=num_classes)]
    for group in list(optimizer.param_groups):
        split = [
            (part.scale, [p for p in group["params"] if id(p) in ids])
            for part in parts
            if (ids := {id(p) for p in part.params})
        ]
        (scale, own), *others = [(scale, params) for scale, params in split if params]
        group["params"] = own
        if scale != 1:
            group["lr_scale"] = scale
        optimizer.param_groups += [
            group | {"params": params, "lr_scale": scale} for scale, params in others
        ]
    return optimizer


@dataclass
class Body:
    """All of a network (of each member) but its head, which can be held still: no gradients, and
    batch norms in evaluation, so that their statistics are not those of other weights' outputs.
    """

    model: nn.Module
    heads: tuple[str, ...]
    _params: list[nn.Parameter] = field(default_factory=list)
    _norms: list[nn.Module] = field(default_factory=list)

    @classmethod
    def of(cls, transfer: Transfer, model: nn.Module, *, num_classes: int) -> "Body | None":
        """None where it is never held."""
        if not transfer.freeze_epochs:
            return None
        head = _head(each(model)[0], transfer, num_classes)
        return cls(model, tuple(f"{start}{head}." for start in prefixes(len(each(model)))))

    def hold(self, still: bool) -> bool:
        """Hold it, or let go of what was held; returns whether that changed anything."""
        if still == bool(self._params):
            return False
        if still:
            params = self._outside(self.model.named_parameters())
            modules = self._outside(self.model.named_modules())
            self._params = [p for p in params if p.requires_grad]
            self._norms = [
                m for m in modules if isinstance(m, _BatchNorm) and "train" not in vars(m)
            ]
            for norm in self._norms:
                keep_in_evaluation(norm)
        for param in self._params:
            param.requires_grad_(not still)
        if not still:
            for norm in self._norms:
                del vars(norm)["train"]
            self._params, self._norms = [], []
        return True

    def _outside(self, named: Iterable[tuple[str, Part]]) -> list[Part]:
        """What is not of a head."""
        return [part for name, part in named if not f"{name}.".startswith(self.heads)]


def _head(model: nn.Module, transfer: Transfer, num_classes: int) -> str:
    name = find_head(model, num_classes)
    return name.rpartition(".")[0] if transfer.hidden else name
