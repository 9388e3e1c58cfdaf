"""What is taken of folders as they are found in the wild, or in which words they are refused; and that it is always said."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from pipeline.data.datasets import Folder
from pipeline.data.listing import UNKNOWN, Listing
from pipeline.data.names import SplitName, label_of, split_of
from pipeline.data.taken import Taken
from pipeline.errors import UserError

SCENES = ("forest", "glacier", "sea")
PETS = ("cat", "dog")


def grow(root: Path, spec: Mapping[str, int], classes: tuple[str, ...] = PETS) -> Path:
    """Files named by patterns of `{c}` (class), `{i}` (its number) and `{n}` (number of the file), as many as said."""
    for pattern, num in spec.items():
        for i, c in enumerate(classes if "{c}" in pattern or "{i}" in pattern else [""]):
            for n in range(num):
                path = root / pattern.format(c=c, i=i, n=n)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(b"a picture is not opened when it is listed")
    return root


def split(train: str, valid: str = "", test: str = "", below: str = "{c}/{n}.jpg") -> dict[str, int]:
    return {f"{name}/{below}": num for name, num in ((train, 10), (valid, 4), (test, 4)) if name}


def numbers(listing: Listing) -> list[int]:
    return [listing.parts.count(part) for part in range(3)]


# (files, settings, classes, pictures in train, valid, test)
Case = tuple[dict[str, int], dict[str, Any], tuple[str, ...], list[int]]
READ: dict[str, Case] = {
    "Intel scenes": (
        split("seg_train/seg_train", "", "seg_test/seg_test") | {"seg_pred/seg_pred/{n}.jpg": 5},
        {},
        PETS,
        [16, 4, 13],
    ),
    "training_set": (split("training_set/training_set", "", "test_set/test_set"), {}, PETS, [16, 4, 8]),
    "Train_Set_Folder": (split("Train_Set_Folder", "", "Test_Set_Folder"), {}, PETS, [16, 4, 8]),
    "TrainingSet": (split("TrainingSet", "ValidationSet", "TestSet"), {}, PETS, [20, 8, 8]),
    "Training": (split("Training", "", "Testing"), {}, PETS, [16, 4, 8]),
    "train, dev, holdout": (split("train", "dev", "holdout"), {}, PETS, [20, 8, 8]),
    "train2017": (split("train2017", "val2017"), {}, PETS, [20, 8, 0]),
    "one name in all": (split("animals-train", "animals-val", "animals-test"), {}, PETS, [20, 8, 8]),
    "one name in all, others beside": (
        split("pets_train", "", "pets_test") | {"thumbs/{n}.jpg": 3},
        {},
        PETS,
        [16, 4, 8],
    ),
    "Chinese": (split("训练集", "验证集", "测试集"), {}, PETS, [20, 8, 8]),
    "Plant Diseases": (
        split("New Data(Augmented)/New Data(Augmented)/train", "New Data(Augmented)/New Data(Augmented)/valid")
        | {"test/test/{n}.JPG": 5},
        {},
        PETS,
        [20, 8, 5],
    ),
    "three times nested": (split("a/b/c/train", "a/b/c/val"), {}, PETS, [20, 8, 0]),
    "chest_xray with its copy": (
        split("chest_xray/train", "chest_xray/val", "chest_xray/test")
        | split("chest_xray/chest_xray/train", "chest_xray/chest_xray/val", "chest_xray/chest_xray/test")
        | {"chest_xray/__MACOSX/chest_xray/train/{c}/._{n}.jpg": 3},
        {},
        PETS,
        [20, 8, 8],
    ),
    "class first": (split("{c}/train", "{c}/valid", "{c}/test", "{n}.jpg"), {}, PETS, [20, 8, 8]),
    "class first, nested": (split("set/{c}/Train", "", "set/{c}/Test", "{n}.jpg"), {}, PETS, [16, 4, 8]),
    "a folder around the classes of each part": (split("train/animals", "val/animals"), {}, PETS, [20, 8, 0]),
    "test pictures in one folder": (split("train", "val") | {"test/images/{n}.jpg": 5}, {}, PETS, [20, 8, 5]),
    "dogs vs cats": (
        {"train/{c}.{n}.jpg": 10, "test1/{n}.jpg": 6},
        {"label_from": "name"},
        PETS,
        [16, 4, 6],
    ),
    "dogs vs cats, nested": (
        {"train/train/{c}.{n}.jpg": 10, "test/test/{n}.jpg": 6},
        {"label_from": "name"},
        PETS,
        [16, 4, 6],
    ),
    "Oxford pets": (
        {"images/{c}_{n}.jpg": 10, "annotations/trimaps/{c}_{n}.png": 10, "annotations/list.txt": 1},
        {"label_from": "name"},
        PETS,
        [12, 4, 4],
    ),
    "flat": ({"{c} ({n}).jpg": 10}, {"label_from": "name"}, PETS, [12, 4, 4]),
    "vehicles": ({f"{name}/{{n}}.jpg": 10 for name in ("train", "car", "bus")}, {}, ("bus", "car", "train"), [18, 6, 6]),
    "vehicles in parts": (
        {f"{part}/{name}/{{n}}.jpg": 10 for part in ("train", "test") for name in ("train", "car", "test bench")},
        {},
        ("car", "test bench", "train"),
        [24, 6, 30],
    ),
    "kinds of trains": (
        {f"{name}/{{n}}.jpg": 10 for name in ("steam_train", "freight_train", "bullet_train")},
        {},
        ("bullet_train", "freight_train", "steam_train"),
        [18, 6, 6],
    ),
    "a tube": ({f"{name}/{{n}}.jpg": 10 for name in ("test_tube", "beaker")}, {}, ("beaker", "test_tube"), [12, 4, 4]),
    "a class that is called test": (
        {f"{name}/{{n}}.jpg": 10 for name in ("test", "car")},
        {"splits": "none"},
        ("car", "test"),
        [12, 4, 4],
    ),
    "an empty folder": (split("train", "val") | {"train/{c}/{n}.jpg": 10}, {"min_pictures": 3}, PETS, [20, 8, 0]),
    "sizes are classes": ({f"{name}/{{n}}.jpg": 10 for name in ("small", "large")}, {}, ("large", "small"), [12, 4, 4]),
    "a small class left out": (
        split("train", "val") | {"train/yeti/{n}.jpg": 1, "val/yeti/{n}.jpg": 1},
        {"min_pictures": 2},
        PETS,
        [20, 8, 0],
    ),
}
# (files, settings, what the refusal says)
REFUSED: dict[str, tuple[dict[str, int], dict[str, Any], tuple[str, ...]]] = {
    "dogs vs cats, with test": (
        {"train/{c}.{n}.jpg": 10, "test/{n}.jpg": 6},
        {},
        ("no class at all", "'cat.0.jpg' is 'cat', 2 classes", "--set dataset.label_from=name"),
    ),
    "dogs vs cats": ({"train/{c}.{n}.jpg": 10, "test1/{n}.jpg": 6}, {}, ("--set dataset.label_from=name",)),
    "only train": ({"train/{c}.{n}.jpg": 10, "extra/{n}.jpg": 3}, {}, ("'train'", "--set dataset.label_from=name")),
    "Oxford pets": (
        {"images/{c}_{n}.jpg": 10, "annotations/trimaps/{c}_{n}.png": 10},
        {},
        ("'annotations', 'images' can hardly be classes", "--set dataset.label_from=name"),
    ),
    "Oxford pets without masks": (
        {"images/{c}_{n}.jpg": 10, "annotations/list.txt": 1},
        {},
        ("--set dataset.label_from=name",),
    ),
    "flat": ({"{c}{n}.jpg": 10}, {}, ("20 pictures directly in it", "--set dataset.label_from=name")),
    "no train": (split("seg_test", "seg_pred"), {}, ("'seg_pred', 'seg_test' are named after splits", "splits=none")),
    "a test folder beside classes": (
        {"{c}/{n}.jpg": 10, "test/{n}.jpg": 5},
        {},
        (
            "'test' are named after splits",
            "found: cat/ (10 pictures), dog/ (10 pictures), test/ (5 pictures)",
            "splits=none",
        ),
    ),
    "a split beside classes": (
        {"train/{c}/{n}.jpg": 10, "horse/{n}.jpg": 5},
        {},
        ("'horse' lie beside 'train', which holds folders itself", "splits=none"),
    ),
    "split and class in one name": (
        {"train_{c}/{n}.jpg": 10, "test_{c}/{n}.jpg": 5},
        {},
        ("name both a split and something else", "train/CLASS/*.jpg"),
    ),
    "two test folders": (split("train", "test1", "test2"), {}, ("two folders for the same split: test1, test2",)),
    "two sets": (split("a/train", "b/train"), {}, ("several folders hold a train split: a, b",)),
    "folds": (split("fold_1", "fold_2", "fold_3"), {}, ("hold the same folders ('cat', 'dog')", "splits=none")),
    "tr and te": (split("tr", "te"), {}, ("hold the same folders ('cat', 'dog')",)),
    "class first, but for one": (
        split("{c}/train", "", "{c}/test", "{n}.jpg") | {"owl/{n}.jpg": 5},
        {},
        ("'owl' hold no folder of training pictures, as 'cat', 'dog' do",),
    ),
    "a class that cannot be read": (
        {"{c}/{n}.jpg": 10, "milk/{n}.raw2": 7},
        {},
        ("the class folder 'milk' has no pictures, but 7 .raw2 files",),
    ),
    "a class of one": (
        {"{c}/{n}.jpg": 10, "yeti/0.jpg": 1},
        {},
        ("'yeti': train 1", "--set dataset.min_pictures=2"),
    ),
    "names that say nothing": ({"{n}.jpg": 10}, {"label_from": "name"}, ("no class at all", "10 pictures whose name")),
}


@pytest.mark.parametrize("name", READ)
def test_folders_are_read_rightly(name, tmp_path):
    files, settings, classes, expected = READ[name]
    listing = Folder(**settings).scan(grow(tmp_path / "set", files))
    assert (listing.classes, numbers(listing)) == (classes, expected)
    for file, label in zip(listing.files, listing.labels, strict=True):
        assert label == UNKNOWN or classes[label] in file
    said = dict(listing.taken.lines())
    assert said["classes"].startswith(f"{len(classes)}: {classes[0]} ")
    assert [said[part].split()[0] for part in ("train", "validation", "test")] == [f"{n}" if n else "none" for n in expected]


@pytest.mark.parametrize("name", REFUSED)
def test_folders_are_refused_in_words(name, tmp_path):
    files, settings, words = REFUSED[name]
    with pytest.raises(UserError) as caught:
        Folder(**settings).scan(grow(tmp_path / "set", files))
    assert all(word in str(caught.value) for word in words), str(caught.value)


def test_a_class_that_is_named_after_a_split_is_said(tmp_path):
    listing = Folder().scan(grow(tmp_path, {f"{name}/{{n}}.jpg": 10 for name in ("train", "car", "bus")}))
    assert any(warning.startswith("the folders 'train' are taken for classes") for warning in listing.warnings)


def test_folders_of_the_same_names_in_every_class_are_said(tmp_path):
    listing = Folder().scan(grow(tmp_path, {"{c}/indoor/{n}.jpg": 5, "{c}/outdoor/{n}.jpg": 5}))
    assert listing.classes == PETS
    assert any("'cat', 'dog' hold folders of the same names ('indoor', 'outdoor')" in text for text in listing.warnings)


def test_an_empty_folder_is_no_class(tmp_path):
    (grow(tmp_path, {"{c}/{n}.jpg": 10}) / "Untitled Folder" / "deeper").mkdir(parents=True)
    listing = Folder().scan(tmp_path)
    assert listing.classes == PETS
    assert "folders without pictures are no classes: 'Untitled Folder'" in listing.warnings


def test_what_is_left_out_is_counted_by_ending(tmp_path):
    files = {"{c}/{n}.jpg": 10, "{c}/{n}.xcf": 6, "{c}/notes.txt": 1, "{c}/README": 1, "{c}/.{n}.jpg": 2}
    listing = Folder().scan(grow(tmp_path, files))
    assert listing.ignored == {".xcf files": 12, "hidden files": 4, ".txt files": 2, "files without an ending": 2}
    assert dict(listing.taken.lines())["left out"].startswith("12 .xcf files, 4 hidden files, 2 .txt files")
    assert any("12 .xcf files" in warning and ".txt" not in warning for warning in listing.warnings)


def test_what_was_taken_survives_the_cache_and_the_ledger(tmp_path):
    taken = Folder().scan(grow(tmp_path, split("train", "val") | {"test/{n}.jpg": 3}, SCENES)).taken
    assert Taken.parse(taken.dump()) == taken
    assert taken.lines() == [
        ("classes", "3: forest 14, glacier 14, sea 14"),
        ("labels", "the names of the folders"),
        ("train", "30 pictures, folder train"),
        ("validation", "12 pictures, folder val"),
        ("test", "3 pictures (3 without a label), folder test"),
        ("left out", "nothing"),
    ]


SPELLINGS = ("{}", "{}_set", "{}set", "{}-data", "my {}", "{}1", "{}2017", "{}_Folder", "images_{}", "{}Images", "{} split")
WORDS = {"train": ("train", "training"), "valid": ("valid", "validation", "val", "dev"), "test": ("test", "testing", "eval")}


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_splits_are_known_in_every_spelling(spelling):
    for word, forms in WORDS.items():
        for form in forms:
            for cased in (form, form.title(), form.upper()):
                assert split_of(spelling.format(cased)) == SplitName(word), spelling.format(cased)


@pytest.mark.parametrize(
    "name", ["contest", "latest", "trainer", "strain", "retrain", "valley", "devil", "tested", "", "1", "_"]
)
def test_other_words_are_no_splits(name):
    assert split_of(name) is None


def test_what_else_a_name_says_is_kept():
    assert split_of("seg_train") == SplitName("train", ("seg",))
    assert split_of("train_test_split") is None
    assert split_of("trainval") == split_of("train_val") == SplitName("train")


@pytest.mark.parametrize(
    ("file", "label"),
    [
        ("cat.0.jpg", "cat"),
        ("a/great_pyrenees_12.jpg", "great_pyrenees"),
        ("dog (3).png", "dog"),
        ("daisy12.jpg", "daisy"),
        ("3_12.jpg", "3"),
        ("0001.jpg", None),
        ("cat.jpg", None),
    ],
)
def test_labels_in_names_of_files(file, label):
    assert label_of(file) == label
