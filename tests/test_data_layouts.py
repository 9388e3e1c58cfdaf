"""Layouts and folders: what is found, what is left out, what is refused and in which words."""

import json
import os
import shutil
import socket
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from pictures import class_folder, hw3_folder, save

from pipeline.data.datasets import Digits, Folder
from pipeline.data.listing import TEST, TRAIN, VALID, Listing
from pipeline.errors import UserError


def counts(listing: Listing) -> list[int]:
    return [listing.parts.count(part) for part in (TRAIN, VALID, TEST)]


def refusal(root: Path | None, **settings: object) -> str:
    with pytest.raises(UserError) as caught:
        Folder.parse(settings, source="test").scan(root)
    return str(caught.value)


@pytest.mark.parametrize(
    "names",
    [
        ("training", "validation", "evaluation"),
        ("train", "valid", "test"),
        ("Train", "VAL", "Testing"),
    ],
)
@pytest.mark.parametrize("nested", [False, True])
def test_hw3_layout(tmp_path, names, nested):
    hw3_folder(
        tmp_path / "set" / "food" if nested else tmp_path / "set", range(11), (2, 1, 1), names
    )
    listing = Folder().scan(tmp_path / "set")
    assert listing.layout == "hw3"
    assert counts(listing) == [22, 11, 11]
    assert listing.classes == tuple(str(c) for c in range(11))  # by number: "10" comes last
    for file, label, part in zip(listing.files, listing.labels, listing.parts, strict=True):
        assert Path(file).name.split("_")[0] == str(label)
        assert Path(file).parent.name == names[part]
    assert listing.files == tuple(sorted(listing.files))
    assert listing.warnings == ()


def test_hw3_class_names_and_unlabelled_test(tmp_path):
    hw3_folder(tmp_path, range(3), (4, 2, 0))
    (tmp_path / "classes.json").write_text(json.dumps(["bread", "egg", "rice"]))
    save(tmp_path / "evaluation" / "0001.jpg")
    save(tmp_path / "evaluation" / "0002.JPG", 1)
    listing = Folder().scan(tmp_path)
    assert listing.classes == ("bread", "egg", "rice")
    assert [
        label for label, part in zip(listing.labels, listing.parts, strict=True) if part == TEST
    ] == [-1, -1]
    assert any("no honest test number" in warning for warning in listing.warnings)
    save(tmp_path / "evaluation" / "2_9.jpg", 2)
    assert any(
        "2 of 3 test pictures have no label" in warning
        for warning in Folder().scan(tmp_path).warnings
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('["a", "b"]', "names 2 classes, but files have label 2"),
        ('["a", "A", "b"]', "same name but for case"),
        ('["a", "b", "c", "d"]', "'d': train 0, valid 0, test 0"),
        ('{"a": 1}', "must be a list of class names"),
        ("[" * 100_000, "not readable as JSON"),
        ("\x00", "not readable as JSON"),
    ],
)
def test_bad_class_names(tmp_path, text, words):
    hw3_folder(tmp_path, range(3), (3, 1, 0))
    (tmp_path / "classes.json").write_text(text)
    assert words in refusal(tmp_path)


def test_split_class_layout(tmp_path):
    for split, num in (("train", 8), ("val", 2)):
        class_folder(tmp_path / split, num=num)
    listing = Folder().scan(tmp_path)
    assert (listing.layout, counts(listing)) == ("classes", [24, 6, 0])
    assert listing.classes == ("bread", "egg", "rice")
    assert any("no test pictures" in warning for warning in listing.warnings)


def test_missing_validation_is_cut_from_train(tmp_path):
    class_folder(tmp_path / "train", num=20)
    class_folder(tmp_path / "test", num=3)
    listing = Folder(valid_share=0.25).scan(tmp_path)
    assert counts(listing) == [45, 15, 9]
    per_class = Counter(zip(listing.parts, listing.labels, strict=True))
    assert {per_class[VALID, c] for c in range(3)} == {5}
    assert any("25 % of each class was cut" in warning for warning in listing.warnings)


