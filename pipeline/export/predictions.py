"""Predictions as competitions take them: one line a picture, none left out, in the form that the
set itself has.
"""

import csv
import io
import os
import re
import tempfile
import unicodedata
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from pipeline.cells import inert
from pipeline.counts import plural
from pipeline.data import ward
from pipeline.data.cache import Data
from pipeline.data.datasets import PictureSet
from pipeline.data.decode import read_picture
from pipeline.data.folder import EXTENSIONS, Tree, require_folder, walk
from pipeline.data.limits import MEGAPIXELS
from pipeline.data.listing import TEST, UNKNOWN, BadPicture, Reading, describe
from pipeline.data.splits import Split
from pipeline.data.tables import read_table
from pipeline.errors import MachineError, UserError, printable
from pipeline.limits import num_cores

CHUNK = 256
USUAL = ("Id", "Category")  # the columns of the course's Kaggle pages


@dataclass(frozen=True)
class Unlabeled:
    """Pictures to be classified: `files[i]` is row i of `split`; `unreadable`: file → reason, of
    the rest.
    """

    files: tuple[str, ...]
    split: Split
    unreadable: Mapping[str, str]


@dataclass(frozen=True)
class Form:
    """How the table is written. `ids`: file → id, in the order of the lines; `columns`: of the ids
    and of the labels.
    """

    ids: Mapping[str, str]
    columns: tuple[str, str] = USUAL
    source: str = ""


def in_folder(given: str, data: Data, dataset: PictureSet) -> Unlabeled:
    """The pictures below a folder, decoded as those of training were; raises UserError where none
    can be read.
    """
    try:
        root = require_folder(Path(given))
    except UserError as error:
        raise UserError(str(error).replace("data:", "--predict:", 1)) from None
    tree = walk(root)
    files = sorted("/".join(path) for path in tree.pictures)
    channels, size = data.images.shape[1:3]
    if not files:
        kinds = " ".join(sorted(EXTENSIONS))
        raise UserError(
            f"--predict: {printable(root)}: no pictures ({kinds}) in it; found: "
            f"{describe(dict(tree.ignored))}"
        )
    good: list[str] = []
    bad: dict[str, str] = {}
    try:
        with tempfile.TemporaryFile() as file:  # decoded, a folder may be larger than memory
            for name, found in zip(files, _decode(root, files, data, dataset), strict=True):
                if isinstance(found, str):
                    bad[name] = found
                else:
                    good.append(name)
                    file.write(found.tobytes())
            file.flush()
            if not good:
                name, reason = next(iter(bad.items()))
                raise UserError(
                    f"--predict: {printable(root)}: none can be read ({printable(name)}: {reason})"
                )
            images = np.memmap(file, np.uint8, "r", shape=(len(good), channels, size, size))
    except OSError as error:
        raise MachineError(
            f"--predict: cannot keep the decoded pictures: {error.strerror or error}"
        ) from error
    return Unlabeled(tuple(good), _split(images, np.arange(len(good))), bad | _unread(tree))


def in_study(data: Data, dataset: PictureSet, root: Path | None) -> Unlabeled | None:
    """The test pictures without a label of a study's own data; None where there are none."""
    rows = np.flatnonzero((data.parts == TEST) & (data.labels == UNKNOWN))
    if not len(rows):
        return None
    bad: dict[str, str] = {}
    if data.unreadable:
        reasons = {found.file: found.reason for found in data.unreadable}
        listing = dataset.scan(
            root
        )  # the cache does not say which part an unreadable picture was of
        for file, label, part in zip(listing.files, listing.labels, listing.parts, strict=True):
            if file in reasons and (part, label) == (TEST, UNKNOWN):
                bad[file] = reasons[file]
        dataset.close()
    if root is not None and dataset.folder == "needed":
        folders = {data.files[row].rpartition("/")[0] for row in rows}
        bad |= {
            file: why
            for file, why in _unread(walk(root)).items()
            if file.rpartition("/")[0] in folders
        }
    return Unlabeled(
        tuple(data.files[row] for row in rows), Split(data.images, data.labels, rows), bad
    )


def form_of(
    files: Sequence[str], columns: tuple[str, str] | None, tables: Iterable[Path]
) -> tuple[Form, list[str]]:
    """(the form of the first of `tables` that lists these pictures, its ids, order and names of
    columns; what is to be said). Where none does, ids are names of files in natural order, 2 before
    10, under the set's own `columns`."""
    notes = []
    known = _by_name(files)
    usual = columns or USUAL
    for path in tables:
        try:
            listed = read_table(path, lambda cell: os.path.splitext(cell)[1].lower() in EXTENSIONS)
        except UserError:
            continue
        for place in range(listed.width):
            cells = listed.column(place)
            found = [known.get(_key(cell), "") for cell in cells]
            own = set(found) - {""}
            if "" in found or len(own) < len(cells):
                if 2 * len(own) > len(cells):
                    gone = plural(
                        len(cells) - len(own),
                        "picture that is not there",
                        "pictures that are not there",
                    )
                    notes.append(
                        f"{printable(path.name, 80)} lists {gone}: its form is not followed"
                    )
                continue
            left = [file for file in sorted(files) if file not in own]
            if left:
                told = plural(len(left), "picture is", "pictures are")
                stand = "stands" if len(left) == 1 else "stand"
                notes.append(
                    f"{told} not listed in {printable(path.name, 80)} and {stand} at the end"
                )
            other = [name for number, name in enumerate(listed.head) if number != place]
            names = (
                (listed.head[place], other[0] if len(other) == 1 else usual[1])
                if listed.head
                else usual
            )
            return Form(dict(zip(found, cells, strict=True)) | ids(left), names, path.name), notes
    named = ids(files)
    order = sorted(named, key=lambda file: (natural(named[file]), file))
    return Form({file: named[file] for file in order}, usual), notes


