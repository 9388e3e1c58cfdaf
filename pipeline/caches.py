"""`python -m pipeline.caches`: the caches of decoded pictures, and which studies use them;
`--remove` frees the others.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from pipeline.screen import console, steadily
from pipeline.session.cli import Parser, guarded
from pipeline.session.places import add_mlruns


@steadily
def main(argv: Sequence[str] | None = None) -> int:
    """0; raises MachineError where a record or a cache cannot be read."""
    flags = Parser(
        "pipeline.caches",
        "List the caches of decoded pictures, their sizes and which recorded studies use them.",
    )
    add_mlruns(flags)
    flags.add_argument(
        "--remove",
        action="store_true",
        help=(
            "remove those that no recorded study and no running command uses; a later command "
            "decodes them again"
        ),
    )
    return listed(flags.parse_args(argv))


def listed(args: argparse.Namespace) -> int:
    """Show the caches; remove what is to be removed."""
    from pipeline.doctor.findings import table
    from pipeline.doctor.holdings import findings, holdings, remove
    from pipeline.limits import size

    mlruns = require_mlruns(args.mlruns)
    out, held = console(), holdings(mlruns)
    out.print(table(f"caches in {mlruns / 'cache'}", findings(held)))
    spare = [one for one in held if not one.users]
    if args.remove:
        out.print(remove(held), markup=False)
    elif spare:
        out.print(
            f"--remove frees {size(sum(one.parcel.num_bytes for one in spare))}", markup=False
        )
    return 0


def require_mlruns(given: str) -> Path:
    """The folder; raises UserError where there is none."""
    from pipeline.errors import UserError, printable

    if not (path := Path(given)).is_dir():
        raise UserError(f"--mlruns: {printable(given)}: no such folder")
    return path


if __name__ == "__main__":
    guarded(main)
