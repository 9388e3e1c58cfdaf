"""Predictions as the course's Kaggle pages take them: `Id,Category`, one line a picture, none left out."""

import csv
import io
import os
import re
import tempfile
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from pipeline.data.cache import Data
from pipeline.data.datasets import PictureSet
from pipeline.data.decode import read_picture
from pipeline.data.folder import EXTENSIONS, require_folder, walk
from pipeline.data.listing import TEST, UNKNOWN, BadPicture, describe
from pipeline.data.splits import Split
from pipeline.errors import MachineError, UserError, printable
from pipeline.machine import num_cores

RISKY = ("=", "+", "-", "@", "＝", "＋", "－", "＠", "\t", "\r", "\n", "|", "%")  # some spreadsheets take wide letters too
NUMBER = re.compile(r"-[0-9]+(\.[0-9]+)?")
CHUNK = 256


@dataclass(frozen=True)
class Unlabeled:
    """Pictures to be classified: `files[i]` is row i of `split`; `unreadable`: file → reason, of the rest."""

    files: tuple[str, ...]
    split: Split
    unreadable: Mapping[str, str]


def in_folder(given: str, *, channels: int, size: int) -> Unlabeled:
    """The pictures below a folder, decoded as those of training were; raises UserError where none can be read."""
    try:
        root = require_folder(Path(given))
    except UserError as error:
        raise UserError(str(error).replace("data:", "--predict:", 1)) from None
    tree = walk(root)
    files = sorted("/".join(path) for path in tree.pictures)
    if not files:
        kinds = " ".join(sorted(EXTENSIONS))
        raise UserError(f"--predict: {printable(root)}: no pictures ({kinds}) in it; found: {describe(dict(tree.ignored))}")
    good: list[str] = []
    bad: dict[str, str] = {}
    try:
        with tempfile.TemporaryFile() as file:  # decoded, a folder may be larger than memory
            for name, found in zip(files, _decode(root, files, size, channels), strict=True):
                if isinstance(found, str):
                    bad[name] = found
                else:
                    good.append(name)
                    file.write(found.tobytes())
            file.flush()
            if not good:
                name, reason = next(iter(bad.items()))
                raise UserError(f"--predict: {printable(root)}: none can be read ({printable(name)}: {reason})")
            images = np.memmap(file, np.uint8, "r", shape=(len(good), channels, size, size))
    except OSError as error:
        raise MachineError(f"--predict: cannot keep the decoded pictures: {error.strerror or error}") from error
    return Unlabeled(tuple(good), _split(images, np.arange(len(good))), bad)


def in_study(data: Data, dataset: PictureSet, root: Path | None) -> Unlabeled | None:
    """The test pictures without a label of a study's own data; None where there are none."""
    rows = np.flatnonzero((data.parts == TEST) & (data.labels == UNKNOWN))
    if not len(rows):
        return None
    bad: dict[str, str] = {}
    if data.unreadable:
        reasons = {found.file: found.reason for found in data.unreadable}
        listing = dataset.scan(root)  # the cache does not say which part an unreadable picture was of
        for file, label, part in zip(listing.files, listing.labels, listing.parts, strict=True):
            if file in reasons and (part, label) == (TEST, UNKNOWN):
                bad[file] = reasons[file]
        dataset.close()
    return Unlabeled(tuple(data.files[row] for row in rows), Split(data.images, data.labels, rows), bad)


def table(categories: Mapping[str, object]) -> str:
    """The CSV of file → category (an index or a name), in the natural order of the ids: 2 before 10."""
    names = ids(tuple(categories))
    lines = io.StringIO()
    writer = csv.writer(lines, lineterminator="\n")
    writer.writerow(("Id", "Category"))
    for file in sorted(categories, key=lambda file: (natural(names[file]), file)):
        writer.writerow((names[file], safe(str(categories[file]))))
    return lines.getvalue()


def ids(files: Sequence[str]) -> dict[str, str]:
    """File → id: its name without folders and ending, or its whole relative path where that would not be unique.

    What a spreadsheet would run as a formula gets a leading apostrophe.
    """
    stems = {file: safe(os.path.splitext(file.rpartition("/")[2])[0]) for file in files}
    count = Counter(stems.values())
    found = {file: stem if count[stem] == 1 else safe(file) for file, stem in stems.items()}
    twice = [name for name, num in Counter(found.values()).items() if num > 1]
    if twice:
        raise UserError(f"--predict: two pictures would have the same Id: '{printable(twice[0])}'; rename one of them")
    return found


def natural(text: str) -> tuple[tuple[str, int], ...]:
    """A key that orders numbers within a text by their value."""
    parts = re.findall(r"([^0-9]*)([0-9]*)", text)
    return tuple((word, int(digits) if digits else -1) for word, digits in parts)


def safe(text: str) -> str:
    """`text` without control characters, and not to be taken for a formula; negative numbers stay."""
    line = printable(text, 10_000)
    return f"'{line}" if line.lstrip(" ").startswith(RISKY) and not NUMBER.fullmatch(line) else line


def _split(images: npt.NDArray[np.uint8], rows: npt.NDArray[np.int64]) -> Split:
    return Split(images, np.full(len(images), UNKNOWN, dtype=np.int64), rows)


def _decode(root: Path, files: Sequence[str], size: int, channels: int) -> Iterator[npt.NDArray[np.uint8] | str]:
    """The pixels of every file, or why it cannot be read, in order."""

    def decode(name: str) -> npt.NDArray[np.uint8] | str:
        try:
            return read_picture(root / name, size, channels)[0]
        except BadPicture as bad:
            return str(bad)

    with warnings.catch_warnings(), ThreadPoolExecutor(num_cores()) as pool:
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # our own cap is lower and names the file
        warnings.filterwarnings("ignore", module="PIL")
        for start in range(0, len(files), CHUNK):  # what is decoded waits in memory to be taken
            yield from pool.map(decode, files[start : start + CHUNK])
