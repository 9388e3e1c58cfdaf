"""Lookup: where the pictures that a table names lie below its folder."""

import unicodedata
from collections import Counter, defaultdict
from pathlib import Path, PurePosixPath

from pipeline.data.folder import Names, Tree, has_ending
from pipeline.data.names import is_aside, split_of
from pipeline.data.tables import Table, read_table
from pipeline.errors import UserError, printable

SAME = {"pred": "test"}
SETTING = "dataset.images"
WHICH = f"name the folder in {SETTING}, or the ending in the table"


class Lookup:
    """The pictures of a folder by what tables call them: with or without the folders above them, or
    their ending.
    """

    def __init__(self, tree: Tree, images: str, where: str) -> None:
        """`images`: the folders to look in, parted by commas, '' for all. Raises UserError where
        one is not there.
        """
        self.tree = tree
        self.folders = (
            [tuple(PurePosixPath(name.strip()).parts) for name in images.split(",")]
            if images
            else []
        )
        self._by_stem: defaultdict[str, list[Names]] = defaultdict(list)
        for folder in self.folders:
            if not tree.num_below[folder]:
                raise UserError(
                    f"{where}: {SETTING}: no pictures in '{printable('/'.join(folder))}'; they lie "
                    f"in {self.places()}"
                )
        for path in sorted(tree.pictures):
            if not self.folders or any(path[: len(folder)] == folder for folder in self.folders):
                self._by_stem[_stem(path[-1])].append(path)

    def table(self, path: Path) -> Table:
        """The table at `path`, which then is not among what is left out; raises UserError."""
        self.tree.read(path)
        return read_table(path, self.knows)

    def knows(self, cell: str) -> bool:
        """Whether a cell of a table looks like a picture: by its ending, or since there is one of
        that name.
        """
        path = PurePosixPath(cell.replace("\\", "/"))
        return has_ending(path.name) or bool(cell and self._candidates(path.parts))

    def find(self, file: str, word: str, where: str) -> str | None:
        """The path below the table's folder of what a table calls `file` in the split `word`; None
        where there is none.

        Raises UserError where it leads elsewhere, or several pictures have that name.
        """
        path = PurePosixPath(file.replace("\\", "/"))
        if path.is_absolute() or ".." in path.parts or "\0" in file:
            raise UserError(f"{where}: {printable(file)}: files must lie below the table's folder")
        exact = [
            folder
            for folder in self.folders or [()]
            if (self.tree.root.joinpath(*folder) / path).is_file()
        ]
        if exact:
            return str(PurePosixPath(*exact[0]) / path)
        found = self._candidates(path.parts)
        if len(found) > 1:
            found = [own for own in found if not any(map(is_aside, own[:-1]))] or found
            found = (
                [own for own in found if _words(own) == {word}]
                or [own for own in found if not _words(own)]
                or found
            )
        if len(found) > 1:
            shown = " and ".join(printable("/".join(own), 80) for own in found[:2])
            raise UserError(f"{where}: {printable(file)} may be {shown}; {WHICH}")
        return "/".join(found[0]) if found else None

    def places(self) -> str:
        """Where the pictures lie, the folder with the most first."""
        count = Counter("/".join(path[:-1]) or "." for path in self.tree.pictures)
        shown = [f"{printable(folder, 60)}/ ({num})" for folder, num in count.most_common(5)]
        return (
            ", ".join(shown) + (", …" if count.keys() - dict(count.most_common(5)).keys() else "")
            or "no folder"
        )

    def unlisted(self, used: set[str]) -> dict[str, list[Names]]:
        """Of the pictures that no table lists those in folders of test pictures: folder →
        pictures.
        """
        found: defaultdict[str, list[Names]] = defaultdict(list)
        for path in self.tree.pictures:
            split = split_of(path[0]) if len(path) > 1 else None
            if split and not split.rest and split.word in ("test", "pred"):
                found[path[0]].append(path)
        return {
            name: paths
            for name, paths in found.items()
            if not used & {"/".join(path) for path in paths}
        }

    def _candidates(self, parts: tuple[str, ...]) -> list[Names]:
        """Pictures of that name whose folders are those that the table gives, as far as both say
        them.
        """
        if not parts:
            return []
        named = [
            path
            for path in self._by_stem.get(_stem(parts[-1]), [])
            if _same_name(path[-1], parts[-1])
        ]
        return [path for path in named if _agree(path[:-1], parts[:-1])]


def _words(path: Names) -> set[str]:
    """The splits that the folders of a path are named after."""
    found = (split_of(name) for name in path[:-1])
    return {SAME.get(split.word, split.word) for split in found if split}


def _stem(name: str) -> str:
    return _folded(Path(name).stem if has_ending(name) else name)


def _folded(name: str) -> str:
    """A name in the form that tables and file systems may both write otherwise: letters with marks,
    capitals.
    """
    return unicodedata.normalize("NFC", name).casefold()


def _same_name(there: str, written: str) -> bool:
    """With its ending, in any case; or without one."""
    return _folded(there) == _folded(written) if has_ending(written) else True


def _agree(there: tuple[str, ...], written: tuple[str, ...]) -> bool:
    """Whether the shorter list of folders is the end of the longer one."""
    num = min(len(there), len(written))
    return not num or [*map(_folded, there[-num:])] == [*map(_folded, written[-num:])]
