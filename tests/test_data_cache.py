"""The cache: decoded once, valid or rebuilt, the same for the same content, and honest about what
was left out.
"""

import errno
import json
import os
import resource
import shutil
import threading
from pathlib import Path

import numpy as np
import pytest
from pictures import class_folder, hw3_folder, photo, save
from PIL import Image
from sets import made

from pipeline.data import checks
from pipeline.data.cache import Data, open_data, prepare
from pipeline.data.datasets import DATASETS, Digits, Folder, PictureSet
from pipeline.data.datasets.npz import Npz
from pipeline.data.decode import read_picture
from pipeline.data.listing import FIRST_RULES, Reading
from pipeline.data.shelf import IMAGES, META
from pipeline.errors import MachineError, UserError
from pipeline.session.resume import describe_data

SMALL = Folder(size=8)


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return hw3_folder(tmp_path / "set", range(3), (6, 3, 2))


def leftovers(cache: Path) -> list[str]:
    return sorted(p.name for p in cache.iterdir() if not p.name.endswith(".lock"))


def builds(dataset: PictureSet, root: Path | None, cache: Path) -> tuple[Data, bool]:
    """The data, and whether anything was decoded for it."""
    calls: list[tuple[int, int]] = []
    data = prepare(dataset, root, cache, lambda done, total: calls.append((done, total)))
    return data, bool(calls)


@pytest.mark.parametrize("member", DATASETS)
def test_every_dataset_is_decoded_once(member, tmp_path, cache):
    dataset, root = made(member, tmp_path / "set", size=12)
    data, built = builds(dataset, root, cache)
    assert built
    count = len(data.files)
    assert data.images.shape == (count, dataset.channels, 12, 12)
    assert data.images.dtype == np.uint8
    assert not data.images.flags.writeable
    assert (data.labels.dtype.name, data.labels.shape) == ("int64", (count,))
    assert (data.parts.dtype.name, data.parts.shape) == ("int8", (count,))
    assert data.files == tuple(sorted(data.files))
    assert sum(data.counts.values()) == count
    assert (len(data.fingerprint), data.unreadable, data.is_food11) == (16, (), False)
    train = data.images[data.parts == 0] / 255
    assert data.mean == pytest.approx(train.mean(axis=(0, 2, 3)), abs=1e-12)
    assert data.std == pytest.approx(train.std(axis=(0, 2, 3)), abs=1e-12)
    again, built = builds(dataset, root, cache)
    assert not built
    assert again.path == data.path
    assert (again.images == data.images).all()
    assert leftovers(cache) == [data.path.name]


def test_rows_are_the_pictures(root, cache):
    data = prepare(SMALL, root, cache)
    assert data.counts == {"train": 18, "valid": 9, "test": 6}
    assert (data.title, data.classes) == ("set", ("0", "1", "2"))
    for row, file in enumerate(data.files):
        assert (data.images[row] == read_picture(root / file, 8)[0]).all()
        assert str(data.labels[row]) == Path(file).name[0]


def test_progress_ends_with_the_total(root, cache):
    seen: list[tuple[int, int]] = []
    prepare(SMALL, root, cache, lambda done, total: seen.append((done, total)))
    assert seen == sorted(seen)
    assert seen[-1] == (33, 33)


def test_fingerprint_is_of_the_content(root, cache, tmp_path):
    first = prepare(SMALL, root, cache)
    copied = tmp_path / "elsewhere" / "renamed"
    shutil.copytree(root, copied, copy_function=shutil.copyfile)  # new times
    os.utime(copied / "training" / "0_0.jpg", (1, 1))
    assert prepare(SMALL, copied, cache).fingerprint == first.fingerprint
    assert prepare(Folder(size=9), copied, cache).fingerprint != first.fingerprint
    os.rename(copied / "training" / "0_5.jpg", copied / "training" / "1_7.jpg")
    relabelled = prepare(SMALL, copied, cache).fingerprint
    assert relabelled != first.fingerprint
    save(copied / "training" / "1_7.jpg", 0, 99)
    assert prepare(SMALL, copied, cache).fingerprint not in (relabelled, first.fingerprint)


def test_digits_fingerprint_is_pinned(cache):
    assert prepare(Digits(), None, cache).fingerprint == "cfd0d43f27734367"


def test_a_changed_folder_is_decoded_anew(root, cache):
    old = prepare(SMALL, root, cache)
    save(root / "training" / "0_0.jpg", 2, 5)
    data, built = builds(SMALL, root, cache)
    assert built
    row = data.files.index("training/0_0.jpg")
    assert (data.images[row] != old.images[row]).any()
    (root / "training" / "0_1.jpg").unlink()
    assert len(prepare(SMALL, root, cache).files) == 32


def damage_nothing_left(path: Path) -> None:
    shutil.rmtree(path)