def test_class_folders_are_split_here_and_the_cut_is_stable(tmp_path):
    class_folder(tmp_path / "photos", num=20)
    listing = Folder().scan(tmp_path / "photos")
    assert counts(listing) == [42, 9, 9]
    per_class = Counter(zip(listing.parts, listing.labels, strict=True))
    assert {per_class[part, c] for part in (VALID, TEST) for c in range(3)} == {3}
    held_out = {f for f, part in zip(listing.files, listing.parts, strict=True) if part != TRAIN}
    # Literal numbers: the cut is a promise across machines and versions.
    eggs = sorted(int(Path(f).stem) for f in held_out if f.startswith("egg/"))
    assert eggs == [8, 9, 10, 14, 17, 19]
    shutil.copytree(tmp_path / "photos", tmp_path / "elsewhere" / "photos")
    assert Folder().scan(tmp_path / "elsewhere").parts == listing.parts
    assert Folder().scan(tmp_path / "elsewhere" / "photos").parts == listing.parts


def test_a_class_may_be_called_train(tmp_path):
    class_folder(tmp_path, ("car", "plane", "train"))
    assert Folder().scan(tmp_path).classes == ("car", "plane", "train")


def test_single_folder_of_class_folders_is_entered(tmp_path):
    class_folder(tmp_path / "set" / "photos")
    assert Folder().scan(tmp_path / "set").classes == ("bread", "egg", "rice")


def test_what_is_left_out_is_counted(tmp_path):
    hw3_folder(tmp_path, range(2), (4, 2, 2))
    train = tmp_path / "training"
    for name in (".DS_Store", ".0_9.jpg", "._0_1.jpg"):
        (train / name).write_bytes(b"x")
    for name in ("Thumbs.db", "notes.txt", "0_1.jpg.part"):
        (train / name).write_bytes(b"x")
    save(tmp_path / "__MACOSX" / "training" / "0_1.jpg")
    save(tmp_path / "training" / "deeper" / "0_1.jpg")
    save(tmp_path / "training" / "cover.png")
    save(tmp_path / "cover.png")
    (train / "0_77.jpg").symlink_to(tmp_path / "gone.jpg")
    (train / "loop").symlink_to(tmp_path, target_is_directory=True)
    os.mkfifo(train / "0_78.jpg")
    listing = Folder().scan(tmp_path)
    assert counts(listing) == [8, 4, 4]
    assert listing.ignored == {
        "hidden files": 3,
        ".db files": 1,
        ".txt files": 1,
        ".part files": 1,
        "folders __MACOSX": 1,
        "pictures in deeper folders": 1,
        "pictures without a label": 1,
        "pictures outside the split folders": 1,
        "broken links": 1,
        "links to folders that are read anyway": 1,
        "sockets, pipes or devices": 1,
    }
    (warning,) = listing.warnings
    assert "1 link to folders that are read anyway" in warning
    assert "hidden" not in warning


def test_pictures_are_known_by_their_content_where_their_ending_says_nothing(tmp_path):
    root = class_folder(tmp_path / "set", num=10)
    for place, name in enumerate(("0", "1.jpg_large", "2.jpg!d", "3.image", "4.2024", "5.JFIF")):
        (root / "egg" / f"{place}.jpg").rename(root / "egg" / name)
    for place, name in enumerate(
        ("0.jpg~", "1.jpg.bak", "2.jpg.crdownload", "3.dng", "notes.txt", "README")
    ):
        (root / "rice" / name).write_bytes(
            (root / "rice" / f"{place}.jpg").read_bytes() if place < 4 else b"P words"
        )
    listing = Folder().scan(root)
    assert len(listing.files) == 30
    assert {
        "egg/0",
        "egg/1.jpg_large",
        "egg/2.jpg!d",
        "egg/3.image",
        "egg/4.2024",
        "egg/5.JFIF",
    } <= set(listing.files)
    assert listing.ignored == {
        ".bak files": 1,
        ".crdownload files": 1,
        ".dng files": 1,
        ".txt files": 1,
        "files of odd endings": 1,
        "files without an ending": 1,
    }
    assert (
        "1 .dng file is a picture that cannot be read here and was left out: save it as JPEG or PNG"
        in listing.warnings
    )


