"""Two hundred picture files that ask for far more time or memory than their bytes are worth, the
same ones every time.
"""

import io
import re
import struct
import zlib
from collections.abc import Iterator

import numpy as np
import pillow_heif
from hostile_pictures import Hostile, png
from PIL import Image

NUM = 200
pillow_heif.register_heif_opener()


def bombs() -> list[Hostile]:
    """(file name, content) of all files."""
    found = [*small_bombs(), *_large_bombs(), *_foreign()]
    rng = np.random.default_rng(200)
    seeds = [
        content for name, content in found if len(content) > 200 and name.split(".")[-1] in SEEDS
    ]
    while (
        len(found) < NUM
    ):  # one byte in ten thousand changed, and some at the beginning, where the sizes stand
        content = bytearray(seeds[len(found) % len(seeds)])
        for place in rng.integers(0, len(content), 1 + len(content) // 10_000):
            content[place] = rng.integers(0, 256)
        for place in rng.integers(0, min(200, len(content)), 2):
            content[place] = rng.integers(0, 256)
        found.append((f"mutated{len(found)}.jpg", bytes(content)))
    assert len(found) == len({name for name, _ in found}) == NUM
    return found


SEEDS = ("heic", "avif", "tif", "gif", "bmp", "webp")


def encoded(kind: str, image: Image.Image, **settings: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **settings)
    return buffer.getvalue()


def blocks(width: int, height: int, mode: str = "RGB") -> Image.Image:
    """Coloured squares: few bytes, and not one colour."""
    cells = np.random.default_rng(5).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    return Image.fromarray(cells).convert(mode).resize((width, height), Image.Resampling.NEAREST)


def flat_png(
    width: int, height: int, depth: int, colour: int, *chunks: bytes, interlaced: bool = False
) -> bytes:
    """Zeros, packed row by row, so that making it takes no memory."""
    samples = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour]
    row, packer = bytes(1 + (width * samples * depth + 7) // 8), zlib.compressobj(9)
    rows = max(1, 2**20 // len(row))
    packed = (
        b"".join(packer.compress(row * min(rows, height - at)) for at in range(0, height, rows))
        + packer.flush()
    )
    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, int(interlaced))
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + b"".join(chunks)
        + chunk(b"IDAT", packed)
        + chunk(b"IEND", b"")
    )


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def many_scans(width: int, height: int, num: int) -> bytes:
    """A progressive JPEG whose last scan comes `num` times again."""
    whole = encoded("JPEG", Image.new("L", (width, height), 99), progressive=True)
    last = whole[whole.rindex(b"\xff\xda") : -2]
    return whole[:-2] + last * num + whole[-2:]


def declared(jpeg: bytes, width: int, height: int) -> bytes:
    """A JPEG with another size in its header."""
    at = next(found.start() for found in re.finditer(rb"\xff[\xc0-\xc2]\x00[\x0b\x11]", jpeg))
    return jpeg[: at + 5] + struct.pack(">HH", height, width) + jpeg[at + 9 :]


def tiff(fields: dict[int, tuple[int, int, int]], data: bytes = b"", order: str = "<") -> bytes:
    """Tag → (type, count, value); the data stand behind the header of 8 bytes."""
    body = b"".join(
        struct.pack(f"{order}HHII", tag, *entry) for tag, entry in sorted(fields.items())
    )
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", 8 + len(data))
    return head + data + struct.pack(f"{order}H", len(fields)) + body + bytes(4)


def strips(width: int, height: int, packed: bytes, how: int, **more: int) -> bytes:
    fields = {
        256: width,
        257: height,
        258: 8,
        259: how,
        262: 1,
        273: 8,
        277: 1,
        278: height,
        279: len(packed),
    }
    fields |= {int(tag[1:]): value for tag, value in more.items()}
    return tiff(
        {tag: (3 if tag in (258, 259, 262, 277) else 4, 1, value) for tag, value in fields.items()},
        packed,
    )


