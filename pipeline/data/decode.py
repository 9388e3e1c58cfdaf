"""Decode one picture file to grey or RGB pixels of a fixed size."""

import contextlib
import functools
import hashlib
import io
import re
import sys
import threading
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pillow_heif
from PIL import ExifTags, Image, ImageFile, ImageOps, UnidentifiedImageError

from pipeline.data.listing import FIRST_RULES, FULL_DEPTH, BadPicture, Reading
from pipeline.errors import printable

FIRST_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "AVIF", "TIFF", "PPM")
FORMATS = (*FIRST_FORMATS, "HEIF")
MEGAPIXELS = 50
MAX_BYTES = 256 * 2**20
LARGE_PIXELS = 16_000_000
DEPTHS = tuple(2**bits - 1 for bits in (8, 10, 12, 14, 16))  # white of cameras, scanners and microscopes
DEEP_COLOUR = re.compile(r"(RGB|RGBA|RGBX|LA);16[BLN]")  # what Pillow cuts to the high byte
TODAY = Reading()
_LARGE = threading.Semaphore(2)  # with one thread a core, the largest pictures would otherwise need GBs at once
_OPENING = threading.Lock()

Pixels = npt.NDArray[np.uint8]


class Picture(NamedTuple):
    """pixels: uint8 [channels, size, size]; digest: SHA-256 of the source; deepest: the largest value of a picture of more
    than 8 bits, 0 of others."""

    pixels: Pixels
    digest: str
    deepest: int = 0


def read_picture(
    path: Path, size: int, channels: int = 3, *, reading: Reading = TODAY, max_megapixels: int = MEGAPIXELS
) -> Picture:
    """The picture of a file; raises BadPicture with the reason.

    Both sides become `size` (bilinear, antialiased; the aspect ratio is not kept). EXIF orientation is applied,
    animations give their first frame, alpha is dropped, 16-bit values are scaled so that `reading.top` is white. The size
    is taken from the header before anything is decoded: a JPEG of more than `max_megapixels` is decoded at a half, a
    quarter or an eighth of its sides, other formats are refused.
    """
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise BadPicture(error.strerror or type(error).__name__) from error
    if not raw:
        raise BadPicture("zero bytes")
    if len(raw) > MAX_BYTES:
        raise BadPicture(f"larger than {MAX_BYTES // 2**20} MiB")
    pixels, deepest = _decode(raw, reading, max_megapixels)
    return Picture(fit(pixels, size, channels), hashlib.sha256(raw).hexdigest(), deepest)


def depth_of(deepest: int) -> int:
    """The least usual depth, as its largest value, that holds `deepest`."""
    return next(top for top in DEPTHS if deepest <= top)


def fit(pixels: Pixels, size: int, channels: int) -> Pixels:
    """uint8 [1 or 3, H, W] → [channels, size, size]: grey is repeated, colour is weighted (ITU-R BT.601), then resized."""
    if len(pixels) < channels:
        pixels = np.repeat(pixels, channels, axis=0)
    elif len(pixels) > channels:
        red, green, blue = pixels.astype(np.uint32)
        pixels = ((red * 19595 + green * 38470 + blue * 7471 + 0x8000) >> 16).astype(np.uint8)[None]
    return resize(pixels, size)


def resize(pixels: Pixels, size: int) -> Pixels:
    """uint8 [C, H, W] → [C, size, size], bilinear with antialiasing, aspect ratio not kept."""
    if pixels.shape[1:] == (size, size):
        return np.ascontiguousarray(pixels)
    import torch  # both are slow to import, and a cache that is there needs neither
    from torchvision.transforms.v2 import functional as transforms

    own = pixels if pixels.flags.writeable else pixels.copy()  # torch wants to be able to write
    result = transforms.resize(torch.from_numpy(own), [size, size], antialias=True)
    return np.ascontiguousarray(result.numpy())


@functools.cache
def _formats(rules: int) -> tuple[str, ...]:
    """The formats that this build of Pillow knows."""
    Image.init()
    if rules > FIRST_RULES:
        pillow_heif.register_heif_opener()
    return tuple(name for name in (FORMATS if rules > FIRST_RULES else FIRST_FORMATS) if name in Image.OPEN)


def _open(raw: bytes, rules: int) -> Image.Image:
    """The picture, its header read. Pillow's own cap on pixels is off meanwhile: ours is lower, and shrinks what it can."""
    with _OPENING:
        before, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            return Image.open(io.BytesIO(raw), formats=_formats(rules))
        finally:
            Image.MAX_IMAGE_PIXELS = before


