"""What studies are called, and which there are to name on a command line. Imports nothing heavy:
every help says it.
"""

import re
from pathlib import Path

from pipeline.errors import listed

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
SHIPPED = Path(__file__).parents[1] / "studies"
OWN = Path("studies")  # in the folder that a command runs in


def named(folder: Path) -> list[str]:
    """The studies in a folder, by name."""
    return sorted(path.stem for path in folder.glob("*.py") if NAME.fullmatch(path.stem))


def every_shipped() -> str:
    """`a, b, c`: one chooses from them, so that none is left out."""
    names = named(SHIPPED)
    return listed(names, len(names))
