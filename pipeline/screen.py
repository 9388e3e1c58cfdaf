"""The screen: what a command prints, whatever the encoding, the width, a closed pipe or a full disk
make of it.
"""

import codecs
import contextlib
import errno
import functools
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TextIO

from rich.cells import cell_len

if TYPE_CHECKING:
    from rich.console import Console

Main = Callable[[Sequence[str] | None], int]
ALIKE = {
    "-": "−–—‐‑",
    ".": "·•∙",
    "'": "‘’‚",
    '"': "“”„",
    " ": "\u00a0\u2007\u2009\u202f",
    "...": "…",
    "+-": "±",
    "x": "×",
}
ALIKE |= {
    "/": "÷",
    "d": "Δδ",
    "sd": "σ",
    "u": "µμ",
    "2": "²",
    "3": "³",
    "+": "†",
    "++": "‡",
    "deg": "°",
    "<=": "≤",
    ">=": "≥",
}
ALIKE |= {
    "!=": "≠",
    "~": "≈",
    "inf": "∞",
    "->": "→",
    "<-": "←",
    "yes": "✓",
    "no": "✗",
    "1/2": "½",
    "1/4": "¼",
    "3/4": "¾",
}
# what a screen without these letters shows instead: no sign may get lost, a difference is not its
# opposite
LIKENESS = {letter: like for like, letters in ALIKE.items() for letter in letters}
NOTEBOOKS = ("JPY_PARENT_PID", "COLAB_RELEASE_TAG", "KAGGLE_KERNEL_RUN_TYPE")  # their kernels set
LEAST, MOST = 20, 100  # columns; longer lines are hard to read
KEPT = "\u00a0"  # a space at which no line is broken
VALUE = r"""(?:'[^']*'|"[^"]*"|\\.|[^\s,;'"\\]|[,;](?=\S))+"""  # as bash reads one word
COMMAND = re.compile(
    rf"ssh -L \S+ [^\s,;]+|optuna-dashboard {VALUE}|tensorboard --logdir {VALUE}"
    rf"|python -m [\w.]+(?: --?[\w-]+(?:[ =](?!-)(?:{VALUE}))?)*"
)
LABEL = re.compile(
    r"  \S.{12} (?=\S)|\S+(?: \S+)* {2,}| +"
)  # what a line begins with, that its other lines stand below


def _alike(error: UnicodeError) -> tuple[str, int]:
    """For `codecs`: a likeness of what an encoding lacks, in ASCII; of other letters their code."""
    assert isinstance(error, UnicodeEncodeError)
    return "".join(map(_likeness, error.object[error.start : error.end])), error.end


def _likeness(letter: str) -> str:
    if "\u2500" <= letter <= "\u259f":  # frames and bars
        line = "-" if letter in "─━═╴╶╸╺╼╾" else "|" if letter in "│┃║╵╷╹╻╽╿" else "+"
        return line if letter < "\u2580" else "#"
    return LIKENESS.get(letter) or letter.encode("ascii", "backslashreplace").decode()


codecs.register_error("likeness", _alike)


def spelt(text: str, encoding: str | None = None) -> str:
    """`text` in letters that `encoding` has, the screen's where it is not given."""
    encoding = encoding or getattr(sys.stdout, "encoding", None) or "utf-8"
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return text.encode(encoding, "likeness").decode(encoding)
    return text


class Steady:
    """A text stream that always takes what is written: letters it lacks are spelt otherwise, what
    fails is dropped.

    `trouble` is the first error of the stream beneath, None while there was none. `stream` None is
    one that was closed before the process began.
    """

    def __init__(self, stream: TextIO | None) -> None:
        self.stream = stream
        self.trouble: Exception | None = None

    @property
    def encoding(self) -> str:
        return getattr(self.stream, "encoding", None) or "utf-8"

    def write(self, text: str) -> int:
        if self.stream is not None:
            with self._forgiven():
                self.stream.write(spelt(text, self.encoding))
        return len(text)

    def writelines(self, lines: Sequence[str]) -> None:
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        if self.stream is not None:
            with self._forgiven():
                self.stream.flush()

    def isatty(self) -> bool:
        try:
            return self.stream is not None and self.stream.isatty()
        except ValueError:  # closed
            return False

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)

    @contextlib.contextmanager
    def _forgiven(self) -> Iterator[None]:
        try:
            yield
        except (
            OSError,
            ValueError,
        ) as error:  # a closed pipe, a full disk; a stream that is closed
            self.trouble = self.trouble or error


