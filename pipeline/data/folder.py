"""What lies in a folder: pictures by relative path, and everything that is left out, counted by kind."""

import os
import re
import stat
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.errors import UserError, nearest, printable

EXTENSIONS = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".gif", ".avif", ".tif", ".tiff"}
    | {".ppm", ".pgm", ".pbm", ".pnm"}
)
ARCHIVES = (".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".7z", ".rar")
MAX_FOLDERS = 100_000
NOTHING = {"hidden files", "broken links", "sockets, pipes or devices"}  # are no files of a kind
Names = tuple[str, ...]


@dataclass
class Tree:
    """Pictures below `root` by their names relative to it, and the names of the folders in each folder. `ignored`: what is
    left out, by kind; `others`: of each folder the files that are no pictures, by ending."""

    root: Path
    pictures: dict[Names, tuple[int, int]] = field(default_factory=dict)
    folders: dict[Names, list[str]] = field(default_factory=dict)
    ignored: Counter[str] = field(default_factory=Counter)
    num_below: Counter[Names] = field(default_factory=Counter)
    others: dict[Names, Counter[str]] = field(default_factory=dict)

    def children(self, base: Names) -> list[str]:
        """Names of the folders directly in `base`, sorted."""
        return self.folders.get(base, [])

    def num_directly(self, base: Names) -> int:
        """How many pictures lie in `base` itself."""
        return self.num_below[base] - sum(self.num_below[(*base, name)] for name in self.children(base))

    def others_below(self, base: Names) -> Counter[str]:
        """The files in and below `base` that are no pictures, by ending."""
        return sum((kinds for path, kinds in self.others.items() if path[: len(base)] == base), Counter[str]())


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

    Links to files are followed, links to folders too, but every real folder is entered once (links may form loops) and
    under its own name where it has one below `root`; a link to a folder above `root` is left out. Hidden files,
    `__MACOSX`, sockets, pipes and other files are left out and counted. Raises UserError where a folder may not be read.
    """
    tree = Tree(root)
    seen: set[tuple[int, int]] = {_identity(folder) for folder in root.resolve().parents}
    links: list[Names] = [()]
    while links:
        links.sort(reverse=True)
        start = links.pop()
        if _identity(root.joinpath(*start)) in seen:
            tree.ignored["links to folders that are read anyway"] += 1
        else:
            tree.folders.setdefault(start[:-1], [])
            if start:
                tree.folders[start[:-1]] = sorted({*tree.folders[start[:-1]], start[-1]})
            _walk_one(tree, start, seen, links)
    return tree


def _walk_one(tree: Tree, start: Names, seen: set[tuple[int, int]], links: list[Names]) -> None:
    """Read what lies below `start` without following links to folders: those are put into `links`."""

    def refuse(error: OSError) -> None:
        raise UserError(f"data: {printable(error.filename)}: cannot be listed: {error.strerror}") from error

    for where, folders, files in os.walk(tree.root.joinpath(*start), onerror=refuse):
        here = Path(where).relative_to(tree.root).parts
        seen.add(_identity(where))
        if len(seen) > MAX_FOLDERS:
            raise UserError(
                f"data: {printable(tree.root)}: more than {MAX_FOLDERS:,} folders; give the pictures' own folder"
            )
        hidden = {name for name in folders if name.startswith(".") or name == "__MACOSX"}
        linked = {name for name in folders if name not in hidden and os.path.islink(os.path.join(where, name))}
        tree.ignored.update(["hidden folders"] * len(hidden))
        links += [(*here, name) for name in linked]
        folders[:] = sorted(set(folders) - hidden - linked)
        tree.folders[here] = list(folders)
        for name in files:
            found = _file_stamp(where, name)
            if isinstance(found, str):
                tree.ignored[found] += 1
                if found not in NOTHING:
                    tree.others.setdefault(here, Counter())[found] += 1
            else:
                tree.pictures[(*here, name)] = found
                tree.num_below.update(here[:depth] for depth in range(len(here) + 1))


def _identity(path: str | Path) -> tuple[int, int]:
    found = os.stat(path)
    return found.st_dev, found.st_ino


def _kind(name: str) -> str:
    """`.heic files`: what a file that is no picture is counted as."""
    ending = os.path.splitext(name)[1].lower()
    if not ending:
        return "files without an ending"
    return f"{ending} files" if re.fullmatch(r"\.\w{1,8}", ending, re.ASCII) else "files of odd endings"


def _file_stamp(where: str, name: str) -> tuple[int, int] | str:
    """(bytes, mtime in ns) of a picture, or the kind of thing it is instead."""
    if name.startswith("."):
        return "hidden files"
    if os.path.splitext(name)[1].lower() not in EXTENSIONS:
        return _kind(name)
    try:
        found = os.stat(os.path.join(where, name))
    except OSError:
        return "broken links"
    if not stat.S_ISREG(found.st_mode):
        return "sockets, pipes or devices"
    return found.st_size, found.st_mtime_ns