def rle_bmp(width: int, height: int, body: bytes, bits: int = 8) -> bytes:
    kind = 1 if bits == 8 else 2
    head = struct.pack("<IiiHHIIiiII", 40, width, height, 1, bits, kind, len(body), 1, 1, 256, 0)
    return (
        b"BM"
        + struct.pack("<IHHI", 14 + 40 + 1024 + len(body), 0, 0, 14 + 40 + 1024)
        + head
        + bytes(1024)
        + body
    )


def exif(num: int, size: int) -> bytes:
    """A directory of `num` tags, each of which claims the same `size` bytes."""
    entries = b"".join(struct.pack(">HHII", 1000 + n, 7, size, 10 + 12 * num) for n in range(num))
    return b"Exif\0\0MM\0*\0\0\0\x08" + struct.pack(">H", num) + entries + bytes(4) + bytes(size)


def segment(body: bytes, kind: int = 0xE1) -> bytes:
    return bytes((0xFF, kind)) + struct.pack(">H", len(body) + 2) + body


def small_bombs() -> Iterator[Hostile]:
    """Those that are refused, or read, in an instant: the selection for the tests."""
    jpeg = encoded("JPEG", blocks(64, 48))
    progressive = encoded("JPEG", blocks(64, 48, "L"), progressive=True)
    yield "thin-50-million.png", flat_png(1, 49_999_999, 8, 0)
    yield "flat-50-million.png", flat_png(49_999_999, 1, 8, 0)
    yield "thin-million.png", flat_png(1, 1_000_000, 8, 0)
    yield "scans3009.jpg", many_scans(4000, 4000, 3000)
    yield "scans-of-thumbnail.jpg", jpeg[:2] + segment(b"x" + b"\xff\xda" * 30_000) + jpeg[2:]
    yield "progressive60000.jpg", declared(progressive, 60_000, 60_000)
    yield (
        "progressive16000x20000.jpg",
        declared(encoded("JPEG", blocks(64, 48), progressive=True), 16_000, 20_000),
    )
    yield "segments100000.jpg", jpeg[:2] + segment(b"", 0xFE) * 100_000 + jpeg[2:]
    yield "filling2000000.jpg", jpeg[:2] + b"\xff" * 2_000_000 + jpeg[2:]
    yield "exif-overlaps.jpg", jpeg[:2] + segment(exif(2600, 33_000)) + jpeg[2:]
    yield "height-later.jpg", declared(jpeg, 64, 0)
    yield "twelve-bits.jpg", jpeg.replace(b"\xff\xc0\x00\x11\x08", b"\xff\xc0\x00\x11\x0c")
    yield "lossless.jpg", jpeg.replace(b"\xff\xc0\x00\x11", b"\xff\xc3\x00\x11")
    yield "arithmetic.jpg", jpeg.replace(b"\xff\xc0\x00\x11", b"\xff\xc9\x00\x11")
    yield "chunks300000.png", flat_png(8, 8, 8, 0, chunk(b"teXt", b"") * 300_000)
    yield "frames100000.png", flat_png(8, 8, 8, 0, chunk(b"acTL", struct.pack(">II", 100_000, 0)))
    yield "exif-overlaps.png", flat_png(8, 8, 8, 0, chunk(b"eXIf", exif(600, 1_000_000)[6:]))
    yield (
        "comment-of-bytes.gif",
        encoded("GIF", blocks(9, 9))[:-1] + b"!\xfe" + b"\x01x" * 60_000 + b"\0;",
    )
    yield (
        "directory-overlaps.tif",
        tiff({n: (7, 2_000_000, 8) for n in range(1, 600)}, bytes(2_000_000)),
    )
    yield "tile-of-gigabytes.tif", _tiled(50_000, 50_000, zlib.compress(bytes(1_000_000)))
    yield (
        "strips500000.tif",
        tiff(
            {256: (4, 1, 1), 257: (4, 1, 500_000), 258: (3, 1, 8), 262: (3, 1, 1), 278: (4, 1, 1)}
        ),
    )
    yield "large-canvas.webp", _extended_webp(2**24, 2**24)
    yield "canvas16383.webp", _extended_webp(16_383, 16_383)
    yield "heif-of-zeros.heic", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(10_000)


