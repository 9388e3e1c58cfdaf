"""`python -m pipeline.compare A B …`: arms of several recorded studies, judged as the arms of one:
is B to be kept?
"""

import argparse
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.errors import UserError, choices, printable
from pipeline.screen import folded, steadily
from pipeline.session.cli import Parser, guarded
from pipeline.session.places import add_mlruns

LOOK = " (compare again then and not on the way: the 5 % hold for one look)"

if TYPE_CHECKING:
    from pipeline.analysis.comparison import Comparison, Side


@steadily
def main(argv: Sequence[str] | None = None) -> int:
    """0 where they were compared, whatever came of it; raises UserError where they cannot be."""
    flags = Parser(
        "pipeline.compare",
        "Compare arms of recorded studies: another version of a network, another commit, the same "
        "pictures. Each after the first is kept, discarded or undecided. Nothing is trained.",
    )
    flags.add_argument(
        "sides",
        nargs="+",
        metavar="RECORD[:ARM]",
        help="a study's folder, or its name in mlruns; without an arm its reference",
    )
    add_mlruns(flags)
    flags.add_argument(
        "--margin",
        type=float,
        metavar="SHARE",
        help="smallest difference of practical interest, .01 is a point (default: the first's own)",
    )
    flags.add_argument("--json", action="store_true", help="for programs")
    args: argparse.Namespace = flags.parse_args(argv)
    if len(args.sides) < 2:
        raise UserError(f"two or more records are compared, got {printable(args.sides[0])} alone")
    if args.margin is not None and not 0 < args.margin < float("inf"):
        raise UserError(f"--margin: got {args.margin}; allowed: a number above 0")
    from pipeline.analysis.comparison import as_json, compare

    made = compare([_side(word, Path(args.mlruns)) for word in args.sides], args.margin)
    if args.json:
        print(json.dumps(as_json(made), indent=1))
    else:
        print("\n".join(map(folded, _lines(made))))
    return 0


def _side(word: str, mlruns: Path) -> "Side":
    """Raises UserError where there is no such record, or no such arm in it."""
    from pipeline.analysis.comparison import Side
    from pipeline.record.ledger import FILE
    from pipeline.session.resume import recorded_in

    cuts = [len(word), *(place for place, letter in enumerate(word) if letter == ":")]
    for cut in cuts:  # an arm's name may hold colons, too
        if cut and (found := _recorded(word[:cut], mlruns)):
            arm = word[cut + 1 :]
            if cut < len(word) and not arm:
                raise UserError(f"{printable(word)}: an arm is named after the colon")
            return Side.of(word.rstrip("/"), recorded_in(found), arm, found)
    known = [path.parent.name for path in sorted(mlruns.glob(f"*/{FILE}"))]
    raise UserError(f"records in {printable(mlruns)}: {choices(word, known)}")


def _recorded(name: str, mlruns: Path) -> Path | None:
    from pipeline.record.ledger import FILE

    try:
        places = (Path(name).expanduser(), mlruns / name)
        return next((place for place in places if (place / FILE).is_file()), None)
    except (OSError, RuntimeError, ValueError):  # no name that a disk knows, or of no user
        return None


def _lines(made: "Comparison") -> Iterator[str]:
    from pipeline.analysis.wording import Points, probability
    from pipeline.counts import plural
    from pipeline.study.judged import margin_in_words

    halves = ((one.high - one.low) / 2 for one in made.contrasts if one.family)
    shown = Points.fit(halves, made.judged)
    margin = margin_in_words(made.rope, made.judged)
    yield f"{made.judged.long}, {made.basis.test}, margin {margin}"
    for side in made.sides:
        less = f" of {side.planned} planned" if side.planned > len(side.values) else ""
        yield (
            f"{printable(side.label)}: {shown.level(side.mean)} "
            f"({plural(len(side.values), 'replicate')}{less}; arm {printable(side.arm)})"
        )
    for one, side in zip(made.contrasts, made.sides[1:], strict=True):
        name, first = printable(one.name), printable(one.against)
        yield ""
        if one.family:
            yield (
                f"{name} less {first}: {shown.difference(one.delta)} "
                f"{shown.interval(one.low, one.high)}, p {probability(one.p_holm)}: {one.verdict}"
            )
        else:
            yield f"{name} less {first}: not tested, {one.reason}"
        needed, more = made.needed(one), ""
        if made.decision(one) == "undecided" and one.family:
            more = f"{plural(needed, 'replicate')} of each" if needed else "none up to 1,000"
            more = f"; replicates that would tell a difference of the margin: {more}"
            more += LOOK if needed else ""
        if why := made.why_open(one):
            more = f", {why}"
        yield f"  decision: {made.decision(one)}{more}"
        differs = list(made.differing(side))
        for text in differs[:20]:
            yield f"  differs in {printable(text, 200)}"
        if differs[20:]:
            yield f"  and in {len(differs) - 20} more"
        if not differs:
            yield "  differs in nothing that is recorded"


if __name__ == "__main__":
    guarded(main)
