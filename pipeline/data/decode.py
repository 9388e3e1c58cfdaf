"""Decode one picture file to RGB pixels of a fixed size."""

import contextlib
import hashlib
import io
import threading
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from pipeline.data.listing import BadPicture
from pipeline.errors import printable

VERSION = 1  # raise it whenever the pixels of the same file come out differently: caches are built anew
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF")
MAX_PIXELS = 50_000_000
MAX_BYTES = 256 * 2**20
LARGE_PIXELS = 16_000_000
_LARGE = threading.Semaphore(2)  # with one thread a core, the largest pictures would otherwise need GBs at once

Pixels = npt.NDArray[np.uint8]


def read_picture(path: Path, size: int) -> tuple[Pixels, str]:
    """(pixels uint8 [3, size, size], SHA-256 of the file's bytes); raises BadPicture with the reason.

    Both sides become `size` (bilinear, antialiased; the aspect ratio is not kept). EXIF orientation is applied,
    animations give their first frame, alpha is dropped, 16-bit values are scaled to 8 bits. The header is checked
    against MAX_PIXELS before anything is decoded.
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
    return resize(_decode(raw), size), hashlib.sha256(raw).hexdigest()


def resize(pixels: Pixels, size: int) -> Pixels:
    """uint8 [C, H, W] → [C, size, size], bilinear with antialiasing, aspect ratio not kept."""
    import torch  # both are slow to import, and a cache that is there needs neither
    from torchvision.transforms.v2 import functional as transforms

    result = transforms.resize(torch.from_numpy(pixels), [size, size], antialias=True)
    return np.ascontiguousarray(result.numpy())


def _decode(raw: bytes) -> Pixels:
    """RGB uint8 [3, H, W], a view with the channels last in memory."""
    try:
        with Image.open(io.BytesIO(raw), formats=FORMATS) as image:
            width, height = image.size
            if width * height > MAX_PIXELS:
                raise BadPicture(f"{width} x {height} pixels; the largest allowed is {MAX_PIXELS // 10**6} megapixels")
            with _LARGE if width * height > LARGE_PIXELS else contextlib.nullcontext():
                return _pixels(image)
    except (BadPicture, MemoryError):
        raise
    except UnidentifiedImageError as error:
        raise BadPicture("not a JPEG, PNG, WebP, BMP or GIF picture") from error
    except Image.DecompressionBombError as error:
        raise BadPicture(f"more than {MAX_PIXELS // 10**6} megapixels") from error
    except Exception as error:  # Pillow's plugins raise nearly anything on damaged files
        raise BadPicture(printable(str(error) or type(error).__name__)) from error


def _pixels(image: Image.Image) -> Pixels:
    ImageOps.exif_transpose(image, in_place=True)
    if image.mode.startswith("I"):  # 16-bit grey, which Pillow's own conversion to RGB clips at 255
        values = np.asarray(image).astype(np.uint16)
        grey = (values // 257 + (values % 257 > 128)).astype(np.uint8)
        return np.repeat(grey[None], 3, axis=0)
    rgb = image if image.mode == "RGB" else image.convert("RGB")
    return np.array(rgb).transpose(2, 0, 1)