def test_damaged_files_without_ending_are_pictures_where_the_others_are(tmp_path):
    root = class_folder(tmp_path / "set", num=20)
    for path in sorted(root.rglob("*.jpg")):
        path.rename(path.with_suffix(""))
    (root / "egg" / "3").write_bytes(b"")
    listing = Folder().scan(root)
    assert len(listing.files) == 60
    assert "egg/3" in listing.files


@pytest.mark.parametrize(
    "name",
    [
        "@eaDir",
        "#recycle",
        "$RECYCLE.BIN",
        "System Volume Information",
        "lost+found",
        "__MACOSX",
        "@Recycle",
        "RECYCLER",
    ],
)
def test_folders_of_systems_are_no_classes_and_hold_no_pictures(tmp_path, name):
    root = class_folder(tmp_path / "set")
    before = Folder().scan(root)
    save(root / name / "egg" / "0.jpg")
    save(root / "egg" / name / "0.jpg" / "SYNOPHOTO_THUMB_M.jpg")
    save(root / "egg" / ".thumbnails" / "0.jpg")
    listing = Folder().scan(root)
    assert (listing.classes, listing.files) == (before.classes, before.files)
    assert listing.ignored == {f"folders {name}": 2, "hidden folders": 1}


@pytest.mark.parametrize("nested", [(), ("00",)])
@pytest.mark.parametrize("name", ["unlabeled", "Unlabelled"])
def test_unlabeled_pictures_of_hw3_are_training_pictures_without_a_label(tmp_path, nested, name):
    hw3_folder(tmp_path, range(3), (4, 2, 2))
    for n in range(30):  # many more than labelled ones, as in the course's archive
        save(tmp_path.joinpath("training", name, *nested, f"{n:04d}.jpg"), 0, n)
    listing = Folder().scan(tmp_path)
    assert (listing.layout, counts(listing)) == ("hw3", [42, 6, 6])
    hidden = [
        file for file, label in zip(listing.files, listing.labels, strict=True) if label == -1
    ]
    assert len(hidden) == 30
    assert all(name in file for file in hidden)
    assert listing.warnings == ()


@pytest.mark.parametrize("place", [("train", "unlabeled"), ("unlabeled",), ("unlabeled", "00")])
def test_unlabeled_pictures_beside_class_folders(tmp_path, place):
    for split, num in (("train", 8), ("valid", 2), ("test", 2)):
        class_folder(tmp_path / split, num=num)
    for n in range(9):
        save(tmp_path.joinpath(*place, f"{n}.jpg"), 0, n)
    listing = Folder().scan(tmp_path)
    assert (listing.layout, counts(listing), listing.labels.count(-1)) == ("classes", [33, 6, 6], 9)
    assert listing.classes == ("bread", "egg", "rice")


def test_unlabeled_pictures_are_never_cut_off(tmp_path):
    class_folder(tmp_path, num=20)
    before = Folder().scan(tmp_path)
    for n in range(50):
        save(tmp_path / "unlabeled" / f"{n}.jpg", 0, n)
    listing = Folder().scan(tmp_path)
    assert counts(listing) == [92, 9, 9]
    assert {
        part for part, label in zip(listing.parts, listing.labels, strict=True) if label == -1
    } == {TRAIN}
    kept = {
        file: part
        for file, part in zip(listing.files, listing.parts, strict=True)
        if "unlabeled" not in file
    }
    assert kept == dict(zip(before.files, before.parts, strict=True))


def test_the_archive_of_2021(tmp_path):
    """training/labeled/00/…, training/unlabeled/00/…, validation/00/…, and all of testing in one
    folder.
    """
    class_folder(tmp_path / "training" / "labeled", ("00", "01", "02"), num=5)
    class_folder(tmp_path / "training" / "unlabeled", ("00",), num=12)
    class_folder(tmp_path / "validation", ("00", "01", "02"), num=2)
    class_folder(tmp_path / "testing", ("00",), num=7)
    listing = Folder().scan(tmp_path)
    assert (listing.layout, counts(listing), listing.classes) == (
        "classes",
        [27, 6, 7],
        ("00", "01", "02"),
    )
    assert Counter(zip(listing.parts, listing.labels, strict=True))[TRAIN, -1] == 12
    assert {
        label for label, part in zip(listing.labels, listing.parts, strict=True) if part == TEST
    } == {-1}
    assert (
        "all test pictures lie in one folder ('00'): they are taken as unlabeled"
        in listing.warnings
    )


