"""Small real picture folders for tests: each class has its own hue, so that it can be learned, plus
noise.
"""

import colorsys
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image


def photo(label: int, seed: int, size: tuple[int, int] = (40, 30)) -> Image.Image:
    """An RGB picture (width, height) whose hue says its class; equal arguments give equal
    pixels.
    """
    width, height = size
    noise = np.random.default_rng([label, seed]).normal(0, 30, (height, width, 3))
    colour = np.array(colorsys.hsv_to_rgb((label * 0.618) % 1, 0.7, 0.7)) * 255
    return Image.fromarray((colour + noise).clip(0, 255).astype(np.uint8))


def save(path: Path, label: int = 0, seed: int = 0, size: tuple[int, int] = (40, 30)) -> Path:
    """Write `photo` to `path` in the format of its extension, with the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    photo(label, seed, size).save(path)
    return path


def hw3_folder(
    root: Path,
    classes: Iterable[int] = range(3),
    counts: tuple[int, int, int] = (6, 3, 3),
    names: tuple[str, str, str] = ("training", "validation", "evaluation"),
) -> Path:
    """`{split}/{label}_{n}.jpg` with `counts` pictures of each class in train, valid, test."""
    for label in classes:
        for part, (name, num) in enumerate(zip(names, counts, strict=True)):
            for n in range(num):
                save(root / name / f"{label}_{n}.jpg", label, 1000 * part + n)
    return root


def class_folder(
    root: Path, classes: Iterable[str] = ("bread", "egg", "rice"), num: int = 10
) -> Path:
    """`{class}/{n}.jpg` with `num` pictures of each class."""
    for label, name in enumerate(classes):
        for n in range(num):
            save(root / name / f"{n}.jpg", label, n)
    return root