def _decode(raw: bytes, reading: Reading, max_megapixels: int) -> tuple[Pixels, int]:
    """(uint8 [1 or 3, H, W], a view with the channels last in memory where it is RGB; `deepest` as of `Picture`)."""
    try:
        with _open(raw, reading.rules) as image:
            _shrink(image, max_megapixels, can=reading.rules > FIRST_RULES)
            width, height = image.size
            with _LARGE if width * height > LARGE_PIXELS else contextlib.nullcontext():
                return pixels_of(image, reading.top)
    except (BadPicture, MemoryError):
        raise
    except UnidentifiedImageError as error:
        raise BadPicture("not a JPEG, PNG, WebP, BMP, GIF, AVIF, HEIC, TIFF or PPM picture") from error
    except Exception as error:  # Pillow's plugins raise nearly anything on damaged files
        raise BadPicture(_reason(error)) from error


def _shrink(image: Image.Image, max_megapixels: int, *, can: bool) -> None:
    """Have a JPEG decoded at the largest of its fractions that keeps to the cap; raises BadPicture where none does."""
    width, height = image.size
    if width * height <= max_megapixels * 10**6:
        return
    for part in (2, 4, 8) if can and image.format in ("JPEG", "MPO") else ():
        if -(-width // part) * -(-height // part) <= max_megapixels * 10**6:
            image.draft(None, (width // part, height // part))
            return
    raise BadPicture(
        f"{width} x {height} pixels; dataset.max_megapixels allows {max_megapixels}, and only JPEGs can be shrunk while "
        "they are decoded"
    )


def _reason(error: Exception) -> str:
    """The same words for the same file: no addresses of objects."""
    text = re.sub(r"<[^<>]* at 0x[0-9a-f]+>|0x[0-9a-f]{6,}", "it", str(error))
    return printable(text or type(error).__name__)


def pixels_of(image: Image.Image, top: int = FULL_DEPTH) -> tuple[Pixels, int]:
    """(uint8 [1 or 3, H, W] of an opened picture: upright, first frame, deep values scaled; `deepest` as of `Picture`).

    Raises what Pillow raises.
    """
    deep = _is_deep_colour(image)
    if deep and top < FULL_DEPTH:
        image = _deep_colour(image, top)
    ImageOps.exif_transpose(image, in_place=True)
    if image.mode[0] in "IF":  # Pillow's own conversion clips these at 255
        values = np.asarray(image)
        return _eight_bits(values, top)[None], 0 if image.mode == "F" else int(values.max())
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
    if not isinstance(image, ImageFile.ImageFile) or image.fp is None or image.format not in ("PNG", "TIFF"):
        raise BadPicture(f"colours of 16 bits of which values to {top:,} alone are used; save it as PNG")
    image.fp.seek(0)
    other = Image.open(io.BytesIO(image.fp.read()), formats=[image.format])
    assert isinstance(other, ImageFile.ImageFile)
    grey = any("LA;16" in str(tile.args) for tile in other.tile)
    other.tile = [tile._replace(args=_swapped(tile.args)) for tile in other.tile]
    low = np.asarray(other)
    high = low[..., 0] if grey else np.asarray(image.convert("RGB"))
    values = 256 * high.astype(np.uint16) + (low[..., 1] if grey else low[..., :3])
    scaled = Image.fromarray(_eight_bits(values, top))
    orientation = image.getexif().get(ExifTags.Base.Orientation)
    if orientation:
        scaled.getexif()[ExifTags.Base.Orientation] = orientation
    return scaled


def _swapped(args: Any) -> Any:
    """A tile's arguments with the other order of bytes; of grey with alpha, which has none, the four bytes as they are."""
    if isinstance(args, tuple):
        return tuple(map(_swapped, args))
    if not isinstance(args, str) or not DEEP_COLOUR.fullmatch(args):
        return args
    if args.startswith("LA"):
        return "RGBA"
    return args[:-1] + ("B" if args[-1] == "L" or (args[-1] == "N" and sys.byteorder == "little") else "L")


def _eight_bits(values: npt.NDArray[Any], top: int) -> Pixels:
    """Whole numbers of 16 bits, or floats in 0 … 1 or 0 … 255, as uint8; raises BadPicture where they are neither."""
    low, high = values.min(), values.max()
    if values.dtype.kind == "f":
        if not (np.isfinite(values).all() and low >= 0 and high <= 255):
            raise BadPicture("float values that are not all in 0 … 1 or 0 … 255")
        return (values * (255 if high <= 1 else 1)).round().astype(np.uint8)
    if low < 0 or high > FULL_DEPTH:
        raise BadPicture(f"values from {low} to {high}; whole numbers up to 65,535 are expected")
    if top < FULL_DEPTH:  # pictures that come later may be brighter than any of the set
        return ((values.clip(0, top).astype(np.uint32) * 255 + top // 2) // top).astype(np.uint8)
    deep = values.astype(np.uint16)
    return (deep // 257 + (deep % 257 > 128)).astype(np.uint8)
