"""`python -m pipeline.new mystudy --data FOLDER`: a commented study and its search space, to start
from.
"""

import argparse
import contextlib
import json
import re
import statistics
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.counts import plural
from pipeline.errors import MachineError, UserError, printable
from pipeline.screen import fold, folded, steadily
from pipeline.session.cli import Parser, guarded
from pipeline.study import names

if TYPE_CHECKING:
    from pipeline.data.listing import Listing

TEMPLATE = Path(__file__).parent / "studies" / "_template.py"
NAME = "my_study"
SIDE, SMALL_SIDE = 64, 32  # px that pictures are brought to, at first
LOOKED_AT = 9  # pictures whose size is read
COLUMNS = 100  # of the file that is written


@steadily
def main(argv: Sequence[str] | None = None) -> int:
    """0; raises UserError where the name cannot be used or the pictures cannot be listed."""
    flags = Parser(
        "pipeline.new",
        "Write studies/NAME.py, a commented study with its search space that runs as it stands.",
    )
    flags.add_argument("name", metavar="NAME", help="of the study: letters, digits, . _ -")
    flags.add_argument(
        "--data", metavar="FOLDER", help="your pictures; what is found there stands in a comment"
    )
    return begin(flags.parse_args(argv))


def begin(args: argparse.Namespace) -> int:
    """Write the study, unless one of that name is there."""
    path = _free(args.name)
    text = TEMPLATE.read_text(encoding="utf-8").replace(NAME, args.name)
    text = text.replace(" `python -m pipeline.new` copies this file.", "")
    if args.data is not None:
        text = with_pictures(text, args.data)
    _write(path, text)
    command = f"python -m pipeline.search --study {args.name}"
    print(folded(f"{path} is written and runs as it stands; first look: {command} --dry-run"))
    return 0


def with_pictures(text: str, folder: str) -> str:
    """The template's text for the pictures in `folder`, with what is found there in a comment.

    Raises UserError where these cannot be listed.
    """
    from pipeline.data.datasets import Folder

    listing = Folder().scan(Path(folder).expanduser())
    sides = sorted(_sizes(listing))
    found = [*listing.taken.lines(), *(("warning", one) for one in listing.warnings)]
    if sides:
        least, most = (f"{width}x{height}" for width, height in (sides[0], sides[-1]))
        found.append(("sizes", f"{least} to {most} px, of {plural(len(sides), 'picture')}"))
    shortest = statistics.median(map(min, sides)) if sides else SIDE
    size = SIDE if shortest >= SIDE else SMALL_SIDE
    there = [("", "Found there when this was written:"), *found]
    text = _swap(text, "data=None", f"data={_quoted(folder)}", there)
    said = "Both sides in px: larger ones show more, and cost by their square."
    text = _swap(text, "dataset=Digits()", f"dataset=Folder(size={size})", [("", said)])
    return text.replace("    Digits,\n", "    Folder,\n")


def _swap(text: str, old: str, new: str, said: Sequence[tuple[str, str]]) -> str:
    """`text` with the field `old` and the comment above it replaced; `said`: (what, in words)."""
    pattern = re.compile(rf"^( *)#.*\n *{re.escape(old)},\n", re.MULTILINE)
    indent = pattern.findall(text)[0] + "#"
    lines = []
    for what, words in said:
        label = f"{what:11}" if what else ""
        shown = printable(words, 2000)
        first, then = f"{indent} {label}", f"{indent} {' ' * len(label)}"
        lines += fold(shown, COLUMNS, first=first, then=then)
    block = "\n".join((*map(str.rstrip, lines), f"{indent[:-1]}{new},\n"))
    return pattern.sub(lambda _: block, text)


def _quoted(text: str) -> str:
    """As Python and UTF-8 take it, whatever bytes a path holds."""
    return json.dumps(text, ensure_ascii=not text.isprintable())


def _sizes(listing: "Listing") -> Iterator[tuple[int, int]]:
    """(width, height) of a few pictures over the whole listing, from their headers."""
    from PIL import Image

    assert listing.root is not None
    for name in listing.files[:: max(1, len(listing.files) // LOOKED_AT)]:
        with contextlib.suppress(Exception), Image.open(listing.root / name) as image:
            yield image.size  # what cannot be opened here is said where it is decoded


def _free(name: str) -> Path:
    """Where a study of that name is to be written; raises UserError where it cannot."""
    if not names.NAME.fullmatch(name):
        raise UserError(
            f"NAME: got {printable(repr(name))}; allowed: at most 64 letters of ASCII, digits, "
            "`.`, `_` and `-`, the first a letter or digit"
        )
    if (names.SHIPPED / f"{name}.py").exists():
        raise UserError(f"NAME: {name} is the name of a shipped study; choose another")
    path = names.OWN / f"{name}.py"
    if path.exists() or path.is_symlink():
        raise UserError(f"{path}: it is there already; nothing was written")
    return path


def _write(path: Path, text: str) -> None:
    """Whole or not at all, over no file that has come meanwhile; raises MachineError."""
    there, made = path.parent.exists(), False
    try:
        path.parent.mkdir(exist_ok=True)
        with path.open("x", encoding="utf-8") as file:
            made = True
            file.write(text)
    except OSError as error:
        with contextlib.suppress(OSError):
            if made:
                path.unlink()
            if not there:
                path.parent.rmdir()
        raise MachineError(f"{path}: cannot be written: {error.strerror}") from error


if __name__ == "__main__":
    guarded(main)
