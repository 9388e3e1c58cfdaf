"""Layouts: which split and which class a picture belongs to, read off its place in the folder."""

import hashlib
import json
import re
import unicodedata
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from pipeline.data.folder import EXTENSIONS, Names, Tree
from pipeline.data.listing import TEST, TRAIN, UNKNOWN, VALID, Listing, check_counts, describe
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
SALT = "fixed cut"


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
    keys, classes = _classes(tree, place, found, where)
    labels = {path: UNKNOWN if key is None else keys[key] for path, (key, _) in found.items()}
    parts = {path: part for path, (_, part) in found.items()}
    notes = _cut(labels, parts, place, valid_share, test_share)
    order = sorted(found, key="/".join)
    listing = Listing(
        root=tree.root,
        title=printable(tree.root.name or "pictures", 80),
        layout=place.layout,
        files=tuple("/".join(path) for path in order),
        labels=tuple(labels[path] for path in order),
        parts=tuple(parts[path] for path in order),
        stamps=tuple(tree.pictures[path] for path in order),
        classes=classes,
        ignored=dict(tree.ignored),
        warnings=(*notes, *_warn_left_out(tree), *_warn_test(labels, parts)),
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
        style = "hw3" if 2 * tree.num_directly((*base, train)) > tree.num_below[(*base, train)] else "classes"
        if layout in ("auto", style):
            return Place(style, base, splits)
    elif layout != "hw3":
        holding = [name for name in tree.children(()) if tree.num_below[(name,)]]
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
    others = any(tree.num_below[(*base, name)] for name in children if name not in splits)
    return {} if TRAIN not in splits.values() or (len(splits) == 1 and others) else splits


def _label(tree: Tree, place: Place) -> dict[Names, tuple[str | None, int]]:
    """Picture → (class as written in its path, part); what has no place in the layout is counted as left out."""
    found: dict[Names, tuple[str | None, int]] = {}
    for path in tree.pictures:
        rest = path[len(place.base) :] if path[: len(place.base)] == place.base else ()
        part = TRAIN
        if place.splits and rest:
            part, rest = place.splits.get(rest[0], UNKNOWN), rest[1:]
        if not rest or part == UNKNOWN:
            tree.ignored["pictures outside the split folders"] += 1
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


def _classes(
    tree: Tree, place: Place, found: dict[Names, tuple[str | None, int]], where: str
) -> tuple[dict[str, int], tuple[str, ...]]:
    """(class as written in a path → label, names of the classes)."""
    if place.layout == "classes":
        parents = [(*place.base, name) for name in place.splits] or [place.base]
        written = sorted({name for parent in parents for name in tree.children(parent)})
        names = tuple(printable(name, 100) for name in written)
    else:
        written = sorted({key for key, _ in found.values() if key is not None}, key=int)
        listed = _read_classes(tree.root, place.base)
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


def _read_classes(root: Path, base: Names) -> tuple[str, ...] | None:
    for path in (root.joinpath(*base, "classes.json"), root / "classes.json"):
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


def _cut(
    labels: dict[Names, int], parts: dict[Names, int], place: Place, valid_share: float, test_share: float
) -> list[str]:
    """Move training pictures to the parts that are missing, class by class; changes `parts`, returns what was done.

    Chosen by a hash of the path, so the cut is the same on every machine and hardly moves when pictures are added.
    """
    wanted = {VALID: valid_share} if VALID not in place.splits.values() else {}
    if not place.splits and test_share:
        wanted[TEST] = test_share
    classes: defaultdict[int, list[Names]] = defaultdict(list)
    for path in sorted(p for p, part in parts.items() if part == TRAIN and wanted):
        classes[labels[path]].append(path)
    for paths in classes.values():
        paths.sort(key=lambda path: _lot(path[len(place.base) :]))
        start = 0
        for part, share in wanted.items():
            num = max(1, int(len(paths) * share + 0.5)) if len(paths) >= 4 else 0
            parts.update(dict.fromkeys(paths[start : start + num], part))
            start += num
    names = {VALID: "validation", TEST: "test"}
    return [
        f"no {names[part]} folder: {share:.0%} of each class was cut from the training pictures"
        for part, share in wanted.items()
    ]


def _lot(path: Names) -> bytes:
    return hashlib.sha256(f"{SALT}/{'/'.join(path)}".encode(errors="surrogateescape")).digest()


def _warn_left_out(tree: Tree) -> list[str]:
    harmless = {"hidden files", "hidden folders", "other files"}
    odd = {kind: num for kind, num in tree.ignored.items() if kind not in harmless}
    return [f"left out: {describe(odd)}"] if odd else []


def _warn_test(labels: dict[Names, int], parts: dict[Names, int]) -> list[str]:
    tests = [labels[path] for path, part in parts.items() if part == TEST]
    unknown = tests.count(UNKNOWN)
    if not tests:
        return ["no test pictures: there is no honest test number, validation numbers were used for selection"]
    if unknown == len(tests):
        return [f"none of the {unknown} test pictures has a label: there is no honest test number"]
    return [f"{unknown} of {len(tests)} test pictures have no label and count for no number"] if unknown else []