def damage_images_truncated(path: Path) -> None:
    os.truncate(path / IMAGES, 100)


def damage_images_gone(path: Path) -> None:
    (path / IMAGES).unlink()


def damage_meta_altered(path: Path) -> None:
    text = (path / META).read_text().replace('"labels": [0, 0', '"labels": [1, 0')
    (path / META).write_text(text)


def damage_meta_cut(path: Path) -> None:
    os.truncate(path / META, 200)


def damage_meta_other(path: Path) -> None:
    (path / META).write_text(json.dumps([1]))


DAMAGES = [value for name, value in sorted(globals().items()) if name.startswith("damage_")]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_cache_is_noticed_and_rebuilt(damage, root, cache):
    data = prepare(SMALL, root, cache)
    pixels, fingerprint = data.images.copy(), data.fingerprint
    damage(data.path)
    with pytest.raises(MachineError, match="missing or damaged"):
        open_data(data.path)
    data, built = builds(SMALL, root, cache)
    assert built
    assert (data.images == pixels).all()
    assert data.fingerprint == fingerprint


def test_what_a_killed_build_left_is_replaced(root, cache):
    path = prepare(SMALL, root, cache).path
    shutil.move(path, f"{path}.unfinished")
    os.truncate(f"{path}.unfinished/{IMAGES}", 7)
    assert builds(SMALL, root, cache)[1]
    assert leftovers(cache) == [path.name]