def test_links_to_folders_are_followed_once(tmp_path):
    root = class_folder(tmp_path / "set", ("bread",), num=5)
    class_folder(tmp_path / "store", ("egg", "rice"), num=5)
    (root / "egg").symlink_to(tmp_path / "store" / "egg", target_is_directory=True)
    (root / "rice").symlink_to("../store/rice", target_is_directory=True)
    (root / "bread" / "around").symlink_to(root, target_is_directory=True)
    (root / "again").symlink_to("bread", target_is_directory=True)
    (root / "egg_too").symlink_to("egg", target_is_directory=True)
    (root / "above").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "store" / "egg" / "back").symlink_to(root, target_is_directory=True)
    listing = Folder().scan(root)
    assert listing.classes == ("bread", "egg", "rice")
    assert len(listing.files) == 15
    assert listing.ignored == {"links to folders that are read anyway": 5}
    (root / "egg").unlink()
    (root / "egg").symlink_to("gone")
    (root / "self").symlink_to("self")
    assert Folder().scan(root).classes == ("bread", "rice")


def test_sockets_are_left_out(tmp_path, monkeypatch):
    class_folder(tmp_path / "c")
    monkeypatch.chdir(tmp_path / "c" / "egg")  # a socket's path must be short
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("s.jpg")
        assert Folder().scan(tmp_path / "c").ignored == {"sockets, pipes or devices": 1}


def test_links_to_files_and_a_linked_root(tmp_path):
    class_folder(tmp_path / "store")
    linked = tmp_path / "linked" / "milk"
    linked.mkdir(parents=True)
    for n in range(8):
        (linked / f"{n}.jpg").symlink_to(tmp_path / "store" / "egg" / f"{n}.jpg")
    class_folder(tmp_path / "linked", ("bread",))
    (tmp_path / "my-photos").symlink_to(tmp_path / "linked", target_is_directory=True)
    listing = Folder().scan(tmp_path / "my-photos")
    assert listing.classes == ("bread", "milk")
    assert listing.title == "my-photos"


def test_odd_names(tmp_path):
    names = ("caf\udce9", "x\x1b[31m\nred", "日本", "<script>")
    class_folder(tmp_path, names, num=5)
    save(tmp_path / "日本" / "eß\x07\udcff.jpg", 2, 9)
    listing = Folder().scan(tmp_path)
    assert set(listing.classes) == {"caf\\udce9", "x\\x1b[31m\\nred", "日本", "<script>"}
    assert "日本/eß\x07\udcff.jpg" in listing.files
    for n in range(1, 5):
        (tmp_path / names[1] / f"{n}.jpg").unlink()
    message = refusal(tmp_path)
    assert message.isprintable()
    assert r"'x\x1b[31m\nred': train 1" in message
    (tmp_path / names[1] / "0.jpg").unlink()
    assert (
        r"folders without pictures are no classes: 'x\x1b[31m\nred'"
        in Folder().scan(tmp_path).warnings
    )


@pytest.mark.parametrize("twins", [("Cat", "cat"), ("caf\u00e9", "cafe\u0301")])
def test_class_names_that_look_alike(tmp_path, twins):
    class_folder(tmp_path, twins, num=4)
    if len(os.listdir(tmp_path)) < 2:
        pytest.skip("this file system folds names")
    assert "same name but for case, spaces, zeros or Unicode form" in refusal(tmp_path)


def test_missing_folder_says_which_part_and_what_is_near(tmp_path):
    (tmp_path / "data" / "food-11").mkdir(parents=True)
    message = refusal(tmp_path / "data" / "fod-11" / "training")
    assert str(tmp_path / "data" / "fod-11" / "training") in message
    assert f"'fod-11' is missing in {tmp_path / 'data'}" in message
    assert "did you mean 'food-11'?" in message


def test_what_is_near_is_what_people_see(tmp_path):
    (tmp_path / ".digit").mkdir()
    assert "did you mean" not in refusal(tmp_path / "digits")
    (tmp_path / "digits.zip").write_bytes(b"PK")
    assert "did you mean 'digits.zip'?" in refusal(tmp_path / "digits")


