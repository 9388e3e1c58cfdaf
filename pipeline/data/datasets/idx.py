"""The four files that MNIST and its kin come in."""

import contextlib
import functools
import gzip
import math
import re
import struct
import threading
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Literal

from pipeline.counts import plural
from pipeline.data.datasets.base import Channels, PictureSet, Side, ValidShare, title_of
from pipeline.data.files import open_file
from pipeline.data.folder import require_folder
from pipeline.data.layouts import read_classes
from pipeline.data.listing import TEST, TRAIN, VALID, Listing
from pipeline.data.room import require_room, require_rows
from pipeline.errors import UserError, printable

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from pipeline.data.decode import Picture

STEMS = {(TRAIN, "images"): "train-images", (TRAIN, "labels"): "train-labels"}
STEMS |= {(TEST, "images"): "t10k-images", (TEST, "labels"): "t10k-labels"}
DEPTH = ("", "*/", "*/*/")  # as torchvision stores them: FashionMNIST/raw/
MAX_BYTES = 4 * 2**30
_LOCK = threading.Lock()


class Idx(PictureSet):
    """MNIST, Fashion-MNIST and their kin: `train-images-idx3-ubyte`, `train-labels-idx1-ubyte` and
    the same with `t10k`, packed (.gz) or not (format: Y. LeCun, "The MNIST database of handwritten
    digits").

    The official test set is the test part; validation is cut from train. Names of classes may stand
    in `classes.json`.
    """

    name: Literal["idx"] = "idx"
    size: Side = 28
    channels: Channels = 1
    valid_share: ValidShare = 0.15

    def scan(self, root: Path | None) -> Listing:
        """List the rows; only labels and headers are read. Raises UserError."""
        from pipeline.data.arrays import Block, encode, list_blocks

        root = require_folder(root)
        files = find_files(root)
        columns, stamps = {}, {}
        for part in (TRAIN, TEST):
            if (part, "images") not in files:
                continue
            images = files[part, "images"]
            with _opened(images) as file:
                num = _header(file, images, 3)[0]
            require_rows(f"data: {printable(images)}", num, images.stat().st_size)
            columns[part] = _read(files[part, "labels"], 1)
            if len(columns[part]) != num:
                raise UserError(
                    f"data: {printable(images)}: {plural(num, 'picture')}, but "
                    f"{plural(len(columns[part]), 'label')}"
                )
            both = [files[part, kind].stat() for kind in ("images", "labels")]
            stamps[part] = (
                sum(found.st_size for found in both),
                max(found.st_mtime_ns for found in both),
            )
        names = read_classes(root)
        labels, classes = encode(f"data: {printable(root)}", *columns.values(), names=names)
        blocks = [Block(part, own, stamps[part]) for part, own in zip(columns, labels, strict=True)]
        return list_blocks(
            root,
            title_of(root),
            "idx",
            blocks,
            classes,
            {VALID: self.valid_share},
            named=names is not None,
        )

    def read(self, listing: Listing, row: int) -> "Picture":
        """One row, brought to `channels` and `size`."""
        from pipeline.data.arrays import place_of, row_pixels

        assert listing.root is not None
        part, place = place_of(listing.files[row])
        with _LOCK:  # the first thread loads for all
            images = _images(listing.root, part, listing.stamps[row])
        return row_pixels(images[place][None], 0, self.size, self.channels)

    def close(self) -> None:
        """Let go of the arrays."""
        _images.cache_clear()


def find_files(root: Path) -> dict[tuple[int, str], Path]:
    """(part, images or labels) → file, unpacked before packed; raises UserError where one is
    missing or ambiguous.
    """
    found: dict[tuple[int, str], Path] = {}
    there = sorted(path for pattern in DEPTH for path in root.glob(f"{pattern}*ubyte*"))
    for key, stem in STEMS.items():
        form = re.compile(rf"(?:.*-)?{stem}[-.]idx\d-ubyte(\.gz)?")
        matches = [path for path in there if form.fullmatch(path.name)]
        plain = [path for path in matches if path.suffix != ".gz"] or matches
        if len(plain) > 1:
            shown = ", ".join(printable(path.relative_to(root), 80) for path in plain)
            raise UserError(
                f"data: {printable(root)}: several files for {stem}: {shown}; give the folder of "
                "one set"
            )
        if plain:
            found[key] = plain[0]
    missing = [
        STEMS[key] for key in STEMS if key not in found and (key[0] == TRAIN or len(found) == 3)
    ]
    if missing:
        number = {"images": 3, "labels": 1}
        names = ", ".join(f"{stem}-idx{number[stem.split('-')[1]]}-ubyte[.gz]" for stem in missing)
        raise UserError(f"data: {printable(root)}: missing: {names}")
    return found


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[IO[bytes]]:
    try:
        file = open_file(path)
    except OSError as error:
        raise UserError(f"data: {printable(path)}: {error.strerror}") from error
    with file, gzip.GzipFile(fileobj=file) if path.suffix == ".gz" else file as content:
        yield content  # type: ignore[misc]


def _header(file: IO[bytes], path: Path, dimensions: int) -> tuple[int, ...]:
    """The shape of an idx file of unsigned bytes; raises UserError where it is none."""
    try:
        head = file.read(4 + 4 * dimensions)
        shape = struct.unpack(f">{dimensions}I", head[4:])
    except (OSError, EOFError, zlib.error, struct.error) as error:
        raise UserError(f"data: {printable(path)}: cannot be read: {printable(error)}") from error
    if head[:4] != bytes([0, 0, 8, dimensions]) or not 0 < math.prod(shape) <= MAX_BYTES:
        raise UserError(
            f"data: {printable(path)}: not an idx file of unsigned bytes in {dimensions} dimensions"
        )
    return shape


def _read(path: Path, dimensions: int) -> "npt.NDArray[np.uint8]":
    import numpy as np

    where, length = f"data: {printable(path)}", path.stat().st_size
    with _opened(path) as file:
        shape = _header(file, path, dimensions)
        num, begin = math.prod(shape), 4 + 4 * dimensions
        if path.suffix != ".gz":
            if length - begin != num:
                raise UserError(f"{where}: {length - begin} bytes after its header, expected {num}")
            return np.memmap(path, np.uint8, "c", begin, shape)
        require_room(where, [(num, length)], "unpack it: then it is read from the disk")
        try:
            content = file.read(num + 1)
        except (OSError, EOFError, zlib.error) as error:
            raise UserError(f"{where}: cannot be read: {printable(error)}") from error
    if len(content) != num:
        raise UserError(f"{where}: {len(content)} bytes after its header, expected {num}")
    return np.frombuffer(content, dtype=np.uint8).reshape(shape)


@functools.lru_cache(maxsize=2)
def _images(root: Path, part: int, stamp: tuple[int, int]) -> "npt.NDArray[np.uint8]":  # noqa: ARG001  (part of the key)
    return _read(find_files(root)[part, "images"], 3)
