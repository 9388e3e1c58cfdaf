"""The code that a run is made of: digests of every definition that its configuration uses, read
from the sources alone.

Changed code is a changed method, committed or not. What counts are the definitions that the classes
in use and the training core reach by imports, in this package and in the user's own files; not the
environment's packages (their versions are recorded), nor comments, docstrings, annotations and
formatting. A config's fields do not count: their values are recorded. Imports by a computed name
are not seen.
"""

import ast
import functools
import gc
import importlib.util
import json
import sysconfig
from collections.abc import Iterator, Mapping
from pathlib import Path

from pipeline.errors import UserError, printable
from pipeline.frozen import Frozen, digest
from pipeline.own.code import offered, source_of
from pipeline.own.parts import Plain
from pipeline.record.source_file import ALL, EFFECTS, Name, Source, config_class

Files = dict[str, str]
"""File, by its module's name → digest of what is used of it."""
Code = dict[str, Files]
"""Part of a configuration with its class, or the training core → its files."""

CORE = "training core"
ROOTS = (
    ("pipeline.core.train", "train"),
    ("pipeline.core.train", "evaluate_best"),
    ("pipeline.data.splits", "splits"),
)
PLUMBING = (
    "core.config",
    "core.checkpoints",
    "core.finished.evidence",
    "core.identity",
    "data",
    "errors",
    "frozen",
    "own",
)
"""Modules of this package that change no result; pictures are compared by their content."""


def code(config: Frozen) -> Code:
    """What a run of this configuration is made of; read once in a process, which takes some 70 ms.

    Raises UserError where a file of the user's cannot be read.
    """
    roots = {f"{path} {type(part).__qualname__}": _root(part) for path, part in _parts(config)}
    collects = gc.isenabled()
    # syntax trees are many small objects: to look for garbage among them takes a third of the time
    gc.disable()
    try:
        return {part: dict(_files(own)) for part, own in ({CORE: ROOTS} | roots).items()}
    finally:
        if collects:
            gc.enable()


def _root(part: Frozen) -> tuple[Name, ...]:
    """A part of the user's own is called as what it was made of; where that is no config class,
    ours that calls it counts, too.
    """
    made = type(part)
    found = (made,) if not isinstance(part, Plain) else (made, made.__bases__[0])
    return tuple((kind.__module__, kind.__qualname__) for kind in found)


def changed(one: Mapping[str, Files], other: Mapping[str, Files]) -> set[str]:
    """The files in which the parts that both have differ, in more than their form."""
    both = [(one[part], other[part]) for part in one.keys() & other.keys()]
    differ = [(a, b) for a, b in both if _meant(a) != _meant(b)]
    return {file for a, b in differ for file in a.keys() | b.keys() if a.get(file) != b.get(file)}


def _meant(files: Files) -> str:
    """What stands for these definitions; where releases only moved or renamed them, it is that of
    their newest form.
    """
    name = digest(files)
    while name in _same():
        name = _same()[name]
    return name


@functools.cache
def _same() -> dict[str, str]:
    """Digest of a part's files → of the same part in its next form, which trains the same: what
    releases vouch for.

    Written by `python -m tests.same_code`.
    """
    found: dict[str, str] = json.loads(
        Path(__file__).with_name("same_code.json").read_text(encoding="utf-8")
    )
    return found


def _parts(config: Frozen, path: str = "") -> Iterator[tuple[str, Frozen]]:
    for name in type(config).model_fields:
        value = getattr(config, name)
        for one in value if isinstance(value, tuple) else (value,):
            if isinstance(one, Frozen) and name != "dataset":
                yield f"{path}{name}", one
                yield from _parts(one, f"{path}{name}.")


@functools.cache
def _files(roots: tuple[Name, ...]) -> tuple[tuple[str, str], ...]:
    """(file, digest of what `roots` reach of it), sorted."""
    used: dict[str, set[str]] = {}
    todo = list(roots)
    while todo:
        name, attribute = todo.pop()
        module = _module(name)
        if (
            module is None
            or attribute in used.get(name, ())
            or (roots == ROOTS and config_class(name, attribute))
        ):
            # the core knows many classes of configs; those that a config uses are parts of it
            continue
        if name not in used:
            used[name] = set()
            todo += [(name, EFFECTS), (name.rpartition(".")[0], EFFECTS)]
        used[name].add(attribute)
        for found, taken in module.needs(attribute):
            todo += _targets(found, taken)
    digests = {
        module.label: module.digest(used[name])
        for name in used
        if (module := _module(name)) is not None
    }
    return tuple(sorted((label, digest) for label, digest in digests.items() if digest))


def _targets(found: Name, taken: list[str]) -> list[Name]:
    """What an imported name stands for; of a module the names `taken`, or all of it."""
    name, attribute = found
    if found in _door():
        return [_door()[found]]
    module = _module(name)
    if attribute in (ALL, EFFECTS) or (
        module and (attribute in module.bound or attribute in module.imports)
    ):
        return [found]
    if attribute:  # a module, or nothing of ours
        name = f"{name}.{attribute}"
    return [_door().get((name, one), (name, one)) for one in taken or [ALL]]


@functools.cache
def _door() -> Mapping[Name, Name]:
    """What the names stand for that this package gives itself: it looks each up when it is used."""
    tree = ast.parse(Path(__file__).parents[1].joinpath("__init__.py").read_bytes())
    (homes,) = (
        ast.literal_eval(statement.value)
        for statement in tree.body
        if isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]) == "HOMES"
    )
    return {
        ("pipeline", name): (module, name)
        for module, names in homes.items()
        for name in names.split()
    }


@functools.cache
def _module(name: str) -> Source | None:
    """The module where it is ours: of this package, or of the user's own files."""
    top, _, rest = name.partition(".")
    plumbing = not rest or (
        any(rest == one or rest.startswith(f"{one}.") for one in PLUMBING) and rest != "data.splits"
    )
    if (top == "pipeline" and plumbing) or (top != "pipeline" and _of_environment(top)):
        return None
    place = _place(name)
    if place is None or not place.is_file():
        return None
    try:
        return Source(name, place)
    except (SyntaxError, ValueError, OSError) as error:
        raise UserError(
            f"{printable(place)}: cannot be read as Python: {printable(error)}"
        ) from error


@functools.cache
def _of_environment(top: str) -> bool:
    if top in {source_of(name).partition(":")[0].partition(".")[0] for name in offered()}:
        return False  # a package that offers parts
    place = _place(top)
    standard = {Path(sysconfig.get_path(scheme)) for scheme in ("stdlib", "platstdlib")}
    return (
        place is None
        or bool({"site-packages", "dist-packages"} & {*place.parts})
        or bool(standard & {*place.parents})
    )


@functools.cache
def _place(name: str) -> Path | None:
    """A module's file, or the folder of a package that has none; found without importing anything
    of it.
    """
    parent, _, last = name.rpartition(".")
    if parent:
        found = _place(parent)
        folder = None if found is None else found.parent if found.name == "__init__.py" else found
        ways = (
            []
            if folder is None
            else [folder / last / "__init__.py", folder / f"{last}.py", folder / last]
        )
        return next((way for way in ways if way.exists()), None)
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        return None
    if spec is None or not (spec.has_location or spec.submodule_search_locations):
        return None
    return Path(
        spec.origin
        if spec.has_location and spec.origin
        else next(iter(spec.submodule_search_locations or []))
    )


def forget() -> None:
    """Read all files anew from here on: of a process that outlives their changes."""
    for cached in (_same, _files, _door, _module, _of_environment, _place):
        cached.cache_clear()
