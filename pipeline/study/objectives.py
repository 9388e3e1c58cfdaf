"""What a search keeps low beside its metric, and all words that name it."""

import re
from collections.abc import Sequence
from typing import Literal

Objective = Literal["params", "macs", "size"]
"""What a network costs, known before it is trained: parameters, multiply-accumulates of a picture's
forward pass, bytes of its weights.
"""
WORDS = {"params": "parameters", "macs": "MACs", "size": "bytes"}
UNITS = {"params": (1e6, " (M)"), "macs": (1e6, " (M)"), "size": (1e6, " (MB)")}
"""What numbers are divided by in tables and figures, and what stands after their titles."""
FOUND = re.compile(r"best( \S+)? of search \(trial \d+\)")
"""What the arms are called that searches find."""


def each_once(objectives: tuple[Objective, ...]) -> tuple[Objective, ...]:
    """`objectives`; raises ValueError where one is named twice."""
    for name in objectives:
        if objectives.count(name) > 1:
            raise ValueError(f"{name} is named twice")
    return objectives


def against(objectives: Sequence[str]) -> str:
    """`parameters`, `parameters and MACs`, `parameters, MACs and bytes`"""
    *first, last = (WORDS[name] for name in objectives)
    return f"{', '.join(first)} and {last}" if first else last


def found_name(select: str, objectives: Sequence[str], number: int) -> str:
    """What the arm is called that trial `number` of a search becomes; among several objectives by
    which of them it was chosen.
    """
    return f"best{f' {select}' if objectives else ''} of search (trial {number})"
