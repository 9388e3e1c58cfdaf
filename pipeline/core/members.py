"""Deep ensembles: networks that are trained side by side and answer as one (Lakshminarayanan et al.
2017, arXiv 1612.01474).
"""

import itertools
import math
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from pipeline.core.config import TrainConfig
from pipeline.core.weights import apply
from pipeline.errors import UserError


class Members(nn.Module):
    """Of the same pictures [B, C, S, S] the logarithms [B, K] of the mean of its networks'
    probabilities: logits whose softmax is that mean.
    """

    def __init__(self, networks: Iterable[nn.Module]) -> None:
        super().__init__()
        self.members = nn.ModuleList(networks)

    def forward(self, *pictures: Tensor, each: bool = False) -> Tensor | tuple[Tensor, ...]:
        """The mean; with `each` the logits of every network, of pictures of its own where there are
        as many as networks. A loss of the mean would train one large network.
        """
        own = pictures * (len(self.members) if len(pictures) == 1 else 1)
        logits = tuple(member(x) for member, x in zip(self.members, own, strict=True))
        if each:
            return logits
        logs = torch.stack([one.float().log_softmax(1) for one in logits])
        return logs.logsumexp(0) - math.log(len(logits))


def each(model: nn.Module) -> tuple[nn.Module, ...]:
    """The networks that a run trains: the members of an ensemble, else the network itself."""
    return tuple(model.members) if isinstance(model, Members) else (model,)


def prefixes(num_members: int) -> tuple[str, ...]:
    """What the names of each network's parts begin with in the model of so many."""
    return tuple(f"members.{i}." for i in range(num_members)) if num_members > 1 else ("",)


def build(
    config: TrainConfig,
    channels: int,
    size: int,
    num_classes: int,
    *,
    classes: Sequence[str] = (),
    load: bool = True,
) -> nn.Module:
    """The run's network, or its `members`, each as `network` and `transfer` make it (see `apply`),
    one after another from torch's global seed: the first begins as it would alone.

    Raises UserError as `apply`, and where members would begin alike: they would stay so.
    """
    networks = [
        apply(
            config.transfer,
            config.model,
            config.network(channels, size, num_classes),
            num_classes=num_classes,
            classes=classes,
            load=load,
        )
        for _ in range(config.members)
    ]
    if config.members == 1:
        return networks[0]
    if load:
        _require_different(config, networks)
    return Members(networks)


def _require_different(config: TrainConfig, networks: Sequence[nn.Module]) -> None:
    for one, other in itertools.pairwise(networks):
        pairs = zip(one.parameters(), other.parameters(), strict=True)
        if all(torch.equal(a, b) for a, b in pairs):
            why = (
                "transfer.weights are all of them, the head too; transfer.hidden gives each member "
                "a new head"
                if config.transfer.weights
                else "the network draws none at random"
            )
            raise UserError(
                f"members: got {config.members}, and all would begin with the same weights and "
                f"stay alike ({why}); allowed here: 1"
            )
