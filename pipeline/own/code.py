"""Where the user's own code is found: `module:Name`, beside the study and among the packages, or as
an entry point of the group `pipeline.parts` is named.
"""

import contextlib
import functools
import importlib
import itertools
import os
import re
import sys
from collections.abc import Iterator, Mapping
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import Any

from pipeline.errors import choices, printable
from pipeline.own.blame import blamed, is_users, place_of

GROUP = "pipeline.parts"
FOLDERS = "PIPELINE_CODE"
"""Environment variable with the folders that the user's code is imported from: every process that
a command starts inherits it.
"""
TAG = re.compile(r"(?P<module>[^\W\d]\w*(\.[^\W\d]\w*)*):(?P<name>[^\W\d]\w*)")


def add_folder(folder: Path) -> None:
    """Import the user's code from `folder`, too, in this process and all that it starts.

    It comes last, so that no file of the user's takes the place of an installed package.
    """
    known = [name for name in os.environ.get(FOLDERS, "").split(os.pathsep) if name]
    if str(folder) not in known:
        os.environ[FOLDERS] = os.pathsep.join((*known, str(folder)))
    _extend_path()


def _extend_path() -> None:
    for name in os.environ.get(FOLDERS, "").split(os.pathsep):
        if name and name not in sys.path:
            sys.path.append(name)


@contextlib.contextmanager
def imported_anew() -> Iterator[None]:
    """Within the block the user's modules are those that their files hold now, whatever a notebook
    has imported before; after it, the former ones again.
    """

    def theirs() -> dict[str, ModuleType]:
        found = ((name, getattr(one, "__file__", None)) for name, one in [*sys.modules.items()])
        return {name: sys.modules[name] for name, file in found if file and is_users(file)}

    before = theirs()
    before.pop("__main__", None)
    for name in before:
        del sys.modules[name]
    importlib.invalidate_caches()
    try:
        yield
    finally:
        for name in theirs().keys() - {"__main__"}:
            del sys.modules[name]
        sys.modules.update(before)


@functools.cache
def offered() -> dict[str, EntryPoint]:
    """Name → the part that an installed package offers."""
    return {found.name: found for found in entry_points(group=GROUP)}


def source_of(tag: str) -> str:
    """`module:Name`, where the part called `tag` is defined; raises ValueError where it says
    none.
    """
    found = offered()[tag].value if ":" not in tag and tag in offered() else tag
    if not TAG.fullmatch(found):
        raise ValueError(
            f"got {printable(repr(tag))}; a part of your own is named 'module:Name', such as "
            "'my_nets:MyNet'"
        )
    return found


def tag_of(part: Any) -> str:
    """What a study calls a class or function; raises ValueError where it cannot be found again by
    that.
    """
    if made := getattr(part, "__part__", None):
        return str(made)
    module, name = getattr(part, "__module__", ""), getattr(part, "__qualname__", "")
    if not TAG.fullmatch(f"{module}:{name}") or module == "__main__":
        raise ValueError(
            f"{place_of(part)}: {printable(name or repr(part))}: other processes must be able to "
            "import it by its name: define it at the top level of a module (a file that is called "
            "like no installed module)"
        )
    return f"{module}:{name}"


def load(tag: str) -> Any:
    """The class or function called `tag`.

    Raises ValueError, with the user's file and line, where it cannot be imported.
    """
    _extend_path()
    module, _, name = source_of(tag).partition(":")
    try:
        found = importlib.import_module(module)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a module may end in any way, even with sys.exit()
        if isinstance(error, ModuleNotFoundError) and f"{module}.".startswith(f"{error.name}."):
            raise ValueError(
                f"there is no module '{error.name}' for '{tag}'; it is looked for beside the "
                "study's file, in the working directory, in PYTHONPATH and among the packages"
            ) from None
        raise ValueError(f"'{tag}': {blamed(error)}") from error
    if not hasattr(found, name):
        where = printable(getattr(found, "__file__", None) or module)
        own = [
            n
            for n, v in vars(found).items()
            if callable(v) and getattr(v, "__module__", "") == module and not n.startswith("_")
        ]
        raise ValueError(f"{where}: nothing called {name}; {choices(name, own)}")
    part = getattr(found, name)
    if not callable(part):
        raise ValueError(
            f"{printable(getattr(found, '__file__', module))}: {name}: a class or function is "
            f"expected, got {printable(repr(part))}"
        )
    return part


def lost(tree: Any) -> list[str]:
    """Of the parts of the user's own that plain data names: why each that is not there cannot be
    imported.
    """
    if isinstance(tree, Mapping):
        name = tree.get("name")
        found = [*_lost_one(name), *itertools.chain.from_iterable(map(lost, tree.values()))]
        return list(dict.fromkeys(found))
    return list(itertools.chain.from_iterable(map(lost, tree))) if isinstance(tree, list) else []


def _lost_one(name: Any) -> list[str]:
    if not isinstance(name, str) or not TAG.fullmatch(name):
        return []
    try:
        load(name)
    except ValueError as error:
        return [str(error)]
    return []
