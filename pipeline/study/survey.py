"""What is in a search space before it is searched: whether its ends are legal."""

import itertools
from collections.abc import Iterator

from pipeline.errors import UserError
from pipeline.frozen import Scalar
from pipeline.study.around import Around
from pipeline.study.space import Space

MAX_CORNERS = 256  # of one variant: enough for eight ranges


def check(around: Around, *, source: str) -> None:
    """Build the config at every end of every range; raises UserError with every knob that the
    config refuses.
    """
    wrong = []
    for knobs in _corners(around.space):
        try:
            around.made(knobs, source=source)
        except UserError as error:
            wrong += [line for line in str(error).splitlines() if line not in wrong]
    if wrong:
        raise UserError("\n".join(wrong))


def _corners(space: Space) -> Iterator[dict[str, Scalar]]:
    """Every end of every range; within a branch, whose fields may exclude each other, every
    combination of ends.
    """
    for path, knob in space.knobs.items():
        for edge in knob.edges():
            yield {path: edge}
    for part, variants in space.branches.items():
        for name, fields in variants.items():
            ends = itertools.product(*(knob.edges() for knob in fields.values()))
            for values in itertools.islice(ends, MAX_CORNERS):
                corner: dict[str, Scalar] = {
                    f"{part}.{f}": v for f, v in zip(fields, values, strict=True)
                }
                yield {f"{part}.name": name, **corner}
