"""Raster: the pixels that the bytes of a picture file hold, in its own size."""

import contextlib
import functools
import io
import re
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pillow_heif
from PIL import AvifImagePlugin, ExifTags, Image, ImageFile, ImageOps, UnidentifiedImageError

from pipeline.data.limits import memory_for
from pipeline.data.listing import FIRST_RULES, FULL_DEPTH, BadPicture, Reading
from pipeline.errors import printable

FIRST_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "AVIF", "TIFF", "PPM")
FORMATS = (*FIRST_FORMATS, "HEIF")
DEEP_COLOUR = re.compile(r"(RGB|RGBA|RGBX|LA);16[BLN]")  # what Pillow cuts to the high byte
BAND_VALUES = 2**22  # that are computed with at a time
_OPENING = threading.Lock()

Pixels = npt.NDArray[np.uint8]


def decoded(
    raw: bytes, reading: Reading, max_megapixels: int, admit: Callable[[int], object]
) -> tuple[Pixels, int]:
    """(uint8 [1 or 3, H, W], a view with the channels last in memory where it is RGB; `deepest` as
    of `Picture`).

    Before anything is decoded `admit` is called with the bytes of memory that it takes. Raises
    BadPicture and MemoryError.
    """
    with _opened(raw, reading, max_megapixels, admit) as image:
        return pixels_of(image, reading.top)


def loaded(
    raw: bytes, reading: Reading, max_megapixels: int, admit: Callable[[int], object]
) -> Image.Image:
    """The picture itself, read into memory; otherwise as `decoded`."""
    with _opened(raw, reading, max_megapixels, admit) as image:
        image.load()
        return image


@contextlib.contextmanager
def _opened(
    raw: bytes, reading: Reading, max_megapixels: int, admit: Callable[[int], object]
) -> Iterator[Image.Image]:
    try:
        with _open(raw, reading.rules) as image:
            full = image.size
            _shrink(image, max_megapixels, can=reading.rules > FIRST_RULES)
            admit(memory_for(image, raw, full, max_megapixels))
            yield image
    except (BadPicture, MemoryError):
        raise
    except UnidentifiedImageError as error:
        raise BadPicture(
            "not a JPEG, PNG, WebP, BMP, GIF, AVIF, HEIC, TIFF or PPM picture"
        ) from error
    except Exception as error:  # Pillow's plugins raise nearly anything on damaged files
        raise BadPicture(_reason(error)) from error


def use_one_thread() -> None:
    """Have this process decode each picture in one thread: several pictures are decoded at once."""
    pillow_heif.options.DECODE_THREADS = 1
    AvifImagePlugin.DEFAULT_MAX_THREADS = 1


@functools.cache
def _formats(rules: int) -> tuple[str, ...]:
    """The formats that this build of Pillow knows."""
    Image.init()
    if rules > FIRST_RULES:
        pillow_heif.register_heif_opener()
    return tuple(
        name for name in (FORMATS if rules > FIRST_RULES else FIRST_FORMATS) if name in Image.OPEN
    )


def _open(raw: bytes, rules: int) -> Image.Image:
    """The picture, its header read. Pillow's own cap on pixels is off meanwhile: ours is lower, and
    shrinks what it can.
    """
    with _OPENING:
        before, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            return Image.open(io.BytesIO(raw), formats=_formats(rules))
        finally:
            Image.MAX_IMAGE_PIXELS = before


