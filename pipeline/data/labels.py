"""Labels: which columns of a table say the class of a picture; by name or by what they hold, never
by their place.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace

from pipeline.counts import plural
from pipeline.data.listing import NUMBER, plain
from pipeline.data.names import words
from pipeline.data.tables import Table
from pipeline.errors import UserError, printable

SETTING = "dataset.label_column"
GUESS = " (a guess: it is the other one of two)"
# As Table.places has them; those of one line are alike telling, a line counts where the ones before
# it are not there.
NAMES = (
    words(
        "label labels class classname classlabel labelname classid labelid category categoryname "
        "categoryid target y"
    ),
    words("dx diagnosis species breed variety disease genus family kind type sort finding emotion"),
    words("tag tags id name"),
)
NOTHING = {
    "#N/A",
    "#NA",
    "-NaN",
    "-nan",
    "<NA>",
    "N/A",
    "NA",
    "NULL",
    "NaN",
    "None",
    "n/a",
    "nan",
    "null",
}  # as for pandas
BROKEN = {
    "#VALUE!",
    "#REF!",
    "#NAME?",
    "#DIV/0!",
    "#NUM!",
    "#NULL!",
    "#SPILL!",
}  # what spreadsheets write for no result
ON, OFF = {"1", "1.0", "true", "yes"}, {"0", "0.0", "false", "no"}


@dataclass(frozen=True)
class Labels:
    """The label of every line ('' = none), its columns in words and by their places, and the
    classes in the order of numbers beside their names, where there are some."""

    cells: list[str]
    shown: str = ""
    places: tuple[int, ...] = ()
    order: tuple[str, ...] = ()


def find_labels(table: Table, wanted: str, taken: Collection[int], *, needed: bool) -> Labels:
    """The labels by the column that is `wanted` (several, parted by commas: one for each class),
    else by those of usual names, columns of 0 and 1, or the only other one of two. Raises UserError
    with the columns where there are none that are `needed`; labels that are not must have a telling
    name.
    """
    if wanted:
        names = [wanted] if wanted in table.head else [name.strip() for name in wanted.split(",")]
        places = [table.named(name, SETTING) for name in names]
        return _one(table, places[0]) if len(places) == 1 else _one_hot(table, places)
    places = [place for place in range(table.width) if place not in taken]
    named = _usual(table, places, NAMES if needed else NAMES[:2])
    bits = [
        place
        for place in places
        if all(cell.casefold() in ON | OFF | {""} for cell in table.column(place))
    ]
    if named is not None:
        return named
    if needed and len(bits) > 1 and any(map(any, map(table.column, bits))):
        return _one_hot(table, bits)
    if len(places) == 1 and table.width == 2 and (needed or not table.head):
        return _one(table, places[0], GUESS if table.head else "")
    if needed:
        raise UserError(
            f"{table.where}: which column says the class? name it in {SETTING}{table.columns()}"
        )
    return Labels([""] * len(table.rows))


def clean(cell: str) -> str:
    """A label as it is meant: '' for what says there is none, 3 for 3.0."""
    return "" if cell in NOTHING else plain(cell)


def note_combinations(labels: Labels, name: str) -> list[str]:
    """What is to be said where cells hold several labels that others hold alone: `cat|dog`."""
    known = set(labels.cells) - {""}
    several = {
        label
        for label in known
        for sep in "|;,/ "
        if len(own := label.split(sep)) > 1 and {*map(str.strip, own)} <= known
    }
    num = sum(cell in several for cell in labels.cells)
    first = printable(min(several, default=""), 60)
    told = f"{name}: {plural(num, 'picture has', 'pictures have')} several labels ('{first}')"
    return [f"{told}: each combination is a class of its own"] if num else []


def _one(table: Table, place: int, guess: str = "") -> Labels:
    return Labels(list(map(clean, table.column(place))), f"{table.shown(place)}{guess}", (place,))


def _usual(table: Table, places: list[int], usual: Sequence[Sequence[str]]) -> Labels | None:
    """The labels of the column of a usual name; of several that part the pictures alike the one
    with words.
    """
    for names in usual:
        found = [place for name in names for place in table.places(name) if place in places]
        cells = {place: list(map(clean, table.column(place))) for place in found}
        columns = {
            place: own for place, own in cells.items() if 1 < len(set(own) - {""}) < len(own)
        } or cells
        if len({tuple(_codes(own)) for own in columns.values()}) > 1:
            shown = ", ".join(map(table.shown, columns))
            raise UserError(
                f"{table.where}: {shown} may all say the class; name one in "
                f"{SETTING}{table.columns()}"
            )
        if columns:
            doubt = "" if names is NAMES[0] else _others(table, {*places} - {*found})
            spoken = _spoken(table, columns)
            return replace(spoken, shown=f"{spoken.shown}{doubt}")
    return None


def _others(table: Table, places: Collection[int]) -> str:
    """The columns that may say the class as well as one of a name that says little: words or whole
    numbers, repeated.
    """
    cells = {place: list(map(clean, table.column(place))) for place in sorted(places)}
    found = [
        p
        for p, own in cells.items()
        if 1 < len(set(own) - {""}) <= len(own) / 2 and not any(_is_real(c) for c in own)
    ]
    shown = ", ".join(f"'{printable(table.head[place], 40)}'" for place in found[:3]) + (
        ", …" if found[3:] else ""
    )
    return (
        f" (by its name; {shown} may say the class as well: name it in {SETTING})" if found else ""
    )


def _is_real(cell: str) -> bool:
    match = NUMBER.fullmatch(cell)
    return bool(match and match[2])


def _codes(cells: Sequence[str]) -> Iterator[int]:
    """The cells as numbers by their first appearance: equal for columns that part the lines
    alike.
    """
    known: dict[str, int] = {}
    return (known.setdefault(cell, len(known)) for cell in cells)


def _spoken(table: Table, columns: dict[int, list[str]]) -> Labels:
    """Of columns that part the pictures alike the first with words, ordered by the first with
    numbers.
    """
    numbers = {
        place: own
        for place, own in columns.items()
        if all(NUMBER.fullmatch(cell) for cell in own if cell)
    }
    place = next((place for place in columns if place not in numbers), next(iter(columns)))
    if not numbers or place in numbers:
        return Labels(columns[place], table.shown(place), (place,))
    by = next(iter(numbers))
    values = {
        label: float(number)
        for label, number in zip(columns[place], numbers[by], strict=True)
        if label
    }
    shown = f"{table.shown(place)}, in the order of {table.shown(by)}"
    return Labels(columns[place], shown, (place,), tuple(sorted(values, key=values.__getitem__)))


def _one_hot(table: Table, places: list[int]) -> Labels:
    """The label of a line is the name of the column that is 1 there."""
    shown = f"columns {', '.join(printable(table.head[place], 40) for place in places[:8])}" + (
        " …" if places[8:] else ""
    )
    labels = []
    for line, cells in table.rows:
        given = {place: cells[place].casefold() for place in places if place < len(cells)}
        ones = [place for place, cell in given.items() if cell in ON]
        odd = next((cell for cell in given.values() if cell not in ON | OFF | {""}), None)
        if odd is not None or (len(ones) != 1 and any(given.values())):
            what = (
                f"'{printable(odd, 40)}' is neither 0 nor 1"
                if odd is not None
                else f"{len(ones)} of them are 1"
            )
            raise UserError(
                f"{table.where}: line {line}: {shown} are read as one for each class, and {what}; "
                f"exactly one must be; or name the column of the label in {SETTING}"
            )
        labels.append(table.head[ones[0]] if ones else "")
    return Labels(labels, f"{shown} (one for each class)", tuple(places))
