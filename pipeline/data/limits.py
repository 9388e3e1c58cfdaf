"""Limits: what reading one picture may take, and how much of that its first bytes tell.

A file of a few KB can ask for GBs of memory or hours of time. Where its kind and its header bound
the work, it is refused by them, the same everywhere; the others are decoded by a process that can
be ended (`ward.py`).
"""

import contextlib
import re
import struct
import threading
from collections.abc import Iterator

from PIL import Image

from pipeline.data.listing import BadPicture

MEGAPIXELS = 50
MAX_BYTES = 256 * 2**20
MAX_SIDE = 1_000_000  # px; beyond it the weights of the resizing alone are large
MAX_SEGMENTS = 4096  # of a JPEG before its pixels: as many of full length are longer than MAX_BYTES
MAX_FILL = 1_000_000
MAX_CHUNKS = 200_000  # of a PNG; 256 MiB in the usual ones of 8 KB are 33,000
MAX_SCANNED = 4 * 10**9  # pixels times scans of a JPEG: about 5 s
MAX_MARKERS = 1_000_000
SMALL_BYTES = 256 * 2**10  # Pillow's readers written in Python take at most 2 s on this
MEMORY = 800 * 2**20  # bytes that all pictures which are being decoded take together
CPU_SECONDS = 15
SEGMENT = re.compile(rb"\xff{1,%d}+([\x01-\xfe])" % MAX_FILL)
MARKER = re.compile(
    rb"\xff++([\x01-\xcf\xd8-\xfe])"
)  # not the zeros and restarts that stand among the pixels
PLAIN_PPM = re.compile(
    rb"P[56](?:\s|#[^\n]{0,999}+\n){1,50}+\d{1,9}+(?:\s|#[^\n]{0,999}+\n){1,50}+\d{1,9}+\s{1,9}+255\s"
)
NO_LENGTH = frozenset((0x01, *range(0xD0, 0xD9)))


class Budget:
    """Bytes of memory that several threads share."""

    def __init__(self, total: int) -> None:
        self._total = self._free = total
        self._turn = threading.Condition()

    @contextlib.contextmanager
    def claim(self, num_bytes: int) -> Iterator[None]:
        """Wait for that much, or for all of it where it is more; not to be called by who holds
        some.
        """
        own = min(num_bytes, self._total)
        with self._turn:
            self._turn.wait_for(lambda: self._free >= own)
            self._free -= own
        try:
            yield
        finally:
            with self._turn:
                self._free += own
                self._turn.notify_all()


def scaled(amount: int, max_megapixels: int) -> int:
    """A limit that is meant for the usual cap on pixels, for the cap that the user set."""
    return amount * max(max_megapixels, MEGAPIXELS) // MEGAPIXELS


def is_plain(raw: bytes) -> bool:
    """Whether the work on a file follows from its length and its header's sizes, so that it may be
    decoded here.

    Raises BadPicture where Pillow would take too long for the header itself.
    """
    if raw[:3] == b"\xff\xd8\xff":
        _check_segments(raw)
        return True
    if raw[:8] == b"\x89PNG\r\n\x1a\n":
        _check_chunks(raw)
        return True
    if raw[:4] == b"RIFF" and raw[8:12] == b"WEBP":
        return True
    if raw[:2] == b"BM":
        return raw[14:18] != b"\x0c\0\0\0" and raw[30:34] in (
            b"\0\0\0\0",
            b"\3\0\0\0",
        )  # others are decoded in Python
    if PLAIN_PPM.match(raw):
        return True
    if raw[:4] in (b"II*\0", b"MM\0*"):
        return len(raw) <= 8 * SMALL_BYTES and _is_plain_tiff(raw)
    return raw[:3] == b"GIF" and len(raw) <= SMALL_BYTES


