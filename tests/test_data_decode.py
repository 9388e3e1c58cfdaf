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

from pipeline.data import decode, raster
from pipeline.data.decode import MEGAPIXELS, fit, read_picture, resize
from pipeline.data.listing import FIRST_RULES, BadPicture, Reading
from pipeline.data.raster import pixels_of


def encoded(image: Image.Image, kind: str, **settings: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **settings)
    return buffer.getvalue()


def smooth(width: int = 48, height: int = 32) -> Image.Image:
    """Red grows to the right, green downwards, blue is constant: any flip, swap or scale shows."""
    red = np.tile(np.linspace(0, 255, width), (height, 1))
    green = np.tile(np.linspace(0, 255, height)[:, None], (1, width))
    return Image.fromarray(
        np.stack([red, green, np.full_like(red, 90)], axis=2).round().astype(np.uint8)
    )


def expected(image: Image.Image, size: int) -> np.ndarray:
    """What the course's transform gives: Pillow's antialiased bilinear resize of the RGB
    picture.
    """
    return np.asarray(
        image.convert("RGB").resize((size, size), Image.Resampling.BILINEAR)
    ).transpose(2, 0, 1)


def check(path: Path, image: Image.Image, tolerance: float, size: int = 16) -> None:
    pixels, digest, _ = read_picture(path, size)
    assert pixels.dtype == np.uint8
    assert pixels.shape == (3, size, size)
    assert pixels.flags.c_contiguous
    assert digest == hashlib.sha256(path.read_bytes()).hexdigest()
    assert np.abs(pixels.astype(int) - expected(image, size)).max() <= tolerance


PALETTE = smooth().convert("P", palette=Image.Palette.ADAPTIVE, colors=256)
TURNED = smooth().transpose(
    Image.Transpose.ROTATE_90
)  # EXIF 6 says: turn right by 90 degrees to see it upright
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
        (
            "float-1.tif",
            encoded(smooth().convert("F").point(lambda v: v / 255), "TIFF"),
            smooth().convert("L"),
            1,
        ),
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
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("colour", [0, 2, 4, 6], ids=["grey", "rgb", "grey+alpha", "rgba"])
def test_16_bit_png_is_scaled_not_clipped(tmp_path, colour):
    samples = {0: 1, 2: 3, 4: 2, 6: 4}[colour]
    values = np.linspace(0, 65535, 256).astype(
        ">u2"
    )  # one row of every level, the same in each sample
    row = b"\x00" + np.repeat(values, samples).tobytes()
    (tmp_path / "deep.png").write_bytes(png(256, 256, 16, colour, row * 256))
    pixels, _, _ = read_picture(tmp_path / "deep.png", 256)
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
    pixels, _, _ = read_picture(tmp_path / name, 256)
    assert np.abs(pixels - np.round(values / 257)[None, None, :]).max() == 0


