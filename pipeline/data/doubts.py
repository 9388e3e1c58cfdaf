"""Doubts: folders that would be read as classes and can hardly be, and what to do instead."""

from collections import Counter
from collections.abc import Iterable

from pipeline.counts import plural
from pipeline.data.folder import Names, Tree
from pipeline.data.names import SplitName, glued, label_of, says_nothing, split_of, words
from pipeline.errors import UserError, printable

UNLABELED = {
    "unlabeled",
    "unlabelled",
    "unsup",
    "unsupervised",
}  # hold training pictures without a label
CAMERA = frozenset(
    words("img dsc dscn dscf pxl image picture photo pic frame file screenshot scan p")
)
SHORT = frozenset(words("tr te ts va vl vd"))  # what splits are called for short; languages, too
ANYWAY = "to read every folder as a class, whatever its name: --set dataset.splits=none"


def doubts(tree: Tree, base: Names, classes: list[str], where: str, *, split: bool) -> list[str]:
    """What is to be said of the class folders in `base` whose names or contents look like something
    else; raises UserError where they can hardly be classes. `split`: the splits have folders of
    their own."""
    named = {name: said for name in classes if (said := split_of(name))}
    plain = [name for name, said in named.items() if not said.rest]
    if classes and all(map(says_nothing, classes)):
        raise no_classes(tree, where, f"{some(classes)} can hardly be classes")
    if not split:
        _doubt_parts(tree, classes, where)
    odd = (
        named
        and not split
        and (plain or len(named) == len(classes))
        and not _are_classes(tree, base, classes, named)
    )
    if odd or (classes and len(plain) == len(classes)):
        raise no_classes(
            tree, where, f"{some(named)} are named after splits, but do not lie as splits do"
        )
    notes = [
        f"the folders {some(plain)} are taken for classes, not for splits: they hold pictures as "
        "the others beside them do"
    ]
    return [*(notes if plain else []), *_nested(tree, base, classes, where)]


def _doubt_parts(tree: Tree, classes: list[str], where: str) -> None:
    """Raise UserError where the folders are rather parts of the set, named for short or in one word
    with what they hold.
    """
    if len(classes) > 1 and {name.casefold() for name in classes} <= SHORT:
        raise no_classes(tree, where, f"{some(classes)} are what splits are called for short")
    ends: dict[str, dict[str, str]] = {}
    for name in classes:
        split, rest = glued(name) or ("", "")
        if split:
            ends.setdefault(rest, {}).setdefault(split, name)
    pairs = [name for own in ends.values() if len(own) > 1 for name in own.values()]
    if pairs:
        raise no_classes(tree, where, f"{some(sorted(pairs))} name both a split and something else")


def doubt_numbers(tree: Tree, where: str) -> None:
    """Raise UserError where names of files are NUMBER_LABEL rather than LABEL_NUMBER."""
    count = Counter(label_of(path[-1]) for path in tree.pictures if path[-1][0].isdigit())
    seen = {
        label: num for label, num in count.items() if label and not label[0].isdigit() and num > 1
    }
    if len(seen) > 1 and 2 * sum(seen.values()) > count.total():
        raise UserError(
            f"{where}: the number before _ in the names of the files seems to be the picture's, "
            f"not the label's{names_hint(path[-1] for path in tree.pictures)}; or say that it is "
            "one: --set dataset.layout=hw3"
        )


def note_files(tree: Tree) -> list[str]:
    """What is to be said where names of files say splits: they are not followed."""
    count = Counter(
        found.word for path in tree.pictures if (found := split_of(path[-1].rpartition(".")[0]))
    )
    if len(count) < 2 or 2 * count.total() < len(tree.pictures):
        return []
    shown = ", ".join(f"{word} {num}" for word, num in sorted(count.items()))
    return [
        f"the names of the files say splits ({shown}), which are not followed: move the files to "
        "folders of splits"
    ]


def holding(tree: Tree, base: Names) -> list[str]:
    """Names of the folders in `base` that have pictures in or below them, those without labels
    aside.
    """
    return [
        name
        for name in tree.children(base)
        if tree.num_below[(*base, name)] and name.lower() not in UNLABELED
    ]


