"""Decode one picture file to grey or RGB pixels of a fixed size."""

import contextlib
import functools
import hashlib
import io
import re
import threading
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from pipeline.data.listing import BadPicture
from pipeline.errors import printable

VERSION = 2  # raise it whenever the pixels of the same file come out differently: caches are built anew
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "AVIF", "TIFF", "PPM")
MAX_PIXELS = 50_000_000
MAX_BYTES = 256 * 2**20
LARGE_PIXELS = 16_000_000
_LARGE = threading.Semaphore(2)  # with one thread a core, the largest pictures would otherwise need GBs at once

Pixels = npt.NDArray[np.uint8]


def read_picture(path: Path, size: int, channels: int = 3) -> tuple[Pixels, str]:
    """(pixels uint8 [channels, size, size], SHA-256 of the file's bytes); raises BadPicture with the reason.

    Both sides become `size` (bilinear, antialiased; the aspect ratio is not kept). EXIF orientation is applied,
    animations give their first frame, alpha is dropped, 16-bit and float values are scaled to 8 bits. The header is
    checked against MAX_PIXELS before anything is decoded.
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
    return fit(_decode(raw), size, channels), hashlib.sha256(raw).hexdigest()


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
def _formats() -> tuple[str, ...]:
    """The formats that this build of Pillow knows."""
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


def _decode(raw: bytes) -> Pixels:
    """uint8 [1 or 3, H, W], a view with the channels last in memory where it is RGB."""
    try:
        with Image.open(io.BytesIO(raw), formats=_formats()) as image:
            width, height = image.size
            if width * height > MAX_PIXELS:
                raise BadPicture(f"{width} x {height} pixels; the largest allowed is {MAX_PIXELS // 10**6} megapixels")
            with _LARGE if width * height > LARGE_PIXELS else contextlib.nullcontext():
                return pixels_of(image)
    except (BadPicture, MemoryError):
        raise
    except UnidentifiedImageError as error:
        raise BadPicture("not a JPEG, PNG, WebP, BMP, GIF, AVIF, TIFF or PPM picture") from error
    except Image.DecompressionBombError as error:
        raise BadPicture(f"more than {MAX_PIXELS // 10**6} megapixels") from error
    except Exception as error:  # Pillow's plugins raise nearly anything on damaged files
        raise BadPicture(_reason(error)) from error


def _reason(error: Exception) -> str:
    """The same words for the same file: no addresses of objects."""
    text = re.sub(r"<[^<>]* at 0x[0-9a-f]+>|0x[0-9a-f]{6,}", "it", str(error))
    return printable(text or type(error).__name__)


def pixels_of(image: Image.Image) -> Pixels:
    """uint8 [1 or 3, H, W] of an opened picture: upright, first frame, deep values scaled; raises what Pillow raises."""
    ImageOps.exif_transpose(image, in_place=True)
    if image.mode[0] in "IF":  # Pillow's own conversion clips these at 255
        return _eight_bits(np.asarray(image))[None]
    rgb = image if image.mode == "RGB" else image.convert("RGB")
    return np.array(rgb).transpose(2, 0, 1)


def _eight_bits(values: npt.NDArray[Any]) -> Pixels:
    """Whole numbers of 16 bits, or floats in 0 … 1 or 0 … 255, as uint8; raises BadPicture where they are neither."""
    low, high = values.min(), values.max()
    if values.dtype.kind == "f":
        if not (np.isfinite(values).all() and low >= 0 and high <= 255):
            raise BadPicture("float values that are not all in 0 … 1 or 0 … 255")
        return (values * (255 if high <= 1 else 1)).round().astype(np.uint8)
    if low < 0 or high > 65535:
        raise BadPicture(f"values from {low} to {high}; whole numbers up to 65,535 are expected")
    deep = values.astype(np.uint16)
    return (deep // 257 + (deep % 257 > 128)).astype(np.uint8)
