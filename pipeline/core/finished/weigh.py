"""What a network costs, known before it is trained."""

from collections.abc import Iterable
from functools import lru_cache

import torch

from pipeline.core.config import TrainConfig
from pipeline.core.finished.artifact import Artifact
from pipeline.core.finished.macs import count, num_macs
from pipeline.core.weights import apply
from pipeline.errors import UserError, printable


def costs(
    config: TrainConfig, wanted: Iterable[str], channels: int, size: int, num_classes: int
) -> dict[str, int]:
    """Of the network as it is trained, on pictures [channels, size, size]: `params`, frozen ones
    included; `macs`, multiply-accumulates of a picture's forward pass; `size`, bytes of its weights
    and buffers.

    Nothing is computed and no weights are read, but for `macs` of a network that can be followed in
    no other way. Raises UserError where that fails too.
    """
    parts = config.model.model_dump_json(), config.transfer.model_dump_json(), config.input_size
    of_one = {name: _cost(name, *parts, channels, size, num_classes) for name in wanted}
    return {name: config.members * cost for name, cost in of_one.items()}


@lru_cache(maxsize=4096)
def _cost(
    name: str, model: str, transfer: str, side: int, channels: int, size: int, num_classes: int
) -> int:
    config = TrainConfig.model_validate_json(
        f'{{"model": {model}, "transfer": {transfer}, "input_size": {side}}}'
    )
    if name == "macs":
        return _macs(Artifact(config, channels, size, num_classes, (), ()))
    with torch.device("meta"):
        network = config.network(channels, size, num_classes)
        network = apply(config.transfer, config.model, network, num_classes=num_classes, load=False)
    if name == "params":
        return sum(p.numel() for p in network.parameters())
    return sum(t.numel() * t.element_size() for t in network.state_dict().values())


def _macs(artifact: Artifact) -> int:
    try:
        return num_macs(artifact)
    except Exception:  # it looks at numbers on its way: let there be some
        try:
            return count(artifact.build(), artifact.channels, artifact.size)
        except Exception as error:
            raise UserError(
                "search.objectives: the multiplications of this network cannot be counted "
                f"({printable(type(error).__name__)}: {printable(error)}); leave macs out"
            ) from error
