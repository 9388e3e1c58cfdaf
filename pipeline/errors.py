"""The one error style: what the user gave, what is allowed, the nearest match; each kind of error
has its exit code.
"""

import difflib
import os
import shlex
from collections.abc import Iterable, Sequence


class PipelineError(Exception):
    """An expected end of a command: its message is printed without a traceback and `exit_code` is
    returned.
    """

    exit_code = 1


class UserError(PipelineError):
    """The input is wrong: flag, study, knob, value, folder. Nothing has been created."""

    exit_code = 2


class MachineError(PipelineError):
    """The surroundings do not allow it: disk full, study in use, Ray died."""

    exit_code = 4


def printable(text: object, limit: int = 200) -> str:
    """`text` on one line without control characters, so that a hostile file name cannot drive a
    terminal.
    """
    line = str(text)
    if not line.isprintable():
        line = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in line)
    return line if len(line) <= limit else line[: limit - 1] + "…"


def shell_word(text: str) -> str:
    """One word of a bash command that means `text`, whatever it holds; what cannot be seen is
    written in bash's escapes.
    """
    if text.isprintable():
        return shlex.quote(text)
    shown = (
        c
        if c.isprintable() and c not in "'\\"
        else "".join(f"\\x{byte:02x}" for byte in os.fsencode(c))
        for c in text
    )
    return f"$'{''.join(shown)}'"


def nearest(value: object, allowed: Iterable[object]) -> str:
    """`; did you mean 'x'?`, or an empty string where nothing is near.

    Of an address, as hubs give (`hf_hub:timm/resnet18.a1_in1k`), the last part is looked for, with
    its tag and without.
    """
    names = {str(name).casefold(): str(name) for name in allowed}
    text = str(value).casefold().strip()
    last = text.rpartition("/")[2].rpartition(":")[2] if "/" in text or ":" in text else text
    ways = (text, last, last.partition(".")[0]) if last != text else (text,)
    exact = [way for way in ways if way in names]
    close = exact or difflib.get_close_matches(last or text, names, n=1, cutoff=0.5)
    return f"; did you mean '{printable(names[close[0]])}'?" if close else ""


def choices(value: object, allowed: Iterable[object]) -> str:
    """`got 'x'; allowed: a, b, c; did you mean 'a'?`"""
    names = [str(name) for name in allowed]
    return (
        f"got {printable(repr(value))}; allowed: {listed(names) or '(none)'}{nearest(value, names)}"
    )


def listed(names: Sequence[str], most: int = 20) -> str:
    """`a, b, c`, of many the first `most`."""
    return ", ".join(printable(name, 60) for name in names[:most]) + ", …" * (len(names) > most)