def templates(folders: Iterable[Path], test_table: Path | None) -> list[Path]:
    """The tables that may say what predictions look like: samples of a submission, then the table
    of the test pictures.
    """
    found = [
        path
        for folder in folders
        for path in sorted(folder.glob("*.csv"))
        if "submission" in path.name.lower()
    ]
    return found + ([test_table] if test_table is not None and test_table.is_file() else [])


def table(
    form: Form,
    labels: Mapping[str, str],
    probabilities: Mapping[str, Sequence[float]],
    classes: Sequence[str],
) -> str:
    """The CSV of file → label; with `probabilities` a column for each of `classes`, empty where a
    picture has none.
    """
    lines = io.StringIO()
    writer = csv.writer(lines, lineterminator="\n")
    extra = [f"probability {name}" for name in classes] if probabilities else []
    writer.writerow([*map(inert, form.columns), *map(inert, extra)])
    for file, name in form.ids.items():
        values = (
            [f"{value:.6f}" for value in probabilities[file]]
            if file in probabilities
            else [""] * len(extra)
        )
        writer.writerow([name if form.source else inert(name), inert(labels[file]), *values])
    return lines.getvalue()


def said(form: Form, data: Data, *, names: bool) -> str:
    """Which labels were written, in words."""
    written = data.classes if names else data.written
    few = ", ".join(printable(label, 40) for label in written[:5]) + (
        ", …" if len(written) > 5 else ""
    )
    kind = (
        "the names of the classes"
        if data.classes == written
        else "the labels that the pictures have"
    )
    followed = f"; ids and order as in {printable(form.source, 80)}" if form.source else ""
    more = "" if names or data.classes == written else "; --names writes names"
    return (
        f"predictions.csv: columns {', '.join(map(printable, form.columns))}; labels: {kind} "
        f"({few}){more}{followed}"
    )


def ids(files: Sequence[str]) -> dict[str, str]:
    """File → id: its name without folders and ending, or its whole relative path where that would
    not be unique.

    What a spreadsheet would run as a formula gets a leading apostrophe.
    """
    stems = {file: inert(os.path.splitext(file.rpartition("/")[2])[0]) for file in files}
    count = Counter(stems.values())
    found = {file: stem if count[stem] == 1 else inert(file) for file, stem in stems.items()}
    twice = [name for name, num in Counter(found.values()).items() if num > 1]
    if twice:
        raise UserError(
            f"--predict: two pictures would have the same Id: '{printable(twice[0])}'; rename one "
            "of them"
        )
    return found


def natural(text: str) -> tuple[tuple[str, int], ...]:
    """A key that orders numbers within a text by their value."""
    parts = re.findall(r"([^0-9]*)([0-9]*)", text)
    return tuple((word, int(digits) if digits else -1) for word, digits in parts)


def _split(images: npt.NDArray[np.uint8], rows: npt.NDArray[np.int64]) -> Split:
    return Split(images, np.full(len(images), UNKNOWN, dtype=np.int64), rows)


def _by_name(files: Sequence[str]) -> dict[str, str]:
    """What may stand for a file → file: its path or the end of it, with and without ending; nothing
    that two share.
    """
    found: dict[str, set[str]] = {}
    for file in files:
        words = file.split("/")
        for start in range(len(words)):
            path = "/".join(words[start:])
            for name in {path, os.path.splitext(path)[0]}:
                found.setdefault(_key(name), set()).add(file)
    return {name: one.pop() for name, one in found.items() if len(one) == 1}


def _key(cell: str) -> str:
    return unicodedata.normalize("NFC", cell.strip().replace("\\", "/").removeprefix("./"))


def _unread(tree: Tree) -> dict[str, str]:
    """Pictures of kinds that nothing here decodes."""
    return {
        "/".join(names): f"{os.path.splitext(names[-1])[1]} is not read" for names in tree.unread
    }


def _decode(
    root: Path, files: Sequence[str], data: Data, dataset: PictureSet
) -> Iterator[npt.NDArray[np.uint8] | str]:
    """The pixels of every file at the scale of the set's own, or why it cannot be read, in
    order.
    """
    channels, size = data.images.shape[1:3]
    cap = getattr(dataset, "max_megapixels", MEGAPIXELS)

    def decode(name: str) -> npt.NDArray[np.uint8] | str:
        try:
            return read_picture(
                root / name,
                size,
                channels,
                reading=Reading(top=data.reading.top),
                max_megapixels=cap,
            )[0]
        except BadPicture as bad:
            return str(bad)

    with warnings.catch_warnings(), ward.dismissed(), ThreadPoolExecutor(num_cores()) as pool:
        warnings.simplefilter(
            "ignore", Image.DecompressionBombWarning
        )  # our own cap is lower and names the file
        warnings.filterwarnings("ignore", module="PIL")
        for start in range(0, len(files), CHUNK):  # what is decoded waits in memory to be taken
            yield from pool.map(decode, files[start : start + CHUNK])
