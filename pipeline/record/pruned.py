"""Pruned: which runs' checkpoints were removed of a study's folder, and when. No part of the
ledger, since no number of the record is another for it.
"""

import json
import os
import time
from collections.abc import Iterable
from pathlib import Path

FILE = "pruned.jsonl"


def note(folder: Path, runs: Iterable[str], num_bytes: int) -> None:
    """Write down, on disk, what is about to be removed; raises OSError."""
    when = time.strftime("%Y-%m-%d %H:%M:%S")
    line = json.dumps({"when": when, "runs": sorted(runs), "num_bytes": num_bytes})
    with (folder / FILE).open("a", encoding="utf-8") as file:
        file.write(line + "\n")
        file.flush()
        os.fsync(file.fileno())


def when(folder: Path, run: str) -> str:
    """When the run's checkpoints were removed last; "" where they were not, or nobody can say."""
    found = ""
    try:
        for line in (folder / FILE).read_text(encoding="utf-8").splitlines():
            told = json.loads(line)
            if run in told["runs"]:
                found = str(told["when"])
    except (OSError, ValueError, LookupError, TypeError):
        pass
    return found
