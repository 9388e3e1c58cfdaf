"""Decode one picture file to grey or RGB pixels of a fixed size."""

import contextlib
import hashlib
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageOps

from pipeline.data import ward
from pipeline.data.files import open_file, read_file
from pipeline.data.limits import MAX_BYTES, MEGAPIXELS, MEMORY, Budget, is_plain
from pipeline.data.listing import BadPicture, Reading
from pipeline.data.raster import Pixels, by_bands, decoded, grey, loaded, pixels_of

LARGE_BYTES = 16 * 2**20
BETWEEN_BYTES = 64 * 2**20
DEPTHS = tuple(
    2**bits - 1 for bits in (8, 10, 12, 14, 16)
)  # white of cameras, scanners and microscopes
TODAY = Reading()
_BUDGET = Budget(MEMORY)
_LARGE = threading.Lock()  # files whose own bytes count: one at a time


class Picture(NamedTuple):
    """pixels: uint8 [channels, size, size]; digest: SHA-256 of the source; deepest: the largest
    value of a picture of more than 8 bits, 0 of others; of floats IN_ONE or IN_BYTE."""

    pixels: Pixels
    digest: str
    deepest: int = 0


def read_picture(
    path: Path | bytes,
    size: int,
    channels: int = 3,
    *,
    reading: Reading = TODAY,
    max_megapixels: int = MEGAPIXELS,
) -> Picture:
    """The picture of a file, or of what one holds; raises BadPicture with the reason.

    Both sides become `size` (bilinear, antialiased; the aspect ratio is not kept). EXIF orientation
    is applied, animations give their first frame, alpha is dropped, 16-bit values are scaled so
    that `reading.top` is white. The size is taken from the header before anything is decoded: a
    JPEG of more than `max_megapixels` is decoded at a half, a quarter or an eighth of its sides,
    other formats are refused. So is what takes more time or memory than a picture may
    (`limits.py`); pictures that are read at once share the memory.
    """
    with _read(path) as (raw, held):
        decode = decoded if is_plain(raw) else ward.decoded
        pixels, deepest = decode(
            raw, reading, max_megapixels, lambda need: held.enter_context(_BUDGET.claim(need))
        )
        return Picture(fit(pixels, size, channels), hashlib.sha256(raw).hexdigest(), deepest)


def digest_of(path: Path) -> str:
    """The digest that `read_picture` gives, without decoding; raises BadPicture."""
    with _read(path) as (raw, _):
        return hashlib.sha256(raw).hexdigest()


def load_rgb(path: str | Path) -> Image.Image:
    """A picture as torchvision's sets load theirs: of any size, RGB, not turned. Raises BadPicture
    beyond our limits.
    """
    with _read(path) as (raw, held):
        if not is_plain(raw):
            raise BadPicture("neither JPEG nor PNG, WebP, or a simple picture of another kind")
        return loaded(
            raw, TODAY, MEGAPIXELS, lambda need: held.enter_context(_BUDGET.claim(need))
        ).convert("RGB")


def foreign_pixels(source: bytes | Path, reading: Reading, mode: str = "") -> tuple[Pixels, int]:
    """As `raster.pixels_of`, of a picture that another package keeps, converted to `mode` before;
    raises BadPicture.
    """
    with _read(source) as (raw, held):

        def admit(need: int) -> None:
            held.enter_context(_BUDGET.claim(need))

        if not is_plain(raw):
            return ward.decoded(raw, reading, MEGAPIXELS, admit)
        image = loaded(raw, reading, MEGAPIXELS, admit)
        ImageOps.exif_transpose(image, in_place=True)
        return pixels_of(
            image.convert(mode) if mode not in ("", image.mode) else image, reading.top
        )


@contextlib.contextmanager
def _read(path: str | Path | bytes) -> Iterator[tuple[bytes, contextlib.ExitStack]]:
    """(the bytes of a file, where to put what is held until its picture is made); raises
    BadPicture.
    """
    with contextlib.ExitStack() as held:
        if isinstance(path, bytes):
            yield path, held
            return
        try:
            with open_file(path) as file:
                if file.seek(0, 2) > LARGE_BYTES:
                    held.enter_context(_LARGE)
                file.seek(0)
                raw = read_file(file, MAX_BYTES)
        except OSError as error:
            raise BadPicture(error.strerror or type(error).__name__) from error
        if raw is None:
            raise BadPicture(f"larger than {MAX_BYTES // 2**20} MiB")
        if not raw:
            raise BadPicture("zero bytes")
        yield raw, held


def depth_of(deepest: int) -> int:
    """The least usual depth, as its largest value, that holds `deepest`."""
    return next(top for top in DEPTHS if deepest <= top)


def fit(pixels: Pixels, size: int, channels: int) -> Pixels:
    """uint8 [1 or 3, H, W] → [channels, size, size]: grey is repeated, colour is weighted (ITU-R
    BT.601), then resized.
    """
    if len(pixels) < channels:
        pixels = np.repeat(pixels, channels, axis=0)
    elif len(pixels) > channels:
        pixels = by_bands(grey, pixels.transpose(1, 2, 0))[None]
    return resize(pixels, size)


def resize(pixels: Pixels, size: int) -> Pixels:
    """uint8 [C, H, W] → [C, size, size], bilinear with antialiasing, aspect ratio not kept."""
    if pixels.shape[1:] == (size, size):
        return np.ascontiguousarray(pixels)
    import torch  # both are slow to import, and a cache that is there needs neither
    from torchvision.transforms.v2 import functional as transforms

    own = torch.from_numpy(
        pixels if pixels.flags.writeable else pixels.copy()
    )  # torch wants to be able to write
    channels, height, width = own.shape
    if width < size < height and channels * height * size > BETWEEN_BYTES:
        own = transforms.resize(
            own, [size, width], antialias=True
        )  # rows come first else, and would be widened
    result = transforms.resize(own, [size, size], antialias=True)
    return np.ascontiguousarray(result.numpy())
