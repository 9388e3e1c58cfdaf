"""Pictures that look the same: found although saved again, and not confused with others."""

import io
from itertools import combinations

import numpy as np
import pytest
from pictures import hw3_folder
from PIL import Image
from sets import scans

from pipeline.data.cache import prepare
from pipeline.data.datasets import Folder
from pipeline.data.decode import fit
from pipeline.data.twins import MAX_BITS, near_identical


def scene(seed: int, size: int = 96) -> Image.Image:
    """A picture with the spectrum of a photo."""
    rng = np.random.default_rng(seed)
    fy, fx = np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)[None]
    falloff = 1 / np.maximum(np.hypot(fy, fx), 1 / size) ** 1.3
    planes = np.fft.irfft2(np.fft.rfft2(rng.standard_normal((3, size, size))) * falloff)
    planes += planes.mean(0)
    scaled = 128 + 50 * (planes - planes.mean()) / planes.std()
    return Image.fromarray(scaled.clip(0, 255).astype(np.uint8).transpose(1, 2, 0))


def jpeg(image: Image.Image, quality: int) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return Image.open(io.BytesIO(buffer.getvalue()))


def pixels(image: Image.Image, size: int = 32, channels: int = 3) -> np.ndarray:
    return fit(np.array(image.convert("RGB")).transpose(2, 0, 1), size, channels)


CHANGES = {
    "saved again": lambda image: jpeg(image, 75),
    "small": lambda image: image.resize((48, 48)),
    "brighter": lambda image: Image.eval(image, lambda v: v + 4),
    "the same": lambda image: image,
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize(("size", "channels"), [(16, 1), (32, 3), (96, 3)])
def test_changed_copies_are_found_and_nothing_else(change, size, channels):
    scenes = [scene(seed) for seed in range(40)]
    images = np.stack(
        [pixels(one, size, channels) for one in [*scenes, *map(CHANGES[change], scenes)]]
    )
    pairs = near_identical(images)
    assert pairs == sorted(pairs)
    assert set(pairs) <= {(n, n + 40) for n in range(40)}
    assert len(pairs) >= 36


@pytest.mark.parametrize(
    "change",
    [
        lambda image: image.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
        lambda image: image.rotate(90),
        lambda image: image.crop((8, 8, 96, 96)),
        lambda image: Image.merge("RGB", image.split()[::-1]),
    ],
)
def test_what_looks_different_is_not_the_same(change):
    scenes = [scene(seed) for seed in range(40)]
    assert near_identical(np.stack([pixels(one) for one in [*scenes, *map(change, scenes)]])) == []


def test_flat_pictures_are_no_twins():
    flat = np.random.default_rng(0).integers(120, 124, (50, 3, 16, 16)).astype(np.uint8)
    assert near_identical(flat) == []
    assert near_identical(np.zeros((5, 1, 8, 8), np.uint8)) == []
    assert near_identical(np.zeros((0, 1, 8, 8), np.uint8)) == []


def test_all_pairs_of_a_group_are_found_as_by_comparing_everything():
    """Against the definition, each pair compared: bits of the hash differ in at most MAX_BITS
    places.
    """
    images = np.stack([pixels(jpeg(scene(n % 7), 90 - n // 2)) for n in range(42)])
    expected = {(a, b) for a, b in combinations(range(42), 2) if a % 7 == b % 7}
    grey = images.mean(axis=1)
    grid = np.stack(
        [
            np.asarray(Image.fromarray(g).resize((9, 8), Image.Resampling.BOX))
            for g in grey.astype(np.float32)
        ]
    )
    bits = (grid[:, :, 1:] > grid[:, :, :-1]).reshape(42, 64)
    expected = {(a, b) for a, b in expected if (bits[a] != bits[b]).sum() <= MAX_BITS}
    found = set(near_identical(images))
    assert len(found ^ expected) <= 4  # the two grids round differently where neighbours are equal
    assert len(expected) > 60


def test_many_alike_pictures_end():
    """Many pictures with one hash, as of a set where all look alike, are not compared each with
    each.
    """
    ramp = np.tile(np.arange(16, dtype=np.uint8) * 8, (16, 1))
    images = (
        ramp[None] + np.random.default_rng(0).integers(0, 100, (20_000, 1, 1), dtype=np.uint8)
    )[:, None]
    assert len(near_identical(images)) > 100_000


def test_handwritten_digits_are_all_different():
    images, _ = scans(1797)
    assert near_identical(images[:, None]) == []


def test_a_small_part_that_differs_is_enough_to_tell_pictures_apart():
    shirt = scene(3)
    printed = shirt.copy()
    printed.paste((250, 30, 30), (44, 44, 56, 56))
    assert near_identical(np.stack([pixels(shirt), pixels(printed)])) == []


def test_near_identical_pictures_are_reported(tmp_path):
    root = hw3_folder(tmp_path / "set", range(2), (5, 2, 2))
    for n, (name, quality) in enumerate(
        [
            ("training/0_90.jpg", 95),
            ("validation/0_91.jpg", 70),
            ("evaluation/1_92.jpg", 60),
            ("training/1_93.jpg", 95),
        ]
    ):
        jpeg(scene(5 if n < 3 else 6), quality).save(root / name, quality=quality)
    warnings = prepare(Folder(size=32), root, tmp_path / "cache").warnings
    (leak,) = (warning for warning in warnings if warning.startswith("leak"))
    assert "look the same as one in another part: 1 of train, 1 of valid, 1 of test" in leak
    assert "evaluation/1_92.jpg ~ training/0_90.jpg" in leak
    (other,) = (warning for warning in warnings if "another label" in warning)
    assert other.startswith("3 pictures look the same as one with another label (")
    assert not any("exact copy" in warning for warning in warnings)


def test_exact_copies_are_reported_once(tmp_path):
    root = hw3_folder(tmp_path / "set", range(2), (5, 2, 2))
    scene(1).save(root / "training" / "0_9.png")
    scene(1).save(root / "validation" / "0_9.png")
    warnings = prepare(Folder(size=32), root, tmp_path / "cache").warnings
    assert sum("leak" in warning for warning in warnings) == 1
    assert any("exact copy in another part" in warning for warning in warnings)