@pytest.mark.parametrize("mode", ["RGB", "L", "1", "LA", "P", "RGBA"])
def test_grey_is_what_pillow_makes_of_it(tmp_path, mode):
    smooth(16, 16).convert(mode).save(tmp_path / "picture.png")
    pixels, _, _ = read_picture(tmp_path / "picture.png", 16, 1)
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
    pixels, _, _ = read_picture(tmp_path / "dot.png", 8)
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
        (
            encoded(smooth().convert("F").point(lambda v: 1000 * v), "TIFF"),
            "float values that are not all in 0 … 1",
        ),
        (
            encoded(Image.fromarray(np.full((4, 4), np.nan, np.float32)), "TIFF"),
            "float values that are not all in 0 … 1",
        ),
        (encoded(Image.fromarray(np.full((4, 4), -1, np.int32)), "TIFF"), "values from -1 to -1"),
        (encoded(smooth(), "TIFF")[:300], ""),
        (encoded(smooth(), "PPM")[:300], ""),
        (b"%PDF-1.4\n%%EOF", "not a JPEG, PNG"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not a JPEG, PNG"),
        (
            png(8000, 8000, 8, 0, b""),
            "8000 x 8000 pixels; dataset.max_megapixels allows 50, and only JPEGs can be shrunk",
        ),
        (png(10_000, 10_000, 8, 0, b""), "10000 x 10000 pixels"),
        (
            png(2**31 - 1, 2**31 - 1, 8, 0, b""),
            "2147483647 x 2147483647 pixels; dataset.max_megapixels",
        ),
        (
            JPEG.replace(struct.pack(">HH", 32, 48), b"\xff\xff\xff\xff", 1),
            "65535 x 65535 pixels; dataset.max_megapixels allows 50",
        ),
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
    assert MEGAPIXELS * 10**6 > 4200 * 4000
    Image.new("L", (4200, 4000), 77).save(tmp_path / "large.png")
    assert (read_picture(tmp_path / "large.png", 4)[0] == 77).all()


@pytest.mark.parametrize("name", ["phone.heic", "phone.heif", "phone.hif", "renamed.jpg"])
def test_heic(tmp_path, name):
    (tmp_path / name).write_bytes(encoded(smooth(), "HEIF", quality=95))
    check(tmp_path / name, smooth(), 8)
    with pytest.raises(BadPicture, match="not a JPEG"):
        read_picture(tmp_path / name, 8, reading=Reading(FIRST_RULES))


@pytest.mark.parametrize("kind", ["JPEG", "MPO"])
@pytest.mark.parametrize(("cap", "part"), [(1, 4), (2, 2), (5, 2), (6, 1)])
def test_a_jpeg_beyond_the_cap_is_shrunk_while_it_is_decoded(
    tmp_path, monkeypatch, kind, cap, part
):
    seen = []
    monkeypatch.setattr(
        raster, "pixels_of", lambda image, top: seen.append(image.size) or pixels_of(image, top)
    )
    big = smooth(3000, 2000)
    (tmp_path / "big.jpg").write_bytes(encoded(big, kind, quality=90, exif=EXIF))
    pixels = read_picture(tmp_path / "big.jpg", 32, max_megapixels=cap)[0]
    assert seen == [(3000 // part, 2000 // part)]
    upright = big.transpose(Image.Transpose.ROTATE_270)
    assert np.abs(pixels.astype(int) - expected(upright, 32)).max() <= 3


def test_a_photograph_of_108_megapixels_is_read(tmp_path):
    Image.new("L", (12_000, 9_000), 77).save(tmp_path / "phone.jpg")
    assert (read_picture(tmp_path / "phone.jpg", 4)[0] == 77).all()
    with pytest.raises(BadPicture, match="12000 x 9000 pixels"):
        read_picture(tmp_path / "phone.jpg", 4, reading=Reading(FIRST_RULES))


def test_other_formats_beyond_the_cap_are_named_and_read_under_a_higher_one(tmp_path):
    smooth(1300, 1000).save(tmp_path / "big.png")
    with pytest.raises(BadPicture, match=r"1300 x 1000 pixels; dataset\.max_megapixels allows 1,"):
        read_picture(tmp_path / "big.png", 8, max_megapixels=1)
    assert (
        np.abs(
            read_picture(tmp_path / "big.png", 8, max_megapixels=2)[0]
            - expected(smooth(1300, 1000), 8)
        ).max()
        <= 1
    )


@pytest.mark.parametrize("top", [255, 1023, 4095, 16_383])
@pytest.mark.parametrize("colour", [0, 2, 4, 6], ids=["grey", "rgb", "grey+alpha", "rgba"])
def test_a_depth_that_a_set_uses_is_scaled_without_loss(tmp_path, colour, top):
    """The alpha of the pictures is at its full depth, which is not the colours'."""
    samples = {0: 1, 2: 3, 4: 2, 6: 4}[colour]
    values = np.linspace(0, top, 256).round().astype(">u2")
    cells = np.repeat(values[:, None], samples, 1)
    cells[:, 1 if colour == 4 else 3 :] = (
        65_535 if colour in (4, 6) else cells[:, 1 if colour == 4 else 3 :]
    )
    (tmp_path / "deep.png").write_bytes(
        png(256, 256, 16, colour, (b"\x00" + cells.tobytes()) * 256)
    )
    assert decode.depth_of(read_picture(tmp_path / "deep.png", 256).deepest) == top
    pixels = read_picture(tmp_path / "deep.png", 256, reading=Reading(top=top))[0]
    assert (pixels == np.arange(256)).all()


def test_a_deep_picture_is_turned_upright_too(tmp_path):
    """An eXIf chunk before the pixels says: turn right by 90 degrees."""
    body = b"II*\x00\x08\x00\x00\x00\x01\x00\x12\x01\x03\x00\x01\x00\x00\x00\x06" + bytes(7)
    chunk = (
        struct.pack(">I", len(body))
        + b"eXIf"
        + body
        + struct.pack(">I", zlib.crc32(b"eXIf" + body))
    )
    row = b"\x00" + np.repeat(np.linspace(0, 4095, 256).round().astype(">u2"), 3).tobytes()
    plain = png(256, 256, 16, 2, row * 256)
    (tmp_path / "deep.png").write_bytes(plain[:33] + chunk + plain[33:])
    pixels = read_picture(tmp_path / "deep.png", 256, reading=Reading(top=4095))[0]
    assert (pixels == np.arange(256)[:, None]).all()


@pytest.mark.parametrize("compression", [1, 8], ids=["raw", "deflate"])
def test_deep_colours_of_tiff_are_scaled_without_loss(tmp_path, compression):
    """Written by hand: Pillow writes none."""
    values = np.repeat(
        np.linspace(0, 1023, 256).round().astype("<u2")[None, :, None], 256, 0
    ).repeat(3, 2)
    body = values.tobytes() if compression == 1 else zlib.compress(values.tobytes())
    tags = [
        (256, 4, 1, 256),
        (257, 4, 1, 256),
        (258, 3, 3, 122),
        (259, 3, 1, compression),
        (262, 3, 1, 2),
    ]
    tags += [(273, 4, 1, 128), (277, 3, 1, 3), (278, 4, 1, 256), (279, 4, 1, len(body))]
    table = b"".join(struct.pack("<HHII", *tag) for tag in tags)
    header = (
        b"II*\0"
        + struct.pack("<IH", 8, len(tags))
        + table
        + bytes(4)
        + struct.pack("<HHH", 16, 16, 16)
    )
    (tmp_path / "deep.tif").write_bytes(header + body)
    assert decode.depth_of(read_picture(tmp_path / "deep.tif", 256).deepest) == 1023
    assert (
        read_picture(tmp_path / "deep.tif", 256, reading=Reading(top=1023))[0] == np.arange(256)
    ).all()


def test_what_is_brighter_than_the_set_is_white(tmp_path):
    Image.fromarray(np.array([[0, 4095, 60_000]], np.uint16)).save(tmp_path / "deep.png")
    with Image.open(tmp_path / "deep.png") as image:
        assert pixels_of(image, 4095)[0].tolist() == [[[0, 255, 255]]]


def test_deep_colours_of_other_formats_are_named_where_a_part_of_the_depth_is_used(tmp_path):
    (tmp_path / "deep.ppm").write_bytes(b"P6 2 1 65535\n" + np.full(6, 3000, ">u2").tobytes())
    assert decode.depth_of(read_picture(tmp_path / "deep.ppm", 4).deepest) == 4095
    with pytest.raises(
        BadPicture,
        match="colours of 16 bits of which values to 4,095 alone are used; save it as PNG",
    ):
        read_picture(tmp_path / "deep.ppm", 4, reading=Reading(top=4095))
