"""`python -m pipeline.report --study hw3`: the report once more, from what is recorded; trains
nothing.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

from pipeline.errors import printable
from pipeline.report.files import STRANGE
from pipeline.report.language.catalogue import LANGUAGES
from pipeline.screen import folded, steadily
from pipeline.session.cli import derived, guarded, parser
from pipeline.session.options import Options


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
    args = flags.parse_args(argv)
    from pipeline.report import drift, write_report
    from pipeline.session.resolve import chosen, recorded_folder
    from pipeline.session.resume import recorded_in

    asked = Options.of(flags.command, args)
    folder = recorded_folder(asked, chosen(asked))
    record = recorded_in(folder)
    pages = folder / ("report" if args.lang == "en" else f"report-{args.lang}")
    if args.check:
        found = drift(record, pages, args.lang)
        print(folded("\n".join(_verdict(found, pages))))
        return 3 if found else 0
    report = write_report(record, pages, args.lang)
    print(report.text)
    return 0 if report.complete else 3


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
