"""Counts and durations in words: one thing is not said like several."""


def plural(count: int, noun: str, many: str = "") -> str:
    """`1 picture`, `1,204 pictures`; `many` where an s is not all that differs: `picture has`,
    `pictures have`.
    """
    return f"{count:,} {noun if count == 1 else many or noun + 's'}"


def duration(seconds: float) -> str:
    """`1 h 02 min`, `3 min 20 s`, `45 s`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours:,} h {minutes:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