def memory_for(image: Image.Image, raw: bytes, full: tuple[int, int], max_megapixels: int) -> int:
    """Bytes that decoding takes of an opened picture, from its header; `full` is its size before it
    was shrunk.

    Raises BadPicture where a side is too long, or a JPEG goes over its pixels too often or keeps
    too much of them: thousands of scans take 20 KB and an hour.
    """
    if max(full) > MAX_SIDE:
        raise BadPicture(f"{full[0]} x {full[1]} pixels; no side may be longer than {MAX_SIDE:,}")
    need = image.size[0] * image.size[1] * _bytes_a_pixel(image) + 2 * len(raw) + 2**20
    if image.format not in ("JPEG", "MPO"):
        return need
    most = MAX_SCANNED // max(full[0] * full[1], 1)
    num = raw.count(b"\xff\xda")
    if num > most and _num_scans(raw, most) > most:
        raise BadPicture(f"a JPEG of {full[0]} x {full[1]} pixels in more than {most:,} scans")
    return need + (_coefficients(image, full, max_megapixels) if num > 1 else 0)


def _bytes_a_pixel(image: Image.Image) -> int:
    """What Pillow, its decoder and our own arrays hold at once, as measured; a tenth more."""
    if any(";16" in str(tile.args) for tile in getattr(image, "tile", ())):
        return 40
    return {"WEBP": 19, "HEIF": 20, "AVIF": 20}.get(
        image.format or "", 11 if image.mode in ("1", "L", "P", "RGB") else 14
    )


def _coefficients(image: Image.Image, full: tuple[int, int], max_megapixels: int) -> int:
    """Bytes that libjpeg keeps of a JPEG in several scans, whatever it is shrunk to."""
    sampling = [(h, v) for _, h, v, _ in getattr(image, "layer", ())] or [(1, 1)]
    most = max(h for h, _ in sampling) * max(v for _, v in sampling) or 1
    need = 2 * full[0] * full[1] * sum(h * v for h, v in sampling) // most
    if need > scaled(MEMORY, max_megapixels) * 3 // 4:
        raise BadPicture(
            f"a JPEG of {full[0]} x {full[1]} pixels in several scans: it takes {need / 1e9:.1f} "
            "GB to decode"
        )
    return need


def _check_segments(raw: bytes) -> None:
    place = 2
    for _ in range(MAX_SEGMENTS):
        found = SEGMENT.match(raw, place)
        if found is None:
            if raw.startswith(b"\xff" * MAX_FILL, place):
                raise BadPicture(f"a JPEG with more than {MAX_FILL:,} bytes of filling")
            return  # damaged: its decoder says how
        kind, place = found[1][0], found.end()
        if kind in (0xD9, 0xDA):
            return
        if kind not in NO_LENGTH:
            place += max(2, int.from_bytes(raw[place : place + 2], "big"))
    raise BadPicture(f"a JPEG with more than {MAX_SEGMENTS:,} segments before its pixels")


def _num_scans(raw: bytes, most: int) -> int:
    """The scans of a JPEG's own picture, those of thumbnails and of what is appended aside; counted
    to just over `most`.
    """
    place, num = 2, 0
    for _ in range(MAX_MARKERS):
        found = MARKER.search(raw, place)
        if found is None or found[1] == b"\xd9" or num > most:
            return num
        place = found.end()
        if found[1][0] not in NO_LENGTH:
            num += found[1] == b"\xda"
            place += max(2, int.from_bytes(raw[place : place + 2], "big"))
    return most + 1


def _check_chunks(raw: bytes) -> None:
    place, num = 8, 0
    while place + 8 <= len(raw):
        num += 1
        if num > MAX_CHUNKS:
            raise BadPicture(f"a PNG of more than {MAX_CHUNKS:,} chunks")
        if raw[place + 4 : place + 8] == b"IEND":
            return
        place += 12 + int.from_bytes(raw[place : place + 4], "big")


def _is_plain_tiff(raw: bytes) -> bool:
    """Whether a TIFF's first picture comes in strips, which are no larger than it, packed in a way
    that takes their time.
    """
    order = "<" if raw[:2] == b"II" else ">"
    try:
        place = struct.unpack_from(f"{order}I", raw, 4)[0]
        num = struct.unpack_from(f"{order}H", raw, place)[0]
        entries = [
            struct.unpack_from(f"{order}HHIHH", raw, place + 2 + 12 * entry)
            for entry in range(min(num, 500))
        ]
    except struct.error:
        return False
    packed = {value for tag, kind, _, value, _ in entries if tag == 259 and kind == 3}
    return (
        num <= 500
        and not {322, 323} & {entry[0] for entry in entries}
        and packed <= {1, 5, 8, 32773, 32946}
    )
