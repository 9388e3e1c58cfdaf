"""Layouts: which split and which class a picture belongs to, read off its place in the folder."""

import json
import re
import unicodedata
from dataclasses import dataclass
from pathlib import Path

from pipeline.data.cut import cut, warn_test
from pipeline.data.folder import EXTENSIONS, Names, Tree
from pipeline.data.listing import TEST, TRAIN, UNKNOWN, VALID, Listing, check_counts, describe, in_order
from pipeline.errors import UserError, printable

SPLITS = {
    **dict.fromkeys(("train", "training"), TRAIN),
    **dict.fromkeys(("valid", "validation", "val"), VALID),
    **dict.fromkeys(("test", "testing", "evaluation", "eval"), TEST),
}
LAYOUTS = (
    "expected one of: {training,validation,evaluation}/LABEL_NUMBER.jpg (HW3, Food-11); "
    "{train,valid,test}/CLASS/*.jpg; CLASS/*.jpg (split here)"
)
LABEL = re.compile(r"([0-9]{1,6})_.*", re.DOTALL)
UNLABELED = {"unlabeled", "unlabelled"}  # training pictures without a label; beside them the course's archive of 2021
LABELED = {"labeled", "labelled"}  # has a folder between `training` and the classes


@dataclass(frozen=True)
class Place:
    """Where the pictures are: `splits` maps folder names below `base` to parts (empty: class folders, not split)."""

    layout: str
    base: Names
    splits: dict[str, int]


def list_pictures(tree: Tree, layout: str, valid_share: float, test_share: float) -> Listing:
    """Label and split the pictures of `tree`; raises UserError where no layout fits or the counts do not allow it."""
    where = f"data: {printable(tree.root)}"
    if not tree.pictures:
        kinds = " ".join(sorted(EXTENSIONS))
        raise UserError(f"{where}: no pictures ({kinds}) in it; found: {describe(tree.ignored)}; {LAYOUTS}")
    place = _find(tree, layout, where)
    found = _label(tree, place)
    hidden = _hide_dummy_class(place, found)
    keys, classes = _classes(tree, place, found, where)
    order = sorted(found, key="/".join)
    labels = [UNKNOWN if key is None else keys[key] for key, _ in map(found.__getitem__, order)]
    parts = [found[path][1] for path in order]
    shares = {VALID: valid_share} if VALID not in place.splits.values() else {}
    shares |= {TEST: test_share} if not place.splits and test_share else {}
    notes = cut(["/".join(path[len(place.base) :]) for path in order], labels, parts, shares)
    listing = Listing(
        root=tree.root,
        title=printable(tree.root.name or "pictures", 80),
        layout=place.layout,
        files=tuple("/".join(path) for path in order),
        labels=tuple(labels),
        parts=tuple(parts),
        stamps=tuple(tree.pictures[path] for path in order),
        classes=classes,
        ignored=dict(tree.ignored),
        warnings=(*notes, *hidden, *_warn_left_out(tree), *warn_test(labels, parts)),
    )
    where = f"{where}: read as layout '{place.layout}' (left out: {describe(listing.ignored)})"
    check_counts(where, listing.labels, listing.parts, listing.classes)
    return listing


def _find(tree: Tree, layout: str, where: str) -> Place:
    bases: list[Names] = [(), *((name,) for name in tree.children(()))]
    places = {base: splits for base in bases if (splits := _split_folders(tree, base))}
    if places:
        if () not in places and len(places) > 1:
            shown = ", ".join(printable("/".join(base), 60) for base in places)
            raise UserError(f"{where}: several folders hold a train split: {shown}; give one of them")
        base = () if () in places else next(iter(places))
        splits = places[base]
        twins = sorted(name for name, part in splits.items() if list(splits.values()).count(part) > 1)
        if twins:
            raise UserError(f"{where}: two folders for the same split: {', '.join(twins)}; keep one")
        (train,) = (name for name, part in splits.items() if part == TRAIN)
        aside = sum(tree.num_below[(*base, train, n)] for n in tree.children((*base, train)) if n.lower() in UNLABELED)
        style = "hw3" if 2 * tree.num_directly((*base, train)) > tree.num_below[(*base, train)] - aside else "classes"
        if layout in ("auto", style):
            return Place(style, base, splits)
    elif layout != "hw3":
        holding = [n for n in tree.children(()) if tree.num_below[(n,)] and n.lower() not in UNLABELED]
        base = (holding[0],) if len(holding) == 1 and not tree.num_directly((*holding,)) else ()
        if holding:
            return Place("classes", base, {})
    folders = ", ".join(f"{printable(n, 40)}/ ({tree.num_below[(n,)]} pictures)" for n in tree.children(())[:8])
    raise UserError(
        f"{where}: the pictures do not lie as layout '{layout}' says; found: {folders or 'no folders'}, "
        f"{tree.num_directly(())} pictures directly in it, left out: {describe(tree.ignored)}; {LAYOUTS}"
    )


def _split_folders(tree: Tree, base: Names) -> dict[str, int]:
    """Folder name → part; empty where the folders in `base` are not splits (a *class* may be called 'train')."""
    children = tree.children(base)
    splits = {name: SPLITS[name.lower()] for name in children if name.lower() in SPLITS}
    others = any(tree.num_below[(*base, n)] for n in children if n not in splits and n.lower() not in UNLABELED)
    return {} if TRAIN not in splits.values() or (len(splits) == 1 and others) else splits


