"""`python -m pipeline.studies`: all recorded studies, how far each is, its best arm and its size;
and which studies can be asked. One can be shown, pruned, archived, or moved aside.
"""

import argparse
import json
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.counts import plural
from pipeline.errors import PipelineError, UserError, choices, listed, printable
from pipeline.screen import fold, folded, steadily
from pipeline.session.cli import Parser, guarded
from pipeline.session.options import MLRUNS
from pipeline.session.places import add_mlruns, record_in
from pipeline.study.names import OWN, every_shipped, named

if TYPE_CHECKING:
    from pipeline.doctor.recorded import Recorded
    from pipeline.doctor.spare import Spare

FLAGS = {"yes": "prune", "search": "prune", "without_checkpoints": "archive"}
"""Of one action each."""
REMOVED = "moved to {}; delete that folder to free {}, or move it back"
NAMELESS, EITHER = ("list",), ("prune",)
ACTIONS = ("list", "show", "prune", "archive", "remove")


@steadily
def main(argv: Sequence[str] | None = None) -> int:
    """0; raises UserError where there is no such record, MachineError where it is in use."""
    flags = Parser(
        "pipeline.studies",
        "All recorded studies: how far each is, its best arm, its size. show NAME: one with its "
        "arms. prune: what each could free; prune NAME: what nobody needs of one, deleted with "
        "--yes. archive NAME: write it to one compressed file and move it aside. remove NAME: move "
        "it aside; nothing is deleted.",
    )
    flags.add_argument("action", nargs="?", default="list", metavar="|".join(ACTIONS))
    flags.add_argument("name", nargs="?", default="", metavar="NAME", help="a folder in mlruns")
    add_mlruns(flags)
    flags.add_argument("--json", action="store_true", help="for programs")
    flags.add_argument(
        "--yes", action="store_true", help="prune NAME: delete what would go, for good"
    )
    flags.add_argument(
        "--search",
        action="store_true",
        help="prune NAME: what the search's trials left, too, all but its best; what cannot be "
        "done then is said before",
    )
    flags.add_argument(
        "--without-checkpoints",
        action="store_true",
        help="archive NAME: leave the models out; the report is whole without them, export and "
        "labels are not",
    )
    args: argparse.Namespace = flags.parse_args(argv)
    if args.action not in ACTIONS:
        raise UserError(choices(args.action, ACTIONS))
    if args.action not in EITHER and (args.action in NAMELESS) == bool(args.name):
        wants = "no name" if args.name else "the name of a record"
        raise UserError(f"{args.action}: takes {wants}")
    for flag, action in FLAGS.items():
        if getattr(args, flag) and (args.action, bool(args.name)) != (action, True):
            raise UserError(f"--{flag.replace('_', '-')}: belongs to `{action} NAME`; leave it out")
    return _do(args)


def _do(args: argparse.Namespace) -> int:
    from pipeline.doctor.recorded import as_json, read, recorded

    mlruns = Path(args.mlruns)
    if args.action == "list":
        found = recorded(mlruns)
        _say(args, [as_json(one) for one in found], _list(found, mlruns))
        return 0
    if not args.name:
        _prune_all(args, mlruns)
        return 0
    place = record_in(mlruns, args.name)
    if args.action == "show":
        one = read(place)
        _say(args, as_json(one), _shown(one))
    else:
        {"prune": _prune, "archive": _archive, "remove": _remove}[args.action](args, place)
    return 0


def _say(args: argparse.Namespace, tree: Any, lines: Iterator[str]) -> None:
    print(json.dumps(tree, indent=1, default=str) if args.json else "\n".join(lines))


def _remove(args: argparse.Namespace, place: Path) -> None:
    from pipeline.doctor.recorded import read
    from pipeline.limits import size
    from pipeline.record.ledger import set_aside

    num_bytes = read(place).num_bytes
    aside = set_aside(place)
    said = f"{printable(place)}: " + REMOVED.format(printable(aside), size(num_bytes))
    print(json.dumps({"moved_to": str(aside)}) if args.json else folded(said))


def _archive(args: argparse.Namespace, place: Path) -> None:
    from pipeline.doctor.archive import archive
    from pipeline.doctor.recorded import read
    from pipeline.limits import size

    num_bytes = read(place).num_bytes
    found = archive(place, with_checkpoints=not args.without_checkpoints)
    command = f"tar xf {_quoted(found.path)} -C {_quoted(place.parent)}"

    def lines() -> Iterator[str]:
        yield folded(
            f"{printable(place)}: archived in {printable(found.path)} ({size(found.num_bytes)}; "
            f"{plural(found.num_files, 'file')}, read back and compared)"
        )
        yield folded("the folder is " + REMOVED.format(printable(found.aside), size(num_bytes)))
        if found.missed:
            yield folded(
                f"not in it: {plural(found.missed, 'link')} that lead nowhere, pipes and the like"
            )
        if args.without_checkpoints:
            yield folded(
                "the checkpoints are in that folder alone: without them `report` is the same, "
                "`export` and `labels` are refused, and what goes on is trained again from its "
                "first epoch"
            )
        yield f"to open it again, here or elsewhere: {command}"

    _say(args, asdict(found) | {"open": command}, lines())


