"""Layouts: which split and which class a picture belongs to, read off its place in the folder."""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pipeline.counts import plural
from pipeline.data.asides import leave_out_masks, note_empty, warn_left_out
from pipeline.data.cut import cut, origins, warn_test
from pipeline.data.doubts import (
    ANYWAY,
    UNLABELED,
    doubt_numbers,
    doubts,
    names_hint,
    note_files,
    shown,
    table_hint,
)
from pipeline.data.files import open_file
from pipeline.data.folder import EXTENSIONS, Names, Tree
from pipeline.data.groups import in_folder, told
from pipeline.data.homes import Homes, find_homes
from pipeline.data.listing import (
    PARTS,
    TEST,
    TRAIN,
    UNKNOWN,
    VALID,
    Listing,
    check_counts,
    describe,
    in_order,
    require_distinct,
    small_classes,
    warn_blanks,
    warn_small,
)
from pipeline.data.names import is_aside, label_of
from pipeline.data.taken import Source, Taken
from pipeline.errors import UserError, printable

LAYOUTS = (
    "expected one of: {training,validation,evaluation}/LABEL_NUMBER.jpg (HW3, Food-11); "
    "{train,valid,test}/CLASS/*.jpg; CLASS/{train,valid,test}/*.jpg; CLASS/*.jpg (split here)"
)
KINDS = " ".join(sorted(EXTENSIONS))
LABEL = re.compile(r"([0-9]{1,6})_.*", re.DOTALL)
SMALLER = "; leave small classes out: --set dataset.min_pictures=2"
AWAY = "move them out of the folder"
NO_LABEL, NO_NAME = "pictures without a label", "pictures whose name says no label"
LABELS_FROM = {
    "hw3": "the number before _ in the names of the files",
    "name": "the names of the files, before their number",
    "classes": "the names of the folders",
}
Found = dict[Names, tuple[str | None, int]]  # picture → class as written, part


@dataclass(frozen=True)
class Rules:
    """How a folder is to be read, as the user says it (fields of `Folder`)."""

    layout: Literal["auto", "hw3", "classes"] = "auto"
    label_from: Literal["folders", "name"] = "folders"
    splits: Literal["auto", "none"] = "auto"
    min_pictures: int = 0
    valid_share: float = 0.15
    test_share: float = 0.15
    group_pattern: str = ""
    group_table: str = ""
    group_column: str = ""
    # as the first rules were: folders are classes whatever their names and what they hold
    trusting: bool = False