def test_missing_relative_folder_is_shown_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert str(tmp_path / "nowhere") in refusal(Path("nowhere"))
    assert str(tmp_path / "nowhere") in refusal(Path("x/../nowhere"))


def test_not_a_folder(tmp_path):
    (tmp_path / "food-11.zip").write_bytes(b"PK")
    assert "this is a file; unpack it" in refusal(tmp_path / "food-11.zip")
    (tmp_path / "link").symlink_to("gone")
    assert "a link to gone, which does not exist" in refusal(tmp_path / "link")
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    assert "a link to" in refusal(tmp_path / "a")
    assert "File name too long" in refusal(tmp_path / ("x" * 5000))
    assert "zero byte" in refusal(Path("a\0b"))
    assert "--data" in refusal(None)


def test_counts_that_do_not_allow_training(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "readme.txt").write_text("x")
    message = refusal(tmp_path / "empty")
    assert "no pictures (.avif .bmp .gif" in message
    assert "found: 1 .txt file;" in message
    assert "at least 2 classes, found class 'egg' with train 6, valid 2, test 2" in refusal(
        class_folder(tmp_path / "one", ("egg",))
    )
    hw3_folder(tmp_path / "lacks", range(2), (4, 2, 2))
    save(tmp_path / "lacks" / "validation" / "7_0.jpg")
    assert "'7': train 0, valid 1, test 0" in refusal(tmp_path / "lacks")
    class_folder(tmp_path / "few", num=5)
    save(tmp_path / "few" / "milk" / "0.jpg")
    assert "1 of 4 classes has fewer than 2 training pictures: 'milk': train 1" in refusal(
        tmp_path / "few"
    )
    assert "--set dataset.min_pictures=2" in refusal(tmp_path / "few")
    assert Folder(min_pictures=2).scan(tmp_path / "few").classes == ("bread", "egg", "rice")
    assert "no validation pictures (9 training" in refusal(class_folder(tmp_path / "tiny", num=3))


def test_layouts_that_do_not_fit(tmp_path):
    for n in range(4):
        save(tmp_path / "flat" / f"{n}_1.jpg", n)
    message = refusal(tmp_path / "flat")
    assert "no folders, 4 pictures directly in it" in message
    assert "CLASS/*.jpg" in message
    hw3_folder(tmp_path / "hw3", range(2))
    assert "do not lie as layout 'classes' says" in refusal(tmp_path / "hw3", layout="classes")
    class_folder(tmp_path / "classes")
    assert "bread/ (10 pictures)" in refusal(tmp_path / "classes", layout="hw3")
    shutil.copytree(tmp_path / "hw3" / "training", tmp_path / "hw3" / "train")
    assert "two folders for the same split: train, training" in refusal(tmp_path / "hw3")
    for name in ("a", "b"):
        hw3_folder(tmp_path / "both" / name, range(2))
    assert "several folders hold a train split: a, b" in refusal(tmp_path / "both")
    for n in range(4):
        save(tmp_path / "names" / "train" / f"picture{n}.jpg")
    assert "4 pictures without a label" in refusal(tmp_path / "names")


def test_digits_are_cut_in_proportion():
    listing = Digits(num_train=200, num_valid=300).scan(None)
    assert counts(listing) == [200, 300, 1297]
    per_class = Counter(zip(listing.parts, listing.labels, strict=True))
    for label in range(10):
        assert 19 <= per_class[TRAIN, label] <= 21
        assert 28 <= per_class[VALID, label] <= 32


def test_digits_must_leave_pictures_for_testing():
    with pytest.raises(UserError, match="leave 97"):
        Digits.parse({"num_train": 1200, "num_valid": 500}, source="test")


def test_configs_import_no_heavy_library():
    code = (
        "import sys, pipeline.data.datasets; print([m for m in ('torch', 'numpy', 'sklearn', "
        "'PIL') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_folder_called_as_if_there_were_no_label_is_said(tmp_path):
    listing = Folder().scan(class_folder(tmp_path / "set", ("bread", "egg", "unknown")))
    assert listing.classes == ("bread", "egg", "unknown")
    assert any(
        "'unknown' (10); to leave their pictures out, move them out of the folder" in w
        for w in listing.warnings
    )
