"""Arrays are looked at by their headers, and loaded only where they fit."""

import gzip
import io
import pickle
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
from numpy.lib import format as npy
from sets import idx_files, scans

from pipeline.data import room
from pipeline.data.archive import Archive
from pipeline.data.arrays import row_of, scale_of
from pipeline.data.cache import prepare
from pipeline.data.datasets.idx import Idx
from pipeline.data.datasets.npz import Npz
from pipeline.errors import MachineError, UserError

IMAGES, LABELS = scans(300)


def refusal(dataset, root, kind=UserError):
    with pytest.raises(kind) as caught:
        dataset.scan(root)
    return str(caught.value)


def member(shape, dtype="|u1", content=b"", header=None):
    """An array's file whose header may say what is not there."""
    file = io.BytesIO()
    npy.write_array_header_1_0(file, {"descr": dtype, "fortran_order": False, "shape": shape})
    return (header or file.getvalue()) + content


def archive(root: Path, packed=zipfile.ZIP_DEFLATED, **members) -> Path:
    root.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(root / "set.npz", "w", packed) as file:
        for name, content in members.items():
            file.writestr(f"{name}.npy", content)
    return root


def labels(num):
    return member((num,), "<i8", np.arange(num, dtype="<i8").tobytes())


def test_an_archive_of_zeros_is_not_unpacked(tmp_path, monkeypatch):
    monkeypatch.setattr(room, "SMALL_BYTES", 2**20)
    archive(tmp_path, x=member((300, 100, 100), content=bytes(3_000_000)), y=labels(300))
    assert "GB are packed in 0.0 MB: these are no pictures" in refusal(Npz(), tmp_path)


def test_pictures_that_weigh_nothing_are_not_listed(tmp_path):
    whole = {"x_train": member((300, 2, 2), content=bytes(1200)), "y_train": labels(300)}
    none, few = member((9**9, 0, 0)), member((10**6, 1, 1), content=bytes(10**6))
    assert "without a pixel" in refusal(Npz(), archive(tmp_path / "none", **whole, x_test=none))
    assert "1,000,300 pictures in 0.0 MB" in refusal(
        Npz(), archive(tmp_path / "few", **whole, x_test=few)
    )
    (tmp_path / "idx").mkdir()
    for name, shape in (("images-idx3", (9**9, 1, 1)), ("labels-idx1", (9**9,))):
        head = struct.pack(f">4B{len(shape)}I", 0, 0, 8, len(shape), *shape)
        (tmp_path / "idx" / f"train-{name}-ubyte.gz").write_bytes(gzip.compress(head + bytes(1000)))
    assert "387,420,489 pictures in 0.0 MB" in refusal(Idx(), tmp_path / "idx")


def test_what_does_not_fit_into_memory_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setattr(room, "SMALL_BYTES", 1000)
    monkeypatch.setattr(room, "available_bytes", lambda: 30_000)
    (tmp_path / "set").mkdir()
    np.savez_compressed(tmp_path / "set" / "set.npz", x=IMAGES, y=LABELS)
    words = refusal(Npz(), tmp_path / "set", MachineError)
    assert "save it with np.savez, unpacked" in words
    np.savez(tmp_path / "set" / "set.npz", x=IMAGES, y=LABELS)
    assert prepare(Npz(size=8), tmp_path / "set", tmp_path / "cache").counts["train"] == 210


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ({"x": member((10**6, 10**6, 3)), "y": labels(9)}, "cannot be read: 0 bytes, where"),
        (
            {"x": member((9, 4, 4), content=bytes(200)), "y": labels(9)},
            "200 bytes, where [9, 4, 4] of uint8 are 144",
        ),
        (
            {"x": member((9, 4, 4), content=bytes(144)), "y": labels(8)},
            "9 pictures in 'x', but 8 labels",
        ),
        (
            {"x": member((9, 4, 4), "|O", pickle.dumps(np.zeros(1))), "y": labels(9)},
            "holds Python objects",
        ),
        (
            {"x": member((9, 4, 4), content=bytes(144)), "y": member((9,), "|O", b"cos\nsystem\n")},
            "'y' holds Python objects",
        ),
        (
            {"x": member((9, 4, 4), "<c8", bytes(9 * 128)), "y": labels(9)},
            "whole numbers or floats, got complex64",
        ),
        ({"x": member((-9, 4, 4)), "y": labels(9)}, "cannot be read: shape [-9, 4, 4]"),
        (
            {"x": b"\x93NUMPY\2\0" + struct.pack("<I", 2**31) + bytes(99), "y": labels(9)},
            "a header of 2,147,483,648 bytes",
        ),
        ({"x": b"no array", "y": labels(9)}, "'x' cannot be read"),
    ],
)
def test_headers_that_are_not_true(tmp_path, members, words):
    assert words in refusal(Npz(), archive(tmp_path, **members))


def test_a_list_of_too_many_arrays_is_not_read(tmp_path):
    root = archive(tmp_path, **{f"a{'b' * 150}{n}": b"" for n in range(6000)})
    assert "it lists too many files" in refusal(Npz(), root)


def test_damage_is_seen_where_arrays_lie_unpacked(tmp_path):
    np.savez(tmp_path / "set.npz", x=IMAGES, y=LABELS)
    content = bytearray((tmp_path / "set.npz").read_bytes())
    content[content.index(IMAGES[100].tobytes()) + 3] ^= 1
    (tmp_path / "set.npz").write_bytes(content)
    with pytest.raises(UserError, match="its checksum does not fit"):
        Archive(tmp_path / "set.npz").load("x")


@pytest.mark.parametrize("packed", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize("order", ["C", "F"])
def test_packed_or_not_the_rows_are_the_same(tmp_path, packed, order):
    given = np.asarray(
        np.stack([IMAGES, IMAGES // 2, IMAGES // 3], axis=3) / 255, np.float32, order=order
    )
    file = io.BytesIO()
    npy.write_array(file, given)
    found = Archive(archive(tmp_path, packed, x=file.getvalue()) / "set.npz").load("x")
    assert isinstance(found, np.memmap) == (packed == zipfile.ZIP_STORED)
    top, deepest = scale_of("", found)
    assert (top, deepest) == (1, 0)
    for row in (0, 7):
        assert (
            row_of(found, row, top) == np.stack([IMAGES, IMAGES // 2, IMAGES // 3], axis=1)[row]
        ).all()


def test_idx_files_are_looked_at_first(tmp_path, monkeypatch):
    monkeypatch.setattr(room, "SMALL_BYTES", 2**20)
    root = idx_files(tmp_path / "set")
    images = root / "train-images-idx3-ubyte"
    images.write_bytes(struct.pack(">IIII", 0x803, 200, 8, 8) + bytes(255))
    with pytest.raises(UserError, match=r"255 bytes after its header, expected 12800"):
        prepare(Idx(size=8), root, tmp_path / "cache")
    images.unlink()
    with gzip.open(f"{images}.gz", "wb") as file:
        file.write(struct.pack(">IIII", 0x803, 200, 100, 100) + bytes(2_000_000))
    with pytest.raises(UserError, match=r"GB are packed in 0\.0 MB: these are no pictures"):
        prepare(Idx(size=8), root, tmp_path / "cache")
