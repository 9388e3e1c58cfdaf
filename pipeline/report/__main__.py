"""`python -m pipeline.report --study hw3`: the report once more, from what is recorded; trains
nothing.
"""

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.errors import MachineError, UserError, listed, printable
from pipeline.report.files import STRANGE
from pipeline.report.language.catalogue import LANGUAGES
from pipeline.screen import folded, steadily
from pipeline.session.cli import derived, guarded, parser
from pipeline.session.options import Options
from pipeline.session.values import positive

if TYPE_CHECKING:
    from pipeline.record.record import Record


@steadily
def main(argv: Sequence[str] | None = None) -> int:
    flags = parser(
        "pipeline.report",
        "Write the report of a recorded study again; nothing is trained.",
        trains=False,
    )
    derived(flags, "show")
    flags.add_argument(
        "--check",
        action="store_true",
        help="write nothing; fail where the report is not what is recorded",
    )
    flags.add_argument(
        "--lang",
        choices=LANGUAGES,
        default="en",
        help="of the pages; zh (Chinese) goes to report-zh/",
    )
    _add_tex(flags)
    args = flags.parse_args(argv)
    if (args.columns or args.stars or args.width) and not args.tex:
        raise UserError(
            "--columns, --stars, --width: they say what --tex FILE.tex writes; give it too"
        )
    if args.tex and args.check:
        raise UserError("--check: the report's own files are checked, not that of --tex")
    from pipeline.report import drift, write_report
    from pipeline.session.resolve import chosen, recorded_folder
    from pipeline.session.resume import recorded_in

    asked = Options.of(flags.command, args)
    folder = recorded_folder(asked, chosen(asked))
    record = recorded_in(folder)
    if args.tex:
        return _paper(record, folder, args)
    pages = folder / ("report" if args.lang == "en" else f"report-{args.lang}")
    if args.check:
        found = drift(record, pages, args.lang)
        print(folded("\n".join(_verdict(found, pages))))
        return 3 if found else 0
    report = write_report(record, pages, args.lang)
    print(report.text)
    return 0 if report.complete else 3


def _add_tex(flags: argparse.ArgumentParser) -> None:
    """The flags of the table for a paper."""
    flags.add_argument(
        "--tex",
        type=Path,
        metavar="FILE.tex",
        help="write the table of the arms for a paper there, one tabular, and its notes to "
        "FILE-notes.tex; nothing else",
    )
    flags.add_argument(
        "--columns",
        metavar="NAME,NAME",
        help="of --tex, in their order: factors, arm, params, macs, speed, tuning, epoch, val, "
        "val_loss, score, against, difference, beyond, p, verdict, look",
    )
    flags.add_argument(
        "--stars", action="store_true", help="of --tex: the level of p as stars at the differences"
    )
    flags.add_argument(
        "--width",
        type=positive,
        metavar="POINTS",
        help="of --tex: of the line that it is to fit (default: 345, a page of article; a column "
        "of two has about 240)",
    )


def _paper(record: "Record", home: Path, args: argparse.Namespace) -> int:
    """Write the table for a paper and its notes; raises UserError where that would replace what is
    not such a file.
    """
    from pipeline.report.compose import read
    from pipeline.report.formats.latex import LINE
    from pipeline.report.paper import MARK, USUAL, paper

    if args.tex.suffix != ".tex":
        raise UserError(f"--tex: got {printable(args.tex)}; expected a name that ends in .tex")
    beside = args.tex.with_name(f"{args.tex.stem}-notes.tex")
    for path in (args.tex, beside):
        if path.exists() and not (path.is_file() and path.read_bytes().startswith(MARK.encode())):
            raise UserError(
                f"--tex: {printable(path)} is there already, and was not made by --tex; give "
                "another name"
            )
    names = args.columns.split(",") if args.columns else USUAL
    line = float(args.width or LINE)
    made = paper(
        read(record, home),
        [name.strip() for name in names],
        stars=args.stars,
        lang=args.lang,
        line=line,
    )
    try:
        args.tex.write_text(made.table, encoding="utf-8")
        beside.write_text(made.notes, encoding="utf-8")
    except OSError as error:
        raise MachineError(
            f"--tex: cannot write {printable(args.tex)}: {error.strerror}"
        ) from error
    said = [f"{printable(args.tex)}: one tabular; its notes are in {printable(beside)}"]
    if args.columns and made.absent:
        said.append(f"left out, since the study has nothing to say there: {listed(made.absent)}")
    if made.over:
        said.append(
            f"it is {made.over:.0f} points wider than a line of {line:.0f}, even in the smallest "
            "letters: "
            "ask for fewer columns, or take it in across the page (table*)"
        )
    print(folded("\n".join(said)))
    return 0


def _verdict(found: Sequence[str], folder: Path) -> Iterator[str]:
    """What `--check` has to say."""
    yield from found
    if not found:
        yield f"{printable(folder)}: every file is what the ledger gives"
        return
    yield (
        f"{printable(folder)}: {len(found)} {'file is' if len(found) == 1 else 'files are'} not "
        "what the ledger gives"
    )
    if any(line.endswith(STRANGE) for line in found):
        yield "files that are not of this report stay when it is written again: move them elsewhere"
    if not all(line.endswith(STRANGE) for line in found):
        yield (
            "write the report again without --check. Other versions of the libraries may draw "
            "figures (also those inside report.html) and pack parquet files in other bytes; "
            "report.md, ablation.tex and the CSV files must be the same"
        )


if __name__ == "__main__":
    guarded(main)
