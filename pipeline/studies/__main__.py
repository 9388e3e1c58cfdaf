"""`python -m pipeline.studies`: all recorded studies, how far each is, its best arm and its size;
and which studies can be asked.
"""

import argparse
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.errors import UserError, choices, listed, printable
from pipeline.screen import fold, folded, steadily
from pipeline.session.cli import Parser, guarded
from pipeline.session.places import add_mlruns, record_in
from pipeline.study.names import OWN, every_shipped, named

if TYPE_CHECKING:
    from pipeline.doctor.recorded import Recorded

ACTIONS = ("list", "show", "remove")
REMOVED = "moved to {}; delete that folder to free {}, or move it back"


@steadily
def main(argv: Sequence[str] | None = None) -> int:
    """0; raises UserError where there is no such record, MachineError where it is in use."""
    flags = Parser(
        "pipeline.studies",
        "All recorded studies: how far each is, its best arm, its size. show NAME: one with its "
        "arms. remove NAME: move it aside; nothing is deleted.",
    )
    flags.add_argument("action", nargs="?", default="list", metavar="list|show|remove")
    flags.add_argument("name", nargs="?", default="", metavar="NAME", help="a folder in mlruns")
    add_mlruns(flags)
    flags.add_argument("--json", action="store_true", help="for programs")
    args: argparse.Namespace = flags.parse_args(argv)
    if args.action not in ACTIONS:
        raise UserError(choices(args.action, ACTIONS))
    if (args.action == "list") == bool(args.name):
        wants = "no name" if args.name else "the name of a record"
        raise UserError(f"{args.action}: takes {wants}")
    return _do(args)


def _do(args: argparse.Namespace) -> int:
    from pipeline.doctor.recorded import as_json, read, recorded

    mlruns = Path(args.mlruns)
    if args.action == "list":
        found = recorded(mlruns)
        if args.json:
            print(json.dumps([as_json(one) for one in found], indent=1))
        else:
            print("\n".join(_list(found, mlruns)))
        return 0
    place = record_in(mlruns, args.name)
    one = read(place)
    if args.action == "remove":
        from pipeline.limits import size
        from pipeline.record.ledger import set_aside

        aside = set_aside(place)
        told = {"moved_to": str(aside)}
        said = f"{printable(place)}: " + REMOVED.format(printable(aside), size(one.num_bytes))
        print(json.dumps(told) if args.json else folded(said))
    else:
        print(json.dumps(as_json(one), indent=1) if args.json else "\n".join(_shown(one)))
    return 0


def _list(found: Sequence["Recorded"], mlruns: Path) -> Iterator[str]:
    if not found:
        yield folded(f"nothing is recorded in {printable(mlruns)}")
    for one in found:
        yield from _block(one)
        yield ""
    own = named(OWN)
    if own:
        yield folded(f"studies of yours: {listed(own)}")
    yield folded(f"shipped studies: {every_shipped()}")
    yield folded("what one would do: python -m pipeline.search --study NAME --dry-run")


def _block(one: "Recorded") -> Iterator[str]:
    from pipeline.doctor.recorded import best_line, lines

    yield from fold(printable(one.name))
    for what, text in (*lines(one), *best_line(one)):
        yield from fold(printable(text, 500), first=f"  {what:<13}", then=" " * 15)


def _shown(one: "Recorded") -> Iterator[str]:
    from pipeline.doctor.recorded import arm_lines

    yield from _block(one)
    yield ""
    yield from map(folded, arm_lines(one))
    if one.command:
        yield ""
        yield folded(f"recorded by: {printable(one.command, 500)}")


if __name__ == "__main__":
    guarded(main)
