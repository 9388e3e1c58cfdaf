"""Where studies come from: `studies/NAME.py`, any other Python file, a module, or resolved JSON."""

import importlib
import importlib.util
import json
import re
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

from pydantic import ValidationError

from pipeline.errors import UserError, listed, nearest, printable
from pipeline.frozen import explain
from pipeline.own.blame import blamed
from pipeline.own.code import add_folder
from pipeline.screen import fold
from pipeline.study.moved import moved
from pipeline.study.names import OWN, SHIPPED, every_shipped, named
from pipeline.study.study import Study

SHIPPED_PACKAGE = "pipeline.studies"
MODULE = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)+")


def load_study(name: str, folder: Path = OWN) -> Study:
    """The study called `name`: the user's own in `folder`, else the shipped one; or at the path
    `name` (`mine.py`, or resolved JSON), or of the module `name` (`my_package.study`). Raises
    UserError.

    What lies beside the study's file can be imported from there on, in all that the command starts.
    """
    if name.endswith(".json"):
        return _read_json(Path(name))
    own, shipped = named(folder), named(SHIPPED)
    if name in own:
        if name in shipped:
            note = f"note: --study {name}: yours, {folder}/{name}.py, not the shipped one"
            print("\n".join(fold(note)), file=sys.stderr)
        return _of_file(folder / f"{name}.py")
    if name in shipped:
        return _of_module(f"{SHIPPED_PACKAGE}.{name}")
    if name.endswith(".py") and Path(name).is_file():
        return _of_file(Path(name))
    if MODULE.fullmatch(name) and not name.endswith(".py") and _is_there(name):
        return _of_module(name)
    yours = f"{listed(own)} (yours, in {folder}/); " if own else ""
    theirs = "shipped" if own else f"shipped; yours would be in {folder}/"
    known = [*own, *shipped]
    hint = nearest(name, known) or nearest(Path(name).stem, known)  # studies/hw3.py
    what = "no such file" if name.endswith(".py") else "no study of that name"
    raise UserError(
        f"--study: {what}; got {printable(repr(name))}; allowed: {yours}{every_shipped()} "
        f"({theirs}), the path of a file (mine.py), a module (package.mine){hint}"
    )


def _of_file(path: Path) -> Study:
    """Its module is called as the file is, so that parts defined in it can be imported by workers,
    unless another one is called so.
    """
    add_folder(path.parent.resolve())
    importlib.invalidate_caches()
    spec = importlib.util.spec_from_file_location(_free_name(path), path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    loader = spec.loader

    def run() -> ModuleType:
        sys.modules[module.__name__] = module
        loader.exec_module(module)
        return module

    return _study(path, run)


def _free_name(path: Path) -> str:
    try:
        found = importlib.util.find_spec(path.stem) if path.stem.isidentifier() else None
    except (ImportError, ValueError):
        found = None
    own = found is not None and found.origin and Path(found.origin).resolve() == path.resolve()
    return path.stem if own else f"<{path.name}>"


def _is_there(name: str) -> bool:
    add_folder(Path.cwd())
    try:
        return importlib.util.find_spec(name) is not None
    except (ImportError, ValueError):
        return False
    except Exception as error:  # of a package that the module lies in
        raise UserError(f"--study: {printable(name)}: {blamed(error)}") from error


def _of_module(name: str) -> Study:
    spec = importlib.util.find_spec(name)
    path = Path(spec.origin) if spec is not None and spec.origin else Path(name)
    return _study(path, lambda: importlib.import_module(name))


def _study(path: Path, run: Callable[[], ModuleType]) -> Study:
    try:
        module = run()
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a study may end in any way, even with sys.exit()
        raise UserError("\n".join(_blame(path, error))) from error
    study = getattr(module, "STUDY", None)
    if not isinstance(study, Study):
        raise UserError(f"{path}: it must define STUDY = Study(…), got {type(study).__name__}")
    return study


def _blame(path: Path, error: BaseException) -> list[str]:
    """What is wrong with a study's file, and in which line of it."""
    lines = [
        frame.lineno
        for frame in traceback.extract_tb(error.__traceback__)
        if Path(frame.filename).resolve() == path.resolve()
    ]
    where = f"{path}, line {lines[-1]}" if lines else str(path)
    if isinstance(error, ValidationError):
        return [f"{where}: {line}" for line in explain(error)]
    if lines and (said := moved(error, path, lines[-1] or 0)):
        return [f"{where}: {said}"]
    return [f"{where}: {type(error).__name__}: {printable(error, 2000)}"]


def _read_json(path: Path) -> Study:
    try:
        tree = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"--study: cannot read {printable(path)}: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"--study: {printable(path)}: not JSON: {printable(error)}") from None
    return Study.parse(tree, source=printable(path))
