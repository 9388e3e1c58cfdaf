"""The folder that an export writes: its own or nobody's, replaced as a whole."""

import json
import os
import re
import secrets
import shutil
from collections.abc import Mapping
from pathlib import Path

from pipeline.errors import MachineError, UserError, printable
from pipeline.export.loading import ONNX

MODEL, CONFIG, CARD, PREDICTIONS = (
    "model.safetensors",
    "config.json",
    "README.md",
    "predictions.csv",
)
OURS = (MODEL, CONFIG, ONNX, CARD, PREDICTIONS)
MEMBER = re.compile(r"model-[0-9]+\.safetensors")


def member_file(replicate: int) -> str:
    """The name of the model file of an ensemble's member."""
    return f"model-{replicate}.safetensors"


def place_of(name: str) -> tuple[int, int, str]:
    """Where one of our files stands in a list of them; a key to sort by."""
    return OURS.index(MODEL if MEMBER.fullmatch(name) else name), len(name), name


def require_ours(target: Path) -> None:
    """Raise UserError unless `target` is new, empty, or was written by an export."""
    try:
        if not target.exists() and not target.is_symlink():
            return
        names = sorted(path.name for path in target.iterdir())
    except OSError as error:
        raise UserError(
            f"--to: {printable(target)}: {error.strerror}; give a new or an empty folder"
        ) from error
    foreign = [name for name in names if name not in OURS and not MEMBER.fullmatch(name)]
    if foreign or (names and not _has_our_config(target / CONFIG)):
        shown = ", ".join(printable(name, 60) for name in (foreign or names)[:5])
        raise UserError(
            f"--to: {printable(target)}: holds files that no export wrote ({shown}); give a new or "
            "an empty folder"
        )


def _has_our_config(path: Path) -> bool:
    try:
        tree = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(tree, dict) and {"study", "run", "classes", "pictures"} <= tree.keys()


def replace_folder(target: Path, files: Mapping[str, bytes]) -> None:
    """Write a folder beside `target`, then put it in its place; raises MachineError, leaving the
    last one as it was.
    """
    target = target.resolve()
    fresh = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        fresh = _folder_beside(target, "")
        for name, content in files.items():
            with (fresh / name).open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        _swap(fresh, target)
    except OSError as error:
        raise MachineError(
            f"{printable(target)}: cannot be written: {error.strerror or error}"
        ) from error
    finally:
        if fresh is not None:
            shutil.rmtree(fresh, ignore_errors=True)


def _folder_beside(target: Path, what: str) -> Path:
    """A new folder whose name is taken by nobody; not by tempfile, whose folders are the user's
    alone whatever the umask.
    """
    made = target.with_name(f".{target.name}.{what}{secrets.token_hex(4)}")
    made.mkdir()
    return made


def _swap(fresh: Path, target: Path) -> None:
    if not target.exists():
        os.replace(fresh, target)
        return
    aside = _folder_beside(target, "old.")
    try:
        os.replace(target, aside)
        os.replace(fresh, target)
    except BaseException:  # Ctrl-C, too
        if target.exists():
            aside.rmdir()
        else:
            os.replace(aside, target)
        raise
    shutil.rmtree(aside, ignore_errors=True)