def _quoted(name: object) -> str:
    """As a shell takes it."""
    return shlex.quote(printable(str(name), 4000))


def _prune_all(args: argparse.Namespace, mlruns: Path) -> None:
    """What each study could free, and the command for it."""
    from pipeline.doctor.recorded import recorded
    from pipeline.limits import size

    found = {one.name: _spares(mlruns / one.name) for one in recorded(mlruns)}

    def lines() -> Iterator[str]:
        if not found:
            yield folded(f"nothing is recorded in {printable(mlruns)}")
        for name, own in found.items():
            if isinstance(own, str):
                yield folded(f"{printable(name)}: {own}")
                continue
            free, priced = (_sum([s for s in own if bool(s.price) == paid]) for paid in (0, 1))
            also = f"; {size(priced)} more with --search" * bool(priced)
            yield folded(f"{printable(name)}: {size(free)} that nobody needs{also}")
        if found:
            yield folded("what that is: python -m pipeline.studies prune NAME")
        yield folded("the caches of decoded pictures: python -m pipeline.caches")

    tree = {
        name: {"error": own} if isinstance(own, str) else list(map(_tree, own))
        for name, own in found.items()
    }
    _say(args, tree, lines())


def _spares(place: Path) -> "list[Spare] | str":
    """Those of a study; in words why not, where its record cannot be read."""
    from pipeline.doctor.spare import spares
    from pipeline.record.ledger import read_events
    from pipeline.record.record import Record

    try:
        record = Record.of(read_events(place))
        return spares(place, record) if record.begun else "nothing is recorded yet"
    except (PipelineError, OSError) as error:
        return printable(error, 300)


def _prune(args: argparse.Namespace, place: Path) -> None:
    from pipeline.doctor.spare import remove
    from pipeline.record.lock import holder

    if args.yes:
        gone = remove(place, search=args.search)
        tree = {"removed": list(map(_tree, gone)), "num_bytes": _sum(gone)}
        _say(args, tree, _gone(place, gone))
        return
    found, owner = _spares(place), str(holder(place) or "")
    if isinstance(found, str):
        raise UserError(f"{printable(place)}: {found}")
    going = [one for one in found if args.search or not one.price]
    staying = [one for one in found if one not in going]
    tree = {
        "would_remove": list(map(_tree, going)),
        "num_bytes": _sum(going),
        "with_search": list(map(_tree, staying)),
        "in_use_by": owner or None,
    }
    _say(args, tree, _dry(args, place, going, staying, owner))


def _dry(
    args: argparse.Namespace,
    place: Path,
    going: "Sequence[Spare]",
    staying: "Sequence[Spare]",
    owner: str,
) -> Iterator[str]:
    from pipeline.limits import size

    mlruns = "" if args.mlruns == MLRUNS else f" --mlruns {_quoted(args.mlruns)}"
    command = f"python -m pipeline.studies prune {_quoted(args.name)}{mlruns}"
    yield folded(f"{printable(place)}: looked at, nothing is deleted")
    if not going:
        yield folded("nothing is there that nobody needs")
    else:
        yield folded(f"would go, {size(_sum(going))} in all:")
        yield from _lines(going)
        yield folded(f"to delete that: {command}{' --search' * args.search} --yes")
    if staying:
        yield folded(f"with --search {size(_sum(staying))} more would go:")
        yield from _lines(staying)
        yield folded(f"to see that: {command} --search")
    if owner:
        yield folded(f"the study is in use by {owner}: it cannot be pruned before that has ended")


def _gone(place: Path, gone: "Sequence[Spare]") -> Iterator[str]:
    from pipeline.limits import size

    if not gone:
        yield folded(f"{printable(place)}: nothing is there that nobody needs")
        return
    yield folded(f"{printable(place)}: freed {size(_sum(gone))}")
    yield from _lines(gone)


def _lines(those: "Sequence[Spare]") -> Iterator[str]:
    from pipeline.limits import size

    for one in those:
        price = f"; {one.price}" if one.price else ""
        said = f"{size(one.num_bytes)}, {plural(one.num_files, 'file')}: {one.what}{price}"
        yield from fold(said, first="  ", then="    ")


def _tree(one: "Spare") -> dict[str, Any]:
    tree = asdict(one)
    return tree | {"price": one.price or None, "paths": [str(path) for path in one.paths]}


def _sum(those: "Sequence[Spare]") -> int:
    return sum(one.num_bytes for one in those)


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
