"""Rows of the tables that the simulations print: figures with their Monte-Carlo standard errors,
and whether they do.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Figure = tuple[float, float]  # a share and its standard error

SLACK = 3  # standard errors of the simulation


@dataclass(frozen=True)
class Row:
    """One condition at n replicates. `figures`: title of a column → its figure; `counts`: towards
    the goal.
    """

    way: str  # the test or design that is simulated
    condition: str
    n: int
    figures: Mapping[str, Figure]
    good: bool
    counts: bool = True


def share(found: Floats | Bools) -> Figure:
    """(mean, its standard error)"""
    return float(found.mean()), float(found.std() / math.sqrt(len(found)))


def at_most(found: Figure, limit: float) -> bool:
    """Whether a share is no more than `limit`, as far as the simulation can tell."""
    return found[0] <= limit + SLACK * found[1]


def within(found: Figure, low: float, high: float) -> bool:
    """Whether a share lies between the limits, as far as the simulation can tell."""
    return low - SLACK * found[1] <= found[0] and at_most(found, high)


def table(rows: Sequence[Row]) -> str:
    """Lines of aligned columns, in percent; what does not count towards the goal in brackets."""
    titles = list(dict.fromkeys(title for row in rows for title in row.figures))
    first = max(len(row.way) for row in rows) + 2
    second = max(len(row.condition) for row in rows) + 4
    lines = [
        f"{'':{first}}{'condition':{second}}{'n':>3}  "
        + "".join(f"{title:>22}" for title in titles)
    ]
    for row in rows:
        name = row.condition if row.counts else f"({row.condition})"
        cells = (row.figures.get(title) for title in titles)
        text = "".join(
            f"{100 * cell[0]:15.2f} ± {100 * cell[1]:4.2f}" if cell else f"{'':22}"
            for cell in cells
        )
        off = "  <- off" if row.counts and not row.good else ""
        lines.append(f"{row.way:{first}}{name:{second}}{row.n:>3}  {text}{off}")
    return "\n".join(lines)
