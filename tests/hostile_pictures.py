"""Three hundred picture files that mean harm or are merely broken, the same ones every time.

python tests/hostile_pictures.py FOLDER
"""

import io
import os
import struct
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

NUM = 300
Hostile = tuple[str | bytes, bytes]  # name, content


def write_hostile(folder: Path, prefix: str = "") -> list[str]:
    """Write the files into `folder`; returns their names as Python shows them, in order.

    Names that the file system does not take are replaced by plain ones.
    """
    folder.mkdir(parents=True, exist_ok=True)
    names = []
    for number, (name, content) in enumerate(hostile()):
        own = os.fsencode(prefix) + (name if isinstance(name, bytes) else os.fsencode(name))
        try:
            with open(os.path.join(os.fsencode(folder), own), "xb") as file:
                file.write(content)
        except OSError:
            own = os.fsencode(f"{prefix}plain{number}.jpg")
            Path(os.fsdecode(os.path.join(os.fsencode(folder), own))).write_bytes(content)
        names.append(os.fsdecode(own))
    return names


def hostile() -> list[Hostile]:
    """(file name, content) of all files."""
    found = [
        *_truncated(),
        *_wrong_kind(),
        *_declared_size(),
        *_png_chunks(),
        *_jpeg_segments(),
        *_others(),
        *_names(),
    ]
    rng = np.random.default_rng(300)
    valid = [content for content in _valid().values() if len(content) > 100]
    while len(found) < NUM:  # bytes of valid files changed at random
        n = len(found)
        content = bytearray(valid[n % len(valid)])
        for place in rng.integers(0, len(content), 1 + n % 40):
            content[place] = rng.integers(0, 256)
        found.append((f"flipped{n}.png", bytes(content)))
    assert len(found) == NUM
    assert len({os.fsencode(name) if isinstance(name, str) else name for name, _ in found}) == NUM
    return found


def _picture() -> Image.Image:
    red = np.tile(np.linspace(0, 255, 40), (30, 1))
    return Image.fromarray(np.stack([red, red[::-1], 255 - red], axis=2).astype(np.uint8))


def _encoded(kind: str, image: Image.Image | None = None, **settings: object) -> bytes:
    buffer = io.BytesIO()
    (image or _picture()).save(buffer, kind, **settings)
    return buffer.getvalue()


def _valid() -> dict[str, bytes]:
    """Extension → a valid file."""
    noise = Image.fromarray(np.random.default_rng(1).integers(0, 256, (30, 40, 3)).astype(np.uint8))
    return {
        "jpg": _encoded("JPEG"),
        "jpeg": _encoded("JPEG", noise, progressive=True, quality=95),
        "png": _encoded("PNG", noise),
        "webp": _encoded("WEBP", noise),
        "gif": _encoded("GIF", save_all=True, append_images=[Image.new("RGB", (40, 30), "red")]),
        "bmp": _encoded("BMP"),
        "tif": _encoded("TIFF", compression="tiff_lzw"),
        "ppm": _encoded("PPM"),
    }


