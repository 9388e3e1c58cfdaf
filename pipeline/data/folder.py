"""What lies in a folder: pictures by relative path, and everything that is left out, counted by kind."""

import os
import stat
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.errors import UserError, nearest, printable

EXTENSIONS = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif"})
ARCHIVES = (".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".7z", ".rar")
MAX_FOLDERS = 100_000
Names = tuple[str, ...]


@dataclass
class Tree:
    """Pictures below `root` by their names relative to it, and the names of the folders in each folder."""

    root: Path
    pictures: dict[Names, tuple[int, int]] = field(default_factory=dict)
    folders: dict[Names, list[str]] = field(default_factory=dict)
    ignored: Counter[str] = field(default_factory=Counter)
    num_below: Counter[Names] = field(default_factory=Counter)

    def children(self, base: Names) -> list[str]:
        """Names of the folders directly in `base`, sorted."""
        return self.folders.get(base, [])

    def num_directly(self, base: Names) -> int:
        """How many pictures lie in `base` itself."""
        return self.num_below[base] - sum(self.num_below[(*base, name)] for name in self.children(base))


def require_folder(root: Path | None) -> Path:
    """The resolved folder; raises UserError saying which part of the path is missing and what is near it."""
    if root is None:
        raise UserError("data: a folder of pictures is needed; give it with --data FOLDER")
    if "\0" in str(root):
        raise UserError(f"data: {printable(root)}: not a path (it holds a zero byte)")
    given = Path(os.path.expanduser(root))
    path, shown = given, f"data: {printable(given)}"
    try:
        path = given.resolve() if ".." in given.parts else given.absolute()  # a link keeps its name: it is the title
        shown = f"data: {printable(path)}"
        if path.is_symlink() and not path.exists():
            raise UserError(f"{shown}: a link to {printable(path.readlink())}, which does not exist")
        if path.is_dir():
            return path
        if path.exists():
            unpack = "; unpack it and give the folder" if path.suffix.lower() in ARCHIVES else "; a folder is needed"
            raise UserError(f"{shown}: this is a file{unpack}")
        there = next(p for p in path.parents if p.exists())
        missing = path.relative_to(there).parts[0]
        siblings = sorted(os.listdir(there)) if there.is_dir() else []
    except (OSError, RuntimeError) as error:  # RuntimeError: a loop of links
        raise UserError(f"{shown}: {printable(getattr(error, 'strerror', error))}") from error
    raise UserError(
        f"{shown}: no such folder: '{printable(missing)}' is missing in {printable(there)}{nearest(missing, siblings)}"
    )


def walk(root: Path) -> Tree:
    """List the pictures below the folder `root` (by extension; nothing is opened).

    Links to files are followed, links to folders are not (they may form loops); hidden files, `__MACOSX`, sockets,
    pipes and other files are left out and counted. Raises UserError where a folder may not be read.
    """

    def refuse(error: OSError) -> None:
        raise UserError(f"data: {printable(error.filename)}: cannot be listed: {error.strerror}") from error

    tree = Tree(root)
    for num, (where, folders, files) in enumerate(os.walk(root, onerror=refuse)):
        if num >= MAX_FOLDERS:
            raise UserError(f"data: {printable(root)}: more than {MAX_FOLDERS:,} folders; give the pictures' own folder")
        here = Path(where).relative_to(root).parts
        kinds = {name: _folder_kind(where, name) for name in folders}
        tree.ignored.update(kind for kind in kinds.values() if kind)
        folders[:] = sorted(name for name, kind in kinds.items() if not kind)
        tree.folders[here] = list(folders)
        for name in files:
            found = _file_stamp(where, name)
            if isinstance(found, str):
                tree.ignored[found] += 1
            else:
                tree.pictures[(*here, name)] = found
                tree.num_below.update(here[:depth] for depth in range(len(here) + 1))
    return tree


def _folder_kind(where: str, name: str) -> str:
    if name.startswith(".") or name == "__MACOSX":
        return "hidden folders"
    return "links to folders" if os.path.islink(os.path.join(where, name)) else ""


def _file_stamp(where: str, name: str) -> tuple[int, int] | str:
    """(bytes, mtime in ns) of a picture, or the kind of thing it is instead."""
    if name.startswith("."):
        return "hidden files"
    if os.path.splitext(name)[1].lower() not in EXTENSIONS:
        return "other files"
    try:
        found = os.stat(os.path.join(where, name))
    except OSError:
        return "broken links"
    if not stat.S_ISREG(found.st_mode):
        return "sockets, pipes or devices"
    return found.st_size, found.st_mtime_ns
