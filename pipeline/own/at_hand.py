"""At hand: where the files that a study names lie for this process, which may be on a machine that
does not see them at their own place.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path

STAND_INS = "PIPELINE_STAND_INS"
"""Environment variable, inherited by the processes of a run: JSON of file as a study names it → its
copy on this machine.
"""


def at_hand(given: str) -> Path:
    """The file that a study calls so; `~` is the user's home."""
    copies: dict[str, str] = json.loads(os.environ.get(STAND_INS, "{}"))
    return Path(copies.get(given, given)).expanduser()


def stand_in(copies: Mapping[str, Path]) -> None:
    """Let these copies be taken for the files, in this process and all that it starts; of others
    nothing is known any more.
    """
    os.environ[STAND_INS] = json.dumps({given: str(path) for given, path in copies.items()})