def _truncated() -> Iterator[Hostile]:
    for kind, content in _valid().items():
        for percent in (1, 5, 10, 20, 35, 50, 65, 80, 90, 95, 99):
            yield f"cut{percent}.{kind}", content[: max(1, len(content) * percent // 100)]
        yield f"cut-last-byte.{kind}", content[:-1]
        yield f"zeros-behind-half.{kind}", content[: len(content) // 2] + bytes(len(content) // 2)
        yield (
            f"ones-behind-half.{kind}",
            content[: len(content) // 2] + b"\xff" * (len(content) // 2),
        )


MAGIC = {
    "jpg": b"\xff\xd8\xff\xe0\x00\x10JFIF\x00",
    "png": b"\x89PNG\r\n\x1a\n",
    "gif": b"GIF89a",
    "bmp": b"BM",
    "webp": b"RIFF\xff\xff\xff\x7fWEBPVP8 ",
    "tif": b"II*\x00",
    "tiff": b"MM\x00*",
    "ppm": b"P6\n",
    "pgm": b"P2 ",
    "avif": b"\x00\x00\x00\x1cftypavif",
}


def _wrong_kind() -> Iterator[Hostile]:
    rng = np.random.default_rng(2)
    for kind, magic in MAGIC.items():
        yield f"empty.{kind}", b""
        yield f"magic-only.{kind}", magic
        yield f"magic-then-noise.{kind}", magic + rng.bytes(3000)
        yield f"noise.{kind}", rng.bytes(2000)
    texts = {
        "page.jpg": b"<!DOCTYPE html><html><body>404</body></html>",
        "text.png": b"not a picture at all\n" * 40,
        "vector.jpg": b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>",
        "archive.jpg": b"PK\x03\x04" + bytes(200),
        "document.jpg": b"%PDF-1.4\n%%EOF",
        "postscript.jpg": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(%pipe%id) (r) file\n",
        "program.png": b"\x7fELF" + bytes(200),
        "pickle.jpg": b"\x80\x04cos\nsystem\n(S'id'\ntR.",
        "json.jpg": b'{"error": "rate limit"}',
        "zeros.jpg": bytes(5000),
        "ones.png": b"\xff" * 5000,
        "byte.gif": b"G",
    }
    yield from texts.items()
    valid = _valid()
    yield from [
        ("png-called.jpg", valid["png"]),
        ("gif-called.png", valid["gif"]),
        ("jpeg-called.webp", valid["jpg"]),
    ]


def png(width: int, height: int, depth: int, colour: int, rows: bytes, *chunks: bytes) -> bytes:
    """A PNG by hand; `chunks` stand before the pixels."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    packed = _chunk(b"IDAT", zlib.compress(rows, 9))
    return (
        b"\x89PNG\r\n\x1a\n"
        + _chunk(b"IHDR", header)
        + b"".join(chunks)
        + packed
        + _chunk(b"IEND", b"")
    )


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def _declared_size() -> Iterator[Hostile]:
    jpeg, gif, bmp = (_valid()[kind] for kind in ("jpg", "gif", "bmp"))
    for width, height in (
        (8000, 8000),
        (30_000, 30_000),
        (2**31 - 1, 2**31 - 1),
        (1, 2**31 - 1),
        (2**32 - 1, 1),
        (0, 5),
    ):
        yield f"declares{width}x{height}.png", png(width, height, 8, 2, b"")
        yield f"declares{width}x{height}.tif", _tiff(min(width, 2**32 - 1), height)
        yield (
            f"declares{width}x{height}.bmp",
            bmp[:18] + struct.pack("<II", width, height) + bmp[26:],
        )
        yield f"declares{width}x{height}.ppm", f"P6 {width} {height} 255\n".encode() + bytes(100)
    yield "declares65535.jpg", jpeg.replace(struct.pack(">HH", 30, 40), b"\xff\xff\xff\xff", 1)
    yield "declares0.jpg", jpeg.replace(struct.pack(">HH", 30, 40), b"\x00\x00\x00\x00", 1)
    yield "declares65535.gif", gif[:6] + b"\xff\xff\xff\xff" + gif[10:]
    yield (
        "bomb.png",
        png(7000, 7000, 1, 0, bytes(7000 * 876)),
    )  # 6 KB on disk; within the cap, so it is decoded
    yield (
        "bomb-behind.png",
        png(30, 30, 8, 0, bytes(20_000_000)),
    )  # unpacks to much more than its pixels


def _tiff(width: int, height: int, **tags: int) -> bytes:
    fields = {
        256: width,
        257: height,
        258: 8,
        259: 1,
        262: 1,
        273: 8,
        277: 1,
        278: height,
        279: 100,
    }
    fields |= {int(tag[1:]): value for tag, value in tags.items()}
    body = b"".join(
        struct.pack("<HHII", tag, 4, 1, value & 0xFFFFFFFF) for tag, value in sorted(fields.items())
    )
    return (
        b"II*\x00"
        + struct.pack("<I", 108)
        + bytes(100)
        + struct.pack("<H", len(fields))
        + body
        + bytes(4)
    )


def _png_chunks() -> Iterator[Hostile]:
    rows = b"".join(b"\x00" + bytes(range(90)) for _ in range(30))
    whole = png(30, 30, 8, 2, rows)
    yield "bad-crc-header.png", whole[:29] + b"\x00\x00\x00\x00" + whole[33:]
    yield "bad-crc-pixels.png", whole[:-16] + b"\x00\x00\x00\x00" + whole[-12:]
    yield "no-end.png", whole[:-12]
    yield "no-header.png", whole[:8] + whole[33:]
    yield "chunk-too-long.png", whole[:33] + struct.pack(">I", 2**31 - 1) + whole[37:]
    yield "chunk-negative.png", whole[:33] + b"\xff\xff\xff\xff" + whole[37:]
    yield "filter-99.png", png(30, 30, 8, 2, b"".join(b"\x63" + bytes(90) for _ in range(30)))
    yield "depth-7.png", png(30, 30, 7, 2, rows)
    yield "colour-5.png", png(30, 30, 8, 5, rows)
    yield "no-palette.png", png(30, 30, 8, 3, bytes(30 * 31))
    yield (
        "palette-short.png",
        png(
            30,
            30,
            8,
            3,
            b"".join(b"\x00" + b"\xf0" * 30 for _ in range(30)),
            _chunk(b"PLTE", bytes(3)),
        ),
    )
    yield "palette-odd.png", png(30, 30, 8, 3, bytes(30 * 31), _chunk(b"PLTE", bytes(7)))
    yield "palette-huge.png", png(30, 30, 8, 3, bytes(30 * 31), _chunk(b"PLTE", bytes(3 * 5000)))
    bomb = zlib.compress(bytes(50_000_000), 9)
    yield "text-bomb.png", png(30, 30, 8, 2, rows, *[_chunk(b"zTXt", b"k\x00\x00" + bomb)] * 3)
    yield "profile-bomb.png", png(30, 30, 8, 2, rows, _chunk(b"iCCP", b"k\x00\x00" + bomb))
    yield "too-few-rows.png", png(30, 30, 8, 2, rows[: len(rows) // 2])
    yield (
        "many-frames.png",
        png(30, 30, 8, 2, rows, _chunk(b"acTL", struct.pack(">II", 2**31 - 1, 0))),
    )
    yield (
        "interlaced-nonsense.png",
        whole[:28] + b"\x01" + struct.pack(">I", zlib.crc32(whole[12:28] + b"\x01")) + whole[33:],
    )


def _jpeg_segments() -> Iterator[Hostile]:
    jpeg = _valid()["jpg"]
    exifs = {
        "garbage": b"Exif\x00\x00" + b"\xff" * 50,
        "loop": b"Exif\x00\x00II*\x00\x08\x00\x00\x00\x00\x00\x08\x00\x00\x00",
        "far": b"Exif\x00\x00II*\x00\xff\xff\xff\x7f",
        "huge-count": b"Exif\x00\x00MM\x00*\x00\x00\x00\x08\xff\xff" + bytes(20),
        "orientation-99": b"Exif\x00\x00MM\x00*\x00\x00\x00\x08\x00\x01\x01\x12\x00\x03"
        + b"\x00\x00\x00\x01\x00\x63"
        + bytes(6),
        "orientation-text": b"Exif\x00\x00MM\x00*\x00\x00\x00\x08\x00\x01\x01\x12\x00\x02"
        + b"\x00\x00\x00\x05"
        + bytes(8),
    }
    for name, body in exifs.items():
        yield (
            f"exif-{name}.jpg",
            jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + jpeg[2:],
        )
    for marker in (0xDB, 0xC4, 0xC0, 0xDA):  # quantisation, Huffman tables, frame, scan
        at = jpeg.index(bytes([0xFF, marker]))
        length = struct.unpack(">H", jpeg[at + 2 : at + 4])[0]
        yield f"without-{marker:x}.jpg", jpeg[:at] + jpeg[at + 2 + length :]
        yield (
            f"noise-in-{marker:x}.jpg",
            jpeg[: at + 4] + b"\xaa" * (length - 2) + jpeg[at + 2 + length :],
        )
    yield "segment-zero.jpg", jpeg[:2] + b"\xff\xe0\x00\x00" + jpeg[2:]
    yield "only-ends.jpg", b"\xff\xd8\xff\xd9"
    yield "endless-fill.jpg", jpeg[:2] + b"\xff" * 20_000 + jpeg[2:]


def _others() -> Iterator[Hostile]:
    gif = _valid()["gif"]
    yield "many-frames.gif", gif[:-1] + gif[gif.index(b"!\xf9") : -1] * 500 + b";"
    yield "frame-outside.gif", gif.replace(b",\x00\x00\x00\x00", b",\xff\xff\xff\xff", 1)
    yield "nan.tif", _encoded("TIFF", Image.fromarray(np.full((9, 9), np.nan, np.float32)))
    yield "infinite.tif", _encoded("TIFF", Image.fromarray(np.full((9, 9), np.inf, np.float32)))
    yield "negative.tif", _encoded("TIFF", Image.fromarray(np.full((9, 9), -5, np.int32)))
    yield "loop.tif", b"II*\x00\x08\x00\x00\x00" + struct.pack("<H", 0) + struct.pack("<I", 8)
    for tag, value in (
        ("t258", 64),
        ("t259", 7),
        ("t262", 99),
        ("t273", 2**31),
        ("t277", 60_000),
        ("t279", 2**31),
    ):
        yield f"{tag}-{value}.tif", _tiff(9, 9, **{tag: value})
    yield "thin.png", _encoded("PNG", Image.new("RGB", (20_000, 1), "red"))
    yield "tall.png", _encoded("PNG", Image.new("L", (1, 20_000), 9))
    yield "dot.bmp", _encoded("BMP", Image.new("1", (1, 1)))
    yield "comment-endless.ppm", b"P6\n#" + b"x" * 100_000
    yield "number-endless.ppm", b"P6 " + b"9" * 5000 + b" 1 255\n"
    yield "max-0.pgm", b"P5 4 4 0\n" + bytes(16)
    yield "float-nan.ppm", b"PF\n2 2\n-1.0\n" + struct.pack("<f", float("nan")) * 12


def _names() -> Iterator[Hostile]:
    good, bad = _valid()["png"], b"<html>"
    odd: list[str | bytes] = [
        "new\nline.png",
        "tab\tand\rreturn.png",
        "\u202egnp.rtl.png",
        "\U0001f600\U0001f4a9.png",
        b"invalid \xff\xfe utf8.png",
        "long" * 60 + ".png",
        "-rf.png",
        "--help.png",
        "quote'\"`$(id).png",
        "<script>alert(1)<.png",
        "back\\slash.png",
        "*?[a].png",
        "  spaces  .png",
        "\x1b[2J\x07escape.png",
        "%s%n%x{0}.png",
        "e\u0301 and \u00e9.png",
        "null\u2400.png",
        "UPPER.PNG",
        "two.dots..png",
        "con.png",
    ]
    for number, name in enumerate(odd):
        yield name, bad if number % 2 else good


if __name__ == "__main__":
    print(f"{len(write_hostile(Path(sys.argv[1])))} files written to {sys.argv[1]}")
