"""What lies in a folder: pictures by relative path, and everything that is left out, counted by
kind.
"""

import os
import re
import stat
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.data.files import of_kernel, open_file
from pipeline.data.listing import FIRST_RULES, RULES
from pipeline.errors import UserError, nearest, printable

EXTENSIONS = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".gif", ".avif", ".tif", ".tiff"}
    | {".ppm", ".pgm", ".pbm", ".pnm", ".heic", ".heif", ".hif"}
)
NEWER = frozenset({".heic", ".heif", ".hif"})  # not by the first rules
UNREAD = frozenset(  # pictures, too, that nothing here decodes
    {
        ".jxl",
        ".jp2",
        ".j2k",
        ".jpx",
        ".psd",
        ".psb",
        ".xcf",
        ".tga",
        ".dds",
        ".exr",
        ".hdr",
        ".ico",
        ".icns",
        ".pcx",
    }
    | {
        ".sgi",
        ".svg",
        ".eps",
        ".ai",
        ".wmf",
        ".emf",
        ".dcm",
        ".nii",
        ".fits",
        ".svs",
        ".ndpi",
        ".czi",
        ".nd2",
        ".lif",
    }
    | {
        ".raw",
        ".dng",
        ".cr2",
        ".cr3",
        ".nef",
        ".nrw",
        ".arw",
        ".sr2",
        ".orf",
        ".rw2",
        ".pef",
        ".srw",
        ".raf",
        ".3fr",
    }
)
COPIES = frozenset(
    {".bak", ".old", ".orig", ".tmp", ".temp", ".part", ".partial", ".crdownload", ".download"}
)
SYSTEM = frozenset(  # folders that systems, servers and programs make
    {
        "__macosx",
        "@eadir",
        "@tmp",
        "@recycle",
        "@recently-snapshot",
        "@__thumb",
        "#recycle",
        "#snapshot",
        "lost+found",
    }
    | {
        "$recycle.bin",
        "$extend",
        "recycler",
        "recycled",
        "system volume information",
        "found.000",
        "__pycache__",
    }
    | {"network trash folder", "temporary items"}
)
SIGNATURES = re.compile(  # JPEG, PNG, GIF, WebP, BMP, HEIF with AVIF, PNM
    rb"\xff\xd8\xff|\x89PNG\r\n\x1a\n|GIF8[79]a|RIFF....WEBP|BM....\0\0\0\0|P[1-6][ \t\r\n#]"
    rb"|....ftyp(?:heic|heix|heim|heis|hevc|hevx|mif1|msf1|avif|avis)",
    re.DOTALL,
)
BARE = "files without an ending"
TIFF = (
    b"II*\0",
    b"MM\0*",
)  # what cameras and microscopes call otherwise is of this form too, with a thumbnail first
ARCHIVES = (".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".7z", ".rar")
MAX_FOLDERS = 100_000
NOTHING = {"hidden files", "broken links", "sockets, pipes or devices"}  # are no files of a kind
Names = tuple[str, ...]


@dataclass
class Tree:
    """Pictures below `root` by their names relative to it, and the names of the folders in each
    folder. `ignored`: what is left out, by kind; `others`: of each folder the files that are no
    pictures, by ending; `unread`: the pictures of kinds that nothing here decodes; `bare`: the
    files without ending that do not begin as pictures do."""

    root: Path
    pictures: dict[Names, tuple[int, int]] = field(default_factory=dict)
    folders: dict[Names, list[str]] = field(default_factory=dict)
    ignored: Counter[str] = field(default_factory=Counter)
    unread: list[Names] = field(default_factory=list)
    bare: list[Names] = field(default_factory=list)
    num_below: Counter[Names] = field(default_factory=Counter)
    others: dict[Names, Counter[str]] = field(default_factory=dict)

    def add(self, names: Names, stamp: tuple[int, int]) -> None:
        """Count a picture in."""
        self.pictures[names] = stamp
        self.num_below.update(names[:depth] for depth in range(len(names)))

    def children(self, base: Names) -> list[str]:
        """Names of the folders directly in `base`, sorted."""
        return self.folders.get(base, [])

    def num_directly(self, base: Names) -> int:
        """How many pictures lie in `base` itself."""
        return self.num_below[base] - sum(
            self.num_below[(*base, name)] for name in self.children(base)
        )

    def read(self, path: Path) -> None:
        """Take a table or list of names that was read, which is no picture, from what is left
        out.
        """
        kind = f"{path.suffix.lower()} files"
        self.ignored -= Counter({kind: 1})

    def others_below(self, base: Names) -> Counter[str]:
        """The files in and below `base` that are no pictures, by ending."""
        return sum(
            (kinds for path, kinds in self.others.items() if path[: len(base)] == base),
            Counter[str](),
        )


def require_folder(root: Path | None) -> Path:
    """The resolved folder; raises UserError saying which part of the path is missing and what is
    near it.
    """
    if root is None:
        raise UserError("data: a folder of pictures is needed; give it with --data FOLDER")
    if "\0" in str(root):
        raise UserError(f"data: {printable(root)}: not a path (it holds a zero byte)")
    given = Path(os.path.expanduser(root))
    path, shown = given, f"data: {printable(given)}"
    try:
        path = (
            given.resolve() if ".." in given.parts else given.absolute()
        )  # a link keeps its name: it is the title
        shown = f"data: {printable(path)}"
        if path.is_symlink() and not path.exists():
            raise UserError(
                f"{shown}: a link to {printable(path.readlink())}, which does not exist"
            )
        if path.is_dir():
            return path
        if path.exists():
            unpack = (
                "; unpack it and give the folder"
                if path.suffix.lower() in ARCHIVES
                else "; a folder is needed"
            )
            raise UserError(f"{shown}: this is a file{unpack}")
        there = next(p for p in path.parents if p.exists())
        missing = path.relative_to(there).parts[0]
        seen = sorted(os.listdir(there)) if there.is_dir() else []
        siblings = [name for name in seen if not name.startswith(".")]
    except (OSError, RuntimeError) as error:  # RuntimeError: a loop of links
        raise UserError(f"{shown}: {printable(getattr(error, 'strerror', error))}") from error
    raise UserError(
        f"{shown}: no such folder: '{printable(missing)}' is missing in "
        f"{printable(there)}{nearest(missing, siblings)}"
    )


def walk(root: Path, rules: int = RULES) -> Tree:
    """List the pictures below the folder `root`: by ending; of other endings, or without one, by
    how their content begins.

    Links to files are followed, links to folders too, but every real folder is entered once (links
    may form loops) and under its own name where it has one below `root`; a link to a folder above
    `root` is left out. Hidden files, folders of systems, sockets, pipes and other files are left
    out and counted. By the first rules the ending alone decides. Raises UserError where a folder
    may not be read.
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
            _walk_one(tree, start, seen, links, rules)
    _take_damaged(tree)
    return tree


def _take_damaged(tree: Tree) -> None:
    """Files without ending that do not begin like a picture, where nearly all others do: damaged
    ones, to be named so.
    """
    whole = sum("." not in names[-1] for names in tree.pictures)
    if whole >= 9 * len(tree.bare):
        for names in tree.bare:
            found = os.stat(tree.root.joinpath(*names))
            tree.add(names, (found.st_size, found.st_mtime_ns))
        del tree.ignored[BARE]


def _walk_one(
    tree: Tree, start: Names, seen: set[tuple[int, int]], links: list[Names], rules: int
) -> None:
    """Read what lies below `start` without following links to folders: those are put into
    `links`.
    """

    def refuse(error: OSError) -> None:
        raise UserError(
            f"data: {printable(error.filename)}: cannot be listed: {error.strerror}"
        ) from error

    for where, folders, files in os.walk(tree.root.joinpath(*start), onerror=refuse):
        here = Path(where).relative_to(tree.root).parts
        seen.add(_identity(where))
        if len(seen) > MAX_FOLDERS:
            raise UserError(
                f"data: {printable(tree.root)}: more than {MAX_FOLDERS:,} folders; give the "
                "pictures' own folder"
            )
        first = rules == FIRST_RULES
        system = {
            name for name in folders if (name == "__MACOSX" if first else name.lower() in SYSTEM)
        }
        hidden = system | {name for name in folders if name.startswith(".")}
        linked = {
            name
            for name in folders
            if name not in hidden and os.path.islink(os.path.join(where, name))
        }
        tree.ignored.update(
            f"folders {name}" if name in system and not first else "hidden folders"
            for name in hidden
        )
        unreal = {name for name in linked if of_kernel(os.path.join(where, name))}
        tree.ignored.update("sockets, pipes or devices" for _ in unreal)
        links += [(*here, name) for name in linked - unreal]
        folders[:] = sorted(set(folders) - hidden - linked)
        tree.folders[here] = list(folders)
        for name in files:
            found = _file_stamp(where, name, first=first)
            if isinstance(found, str):
                tree.ignored[found] += 1
                if found not in NOTHING:
                    tree.others.setdefault(here, Counter())[found] += 1
                tree.unread += [(*here, name)] if found.removesuffix(" files") in UNREAD else []
                tree.bare += [(*here, name)] if found == BARE else []
            else:
                tree.add((*here, name), found)


def _identity(path: str | Path) -> tuple[int, int]:
    found = os.stat(path)
    return found.st_dev, found.st_ino


def has_ending(name: str) -> bool:
    """Whether a file's name ends as those of pictures do."""
    return os.path.splitext(name)[1].lower() in EXTENSIONS


def _kind(name: str) -> str:
    """`.heic files`: what a file that is no picture is counted as."""
    ending = os.path.splitext(name)[1].lower()
    if not ending:
        return BARE
    return (
        f"{ending} files"
        if re.fullmatch(r"\.\w{1,12}", ending, re.ASCII)
        else "files of odd endings"
    )


def _file_stamp(where: str, name: str, *, first: bool) -> tuple[int, int] | str:
    """(bytes, mtime in ns) of a picture, or the kind of thing it is instead."""
    if name.startswith("."):
        return "hidden files"
    ending = os.path.splitext(name)[1].lower()
    known = ending in EXTENSIONS and not (first and ending in NEWER)
    if first and not known:
        return _kind(name)
    path = os.path.join(where, name)
    try:
        found = os.stat(path)
    except OSError:
        return "broken links"
    if not stat.S_ISREG(found.st_mode) or (os.path.islink(path) and of_kernel(path)):
        return "sockets, pipes or devices"
    if known or (
        ending not in UNREAD | COPIES
        and not name.endswith("~")
        and _looks_like_a_picture(path, ending)
    ):
        return found.st_size, found.st_mtime_ns
    return _kind(name)


def _looks_like_a_picture(path: str, ending: str) -> bool:
    try:
        with open_file(path) as file:
            begin = file.read(16)
    except OSError:  # `read_picture` would say why; but that it is a picture is not known
        return False
    return SIGNATURES.match(begin) is not None or (not ending and begin.startswith(TIFF))
