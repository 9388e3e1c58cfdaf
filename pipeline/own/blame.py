"""Whose line is at fault: the file and line of the user's code that an error came from."""

import inspect
import sysconfig
import traceback
from pathlib import Path
from types import TracebackType
from typing import Any

from pydantic import ValidationError

from pipeline.errors import PipelineError, printable

OURS = Path(__file__).parents[1]


def blamed(error: BaseException, otherwise: str = "") -> str:
    """`file, line 3: NameError: name 'x' is not defined`, of the innermost line of the user's;
    `otherwise` is the place of an error that none of these lines raised.
    """
    text = printable(error, 500)
    if isinstance(error, SyntaxError) and error.filename:
        return f"{_shown(error.filename)}, line {error.lineno}: {type(error).__name__}: {error.msg}"
    where = _line(error.__traceback__) or otherwise
    if isinstance(error, (PipelineError, ValidationError)) or text.startswith(where or "\0"):
        return text  # it says itself what is wrong where
    said = text if _own(error) else f"{type(error).__name__}: {text}"
    return f"{where}: {said}" if where else said


def _own(error: BaseException) -> bool:
    """Whether it was raised here, about the user's code, and so needs no name of its kind."""
    frames = traceback.extract_tb(error.__traceback__)
    return isinstance(error, ValueError) and bool(frames) and _is_ours(frames[-1].filename)


def _line(trace: TracebackType | None) -> str:
    frames = [frame for frame in traceback.extract_tb(trace) if is_users(frame.filename)]
    return f"{_shown(frames[-1].filename)}, line {frames[-1].lineno}" if frames else ""


def place_of(part: Any) -> str:
    """`file, line 3`, where a class or function is defined."""
    try:
        file, (_, line) = inspect.getsourcefile(part), inspect.getsourcelines(part)
    except (OSError, TypeError):
        return printable(getattr(part, "__module__", "") or repr(part))
    return f"{_shown(file or '')}, line {line}"


def _shown(file: str) -> str:
    path = Path(file)
    inside = path.is_absolute() and path.is_relative_to(Path.cwd())
    return printable(path.relative_to(Path.cwd()) if inside else path)


def is_users(file: str) -> bool:
    """Whether a file is the user's own: neither this package's nor the environment's."""
    return not _is_ours(file) and not _of_environment(file)


def _is_ours(file: str) -> bool:
    return Path(file).is_relative_to(OURS)


def _of_environment(file: str) -> bool:
    path = Path(file)
    standard = [sysconfig.get_path(scheme) for scheme in ("stdlib", "platstdlib")]
    return (
        file.startswith("<")
        or bool({"site-packages", "dist-packages"} & {*path.parts})
        or any(path.is_relative_to(folder) for folder in standard)
    )
