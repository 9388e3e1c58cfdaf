"""The samplers of a search by name, and which spaces they are not for."""

from collections.abc import Sequence
from importlib.util import find_spec
from typing import Literal

from pipeline.study.space import Space

MOST_POINTS = 100_000  # of a grid; a search has no more trials

Sampler = Literal["tpe", "gp", "nsga2", "cmaes", "random", "qmc", "grid"]
LEARNING = ("tpe", "gp", "nsga2", "cmaes")
"""Those that learn from values, and crowd where they were good."""


def unfit(sampler: Sampler, space: Space, objectives: Sequence[str]) -> str:
    """Why this sampler cannot search the space for these, and what can; '' where it can."""
    if sampler == "grid" and (endless := space.endless()):
        return (
            f"grid tries every value, and {', '.join(endless)} "
            f"{'has' if len(endless) == 1 else 'have'} no list of them; "
            "allowed: a step, options, or another sampler"
        )
    if sampler == "grid" and (size := space.num_points()) > MOST_POINTS:
        return (
            f"grid: the space has {size:,} points; allowed: at most {MOST_POINTS:,}, or another "
            "sampler, as qmc"
        )
    if sampler == "cmaes" and find_spec("cmaes") is None:
        return (
            "cmaes needs the package cmaes, which is not installed: pip install cmaes; allowed "
            "without it: tpe, gp, nsga2, random, qmc, grid"
        )
    if sampler == "cmaes" and not space.numbers():
        return (
            "cmaes moves numbers, and the space has options alone; allowed: another sampler, as "
            "tpe, or ordered options"
        )
    if sampler == "cmaes" and objectives:
        return (
            "cmaes learns from one objective, and search.objectives has "
            f"{', '.join(objectives)} beside the metric; allowed: tpe, gp or nsga2"
        )
    return ""