def _tiled(width: int, height: int, packed: bytes) -> bytes:
    fields = {
        256: 8,
        257: 8,
        258: 8,
        259: 8,
        262: 1,
        277: 1,
        322: width,
        323: height,
        324: 8,
        325: len(packed),
    }
    return tiff(
        {tag: (3 if tag in (258, 259, 262, 277) else 4, 1, value) for tag, value in fields.items()},
        packed,
    )


def _extended_webp(width: int, height: int) -> bytes:
    frame = encoded("WEBP", blocks(16, 16))[12:]
    body = (
        struct.pack("<I", 0)
        + (width - 1).to_bytes(3, "little")
        + (height - 1).to_bytes(3, "little")
    )
    chunks = b"VP8X" + struct.pack("<I", 10) + body + frame
    return b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WEBP" + chunks


def _large_bombs() -> Iterator[Hostile]:
    jpeg, big = encoded("JPEG", blocks(64, 48)), blocks(7000, 7000)
    for width, height, num in (
        (4000, 4000, 300),
        (2000, 2000, 1500),
        (500, 500, 20_000),
        (65_500, 600, 90),
        (64, 64, 60_000),
    ):
        yield f"scans{num}of{width}x{height}.jpg", many_scans(width, height, num)
    for width, height in (
        (50_000, 50_000),
        (65_535, 65_535),
        (30_000, 20_000),
        (65_535, 1),
        (1, 65_535),
        (12_000, 9_000),
    ):
        yield f"baseline{width}x{height}.jpg", declared(jpeg, width, height)
        yield (
            f"progressive{width}x{height}.jpg",
            declared(encoded("JPEG", blocks(64, 48), progressive=True), width, height),
        )
    yield "whole49.jpg", encoded("JPEG", big, quality=30)
    yield (
        "whole49-progressive.jpg",
        encoded("JPEG", big, quality=30, progressive=True, subsampling=0),
    )
    yield "whole49-cmyk.jpg", encoded("JPEG", big.convert("CMYK"), quality=30)
    yield "restarts.jpg", encoded("JPEG", blocks(4000, 4000), quality=10, restart_marker_blocks=1)
    yield "exif-in-parts.jpg", jpeg[:2] + segment(exif(5400, 90)) * 200 + jpeg[2:]
    yield "profile255.jpg", encoded("JPEG", blocks(64, 48), icc_profile=bytes(255 * 65_000))
    yield (
        "many-parts.jpg",
        encoded("MPO", blocks(64, 48), save_all=True, append_images=[blocks(64, 48)] * 300),
    )
    yield "film-behind.jpg", jpeg + np.random.default_rng(3).bytes(20_000_000)
    for depth, colour in ((1, 0), (8, 0), (8, 2), (8, 3), (8, 6), (16, 0), (16, 2), (16, 6)):
        extra = (chunk(b"PLTE", bytes(768)),) if colour == 3 else ()
        yield f"whole49-{depth}-{colour}.png", flat_png(7000, 7000, depth, colour, *extra)
    yield "whole49-interlaced.png", flat_png(7000, 7000, 8, 2, interlaced=True)
    yield "wide-million.png", flat_png(1_000_000, 49, 8, 2)
    yield "tall-million.png", flat_png(49, 1_000_000, 8, 2)
    yield "chunks190000.png", flat_png(8, 8, 8, 0, chunk(b"teXt", b"x") * 190_000)
    yield (
        "texts60.png",
        flat_png(8, 8, 8, 0, *[chunk(b"zTXt", b"k\0\0" + zlib.compress(bytes(1_000_000), 9))] * 60),
    )
    yield (
        "texts400.png",
        flat_png(
            8, 8, 8, 0, *[chunk(b"zTXt", b"k\0\0" + zlib.compress(bytes(1_000_000), 9))] * 400
        ),
    )
    yield (
        "international.png",
        flat_png(8, 8, 8, 0, chunk(b"iTXt", b"k\0\1\0\0\0" + zlib.compress(bytes(90_000_000), 9))),
    )
    yield "directory60000.png", flat_png(8, 8, 8, 0, chunk(b"eXIf", exif(60_000, 1_000_000)[6:]))
    yield (
        "profile.png",
        flat_png(8, 8, 8, 0, chunk(b"iCCP", b"k\0\0" + zlib.compress(bytes(300_000_000), 9))),
    )
    yield "behind.png", png(30, 30, 8, 0, bytes(300_000_000))
    frames = encoded(
        "PNG",
        blocks(40, 30),
        save_all=True,
        append_images=[blocks(40, 30).rotate(n) for n in range(400)],
    )
    yield "frames400.png", frames
    bytewise = zlib.compress(bytes(31 * 30), 0)
    parts = b"".join(chunk(b"IDAT", bytewise[at : at + 1]) for at in range(len(bytewise)))
    yield "bytewise.png", png(30, 30, 8, 0, b"")[:33] + parts + chunk(b"IEND", b"")
    gif = encoded("GIF", blocks(40, 30))
    yield "frames50000.gif", gif[:-1] + gif[gif.index(b",") : -1] * 50_000 + b";"
    yield "screen65535x700.gif", gif[:6] + struct.pack("<HH", 65_535, 700) + gif[10:]
    yield (
        "frame-beyond.gif",
        gif.replace(b",\0\0\0\0" + struct.pack("<HH", 40, 30), b",\0\0\0\0\xff\xff\xff\xff", 1),
    )
    yield "comments.gif", gif[:-1] + b"!\xfe" + b"\x01x" * 2_000_000 + b"\0;"
    yield (
        "extensions.gif",
        gif[:13]
        + gif[13 : gif.index(b",")]
        + b"!\xf9\x04\0\0\0\0\0" * 500_000
        + gif[gif.index(b",") :],
    )
    yield "whole49.gif", encoded("GIF", blocks(7000, 7000, "P"))
    film = [blocks(64, 48).rotate(n) for n in range(500)]
    yield (
        "frames500.webp",
        encoded("WEBP", film[0], save_all=True, append_images=film[1:], method=0),
    )
    yield "lossless.webp", encoded("WEBP", blocks(16_383, 3000), lossless=True, method=0, quality=0)
    yield "lossy.webp", encoded("WEBP", blocks(6000, 8000), method=0, quality=1)
    yield "exif-overlaps.webp", encoded("WEBP", blocks(16, 16), exif=exif(5000, 900_000))
    zeros = zlib.compress(bytes(49_000_000), 9)
    yield "whole49-deflate.tif", strips(7000, 7000, zeros, 8)
    yield "strip-beyond.tif", strips(30, 30, zlib.compress(bytes(400_000_000), 9), 8)
    yield "rows-per-strip.tif", strips(7000, 7000, zeros, 8, t278=2**31)
    yield "scans-in-strip.tif", strips(4000, 4000, many_scans(4000, 4000, 3000), 7)
    yield "old-jpeg.tif", strips(4000, 4000, many_scans(4000, 4000, 500), 6)
    for how in (2, 3, 4, 5, 32773, 34712, 34925, 50000, 50001):
        yield f"packing{how}.tif", strips(7000, 7000, zeros[:30_000], how)
    for side in (1000, 20_000, 40_000, 2**31):
        yield f"tile{side}.tif", _tiled(side, side, zlib.compress(bytes(200_000_000), 9))
    yield (
        "pages.tif",
        encoded("TIFF", blocks(40, 30), save_all=True, append_images=[blocks(40, 30)] * 1500),
    )
    yield "samples60000.tif", strips(900, 900, zeros, 8, t277=60_000)
    yield (
        "float49.tif",
        encoded("TIFF", Image.new("F", (6000, 6000), 0.5), compression="tiff_adobe_deflate"),
    )
    yield (
        "int49.tif",
        encoded("TIFF", Image.new("I", (6000, 6000), 900), compression="tiff_adobe_deflate"),
    )
    yield "big.tif", encoded("TIFF", blocks(3000, 3000), big_tiff=True, compression="tiff_lzw")
    yield "runs-of-lines.bmp", rle_bmp(7000, 7000, b"\1\5\0\0" * 7000 + b"\0\1")
    yield "runs-of-pixels.bmp", rle_bmp(7000, 7000, b"\x01\x05" * 2_000_000)
    yield "runs-of-deltas.bmp", rle_bmp(7000, 7000, b"\0\2\xff\x01" * 200_000)
    yield "runs-of-lines4.bmp", rle_bmp(7000, 7000, b"\1\5\0\0" * 7000, bits=4)
    yield "absolute.bmp", rle_bmp(7000, 7000, b"\0\xff" + bytes(256), bits=8)
    yield "plain.ppm", b"P3 1200 1200 255\n" + b"1 2 3\n" * 1_440_000
    yield "bits.pbm", b"P1 3000 3000\n" + b"1 " * 9_000_000
    yield "odd-white.ppm", b"P6 2500 2500 300\n" + bytes(2500 * 2500 * 6)
    yield "comment.ppm", b"P6\n#" + b"x" * 30_000_000 + b"\n9 9 255\n" + bytes(243)
    yield "claims.pgm", b"P5 7000 7000 255\n" + bytes(1000)
    yield "floats.ppm", b"Pf\n3000 3000\n-1.0\n" + bytes(36_000_000)
    for kind, ending, image in (
        ("HEIF", "heic", blocks(2400, 1800)),
        ("AVIF", "avif", blocks(6000, 6000)),
    ):
        whole = encoded(kind, image, quality=20, **({"speed": 10} if kind == "AVIF" else {}))
        at = whole.index(b"ispe") + 8
        yield f"whole.{ending}", whole
        for width, height in ((8, 8), (60_000, 60_000), (2**31 - 1, 2**31 - 1), (1, 7000)):
            yield (
                f"called{width}x{height}.{ending}",
                whole[:at] + struct.pack(">II", width, height) + whole[at + 8 :],
            )
        yield f"cut.{ending}", whole[: len(whole) // 2]
    film = [blocks(320, 240).rotate(n) for n in range(40)]
    yield "film.avif", encoded("AVIF", film[0], save_all=True, append_images=film[1:], speed=10)
    yield "film.heic", encoded("HEIF", blocks(320, 240), save_all=True, append_images=film[1:10])


def _foreign() -> Iterator[Hostile]:
    """Of kinds that are not read, under the endings of pictures: none of their readers may run."""
    small = blocks(64, 64)
    for kind in (
        "ICO",
        "ICNS",
        "EPS",
        "PDF",
        "JPEG2000",
        "TGA",
        "DDS",
        "SGI",
        "XBM",
        "IM",
        "SPIDER",
        "PCX",
        "MSP",
        "BLP",
    ):
        mode = {"XBM": "1", "MSP": "1", "SPIDER": "F", "BLP": "P"}.get(kind, "RGB")
        yield f"foreign-{kind.lower()}.jpg", encoded(kind, small.convert(mode))
    postscript = (
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n(/tmp/proof) "
        b"(w) file closefile showpage\n"
    )
    yield "program.eps.png", postscript + b"{} loop\n%%EOF\n"
    axes = b"NAXIS   =                    2".ljust(80) + b"NAXIS1  =              7000000".ljust(80)
    simple = b"SIMPLE  =                    T".ljust(80) + b"BITPIX  =                    8".ljust(
        80
    )
    yield (
        "sky.png",
        (simple + axes + b"NAXIS2  =              7000000".ljust(80) + b"END".ljust(80)).ljust(
            2880
        ),
    )
    yield (
        "layers.jpg",
        b"8BPS\0\1" + bytes(6) + struct.pack(">HIIHH", 56, 30_000, 30_000, 8, 3) + bytes(5000),
    )
    yield "cursor.png", b"\0\0\2\0\xff\xff" + bytes(16 * 65_535)
    yield "packed.png", b"\x1f\x8b\x08" + zlib.compress(flat_png(8, 8, 8, 0))
    yield "vector.png", b"<svg><!DOCTYPE a [<!ENTITY b 'c'>]>" + b"<g>" * 100_000
    yield (
        "metafile.png",
        b"\xd7\xcd\xc6\x9a"
        + struct.pack("<HhhhhHIH", 0, 0, 0, 32_767, 32_767, 1, 0, 0)
        + bytes(100),
    )
