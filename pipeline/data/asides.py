"""Asides: what lies in a folder beside its pictures, and what is to be said of it."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from pipeline.counts import plural
from pipeline.data.doubts import UNLABELED, some
from pipeline.data.folder import BARE, Names, Tree
from pipeline.data.homes import LABELED, Homes
from pipeline.data.listing import TRAIN, describe
from pipeline.data.names import is_aside, masked
from pipeline.errors import UserError, printable

DOCUMENTS = (
    "txt md csv tsv json xml html pdf yaml yml toml ini db log py ipynb sh mat npy npz pkl "
    "h5 xlsx zip tar gz rar 7z part"
)
HARMLESS = {"hidden files", "hidden folders", *(f".{ending} files" for ending in DOCUMENTS.split())}


def leave_out_masks(tree: Tree, homes: Homes, found: dict[Names, tuple[str | None, int]]) -> None:
    """Take out of `found` what is rather an annotation than a picture."""
    places = {path: homes.of(path) for path in found}
    below = {
        path: rest[0 if home and home.label else 1 : -1] for path, (home, rest) in places.items()
    }
    for path in _masks({path: key for path, (key, _) in found.items()}, below):
        del found[path]
        tree.ignored["pictures that are annotations of others"] += 1


def note_empty(tree: Tree, homes: Homes, where: str) -> list[str]:
    """What is to be said of folders beside the classes that have no pictures; raises UserError
    where one has files that may be some: a class would be lost without a word."""
    first = any(home.label for home in homes.found.values())
    beside = [
        (*base, name) for base in homes.folders(TRAIN) for name in tree.children(base) if not first
    ]
    bare = [
        path
        for path in beside
        if not tree.num_below[path] and path[-1].lower() not in UNLABELED | LABELED
    ]
    for path in bare:
        others = {
            kind: num for kind, num in tree.others_below(path).items() if kind not in HARMLESS
        }
        if others:
            raise UserError(
                f"{where}: the class folder '{printable('/'.join(path), 80)}' has no pictures, but "
                f"{describe(others)}; convert them, or move the folder away"
            )
    return (
        [f"folders without pictures are no classes: {some(path[-1] for path in bare)}"]
        if bare
        else []
    )


def warn_left_out(tree: Tree) -> list[str]:
    """Of what was left out: pictures that cannot be read, then all else that is not as expected."""
    unread = Counter(Path(names[-1]).suffix.lower() for names in tree.unread)
    notes = [
        plural(
            num,
            f"{ending} file is a picture that cannot be read here and was left out: save it as "
            "JPEG or PNG",
            f"{ending} files are pictures that cannot be read here and were left out: save them as "
            "JPEG or PNG",
        )
        for ending, num in sorted(unread.items())
    ]
    known = HARMLESS | {f"{ending} files" for ending in unread}
    known |= (
        {BARE} if all(len(names) == 1 for names in tree.bare) else set()
    )  # LICENSE, README: beside the set, not in it
    odd = {
        kind: num
        for kind, num in tree.ignored.items()
        if kind not in known and not kind.startswith("folders ")
    }
    return [*notes, f"left out: {describe(odd)}"] if odd else notes


def _masks(classes: Mapping[Names, str | None], below: Mapping[Names, Names]) -> list[Names]:
    """Of the pictures of `classes` those that are rather annotations of others: in a folder `masks`
    that is not their class itself, or beside a picture by its name and such a word, `cat
    (1)_mask.png`. A class that has no others keeps them.

    `below`: picture → the folders between that of its class and itself.
    """
    names = {(*path[:-1], path[-1].rpartition(".")[0]) for path in classes}
    found = [
        p
        for p in classes
        if any(map(is_aside, below[p])) or (*p[:-1], masked(p[-1]) or "") in names
    ]
    left = {classes[path] for path in classes.keys() - set(found)}
    return [path for path in found if classes[path] in left]
