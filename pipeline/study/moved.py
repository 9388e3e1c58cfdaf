"""Study files of earlier versions: where what they import is now."""

import ast
import sys
from pathlib import Path


def moved(error: BaseException, path: Path, line: int) -> str | None:
    """What to write instead of an import of this package that failed in line `line` of the file
    `path`; None where the error is another one.
    """
    if not isinstance(error, ImportError) or not str(error.name).startswith("pipeline."):
        return None
    names = [
        alias.name
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and node.module == error.name and node.lineno == line
        for alias in node.names
    ]
    given = sys.modules["pipeline"].__all__  # the package's own list of names
    if not names or not set(names) <= set(given):
        return None
    return f"{error.name}: moved; write from pipeline import {', '.join(names)}"
