"""Counts in words: one thing is not said like several."""


def plural(count: int, noun: str, many: str = "") -> str:
    """`1 picture`, `1,204 pictures`; `many` where an s is not all that differs: `picture has`,
    `pictures have`.
    """
    return f"{count:,} {noun if count == 1 else many or noun + 's'}"
