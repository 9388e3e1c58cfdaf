"""Whether pictures whose groups stay whole can be split as a study asks, before hours are spent."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pipeline.core.config import TrainConfig
from pipeline.core.identity import Seeds
from pipeline.core.parts import parts_of
from pipeline.counts import plural
from pipeline.data.listing import TEST, UNKNOWN
from pipeline.errors import UserError, printable

if TYPE_CHECKING:
    from pipeline.data.cache import Data

UNEQUAL = 3  # times as many pictures in a fold as in another: tests take folds for about equal
GO_ON = "allowed: split=official, or more groups of fewer pictures"


def require_whole_groups(config: TrainConfig, data: "Data", seed: int, replicates: int) -> None:
    """Raise UserError where a replicate of a grouped set would have nothing to validate on or lack
    a class, or folds would be of unlike sizes or dealt twice alike.
    """
    if data.groups is None or config.split == "official":
        return
    pool = (data.labels != UNKNOWN) & (data.parts != TEST)
    num = len(set(data.groups[pool].tolist()))
    if config.split == "kfold" and num < config.folds:
        raise UserError(
            f"folds: got {config.folds}, but the pictures to train and validate on are of "
            f"{plural(num, 'group')}, which stay whole"
        )
    validated = list[tuple[int, ...]]()
    for replicate in range(1, replicates + 1):
        found = parts_of(config, data, Seeds(seed, replicate))
        where = f"split: {config.split}: groups stay whole, and replicate {replicate} would"
        if not len(found.val):
            raise UserError(f"{where} have nothing to validate on; {GO_ON}")
        there = set(data.labels[found.train.index].tolist())
        for label in sorted(set(data.labels[pool].tolist()) - there):
            name = printable(data.classes[label], 60)
            raise UserError(f"{where} have no picture of class '{name}' to learn from; {GO_ON}")
        validated.append(tuple(found.val.index.tolist()))
    if config.split == "kfold":
        _require_folds(validated, config.folds)


def _require_folds(validated: Sequence[tuple[int, ...]], folds: int) -> None:
    """Of what each replicate validates on."""
    rounds = [set(validated[at : at + folds]) for at in range(0, len(validated), folds)]
    for number, own in enumerate(rounds):
        if any(own <= earlier for earlier in rounds[:number]):
            most = number * folds
            raise UserError(
                f"replicates: got {len(validated)}; these groups can be dealt in so few ways that "
                f"from {most + 1} on they would repeat earlier ones; allowed: up to {most}, or "
                "split=resplit"
            )
    sizes = [len(index) for index in validated]
    if max(sizes) > UNEQUAL * min(sizes):
        raise UserError(
            f"folds: got {folds}; groups stay whole, and the folds would have {min(sizes):,} to "
            f"{plural(max(sizes), 'picture')}, which tests take for about equal; allowed: fewer "
            "folds, split=resplit, or groups of fewer pictures"
        )
