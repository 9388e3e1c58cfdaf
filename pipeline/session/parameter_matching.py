"""Arms with as many parameters as the reference: the whole number that brings each nearest, found
without training.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from pipeline.core.config import TrainConfig
from pipeline.core.finished.weigh import costs
from pipeline.errors import UserError, printable
from pipeline.frozen import flatten
from pipeline.study.study import Study

if TYPE_CHECKING:
    from pipeline.data.cache import Data

LARGEST = 1 << 20
NEIGHBOURS = (
    64  # numbers tried next to one that a network refuses (a width that its groups do not divide)
)


def matched(study: Study, channels: int, size: int, num_classes: int) -> dict[str, int]:
    """Arm → the whole number at `ablation.match`, for every arm but the reference; empty where no
    match is asked for.
    """
    path = study.ablation.match
    if not path:
        return {}
    shape = (channels, size, num_classes)
    (_, reference), *others = study.arms()
    goal = num_params(reference, *shape)
    found = {}
    for arm, config in others:
        where = f"study '{study.name}', arm '{printable(arm.name)}': ablation.match"
        found[arm.name] = _nearest(config, path, goal, lambda c: num_params(c, *shape), where)
    return found


def shape_of(pictures: "Data") -> tuple[int, int, int]:
    """(channels, size, number of classes) of what a network is built for."""
    _, channels, size, _ = pictures.images.shape
    return int(channels), int(size), len(pictures.classes)


def counts(study: Study, channels: int, size: int, num_classes: int) -> dict[str, int]:
    """Arm → its number of parameters, the reference first."""
    return {
        arm.name: num_params(config, channels, size, num_classes) for arm, config in study.arms()
    }


def num_params(config: TrainConfig, channels: int, size: int, num_classes: int) -> int:
    """Parameters of the network as it is trained."""
    return costs(config, ("params",), channels, size, num_classes)["params"]


def _nearest(
    config: TrainConfig, path: str, goal: int, count: Callable[[TrainConfig], int], where: str
) -> int:
    """Of equally near ones the config's own number, then the smaller."""
    own = int(dict(flatten(config.model_dump(mode="json")))[path])  # type: ignore[arg-type]
    known: dict[int, int] = {}

    def is_legal(number: int) -> bool:
        if number not in known:
            try:
                known[number] = count(config.override({path: number}))
            except (UserError, ValueError, RuntimeError):
                return False
        return True

    def legal(number: int, last: int) -> int | None:
        return next(filter(is_legal, range(number, min(number + NEIGHBOURS, last) + 1)), None)

    low, high = _allowed(config, path)
    start = legal(low, high) if is_legal(own) else None
    if start is None:
        raise UserError(f"{where}: {path}: a network with {own} cannot be built")
    _bisect(start, high, goal, legal, known)
    return min(known, key=lambda number: (abs(known[number] - goal), number != own, number))


def _bisect(
    start: int, high: int, goal: int, legal: Callable[[int, int], int | None], known: dict[int, int]
) -> None:
    """Fill `known` (number → parameters, which grow with it) with the two numbers on either side of
    `goal`.

    `legal(number, last)` counts and gives the first number from there on that can be built, None
    where there is none.
    """
    below = above = start
    while known[above] < goal and (larger := legal(min(2 * above, high), high)) not in (
        None,
        above,
    ):
        below, above = above, larger
    while above - below > 1:
        middle = (above + below) // 2
        number = legal(middle, above - 1)
        if number is None:  # nothing is legal from the middle on
            above = middle
        elif known[number] < goal:
            below = number
        else:
            above = middle if number > middle else number


def _allowed(config: TrainConfig, path: str) -> tuple[int, int]:
    """The smallest and the largest whole number that the field at `path` takes."""
    part: Any = config
    *parts, last = path.split(".")
    for key in parts:
        part = getattr(part, key)
    low, high = 1, LARGEST
    field = type(part).model_fields.get(last) if isinstance(part, BaseModel) else None
    for rule in field.metadata if field else ():
        low = max(low, getattr(rule, "ge", low), getattr(rule, "gt", low - 1) + 1)
        high = min(high, getattr(rule, "le", high), getattr(rule, "lt", high + 1) - 1)
    return low, high
