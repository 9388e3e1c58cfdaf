"""`python -m pipeline.repair FOLDER`: a sound ledger of what a damaged one holds; the damaged file
is kept beside it.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

from pipeline.counts import plural
from pipeline.errors import UserError, printable
from pipeline.record.ledger import FILE
from pipeline.record.salvage import Salvage, mend
from pipeline.screen import folded, steadily
from pipeline.session.cli import Parser, guarded
from pipeline.session.places import folder


@steadily
def main(argv: Sequence[str] | None = None) -> int:
    flags = Parser(
        "pipeline.repair",
        "Make a sound ledger of what a damaged one holds; nothing is deleted, nothing is trained.",
    )
    flags.add_argument(
        "folder",
        metavar="FOLDER",
        type=folder,
        help="of the recorded study, e.g. mlruns/hw3-food-11",
    )
    study = Path(flags.parse_args(argv).folder)
    if not (study / FILE).exists():
        raise UserError(
            f"FOLDER: got {printable(study)}, where no {FILE} is; give the folder of a recorded "
            "study"
        )
    found = mend(study)
    lines = (
        [f"{printable(study / FILE)}: every line is sound; nothing has been changed"]
        if found is None
        else _lines(found)
    )
    print(folded("\n".join(lines)))
    return 0


def _lines(found: Salvage) -> Iterator[str]:
    runs = found.record.runs.values()
    yield "the ledger is mended"
    if found.restored:
        yield f"restored by the checksum: {plural(found.restored, 'line')} with a single wrong byte"
    yield (
        f"lost: {plural(found.unreadable, 'line')} that cannot be read, "
        f"{plural(found.missing, 'number')} that no line has"
    )
    if found.left_out:
        kinds = ", ".join(f"{kind}: {count}" for kind, count in sorted(found.left_out.items()))
        yield (
            f"left out, as building on what is lost: {plural(found.left_out.total(), 'event')} "
            f"({kinds})"
        )
    ended = sum(run.status in ("complete", "diverged") for run in runs)
    yield (
        f"kept: {plural(len(found.events), 'event')} of {plural(len(runs), 'run')}, {ended:,} of "
        "which ended"
    )
    yield f"the damaged file is kept as {found.kept_in}"
    yield (
        "the same command as before goes on; epochs whose checkpoints are there are not trained "
        "again"
    )


if __name__ == "__main__":
    guarded(main)
