"""Decoding: what kinds of files give which pixels, and which are refused with which reason."""

import hashlib
import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from pictures import photo, save
from PIL import Image, features

from pipeline.data.decode import MAX_PIXELS, fit, read_picture, resize
from pipeline.data.listing import BadPicture


def encoded(image: Image.Image, kind: str, **settings: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **settings)
    return buffer.getvalue()


def smooth(width: int = 48, height: int = 32) -> Image.Image:
    """Red grows to the right, green downwards, blue is constant: any flip, swap or scale shows."""
    red = np.tile(np.linspace(0, 255, width), (height, 1))
    green = np.tile(np.linspace(0, 255, height)[:, None], (1, width))
    return Image.fromarray(np.stack([red, green, np.full_like(red, 90)], axis=2).round().astype(np.uint8))


def expected(image: Image.Image, size: int) -> np.ndarray:
    """What the course's transform gives: Pillow's antialiased bilinear resize of the RGB picture."""
    return np.asarray(image.convert("RGB").resize((size, size), Image.Resampling.BILINEAR)).transpose(2, 0, 1)


def check(path: Path, image: Image.Image, tolerance: float, size: int = 16) -> None:
    pixels, digest = read_picture(path, size)
    assert pixels.dtype == np.uint8
    assert pixels.shape == (3, size, size)
    assert pixels.flags.c_contiguous
    assert digest == hashlib.sha256(path.read_bytes()).hexdigest()
    assert np.abs(pixels.astype(int) - expected(image, size)).max() <= tolerance


PALETTE = smooth().convert("P", palette=Image.Palette.ADAPTIVE, colors=256)
TURNED = smooth().transpose(Image.Transpose.ROTATE_90)  # EXIF 6 says: turn right by 90 degrees to see it upright
EXIF = Image.Exif()
EXIF[0x0112] = 6
FRAMES = {"save_all": True, "append_images": [Image.new("RGB", (48, 32), "white")]}


@pytest.mark.parametrize(
    ("name", "data", "image", "tolerance"),
    [
        ("rgb.png", encoded(smooth(), "PNG"), smooth(), 1),
        ("rgb.jpg", encoded(smooth(), "JPEG", quality=95), smooth(), 6),
        ("progressive.JPEG", encoded(smooth(), "JPEG", quality=95, progressive=True), smooth(), 6),
        ("rgb.webp", encoded(smooth(), "WEBP", lossless=True), smooth(), 1),
        ("rgb.bmp", encoded(smooth(), "BMP"), smooth(), 1),
        ("wrong-extension.bmp", encoded(smooth(), "PNG"), smooth(), 1),
        ("grey.jpg", encoded(smooth().convert("L"), "JPEG", quality=95), smooth().convert("L"), 4),
        ("bilevel.png", encoded(smooth().convert("1"), "PNG"), smooth().convert("1"), 1),
        ("grey-alpha.png", encoded(smooth().convert("LA"), "PNG"), smooth().convert("L"), 1),
        ("alpha.png", encoded(smooth().convert("RGBA"), "PNG"), smooth(), 1),
        ("alpha.webp", encoded(smooth().convert("RGBA"), "WEBP", lossless=True), smooth(), 1),
        ("palette.png", encoded(PALETTE, "PNG"), PALETTE, 1),
        ("palette-transparent.png", encoded(PALETTE, "PNG", transparency=3), PALETTE, 1),
        ("palette-transparent.gif", encoded(PALETTE, "GIF", transparency=3), PALETTE, 1),
        ("cmyk.jpg", encoded(smooth().convert("CMYK"), "JPEG", quality=95), smooth(), 8),
        ("exif.jpg", encoded(TURNED, "JPEG", quality=95, exif=EXIF), smooth(), 6),
        ("exif.png", encoded(TURNED, "PNG", exif=EXIF), smooth(), 1),
        ("exif.webp", encoded(TURNED, "WEBP", lossless=True, exif=EXIF), smooth(), 1),
        ("animated.gif", encoded(PALETTE, "GIF", **FRAMES), PALETTE, 1),
        ("animated.webp", encoded(smooth(), "WEBP", lossless=True, **FRAMES), smooth(), 1),
        ("animated.png", encoded(smooth(), "PNG", **FRAMES), smooth(), 1),
        ("lossless.tif", encoded(smooth(), "TIFF", compression="tiff_deflate"), smooth(), 1),
        ("cmyk.tiff", encoded(smooth().convert("CMYK"), "TIFF"), smooth(), 2),
        ("float-255.tif", encoded(smooth().convert("F"), "TIFF"), smooth().convert("L"), 1),
        ("float-1.tif", encoded(smooth().convert("F").point(lambda v: v / 255), "TIFF"), smooth().convert("L"), 1),
        ("pages.tif", encoded(smooth(), "TIFF", **FRAMES), smooth(), 1),
        ("exif.tif", encoded(TURNED, "TIFF", exif=EXIF), smooth(), 1),
        ("rgb.ppm", encoded(smooth(), "PPM"), smooth(), 1),
        ("grey.pgm", encoded(smooth().convert("L"), "PPM"), smooth().convert("L"), 1),
        ("bilevel.pbm", encoded(smooth().convert("1"), "PPM"), smooth().convert("1"), 1),
        ("multi-picture.jpg", encoded(smooth(), "MPO", quality=95, **FRAMES), smooth(), 6),
    ],
)
def test_kinds_of_pictures(tmp_path, name, data, image, tolerance):
    (tmp_path / name).write_bytes(data)
    check(tmp_path / name, image, tolerance)