def test_an_interrupted_build_leaves_nothing(root, cache):
    def interrupt(_done: int, _total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare(SMALL, root, cache, interrupt)
    assert leftovers(cache) == []


def test_two_at_once_build_once(root, cache):
    calls: list[str] = []
    ready = threading.Barrier(4)

    def work(name: str) -> None:
        ready.wait()
        prepare(SMALL, root, cache, lambda _done, _total: calls.append(name))

    threads = [threading.Thread(target=work, args=(str(i),)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (
        len(set(calls)) == 1
    )  # flock is held by the open file, so threads meet it as processes do
    assert len(leftovers(cache)) == 1


def test_a_disk_that_takes_no_more(root, cache):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        with pytest.raises(MachineError) as caught:
            prepare(Folder(size=64), root, cache)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert str(cache) in str(caught.value)
    assert "cannot write 0.4 MB" in str(caught.value)
    assert "MB free there" in str(caught.value)
    assert leftovers(cache) == []


def test_a_disk_that_fills_up_while_decoding(root, cache, monkeypatch):
    def full(*_args: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(MachineError, match="No space left"):
        prepare(SMALL, root, cache)
    assert leftovers(cache) == []


def test_a_cache_that_cannot_be_a_folder(root, tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(MachineError, match="cannot be used"):
        prepare(SMALL, root, tmp_path / "file")


def test_unreadable_pictures_are_named_and_left_out(root, cache):
    whole = prepare(SMALL, root, cache)
    (root / "training" / "1_2.jpg").write_bytes(b"<html>")
    data = prepare(SMALL, root, cache)
    (left,) = data.unreadable
    assert (left.file, left.reason) == (
        "training/1_2.jpg",
        "not a JPEG, PNG, WebP, BMP, GIF, AVIF, HEIC, TIFF or PPM picture",
    )
    assert any("1 picture could not be read" in warning for warning in data.warnings)
    kept = np.array([file != left.file for file in whole.files])
    assert data.files == tuple(np.array(whole.files)[kept])
    assert (data.images == whole.images[kept]).all()  # the rows behind the gap have moved up
    assert (data.labels == whole.labels[kept]).all()
    assert data.counts == {"train": 17, "valid": 9, "test": 6}


def test_too_many_unreadable_pictures(root, cache):
    for n in range(6):
        for label in (0, 1):
            (root / "training" / f"{label}_{n}.jpg").write_bytes(b"")
    os.rename(root / "training" / "0_0.jpg", root / "training" / "0_\x1b[2J.jpg")
    with pytest.raises(UserError) as caught:
        prepare(SMALL, root, cache)
    message = str(caught.value)
    assert "12 of 33 pictures cannot be read" in message
    assert "allowed by dataset.max_unreadable=0.01: 1" in message
    assert message.count("zero bytes") == 10
    assert "and 2 more" in message
    assert r"0_\x1b[2J.jpg" in message
    assert message.replace("\n", "").isprintable()
    assert leftovers(cache) == []


def test_limit_of_unreadable_pictures(root, cache):
    for n in range(2):
        (root / "training" / f"0_{n}.jpg").write_bytes(b"")
    assert len(prepare(Folder(size=8, max_unreadable=0.07), root, cache).unreadable) == 2
    for share in (0.0, 0.05):
        with pytest.raises(UserError, match="2 of 33"):
            prepare(Folder(size=8, max_unreadable=share), root, cache)


def test_a_class_that_loses_its_pictures(root, cache):
    for n in range(5):
        (root / "training" / f"0_{n}.jpg").write_bytes(b"")
    with pytest.raises(
        UserError, match=r"without 5 unreadable pictures: 1 of 3 classes .* '0': train 1"
    ):
        prepare(Folder(size=8, max_unreadable=0.5), root, cache)


def test_copies_across_parts_are_reported(root, cache):
    assert not any("copy" in warning for warning in prepare(SMALL, root, cache).warnings)
    shutil.copyfile(root / "training" / "0_0.jpg", root / "validation" / "0_9.jpg")
    shutil.copyfile(root / "training" / "0_0.jpg", root / "training" / "0_9.jpg")
    shutil.copyfile(root / "training" / "1_0.jpg", root / "evaluation" / "2_9.jpg")
    warnings = prepare(SMALL, root, cache).warnings
    assert any("another part: 3 of train, 1 of valid, 1 of test" in warning for warning in warnings)
    assert any(
        text.startswith("2 pictures have an exact copy with another label (") for text in warnings
    )


def test_thin_classes_are_reported(tmp_path, cache):
    class_folder(tmp_path / "set", ("a", "b"), num=40)
    for n in range(3):
        save(tmp_path / "set" / "c" / f"{n}.jpg", 2, n)
    warnings = prepare(SMALL, tmp_path / "set", cache).warnings
    assert "classes with fewer than 10 training pictures: 'c' (3)" in warnings
    assert "classes without a validation picture: 'c'" in warnings
    for n in range(3):
        (tmp_path / "set" / "c" / f"{n}.jpg").rename(tmp_path / "set" / "c" / f"{n}.JPG")
    for n in range(40, 60):
        save(tmp_path / "set" / "a" / f"{n}.jpg", 0, n)
    assert (
        "imbalance: the training classes have 3 to 42 pictures"
        in prepare(SMALL, tmp_path / "set", cache).warnings
    )


def test_classes_that_no_test_picture_is_of_are_named(root, cache):
    assert not any(
        "labelled test picture" in warning for warning in prepare(SMALL, root, cache).warnings
    )
    for file in (root / "evaluation").glob("2_*"):
        file.unlink()
    said = "classes without a labelled test picture: '2'; test numbers say nothing of them"
    assert said in prepare(SMALL, root, cache).warnings


def test_food11_by_its_numbers_only(tmp_path, cache, monkeypatch):
    root = hw3_folder(tmp_path / "food-11", range(11), (2, 1, 1))
    data = prepare(SMALL, root, cache)
    assert (data.title, data.is_food11) == ("food-11", False)
    assert any(
        "44 pictures in 11 classes are not Food-11's 16,643 in 11" in warning
        for warning in data.warnings
    )
    shutil.rmtree(cache)
    monkeypatch.setattr(checks, "NUM_FOOD11", 44)
    data = prepare(SMALL, root.rename(tmp_path / "photos"), cache)
    assert (data.title, data.is_food11) == ("Food-11", True)
    assert not any("Food-11" in warning for warning in data.warnings)


def test_a_constant_picture_set_has_a_deviation(tmp_path, cache):
    from PIL import Image

    for name in "ab":
        (tmp_path / "set" / name).mkdir(parents=True)
        for n in range(4):
            Image.new("L", (5, 5), 51).save(tmp_path / "set" / name / f"{n}.png")
    data = prepare(SMALL, tmp_path / "set", cache)
    assert data.images.shape[1] == 3
    assert data.mean == pytest.approx((0.2,) * 3)
    assert data.std == pytest.approx((1 / 255,) * 3)


def test_names_beyond_utf8_survive(root, cache):
    name = "training/2_caf\udce9\n.jpg"
    save(root / name, 2, 77)
    assert name in prepare(SMALL, root, cache).files
    assert name in prepare(SMALL, root, cache).files


def deep_folder(root: Path, top: int) -> Path:
    """Grey PNGs of 16 bits, each darker than the last; the brightest pixel of all is `top`."""
    for label in range(2):
        for n in range(10):
            grey = np.asarray(photo(label, n, (12, 12)).convert("L")).astype(np.float64)
            level = grey / grey.max() * top * (10 - n) / 10
            (root / f"c{label}").mkdir(parents=True, exist_ok=True)
            Image.fromarray(level.astype(np.uint16)).save(root / f"c{label}" / f"{n}.png")
    return root


@pytest.mark.parametrize(
    ("top", "depth"), [(255, 255), (1000, 1023), (4095, 4095), (12_000, 16_383)]
)
def test_pictures_of_16_bits_get_the_one_scale_that_the_set_uses(tmp_path, cache, top, depth):
    root = deep_folder(tmp_path / "set", top)
    data = prepare(Folder(size=12, channels=1), root, cache)
    assert data.reading == Reading(top=depth)
    for row, file in enumerate(data.files):
        values = np.asarray(Image.open(root / file)).astype(np.int64)
        assert (data.images[row, 0] == (values * 255 + depth // 2) // depth).all()
    said = (
        f"20 pictures of 16 bits use no more than {depth.bit_length()} of them: scaled so that "
        f"{depth:,} is white, in all"
    )
    assert sum(warning.startswith(said) for warning in data.warnings) == 1
    assert open_data(data.path).reading == data.reading


@pytest.mark.parametrize(
    ("dark", "said"), [(1, "1 picture of floats lies"), (2, "2 pictures of floats lie"), (0, "")]
)
def test_pictures_of_floats_in_two_scales_are_said(tmp_path, cache, dark, said):
    root = tmp_path / "set"
    for label in range(2):
        (root / f"c{label}").mkdir(parents=True)
        for n in range(10):
            grey = np.asarray(photo(label, n, (12, 12)).convert("L")).astype(np.float32)
            black = label == 0 and n < dark
            Image.fromarray(grey / 255 if black else grey + 1).save(root / f"c{label}" / f"{n}.tif")
    warnings = [
        one for one in prepare(Folder(size=12, channels=1), root, cache).warnings if "floats" in one
    ]
    assert len(warnings) == (1 if dark else 0)
    assert not dark or (
        warnings[0].startswith(f"{said} in 0 … 1 and {20 - dark} in 0 … 255")
        and "c0/0.tif" in warnings[0]
    )


def test_a_set_that_uses_all_of_16_bits_is_read_as_ever(tmp_path, cache):
    root = deep_folder(tmp_path / "set", 65_535)
    data = prepare(Folder(size=12, channels=1), root, cache)
    as_then = prepare(Folder(size=12, channels=1).read_by(Reading(FIRST_RULES)), root, cache)
    assert data.reading == Reading()
    assert data.fingerprint == as_then.fingerprint
    assert (data.images == as_then.images).all()
    assert not any("16 bits" in warning for warning in data.warnings)


def test_one_bright_picture_among_dark_ones_of_16_bits_is_named(tmp_path, cache):
    root = deep_folder(tmp_path / "set", 4095)
    Image.fromarray(np.full((12, 12), 65_535, np.uint16)).save(root / "c1" / "burnt.png")
    warnings = prepare(Folder(size=12, channels=1), root, cache).warnings
    said = (
        "20 of 21 pictures of 16 bits use no more than 12 of them and are dark, since others "
        "use more (the brightest: "
    )
    assert f"{said}c1/burnt.png)" in warnings


def test_arrays_of_16_bits_get_the_scale_that_they_use(tmp_path, cache):
    pictures = np.random.default_rng(0).integers(0, 4096, (40, 8, 8)).astype(np.uint16)
    np.savez(tmp_path / "set.npz", x=pictures, y=np.arange(40) % 2)
    data = prepare(Npz(size=8), tmp_path, cache)
    assert data.reading.top == 4095
    assert data.images.max() == 255
    assert any("40 pictures of 16 bits use no more than 12" in warning for warning in data.warnings)


def heic_folder(root: Path) -> Path:
    class_folder(root, ("bread", "egg"), num=8)
    for label, name in enumerate(("bread", "egg")):
        for n in range(8):
            photo(label, 100 + n).save(root / name / f"IMG_{n}.HEIC", "HEIF")
    return root


@pytest.mark.parametrize("kind", ["12 bits", "HEIC"])
def test_what_was_recorded_by_the_first_rules_is_read_by_them(tmp_path, cache, kind):
    root = (
        deep_folder(tmp_path / "set", 4000) if kind == "12 bits" else heic_folder(tmp_path / "set")
    )
    dataset = Folder(size=12)
    first = prepare(dataset.read_by(Reading(FIRST_RULES)), root, cache)
    today = prepare(dataset, root, cache)
    assert first.fingerprint != today.fingerprint
    again = prepare(dataset, root, cache, recorded=describe_data(first))
    assert (again.fingerprint, again.reading, again.files) == (
        first.fingerprint,
        first.reading,
        first.files,
    )
    assert (again.images == first.images).all()
    assert prepare(dataset, root, cache, recorded=describe_data(today)).reading.rules > FIRST_RULES
    other = {"classes": today.classes, "fingerprint": "another"}
    assert prepare(dataset, root, cache, recorded=other).fingerprint == today.fingerprint


def test_heic_pictures_are_used(tmp_path, cache):
    data = prepare(Folder(size=12), heic_folder(tmp_path / "set"), cache)
    assert sum(data.counts.values()) == 32
    assert sum(file.endswith(".HEIC") for file in data.files) == 16
    assert data.taken.left_out == {}
