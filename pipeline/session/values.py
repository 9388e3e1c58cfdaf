"""Values on a command line: a time, a count, a share; argparse says what is wrong with one."""

import argparse
import re

MOST_HOURS = 1e9


def seconds(text: str) -> float:
    """`6h`, `90m`, `1h30m`, `45s` or plain seconds."""
    match = re.fullmatch(
        r"(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m)?(?:(\d+(?:\.\d+)?)s?)?", text.strip().lower()
    )
    total = (
        sum(
            float(part or 0) * unit
            for part, unit in zip(match.groups(), (3600, 60, 1), strict=True)
        )
        if match
        else 0
    )
    if total <= 0:
        raise argparse.ArgumentTypeError(
            f"expected a time such as 6h, 90m, 1h30m or 45s, got {text!r}"
        )
    return total


def hours(text: str) -> float:
    """A number of hours above 0."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value <= MOST_HOURS:
        raise argparse.ArgumentTypeError(f"expected hours such as 12 or 0.5, got {text!r}")
    return value


def positive(text: str) -> int:
    """A whole number of at least 1."""
    if not re.fullmatch(r"[0-9]{1,9}", text) or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 1, got {text!r}")
    return int(text)


def at_least_0(text: str) -> int:
    """A whole number that may be 0."""
    if not re.fullmatch(r"[0-9]{1,9}", text):
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 0, got {text!r}")
    return int(text)


def share(text: str) -> float:
    """A fraction of a GPU or a whole number of GPUs; 0 trains on CPU cores."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 64:
        raise argparse.ArgumentTypeError(f"expected a number between 0 and 64, got {text!r}")
    return value


def price(text: str) -> float:
    """An amount of money, without its currency; may be 0."""
    if not re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", text):
        raise argparse.ArgumentTypeError(
            f"expected an amount without a currency such as 2.49, got {text!r}"
        )
    return float(text)
