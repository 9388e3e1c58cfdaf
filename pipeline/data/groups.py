"""Groups: several pictures of one subject (a patient, a product, a video) stay on one side of every
split, since a network knows again what it has seen of it.
"""

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Sequence

from pipeline.counts import plural
from pipeline.data.columns import Wanted, read_columns
from pipeline.data.folder import Tree
from pipeline.data.labels import GUESS
from pipeline.data.labels import SETTING as LABEL_COLUMN
from pipeline.data.listing import PARTS, TEST, VALID
from pipeline.data.lookup import WHICH, Lookup
from pipeline.errors import UserError, printable

SETTING = "dataset.group_pattern"
FEW = 5  # groups: on fewer, a rate says more of them than of their kind


def groups_of(
    files: Sequence[str], pattern: str, named: Sequence[str] | None, source: str = ""
) -> tuple[tuple[str, ...], str]:
    """(the group of each file, by what it is known): by the pattern, or as a table has `named`
    them, None where there is none. Raises UserError where both are given, or one is of no use.
    """
    if pattern and named is not None:
        raise UserError(f"{SETTING}: got a pattern and a table of groups; allowed: one of them")
    if named is not None and not any(named):
        raise UserError(f"dataset.group_column: {source} says no group of any picture")
    found = by_pattern(files, pattern) if pattern else named or ()
    by = f"{SETTING}={printable(pattern, 60)}" if pattern else source
    # of the two ways to write a letter with a mark a subject may have both
    return tuple(unicodedata.normalize("NFC", name) for name in found), by if found else ""


def in_folder(tree: Tree, pattern: str, table: str, column: str) -> tuple[dict[str, str], str]:
    """(path of each picture in a folder → its group, by what it is known), nothing where neither a
    pattern nor a table says so. Raises UserError.
    """
    if column and not table:
        raise UserError(
            f"dataset.group_column: got '{printable(column, 60)}', but no table; name it in "
            "dataset.group_table"
        )
    files = ["/".join(path) for path in tree.pictures]
    known, by = in_table(tree, table, column) if table else ({}, "")
    named = [known.get(file, "") for file in files] if table else None
    groups, by = groups_of(files, pattern, named, by)
    return dict(zip(files, groups, strict=True)) if groups else {}, by


def in_table(tree: Tree, name: str, column: str) -> tuple[dict[str, str], str]:
    """(path of a picture → its group, the column that says it), by a table in the folder. Raises
    UserError where it is not there or cannot be read, leaves open which column or picture is meant,
    contradicts itself, or names no picture.
    """
    path = tree.root / name
    if not path.is_file():
        raise UserError(f"dataset.group_table: no table {printable(path)}")
    lookup = Lookup(tree, "", f"data: {printable(path)}")
    table = lookup.table(path)
    if table.width > 2 and not column:
        raise UserError(
            f"{table.where}: which column says the subject? name it in "
            f"dataset.group_column{table.columns()}"
        )
    wanted = Wanted(label=column, split="none")
    found: dict[str, str] = {}
    try:
        columns = read_columns(table, wanted, lookup.knows, labelled=True)
        for row in columns.rows:
            where = f"{table.where}: line {row.line}"
            file = lookup.find(row.file, "", where)
            if file and found.setdefault(file, row.label) != row.label:
                raise UserError(f"{where}: {printable(row.file)} has another subject before")
    except UserError as error:
        said = str(error).replace(LABEL_COLUMN, "dataset.group_column")
        raise UserError(said.replace(WHICH, "write its path below the folder")) from None
    if not found:
        raise UserError(f"{table.where}: names none of the pictures in {printable(tree.root)}")
    return found, f"{columns.labels.removesuffix(GUESS)} of {printable(name, 60)}"


def by_pattern(files: Sequence[str], pattern: str) -> tuple[str, ...]:
    """The group of each file: what the pattern's parentheses hold, or all that it matches, '' where
    it matches nowhere. Raises UserError where the pattern is none, or finds nothing.
    """
    try:
        found = [re.search(pattern, file) for file in files]
    except re.error as error:
        raise UserError(
            f"{SETTING}: got '{printable(pattern, 80)}', which is no regular expression: "
            f"{printable(error)}"
        ) from None
    named = [
        "/".join(part or "" for part in parts) if any(parts) else ""
        for parts in ((match.groups() or (match[0],)) if match else () for match in found)
    ]
    if files and not any(named):
        raise UserError(
            f"{SETTING}: '{printable(pattern, 80)}' matches in no path, as that of "
            f"'{printable(files[0], 80)}' below the folder"
        )
    return tuple(named)


def told(groups: Sequence[str], where: str) -> str:
    """How many there are, and by what they are known; '' where there are none."""
    if not any(groups):
        return ""
    alone = groups.count("")
    more = f"; {plural(alone, 'picture belongs', 'pictures belong')} to none" if alone else ""
    sizes = Counter(name for name in groups if name).values()
    least = f"{min(sizes):,} to " * (min(sizes) < max(sizes))
    most = plural(max(sizes), "picture")
    return f"{plural(len(sizes), 'group')} of {least}{most}, by {where}{more}"


def warn_few(groups: Sequence[str], labels: Sequence[int], parts: Sequence[int]) -> list[str]:
    """What is to be said of parts that judge by the pictures of few groups."""
    found = []
    for part, name in ((VALID, "validation"), (TEST, "test")):
        rows = zip(groups, labels, parts, strict=True)
        own = [
            (group or number)
            for number, (group, label, p) in enumerate(rows)
            if p == part and label >= 0
        ]
        if any(groups) and 0 < (num := len(set(own))) < FEW:
            found.append(
                f"the {name} part shows {plural(num, 'group')}: what it says holds for these "
                "alone; add groups"
            )
    return found


def warn_parted(groups: Sequence[str], parts: Sequence[int]) -> list[str]:
    """What is to be said of groups that the set itself has parted."""
    homes: defaultdict[str, set[int]] = defaultdict(set)
    for name, part in zip(groups, parts, strict=True):
        if name:
            homes[name].add(part)
    both: Counter[tuple[int, ...]] = Counter(
        tuple(sorted(own)) for own in homes.values() if len(own) > 1
    )
    if not both:
        return []
    shown = ", ".join(
        f"{num:,} in {' and '.join(PARTS[part] for part in own)}"
        for own, num in sorted(both.items())
    )
    return [
        f"leak: groups with pictures in more than one part: {shown}; what is judged on these parts "
        "as they are is flattered"
    ]