def _within(place: Place, path: Names) -> tuple[int, Names]:
    """(part, what is left of the path below the split's folder); nothing is left of a path outside the layout."""
    rest = path[len(place.base) :] if path[: len(place.base)] == place.base else ()
    if not place.splits or (len(rest) > 1 and rest[0].lower() in UNLABELED):
        return TRAIN, rest
    if len(rest) < 2 or rest[0] not in place.splits:
        return TRAIN, ()
    part, rest = place.splits[rest[0]], rest[1:]
    return part, rest[1:] if part == TRAIN and len(rest) > 2 and rest[0].lower() in LABELED else rest


def _label(tree: Tree, place: Place) -> dict[Names, tuple[str | None, int]]:
    """Picture → (class as written in its path, part); what has no place in the layout is counted as left out."""
    found: dict[Names, tuple[str | None, int]] = {}
    for path in tree.pictures:
        part, rest = _within(place, path)
        if not rest:
            tree.ignored["pictures outside the split folders"] += 1
        elif len(rest) > 1 and part == TRAIN and rest[0].lower() in UNLABELED:
            found[path] = (None, TRAIN)
        elif place.layout == "classes" and len(rest) > 1:
            found[path] = (rest[0], part)
        elif len(rest) > 1:
            tree.ignored["pictures in deeper folders"] += 1
        elif place.layout == "hw3" and (match := LABEL.fullmatch(rest[0])):
            found[path] = (str(int(match[1])), part)
        elif part == TEST:
            found[path] = (None, part)
        else:
            tree.ignored["pictures without a label"] += 1
    return found


def _hide_dummy_class(place: Place, found: dict[Names, tuple[str | None, int]]) -> list[str]:
    """Take the label from test pictures that all lie in one class folder of at least three: `ImageFolder` needs a folder
    even where nobody knows the classes. Changes `found`, returns what was done."""
    tests = [path for path, (key, part) in found.items() if part == TEST and key is not None]
    names = {str(found[path][0]) for path in tests}
    num_classes = len({key for key, part in found.values() if part == TRAIN and key is not None})
    if place.layout != "classes" or not place.splits or len(names) != 1 or num_classes < 3:
        return []
    found.update(dict.fromkeys(tests, (None, TEST)))
    return [f"all test pictures lie in one folder ('{printable(names.pop())}'): they are taken as unlabeled"]


def _class_folders(tree: Tree, place: Place, found: dict[Names, tuple[str | None, int]]) -> list[str]:
    """The names of class folders, in order; empty ones too, so that they are noticed."""
    used = {key for key, _ in found.values()}
    written: set[str] = set()
    for parent, part in [((*place.base, name), part) for name, part in place.splits.items()] or [(place.base, TRAIN)]:
        names = set(tree.children(parent))
        for name in [n for n in names if n.lower() in LABELED and part == TRAIN and tree.children((*parent, n))]:
            names = names - {name} | set(tree.children((*parent, name)))
        written |= {n for n in names if n in used or not (n.lower() in UNLABELED or tree.num_below[(*parent, n)])}
    return in_order(written)


def _classes(
    tree: Tree, place: Place, found: dict[Names, tuple[str | None, int]], where: str
) -> tuple[dict[str, int], tuple[str, ...]]:
    """(class as written in a path → label, names of the classes)."""
    if place.layout == "classes":
        written = _class_folders(tree, place, found)
        names = tuple(printable(name, 100) for name in written)
    else:
        written = sorted({key for key, _ in found.values() if key is not None}, key=int)
        listed = read_classes(tree.root.joinpath(*place.base), tree.root)
        if listed is not None:
            beyond = [key for key in written if int(key) >= len(listed)]
            if beyond:
                raise UserError(f"{where}: classes.json names {len(listed)} classes, but files have label {beyond[-1]}")
            written = [str(label) for label in range(len(listed))]
        names = tuple(written) if listed is None else listed
    folded: dict[str, str] = {}
    for name in names:
        twin = folded.setdefault(unicodedata.normalize("NFC", name).casefold(), name)
        if twin is not name:
            raise UserError(f"{where}: classes '{twin}' and '{name}' have the same name but for case or Unicode form")
    return {key: label for label, key in enumerate(written)}, names


def read_classes(*folders: Path) -> tuple[str, ...] | None:
    """The names of the classes by the first `classes.json` there is; raises UserError where it is no list of names."""
    for path in (folder / "classes.json" for folder in folders):
        if not path.is_file():
            continue
        try:
            with path.open("rb") as file:
                names = json.loads(file.read(1_000_000))
        except (OSError, ValueError, RecursionError) as error:
            raise UserError(f"{printable(path)}: not readable as JSON: {printable(error)}") from error
        if not isinstance(names, list) or not all(isinstance(name, str) and name.strip() for name in names):
            raise UserError(f"{printable(path)}: must be a list of class names (position = label)")
        return tuple(printable(name, 100) for name in names)
    return None


def _warn_left_out(tree: Tree) -> list[str]:
    harmless = {"hidden files", "hidden folders", "other files"}
    odd = {kind: num for kind, num in tree.ignored.items() if kind not in harmless}
    return [f"left out: {describe(odd)}"] if odd else []