def list_pictures(tree: Tree, rules: Rules) -> Listing:
    """Label and split the pictures of `tree`; raises UserError where no layout fits or the counts
    do not allow it.
    """
    where = f"data: {printable(tree.root)}"
    if not tree.pictures:
        raise UserError(
            f"{where}: no pictures ({KINDS}) in it; found: {describe(tree.ignored)}; {LAYOUTS}"
        )
    homes = find_homes(tree, where, by_name=rules.splits == "auto")
    style = _style(tree, homes, rules, where)
    if style == "hw3" and rules.layout == "auto" and not rules.trusting:
        doubt_numbers(tree, where)
    subjects, by = in_folder(tree, rules.group_pattern, rules.group_table, rules.group_column)
    found = _label(tree, homes, style)
    leave_out_masks(tree, homes, found if style == "classes" and not rules.trusting else {})
    notes = _hide_dummy_class(homes, style, found)
    notes += _leave_out_small(tree, found, rules.min_pictures)
    written, classes = _classes(tree, homes, style, found, where)
    if style == "classes" and rules.splits == "auto" and not rules.trusting:
        notes += doubts(tree, homes.folders(TRAIN)[0], written, where, split=homes.split)
    notes += [*note_empty(tree, homes, where), *note_files(tree)] if style == "classes" else []
    codes, order = {key: label for label, key in enumerate(written)}, sorted(found, key="/".join)
    labels = [UNKNOWN if key is None else codes[key] for key, _ in map(found.__getitem__, order)]
    parts = [found[path][1] for path in order]
    shares = {VALID: rules.valid_share} if not homes.folders(VALID) else {}
    shares |= {TEST: rules.test_share} if not homes.split and rules.test_share else {}
    files = ["/".join(path) for path in order]
    groups = tuple(subjects.get(file, "") for file in files) if subjects else ()
    keys = ["/".join(path[len(homes.base) :]) for path in order]
    notes[:0] = cut(keys, labels, parts, shares, groups)
    where = f"{where}: read as layout '{style}' (left out: {describe(tree.ignored)})"
    check_counts(
        where, labels, parts, classes, few=SMALLER, hint=_hint(tree, homes, style, written)
    )
    origin = _folders(homes) | origins(shares, whole_groups=bool(groups))
    source = Source(LABELS_FROM[style], "", origin, dict(tree.ignored), told(groups, by))
    taken = Taken.of(source, classes, labels, parts)
    return Listing(
        root=tree.root,
        title=printable(tree.root.name or "pictures", 80),
        layout=style,
        files=tuple(files),
        labels=tuple(labels),
        parts=tuple(parts),
        stamps=tuple(tree.pictures[path] for path in order),
        classes=classes,
        written=tuple(written),
        groups=groups,
        taken=taken,
        warnings=(
            *notes,
            *warn_blanks(taken, AWAY),
            *warn_left_out(tree),
            *warn_test(labels, parts),
        ),
    )


def _style(tree: Tree, homes: Homes, rules: Rules, where: str) -> str:
    """hw3, name or classes; raises UserError where the pictures do not lie as the user says."""
    if rules.label_from == "name":
        return "name"
    if homes.split:
        train = homes.folders(TRAIN)[0]
        aside = sum(
            tree.num_below[(*train, n)] for n in tree.children(train) if n.lower() in UNLABELED
        )
        flat = 2 * tree.num_directly(train) > tree.num_below[train] - aside
        style = "hw3" if flat and not homes.found[train].label else "classes"
    else:
        flat = not any(
            tree.num_below[(*homes.base, n)]
            for n in tree.children(homes.base)
            if n.lower() not in UNLABELED
        )
        style = "" if flat else "classes"
    if style and rules.layout in ("auto", style):
        return style
    raise UserError(
        f"{where}: the pictures do not lie as layout '{rules.layout}' says; found: "
        f"{shown(tree, ())}, {plural(tree.num_directly(()), 'picture')} directly in it, left out: "
        f"{describe(tree.ignored)}; "
        f"{LAYOUTS}{names_hint('/'.join(path) for path in tree.pictures)}{table_hint(tree)}"
    )


def _hint(tree: Tree, homes: Homes, style: str, written: list[str]) -> str:
    """What else may be done where there are too few classes."""
    splits = (
        f"; {shown(tree, homes.base)} are taken for splits; {ANYWAY}"
        if homes.split and not written
        else ""
    )
    return (
        splits
        if style == "name"
        else names_hint("/".join(path) for path in tree.pictures) + table_hint(tree) + splits
    )


def _folders(homes: Homes) -> dict[str, str]:
    """Part → the folders it lies in, in words."""
    made = {}
    for part, name in enumerate(PARTS):
        paths = list(
            dict.fromkeys(
                "/".join(p) if not homes.found[p].label else f"*/{p[-1]}"
                for p in homes.folders(part)
            )
        )
        if paths and homes.split:
            made[name] = f"folder {', '.join(printable(path, 80) for path in paths[:3])}" + (
                " …" if paths[3:] else ""
            )
    return made or {"train": "no folders of splits"}