@contextlib.contextmanager
def steady() -> Iterator[Steady]:
    """`sys.stdout` and `sys.stderr` are steady within; afterwards they are those from before, a
    notebook's too.
    """
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = out, _ = [
        one if isinstance(one, Steady) else Steady(one) for one in before
    ]
    try:
        yield out
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        sys.stdout, sys.stderr = before


@contextlib.contextmanager
def steady_to_the_end() -> Iterator[None]:
    """The same for a process that ends afterwards. Says, where it can, that the screen's output is
    not whole.
    """
    _open_streams()
    with steady() as out:
        try:
            yield
        finally:
            out.flush()
            if (
                isinstance(out.trouble, OSError) and out.trouble.errno != errno.EPIPE
            ):  # a pipe is closed on purpose
                print(
                    f"warning: the output could not be written: {out.trouble.strerror}",
                    file=sys.stderr,
                )
            _give_up()


def steadily(main: Main) -> Callable[..., int]:
    """A command's main(), for which no line is too hard to print."""

    @functools.wraps(main)
    def wrapped(argv: Sequence[str] | None = None) -> int:
        with steady():
            return main(argv)

    return wrapped


def _open_streams() -> None:
    """Take the numbers 0, 1 and 2 where the process began without them: the next file opened would
    be one of them, and whatever a library prints would be written into it."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.dup2(os.open(os.devnull, os.O_RDWR), number)


def _give_up() -> None:
    """Drop what cannot be flushed: the interpreter would try once more, and end with a code of its
    own.
    """
    for number, stream in enumerate((sys.__stdout__, sys.__stderr__), 1):
        try:
            if stream is not None:
                stream.flush()
        except (OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), number)


def console(*, quiet: bool = False) -> "Console":
    """A console on the screen; without any escape sequence where NO_COLOR is set or the terminal is
    a dumb one.
    """
    from rich.console import Console

    plain = bool(os.environ.get("NO_COLOR")) or os.environ.get("TERM", "").lower() in (
        "dumb",
        "unknown",
    )
    return Console(
        quiet=quiet,
        highlight=False,
        force_terminal=False if plain else None,
        no_color=plain or None,
    )


def redraws(console: "Console") -> bool:
    """Whether lines may be drawn over: on a terminal, and not where a notebook keeps what `!python`
    drew before.
    """
    cell = any(os.environ.get(name) for name in NOTEBOOKS)
    return console.is_terminal and console.file.isatty() and not cell


def width() -> int:
    """Columns of the screen, at most 100; of a file or a pipe 80, unless COLUMNS says otherwise."""
    return max(LEAST, min(shutil.get_terminal_size().columns, MOST))


def folded(text: str) -> str:
    """Lines for the screen: longer ones go on below where they began, after their label."""
    return "\n".join(line for long in text.split("\n") for line in _below(long))


def _below(line: str) -> list[str]:
    label = LABEL.match(line)
    indent = min(label.end(), width() // 3) if label else 2
    return fold(line, then=" " * indent)


def fold(text: str, columns: int | None = None, *, first: str = "", then: str = "") -> list[str]:
    """`text` in lines of at most `columns`, broken between words alone: a path, a command and a
    number with its spread stay whole. Letters that are two columns wide (Chinese) count as two; a
    long word of them is broken between any two."""
    columns = columns or width()
    text = COMMAND.sub(lambda found: found[0].replace(" ", KEPT), text)
    lines, line, empty = [], first, True
    for gap, word in re.findall(r"( *)([^ ]+)", text):
        for number, piece in enumerate(_pieces(word, columns - cell_len(then))):
            gap = gap if number == 0 else ""
            if not empty and cell_len(line + gap + piece) > columns:
                lines.append(line)
                line, gap = then, ""
            line, empty = line + gap + piece, False
    return [line.replace(KEPT, " ") for line in (*lines, line)]


def _pieces(word: str, columns: int) -> Iterator[str]:
    """A word that no line could hold, where it may be broken: between letters that are two columns
    wide.
    """
    if cell_len(word) <= columns or "/" in word or KEPT in word:
        yield word
    else:
        yield from re.findall(
            r"[^\u1100-\uffff]+|[\u1100-\uffff][\u3001\u3002\uff01-\uff1f]*", word
        )
