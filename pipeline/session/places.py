"""Folders on a command line: how one is checked, and the flag that most commands share."""

import argparse
import os
from pathlib import Path

from pipeline.errors import UserError, choices, printable
from pipeline.session.options import MLRUNS


def folder(text: str) -> str:
    """A folder's path that can be followed, to what is there or not yet."""
    try:
        os.stat(os.path.join(text, "."))
    except (FileNotFoundError, NotADirectoryError):  # who needs it there says so
        pass
    except (OSError, ValueError) as error:  # a name too long, a folder of others, a circle of links
        why = getattr(error, "strerror", None) or str(error)
        raise argparse.ArgumentTypeError(
            f"{printable(text)}: {why}; give a folder that can be reached"
        ) from None
    return text


def add_mlruns(
    flags: argparse.ArgumentParser, what: str = "where the studies were written"
) -> None:
    """The flag --mlruns; `what` lies there."""
    flags.add_argument(
        "--mlruns",
        type=folder,
        metavar="FOLDER",
        default=MLRUNS,
        help=f"{what} (default: mlruns)",
    )


def record_in(mlruns: Path, name: str) -> Path:
    """The folder of the record of that name, or of that path; raises UserError, with those there
    are.
    """
    from pipeline.record.ledger import FILE

    if os.sep in name and (Path(name) / FILE).exists():
        return Path(os.path.abspath(name))  # `./` is a folder with a name
    known = [path.parent.name for path in sorted(mlruns.glob(f"*/{FILE}"))]
    if not known:
        raise UserError(
            f"{printable(mlruns)}: nothing is recorded there yet; --mlruns names another place"
        )
    if name.rstrip("/") not in known:
        raise UserError(f"records in {printable(mlruns)}: {choices(name, known)}")
    return mlruns / name.rstrip("/")
