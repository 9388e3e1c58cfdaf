"""Homes: the folders whose pictures are of one part, found by their names and by how they lie."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from pipeline.data.doubts import UNLABELED, holding, no_classes, some
from pipeline.data.folder import Names, Tree
from pipeline.data.listing import TEST, TRAIN, VALID
from pipeline.data.names import label_of, says_nothing, split_of
from pipeline.errors import UserError, printable

PART = {"train": TRAIN, "valid": VALID, "test": TEST, "pred": TEST}
LABELED = {"labeled", "labelled"}  # beside unlabeled ones, between `training` and the classes
DEPTH = 4  # levels of folders that are searched for splits


@dataclass(frozen=True)
class Home:
    """What the pictures below a folder are: their part and, where folders of splits lie in class
    folders, their class.
    """

    part: int
    label: str = ""
    unlabeled: bool = False


@dataclass(frozen=True)
class Homes:
    """`found`: folder → what its pictures are; `base`: the folder that they all lie in; `split`:
    whether names of folders say the parts."""

    base: Names
    found: dict[Names, Home] = field(default_factory=dict)
    split: bool = False

    def of(self, path: Names) -> tuple[Home | None, Names]:
        """(the nearest home above a picture or None, the path from there)."""
        for depth in range(len(path) - 1, -1, -1):
            if path[:depth] in self.found:
                return self.found[path[:depth]], path[depth:]
        return None, ()

    def folders(self, part: int) -> list[Names]:
        """The folders of a part, in their order; those without labels aside."""
        return [
            path for path, home in self.found.items() if home.part == part and not home.unlabeled
        ]


def find_homes(tree: Tree, where: str, *, by_name: bool) -> Homes:
    """Folders of splits at the highest level that has any, else (or without `by_name`) the folder
    of the classes.

    Raises UserError where several sets lie beside each other, or two folders claim one split.
    """
    level: list[Names] = [()]
    for _ in range(DEPTH if by_name else 0):
        bases = {base: splits for base in level if (splits := _split_folders(tree, base, where))}
        if bases:
            return (
                _class_first(tree, bases, where)
                if len(bases) > 1
                else _split(tree, *bases.popitem())
            )
        level = [(*base, name) for base in level for name in holding(tree, base)]
    base = _entered(tree, ())
    return Homes(base, {base: Home(TRAIN)} | _unlabeled(tree, base))


def _split_folders(tree: Tree, base: Names, where: str) -> dict[str, str]:
    """Folder in `base` → train, valid, test or pred; empty where the folders there are not
    splits.
    """
    there = holding(tree, base)
    named = {
        name: split
        for name in tree.children(base)
        if (split := split_of(name)) and (name in there or not split.rest)
    }
    groups: defaultdict[tuple[str, ...], dict[str, str]] = defaultdict(dict)
    for name, split in named.items():
        groups[split.rest][name] = split.word
    all_named = set(there) <= named.keys()
    chosen = {name: split.word for name, split in named.items()} if all_named else groups[()]
    if all_named and len(set(chosen.values())) < len(chosen):
        chosen = groups[()]
    pairs = [
        group
        for rest, group in groups.items()
        if rest and "train" in group.values() and len(set(group.values())) > 1
    ]
    if len(pairs) > 1:
        raise no_classes(tree, where, f"{some(named)} name both a split and something else")
    chosen = chosen if "train" in chosen.values() or not pairs else pairs[0]
    others = [name for name in there if name not in chosen]
    if "train" not in chosen.values() or (
        len(chosen) == 1 and (others or _nests(tree, (*base, *chosen), where))
    ):
        return _lone(tree, base, chosen, others, where) if others else {}
    twins = sorted(name for name, word in chosen.items() if list(chosen.values()).count(word) > 1)
    if twins:
        raise UserError(
            f"{where}: two folders for the same split: {', '.join(map(printable, twins))}; keep one"
        )
    return chosen


def _nests(tree: Tree, base: Names, where: str) -> bool:
    """Whether a lone folder `train` holds the folders of the splits itself."""
    return len(_split_folders(tree, base, where)) > 1


def _lone(
    tree: Tree, base: Names, chosen: dict[str, str], others: list[str], where: str
) -> dict[str, str]:
    """A folder named after a split beside others: what it holds decides."""
    nesting = [name for name in chosen if chosen[name] == "train" and holding(tree, (*base, name))]
    if nesting and all(map(says_nothing, others)):
        return chosen
    if nesting and base == ():
        raise no_classes(
            tree, where, f"{some(others)} lie beside {some(nesting)}, which holds folders itself"
        )
    return {}


def _split(tree: Tree, base: Names, splits: dict[str, str]) -> Homes:
    """The homes of the splits that lie in `base`, and of those that lie beside it further up."""
    found: dict[Names, Home] = _unlabeled(tree, base)
    claimed = {word: (*base, name) for name, word in splits.items()}
    for depth in range(len(base)):
        beside = {
            n: s
            for n in holding(tree, base[:depth])
            if n != base[depth] and (s := split_of(n)) and not s.rest
        }
        for name, split in beside.items():
            claimed.setdefault(split.word, (*base[:depth], name))
    for word, path in claimed.items():
        home = _descended(tree, path, word)
        found[home] = Home(PART[word])
        if word == "train":
            for depth in range(len(path), len(home) + 1):
                found |= _unlabeled(tree, home[:depth])
            labeled = [
                n for n in tree.children(home) if n.lower() in LABELED and tree.children((*home, n))
            ]
            found |= {(*home, name): Home(TRAIN) for name in labeled}
    return Homes(base, found, split=True)


def _class_first(tree: Tree, bases: dict[Names, dict[str, str]], where: str) -> Homes:
    """The homes where each class folder has folders of splits in it."""
    parents = {base[:-1] for base in bases}
    (*_, parent) = parents
    flat = not any(
        holding(tree, (*base, name)) for base, splits in bases.items() for name in splits
    )
    bare = [name for name in holding(tree, parent) if (*parent, name) not in bases]
    if len(parents) > 1 or not flat or _numbered(tree, bases):
        several = ", ".join(printable("/".join(base), 60) for base in bases)
        raise UserError(f"{where}: several folders hold a train split: {several}; give one of them")
    if bare:
        raise no_classes(
            tree,
            where,
            f"{some(bare)} hold no folder of training pictures, as "
            f"{some(base[-1] for base in bases)} do",
        )
    homes = {
        (*base, name): Home(PART[word], label=base[-1])
        for base, splits in bases.items()
        for name, word in splits.items()
    }
    return Homes(parent, homes, split=True)


def _numbered(tree: Tree, bases: Iterable[Names]) -> bool:
    """Whether each folder has files named LABEL_NUMBER of several labels: then it is a set, not a
    class.
    """
    labels: defaultdict[Names, set[str]] = defaultdict(set)
    depth = len(next(iter(bases)))
    for path in tree.pictures:
        label = label_of(path[-1])
        if label is not None and label.isdecimal():
            labels[path[:depth]].add(label)
    return all(len(labels[base]) > 1 for base in bases)


def _unlabeled(tree: Tree, base: Names) -> dict[Names, Home]:
    return {
        (*base, n): Home(TRAIN, unlabeled=True)
        for n in tree.children(base)
        if n.lower() in UNLABELED
    }


def _entered(tree: Tree, base: Names) -> Names:
    """The folder that holds the class folders: a folder alone in another is entered."""
    there = holding(tree, base)
    while len(there) == 1 and not tree.num_directly((*base, there[0])):
        base = (*base, there[0])
        there = holding(tree, base)
    return base


def _descended(tree: Tree, path: Names, word: str) -> Names:
    """The folder of a split's classes or pictures: a folder alone in it is entered where it can be
    no class.
    """
    for below in _alone(tree, path):
        split = split_of(below[-1])
        again = (split and split.word == word) or below[-1].casefold() in map(str.casefold, path)
        if not (again or says_nothing(below[-1]) or len(holding(tree, below)) > 1):
            break
        path = below
    return path


def _alone(tree: Tree, path: Names) -> Iterator[Names]:
    while len(holding(tree, path)) == 1 and not tree.num_directly(path):
        path = (*path, holding(tree, path)[0])
        yield path