def _shrink(image: Image.Image, max_megapixels: int, *, can: bool) -> None:
    """Have a JPEG decoded at the largest of its fractions that keeps to the cap; raises BadPicture
    where none does.
    """
    width, height = image.size
    if width * height <= max_megapixels * 10**6:
        return
    for part in (2, 4, 8) if can and image.format in ("JPEG", "MPO") else ():
        if -(-width // part) * -(-height // part) <= max_megapixels * 10**6:
            image.draft(None, (width // part, height // part))
            return
    raise BadPicture(
        f"{width} x {height} pixels; dataset.max_megapixels allows {max_megapixels}, and only "
        "JPEGs can be shrunk while they are decoded"
    )


def _reason(error: Exception) -> str:
    """The same words for the same file: no addresses of objects."""
    text = re.sub(r"<[^<>]* at 0x[0-9a-f]+>|0x[0-9a-f]{6,}", "it", str(error))
    return printable(text or type(error).__name__)


IN_ONE, IN_BYTE = -1, -2  # instead of the largest value: floats in 0 … 1, and in 0 … 255


def pixels_of(image: Image.Image, top: int = FULL_DEPTH) -> tuple[Pixels, int]:
    """(uint8 [1 or 3, H, W] of an opened picture: upright, first frame, deep values scaled;
    `deepest` as of `Picture`).

    Raises what Pillow raises.
    """
    deep = _is_deep_colour(image)
    if deep and top < FULL_DEPTH:
        image = _deep_colour(image, top)
    ImageOps.exif_transpose(image, in_place=True)
    if image.mode[0] in "IF":  # Pillow's own conversion clips these at 255
        values = np.asarray(image)
        most = values.max()
        return _eight_bits(values, top)[None], (
            IN_ONE if most <= 1 else IN_BYTE
        ) if image.mode == "F" else int(most)
    rgb = image if image.mode == "RGB" else image.convert("RGB")
    pixels = np.array(rgb).transpose(2, 0, 1)
    return pixels, 256 * int(pixels.max()) + 255 if deep else 0


def _is_deep_colour(image: Image.Image) -> bool:
    """Whether Pillow keeps of more than 8 bits a channel the highest alone."""
    for codec, _, _, args in image.tile if isinstance(image, ImageFile.ImageFile) else ():
        words = args if isinstance(args, tuple) else (args,)
        if any(isinstance(word, str) and DEEP_COLOUR.fullmatch(word) for word in words):
            return True
        if codec == "ppm" and image.mode == "RGB" and words[-1] > 255:
            return True
    return False


def _deep_colour(image: Image.Image, top: int) -> Image.Image:
    """The picture in 8 bits, made from all 16: of 12 that are used the high byte would leave 4.

    Pillow gives the low byte as the high one where it is told the other order of bytes.
    """
    if (
        not isinstance(image, ImageFile.ImageFile)
        or image.fp is None
        or image.format not in ("PNG", "TIFF")
    ):
        raise BadPicture(
            f"colours of 16 bits of which values to {top:,} alone are used; save it as PNG"
        )
    image.fp.seek(0)
    other = Image.open(io.BytesIO(image.fp.read()), formats=[image.format])
    assert isinstance(other, ImageFile.ImageFile)
    grey = any("LA;16" in str(tile.args) for tile in other.tile)
    other.tile = [tile._replace(args=_swapped(tile.args)) for tile in other.tile]
    low = np.asarray(other)
    high = low[..., 0] if grey else np.asarray(image.convert("RGB"))
    low = low[..., 1] if grey else low[..., :3]
    made = np.empty(high.shape, np.uint8)
    rows = max(1, BAND_VALUES // max(1, high[:1].size))
    for start in range(0, len(high), rows):  # all at once would be 1 GB more of 50 megapixels
        band = slice(start, start + rows)
        made[band] = _eight_bits(256 * high[band].astype(np.uint16) + low[band], top)
    del other, low, high
    scaled = Image.fromarray(made)
    orientation = image.getexif().get(ExifTags.Base.Orientation)
    if orientation:
        scaled.getexif()[ExifTags.Base.Orientation] = orientation
    return scaled


def _swapped(args: Any) -> Any:
    """A tile's arguments with the other order of bytes; of grey with alpha, which has none, the
    four bytes as they are.
    """
    if isinstance(args, tuple):
        return tuple(map(_swapped, args))
    if not isinstance(args, str) or not DEEP_COLOUR.fullmatch(args):
        return args
    if args.startswith("LA"):
        return "RGBA"
    return args[:-1] + (
        "B" if args[-1] == "L" or (args[-1] == "N" and sys.byteorder == "little") else "L"
    )


def _eight_bits(values: npt.NDArray[Any], top: int) -> Pixels:
    """Whole numbers of 16 bits, or floats in 0 … 1 or 0 … 255, as uint8; raises BadPicture where
    they are neither.
    """
    low, high = values.min(), values.max()
    if values.dtype.kind == "f":
        if not (np.isfinite(values).all() and low >= 0 and high <= 255):
            raise BadPicture("float values that are not all in 0 … 1 or 0 … 255")
        return by_bands(lambda band: (band * (255 if high <= 1 else 1)).round(), values)
    if low < 0 or high > FULL_DEPTH:
        raise BadPicture(f"values from {low} to {high}; whole numbers up to 65,535 are expected")
    if top < FULL_DEPTH:  # pictures that come later may be brighter than any of the set
        return by_bands(
            lambda band: (band.clip(0, top).astype(np.uint32) * 255 + top // 2) // top, values
        )
    return by_bands(
        lambda band: band.astype(np.uint16) // 257 + (band.astype(np.uint16) % 257 > 128), values
    )


def by_bands(
    function: Callable[[npt.NDArray[Any]], npt.NDArray[Any]], values: npt.NDArray[Any]
) -> Pixels:
    """What `function` makes of each value, as uint8, some rows at a time: its arrays in between are
    many times as large.
    """
    made = np.empty(values.shape[:2] if function is grey else values.shape, np.uint8)
    rows = max(1, BAND_VALUES // max(1, values[:1].size))
    for start in range(0, len(values), rows):
        made[start : start + rows] = function(values[start : start + rows])
    return made


def grey(colours: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """[H, W, 3] → [H, W], weighted (ITU-R BT.601)."""
    red, green, blue = colours.transpose(2, 0, 1).astype(np.uint32)
    return (red * 19595 + green * 38470 + blue * 7471 + 0x8000) >> 16
