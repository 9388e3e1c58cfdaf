"""A small real set for every dataset: made in a folder, with the configuration that reads it."""

import gzip
import struct
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pictures import class_folder, save

from pipeline.data.datasets import PictureSet
from pipeline.data.datasets.digits import scans_of_digits

Made = tuple[dict[str, Any], Path | None]


def made(member: type[PictureSet], root: Path, **settings: Any) -> tuple[PictureSet, Path | None]:
    """(configuration, folder to give it); every class has at least 8 pictures."""
    own, folder = MAKERS[member.model_fields["name"].default](root)
    return member(**(own | settings)), folder


def scans(num: int) -> tuple[np.ndarray, np.ndarray]:
    """uint8 [num, 8, 8] and int64 [num] of handwritten digits."""
    images, classes = scans_of_digits()
    return (images[:num] * 15.9375).astype(np.uint8), classes[:num].astype(np.int64)


def write_idx(path: Path, values: np.ndarray) -> Path:
    """An idx file of unsigned bytes, packed where the name says so."""
    path.parent.mkdir(parents=True, exist_ok=True)
    content = (
        bytes([0, 0, 8, values.ndim])
        + struct.pack(f">{values.ndim}I", *values.shape)
        + values.astype(np.uint8).tobytes()
    )
    path.write_bytes(gzip.compress(content, mtime=0) if path.suffix == ".gz" else content)
    return path


def idx_files(root: Path, ending: str = "") -> Path:
    """The four files, 200 scans to train on and 100 to test."""
    images, labels = scans(300)
    for stem, part in (("train", slice(0, 200)), ("t10k", slice(200, 300))):
        write_idx(root / f"{stem}-images-idx3-ubyte{ending}", images[part])
        write_idx(root / f"{stem}-labels-idx1-ubyte{ending}", labels[part])
    return root


def leaves(
    root: Path, classes: Sequence[str] = ("acer", "tilia", "ilex"), num: int = 12, num_test: int = 6
) -> Path:
    """Tables of file and label beside `images/`, the test table without labels."""
    lines, tests = ["image,label"], ["image"]
    for label, name in enumerate(classes):
        for n in range(num):
            save(root / "images" / f"{label * 100 + n}.jpg", label, n)
            lines.append(f"images/{label * 100 + n}.jpg,{name}")
    for n in range(num_test):
        save(root / "images" / f"{9000 + n}.jpg", n % len(classes), 500 + n)
        tests.append(f"images/{9000 + n}.jpg")
    (root / "train.csv").write_text("\n".join(lines) + "\n")
    if num_test:
        (root / "test.csv").write_text("\n".join(tests) + "\n")
    return root


def _npz(root: Path) -> Made:
    root.mkdir(parents=True)
    images, labels = scans(300)
    np.savez_compressed(root / "digits.npz", x=images, y=labels)
    return {}, root


def _huggingface(root: Path) -> Made:
    pytest.importorskip("datasets")
    return {}, class_folder(root / "train", num=20).parent


MAKERS: dict[str, Callable[[Path], Made]] = {
    "csv": lambda root: ({}, leaves(root)),
    "digits": lambda _root: ({}, None),
    "folder": lambda root: ({}, class_folder(root, num=20)),
    "huggingface": _huggingface,
    "idx": lambda root: ({}, idx_files(root, ".gz")),
    "npz": _npz,
    "torchvision": lambda root: ({"set": "MNIST"}, idx_files(root / "MNIST" / "raw").parents[1]),
}