def png(width: int, height: int, depth: int, colour: int, rows: bytes) -> bytes:
    """A PNG written by hand, for kinds that Pillow does not write."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


@pytest.mark.parametrize("colour", [0, 2, 4, 6], ids=["grey", "rgb", "grey+alpha", "rgba"])
def test_16_bit_png_is_scaled_not_clipped(tmp_path, colour):
    samples = {0: 1, 2: 3, 4: 2, 6: 4}[colour]
    values = np.linspace(0, 65535, 256).astype(">u2")  # one row of every level, the same in each sample
    row = b"\x00" + np.repeat(values, samples).tobytes()
    (tmp_path / "deep.png").write_bytes(png(256, 256, 16, colour, row * 256))
    pixels, _ = read_picture(tmp_path / "deep.png", 256)
    levels = np.round(values.astype(float) / 257)
    assert np.abs(pixels - levels[None, None, :]).max() == 0


@pytest.mark.skipif(not features.check("avif"), reason="this build of Pillow reads no AVIF")
def test_avif(tmp_path):
    (tmp_path / "rgb.avif").write_bytes(encoded(smooth(), "AVIF", quality=95))
    check(tmp_path / "rgb.avif", smooth(), 8)


@pytest.mark.parametrize("name", ["deep.tif", "deep.pgm"])
def test_16_bit_grey_is_scaled_in_other_formats_too(tmp_path, name):
    values = np.linspace(0, 65535, 256).astype(np.uint16)
    Image.fromarray(np.repeat(values[None], 256, axis=0)).save(tmp_path / name)
    pixels, _ = read_picture(tmp_path / name, 256)
    assert np.abs(pixels - np.round(values / 257)[None, None, :]).max() == 0


@pytest.mark.parametrize("mode", ["RGB", "L", "1", "LA", "P", "RGBA"])
def test_grey_is_what_pillow_makes_of_it(tmp_path, mode):
    smooth(16, 16).convert(mode).save(tmp_path / "picture.png")
    pixels, _ = read_picture(tmp_path / "picture.png", 16, 1)
    assert pixels.shape == (1, 16, 16)
    with Image.open(tmp_path / "picture.png") as image:
        assert (pixels[0] == np.asarray(image.convert("RGB").convert("L"))).all()
    assert (read_picture(tmp_path / "picture.png", 8, 1)[0][0] == resize(pixels, 8)[0]).all()


def test_grey_becomes_colour_by_repetition_and_back():
    grey = np.arange(256, dtype=np.uint8).reshape(1, 16, 16)
    colour = fit(grey, 16, 3)
    assert (colour == grey).all()
    assert (fit(colour, 16, 1) == grey).all()


def test_the_aspect_ratio_is_not_kept(tmp_path):
    save(tmp_path / "wide.png", size=(200, 20))
    check(tmp_path / "wide.png", photo(0, 0, (200, 20)), 1)
    save(tmp_path / "dot.png", size=(1, 1))
    pixels, _ = read_picture(tmp_path / "dot.png", 8)
    assert (pixels == np.asarray(photo(0, 0, (1, 1))).reshape(3, 1, 1)).all()


def test_resize_to_the_same_size_changes_nothing():
    pixels = np.asarray(photo(1, 1, (16, 16))).transpose(2, 0, 1).copy()
    assert (resize(pixels, 16) == pixels).all()


JPEG, PNG, GIF = encoded(smooth(), "JPEG"), encoded(photo(0, 0), "PNG"), encoded(PALETTE, "GIF")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "zero bytes"),
        (b"<!DOCTYPE html><title>404</title>", "not a JPEG, PNG"),
        (JPEG[: len(JPEG) // 2], "Truncated"),
        (encoded(photo(0, 0), "JPEG")[:-200], "truncated"),
        (PNG[: len(PNG) // 2], "truncated"),
        (GIF[: len(GIF) // 2], ""),
        (encoded(smooth(), "WEBP")[:60], ""),
        (encoded(smooth(), "BMP")[:300], "truncated"),
        (JPEG[:2], "not a JPEG"),
        (encoded(smooth().convert("F").point(lambda v: 1000 * v), "TIFF"), "float values that are not all in 0 … 1"),
        (encoded(Image.fromarray(np.full((4, 4), np.nan, np.float32)), "TIFF"), "float values that are not all in 0 … 1"),
        (encoded(Image.fromarray(np.full((4, 4), -1, np.int32)), "TIFF"), "values from -1 to -1"),
        (encoded(smooth(), "TIFF")[:300], ""),
        (encoded(smooth(), "PPM")[:300], ""),
        (b"%PDF-1.4\n%%EOF", "not a JPEG, PNG"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not a JPEG, PNG"),
        (png(8000, 8000, 8, 0, b""), "8000 x 8000 pixels; the largest allowed is 50 megapixels"),
        (png(10_000, 10_000, 8, 0, b""), "10000 x 10000 pixels"),
        (png(2**31 - 1, 2**31 - 1, 8, 0, b""), "more than 50 megapixels"),
        (JPEG.replace(struct.pack(">HH", 32, 48), b"\xff\xff\xff\xff", 1), "more than 50 megapixels"),
        (png(0, 10, 8, 0, b""), ""),
        (png(7000, 7000, 8, 2, b""), ""),  # a header within the cap and nothing behind it
    ],
)
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_unreadable_files_have_a_reason(tmp_path, data, words):
    path = tmp_path / "bad.jpg"
    path.write_bytes(data)
    with pytest.raises(BadPicture) as caught:
        read_picture(path, 8)
    assert words in str(caught.value)
    assert str(caught.value)
    assert str(caught.value).isprintable()
    assert "0x" not in str(caught.value)  # the same file, the same words: no addresses


def test_missing_file_and_folder(tmp_path):
    with pytest.raises(BadPicture, match="No such file"):
        read_picture(tmp_path / "gone.jpg", 8)
    with pytest.raises(BadPicture, match="Is a directory"):
        read_picture(tmp_path, 8)


def test_large_pictures_below_the_cap_are_read(tmp_path):
    assert MAX_PIXELS > 4200 * 4000
    Image.new("L", (4200, 4000), 77).save(tmp_path / "large.png")
    assert (read_picture(tmp_path / "large.png", 4)[0] == 77).all()
