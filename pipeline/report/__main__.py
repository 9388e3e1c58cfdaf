"""`python -m pipeline.report --study hw3`: the report once more, from what is recorded; trains nothing."""

from collections.abc import Sequence
from pathlib import Path

from pipeline.cli import chosen_study, guarded, parser
from pipeline.errors import UserError, choices, printable


def main(argv: Sequence[str] | None = None) -> int:
    flags = parser("pipeline.report", "Write the report of a recorded study again; nothing is trained.", trains=False)
    args = flags.parse_args(argv)
    from pipeline.ledger import FILE, read_events
    from pipeline.record import Record
    from pipeline.report import write_report
    from pipeline.session import study_folder

    study, data, _ = chosen_study(args)
    root = Path(args.mlruns)
    folder = study_folder(root, study, data)
    if not (folder / FILE).exists():
        known = sorted(path.parent.name for path in root.glob(f"*/{FILE}"))
        raise UserError(f"--study: nothing is recorded in {printable(folder)}; {choices(folder.name, known)}")
    report = write_report(Record.of(read_events(folder)), folder / "report")
    print(report.text)
    return 0 if report.complete else 3


if __name__ == "__main__":
    guarded(main)