def _label(tree: Tree, homes: Homes, style: str) -> Found:
    """Picture → (class as written in its path, part); what has no place in the layout is counted as
    left out.
    """
    found: Found = {}
    for path in tree.pictures:
        home, rest = homes.of(path)
        if home is None:
            tree.ignored["pictures outside the split folders"] += 1
            continue
        key, why = (
            ("", "") if home.unlabeled else (home.label, "") if home.label else _key(style, rest)
        )
        if why and not (why in (NO_LABEL, NO_NAME) and home.part == TEST):
            tree.ignored[why] += 1
        else:
            found[path] = (key or None, home.part)
    return found


def _key(style: str, rest: Names) -> tuple[str, str]:
    """(the class that a picture's path below its home says, or why there is none)."""
    if style == "name":
        label = label_of(rest[-1]) or ""
        return (
            ("", "pictures in folders of annotations")
            if any(map(is_aside, rest[:-1]))
            else (label, "" if label else NO_NAME)
        )
    if style == "classes":
        return (rest[0], "") if len(rest) > 1 else ("", NO_LABEL)
    match = LABEL.fullmatch(rest[0])
    return (
        ("", "pictures in deeper folders")
        if len(rest) > 1
        else (str(int(match[1])), "")
        if match
        else ("", NO_LABEL)
    )


def _hide_dummy_class(homes: Homes, style: str, found: Found) -> list[str]:
    """Take the label from test pictures that all lie in one class folder of at least three:
    `ImageFolder` needs a folder even where nobody knows the classes. Changes `found`, returns what
    was done."""
    tests = [path for path, (key, part) in found.items() if part == TEST and key is not None]
    names = {str(found[path][0]) for path in tests}
    num_classes = len({key for key, part in found.values() if part == TRAIN and key is not None})
    first = any(home.label for home in homes.found.values())
    if style != "classes" or not homes.split or first or len(names) != 1 or num_classes < 3:
        return []
    found.update(dict.fromkeys(tests, (None, TEST)))
    return [
        f"all test pictures lie in one folder ('{printable(names.pop())}'): they are taken as "
        "unlabeled"
    ]


def _leave_out_small(tree: Tree, found: Found, minimum: int) -> list[str]:
    """Take the classes of fewer than `minimum` training pictures out of `found`; returns what was
    done.
    """
    small = small_classes(((key or "", part) for key, part in found.values()), minimum)
    gone = [path for path, (key, _) in found.items() if key in small]
    for path in gone:
        del found[path]
    if gone:
        tree.ignored["pictures of classes too small"] += len(gone)
    return warn_small(small, minimum)


def _classes(
    tree: Tree, homes: Homes, style: str, found: Found, where: str
) -> tuple[list[str], tuple[str, ...]]:
    """(classes as written in the paths, in the order of the labels; their names)."""
    written = in_order({key for key, _ in found.values() if key is not None})
    listed = read_classes(tree.root.joinpath(*homes.base), tree.root) if style == "hw3" else None
    if listed is not None:
        beyond = [key for key in written if int(key) >= len(listed)]
        if beyond:
            raise UserError(
                f"{where}: classes.json names {plural(len(listed), 'class', 'classes')}, but files "
                f"have label {beyond[-1]}"
            )
        written = [str(label) for label in range(len(listed))]
        tree.read(Path("classes.json"))
    names = tuple(printable(name, 100) for name in written) if listed is None else listed
    require_distinct(where, names)
    return written, names


def read_classes(*folders: Path) -> tuple[str, ...] | None:
    """The names of the classes by the first `classes.json` there is; raises UserError where it is
    no list of names.
    """
    for path in (folder / "classes.json" for folder in folders):
        if not path.is_file():
            continue
        try:
            with open_file(path) as file:
                names = json.loads(file.read(1_000_000))
        except (OSError, ValueError, RecursionError) as error:
            raise UserError(
                f"{printable(path)}: not readable as JSON: {printable(error)}"
            ) from error
        if not isinstance(names, list) or not all(
            isinstance(name, str) and name.strip() for name in names
        ):
            raise UserError(f"{printable(path)}: must be a list of class names (position = label)")
        return tuple(printable(name, 100) for name in names)
    return None