def names_hint(files: Iterable[str]) -> str:
    """How to read labels from the names of files, where at least half of `files` seem to have one;
    else nothing.
    """
    names = sorted(files)
    labels = Counter(
        label for name in names if (label := label_of(name)) and label.lower() not in CAMERA
    )
    several = {label for label, num in labels.items() if num > 1}
    if len(several) < 2 or 2 * sum(labels[label] for label in several) < len(names):
        return ""
    example = next(name for name in names if label_of(name) in several)
    return (
        "; the labels seem to stand in the names of the files "
        f"('{printable(example.rpartition('/')[2], 60)}' is '{printable(label_of(example), 60)}', "
        f"{len(several)} classes): --set dataset.label_from=name reads them"
    )


def table_hint(tree: Tree) -> str:
    """How to read a table that lies beside the pictures; nothing where there is none."""
    names = sorted(
        path.name for path in tree.root.glob("*.csv") if "submission" not in path.name.lower()
    )
    return (
        f"; a table lies there ({printable(names[0], 60)}): --set dataset.name=csv reads such"
        if names
        else ""
    )


def no_classes(tree: Tree, where: str, why: str) -> UserError:
    hint = names_hint(path[-1] for path in tree.pictures) + table_hint(tree)
    return UserError(
        f"{where}: the folders {why}; found: {shown(tree, ())}; expected: train/CLASS/*.jpg, "
        f"valid/CLASS/*.jpg, test/CLASS/*.jpg, or CLASS/*.jpg alone{hint}; {ANYWAY}"
    )


def shown(tree: Tree, base: Names) -> str:
    """`cat/ (12 pictures), dog/ (13 pictures)`."""
    folders = [
        f"{printable(n, 40)}/ ({plural(tree.num_below[(*base, n)], 'picture')})"
        for n in tree.children(base)
    ]
    return (
        ", ".join(folders[:8]) + (f" and {len(folders) - 8} more" if folders[8:] else "")
        or "no folders"
    )


def some(names: Iterable[str]) -> str:
    given = [f"'{printable(name, 40)}'" for name in names]
    return ", ".join(given[:5]) + (f" and {len(given) - 5} more" if given[5:] else "")


def _are_classes(tree: Tree, base: Names, classes: list[str], named: dict[str, SplitName]) -> bool:
    """Whether folders named after splits are classes all the same: trains among vehicles, or kinds
    of trains. Their pictures lie in them directly, their files are not named after classes, and
    beside them are other folders."""
    trains = all(split.word == "train" for split in named.values())
    flat = not any(holding(tree, (*base, name)) for name in named)
    own = [
        path[-1] for path in tree.pictures if path[: len(base)] == base and path[len(base)] in named
    ]
    beside = [name for name in classes if name not in named and not says_nothing(name)]
    kinds = (
        len({split.rest for split in named.values() if len("".join(split.rest)) > 1})
        == len(classes)
        > 1
    )
    return trains and flat and not names_hint(own) and (kinds or (len(named) == 1 and bool(beside)))


def _nested(tree: Tree, base: Names, classes: list[str], where: str) -> list[str]:
    """What is to be said where the folders of classes hold folders; raises UserError where those
    are rather the classes.
    """
    inner = {
        name: holding(tree, (*base, name))
        for name in classes
        if not tree.num_directly((*base, name))
    }
    inner = {
        name: [own for own in below if own != name and not says_nothing(own)]
        for name, below in inner.items()
    }
    inner = {name: below for name, below in inner.items() if below}
    count = Counter(own for below in inner.values() for own in below)
    common = [own for own, num in count.items() if num > 1]
    copies = [name for name in inner if set(inner[name]) & set(classes)]
    if copies:
        raise no_classes(
            tree, where, f"{some(copies)} hold folders of the same names as those beside them"
        )
    if len(common) > 1 and len(inner) == len(classes):
        raise no_classes(
            tree,
            where,
            f"{some(inner)} hold the same folders ({some(common)}) and can hardly be classes",
        )
    note = f"the class folders {some(inner)} hold folders, not pictures ({some(count)})"
    return [f"{note}: all that is below a class folder is of that class"] if inner else []
