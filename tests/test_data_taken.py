"""What is taken of folders as they are found in the wild, or in which words they are refused; and
that it is always said.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from pipeline.data.datasets import Folder
from pipeline.data.datasets.csv import Csv
from pipeline.data.listing import FIRST_RULES, UNKNOWN, Listing, Reading
from pipeline.data.names import SplitName, label_of, split_of
from pipeline.data.taken import Taken, num_labelled
from pipeline.errors import UserError

SCENES = ("forest", "glacier", "sea")
PETS = ("cat", "dog")


def grow(root: Path, spec: Mapping[str, int], classes: tuple[str, ...] = PETS) -> Path:
    """Files named by patterns of `{c}` (class), `{i}` (its number) and `{n}` (number of the file),
    as many as said.
    """
    for pattern, num in spec.items():
        for i, c in enumerate(classes if "{c}" in pattern or "{i}" in pattern else [""]):
            for n in range(num):
                path = root / pattern.format(c=c, i=i, n=n)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(b"a picture is not opened when it is listed")
    return root


def split(
    train: str, valid: str = "", test: str = "", below: str = "{c}/{n}.jpg"
) -> dict[str, int]:
    return {f"{name}/{below}": num for name, num in ((train, 10), (valid, 4), (test, 4)) if name}


def numbers(listing: Listing) -> list[int]:
    return [listing.parts.count(part) for part in range(3)]


# (files, settings, classes, pictures in train, valid, test)
Case = tuple[dict[str, int], dict[str, Any], tuple[str, ...], list[int]]
READ: dict[str, Case] = {
    "cats and dogs of a course": (
        split("dataset/training_set", "", "dataset/test_set")
        | {"dataset/single_prediction/cat_or_dog_{n}.jpg": 2},
        {},
        PETS,
        [16, 4, 10],
    ),
    "fruits": (
        split("f/Training", "", "f/Test") | {"f/test-multiple_fruits/{n}.jpg": 4},
        {},
        PETS,
        [16, 4, 8],
    ),
    "blood cells": (
        split("a/images/TRAIN", "", "a/images/TEST") | split("a/images/TEST_SIMPLE"),
        {},
        PETS,
        [16, 4, 8],
    ),
    "signs of hands": (
        split("asl_train/asl_train") | {"asl_test/asl_test/{c}_test.jpg": 1},
        {},
        PETS,
        [16, 4, 2],
    ),
    "garbage": ({"g c/G c/G C/{c}/{n}.jpg": 10, "g c/note.txt": 1}, {}, PETS, [12, 4, 4]),
    "Intel scenes": (
        split("seg_train/seg_train", "", "seg_test/seg_test") | {"seg_pred/seg_pred/{n}.jpg": 5},
        {},
        PETS,
        [16, 4, 13],
    ),
    "training_set": (
        split("training_set/training_set", "", "test_set/test_set"),
        {},
        PETS,
        [16, 4, 8],
    ),
    "Train_Set_Folder": (split("Train_Set_Folder", "", "Test_Set_Folder"), {}, PETS, [16, 4, 8]),
    "TrainingSet": (split("TrainingSet", "ValidationSet", "TestSet"), {}, PETS, [20, 8, 8]),
    "Training": (split("Training", "", "Testing"), {}, PETS, [16, 4, 8]),
    "train, dev, holdout": (split("train", "dev", "holdout"), {}, PETS, [20, 8, 8]),
    "train2017": (split("train2017", "val2017"), {}, PETS, [20, 8, 0]),
    "one name in all": (
        split("animals-train", "animals-val", "animals-test"),
        {},
        PETS,
        [20, 8, 8],
    ),
    "one name in all, others beside": (
        split("pets_train", "", "pets_test") | {"thumbs/{n}.jpg": 3},
        {},
        PETS,
        [16, 4, 8],
    ),
    "Chinese": (split("训练集", "验证集", "测试集"), {}, PETS, [20, 8, 8]),
    "Plant Diseases": (
        split(
            "New Data(Augmented)/New Data(Augmented)/train",
            "New Data(Augmented)/New Data(Augmented)/valid",
        )
        | {"test/test/{n}.JPG": 5},
        {},
        PETS,
        [20, 8, 5],
    ),
    "three times nested": (split("a/b/c/train", "a/b/c/val"), {}, PETS, [20, 8, 0]),
    "chest_xray with its copy": (
        split("chest_xray/train", "chest_xray/val", "chest_xray/test")
        | split(
            "chest_xray/chest_xray/train", "chest_xray/chest_xray/val", "chest_xray/chest_xray/test"
        )
        | {"chest_xray/__MACOSX/chest_xray/train/{c}/._{n}.jpg": 3},
        {},
        PETS,
        [20, 8, 8],
    ),
    "class first": (split("{c}/train", "{c}/valid", "{c}/test", "{n}.jpg"), {}, PETS, [20, 8, 8]),
    "class first, nested": (
        split("set/{c}/Train", "", "set/{c}/Test", "{n}.jpg"),
        {},
        PETS,
        [16, 4, 8],
    ),
    "a folder around the classes of each part": (
        split("train/animals", "val/animals"),
        {},
        PETS,
        [20, 8, 0],
    ),
    "test pictures in one folder": (
        split("train", "val") | {"test/images/{n}.jpg": 5},
        {},
        PETS,
        [20, 8, 5],
    ),
    "dogs vs cats": (
        {"train/{c}.{n}.jpg": 10, "test1/{n}.jpg": 6},
        {"label_from": "name"},
        PETS,
        [16, 4, 6],
    ),
    "views of each class": (
        {"{c}/indoor/{n}.jpg": 5, "{c}/outdoor/{n}.jpg": 5},
        {"splits": "none"},
        PETS,
        [12, 4, 4],
    ),
    "numbers first": ({"train/{n}_{c}.jpg": 10}, {"label_from": "name"}, PETS, [16, 4, 0]),
    "dogs vs cats, nested": (
        {"train/train/{c}.{n}.jpg": 10, "test/test/{n}.jpg": 6},
        {"label_from": "name"},
        PETS,
        [16, 4, 6],
    ),
    "Oxford pets": (
        {
            "images/{c}_{n}.jpg": 10,
            "annotations/trimaps/{c}_{n}.png": 10,
            "annotations/list.txt": 1,
        },
        {"label_from": "name"},
        PETS,
        [12, 4, 4],
    ),
    "flat": ({"{c} ({n}).jpg": 10}, {"label_from": "name"}, PETS, [12, 4, 4]),
    "vehicles": (
        {f"{name}/{{n}}.jpg": 10 for name in ("train", "car", "bus")},
        {},
        ("bus", "car", "train"),
        [18, 6, 6],
    ),
    "vehicles in parts": (
        {
            f"{part}/{name}/{{n}}.jpg": 10
            for part in ("train", "test")
            for name in ("train", "car", "test bench")
        },
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
    "a tube": (
        {f"{name}/{{n}}.jpg": 10 for name in ("test_tube", "beaker")},
        {},
        ("beaker", "test_tube"),
        [12, 4, 4],
    ),
    "a class that is called test": (
        {f"{name}/{{n}}.jpg": 10 for name in ("test", "car")},
        {"splits": "none"},
        ("car", "test"),
        [12, 4, 4],
    ),
    "masks in each class": (
        {"{c}/images/{n}.jpg": 10, "{c}/masks/{n}.png": 10},
        {},
        PETS,
        [12, 4, 4],
    ),
    "masks by their names": (
        {"{c}/{c} ({n}).png": 10, "{c}/{c} ({n})_mask.png": 10, "{c}/{c} ({n})_mask_1.png": 2},
        {},
        PETS,
        [12, 4, 4],
    ),
    "masks are the class": (
        {f"{c}/{inner}/{{n}}.jpg": 10 for c, inner in (("mask", "masks"), ("none", "images"))},
        {},
        ("mask", "none"),
        [12, 4, 4],
    ),
    "numbers before splits": (split("0-train", "1-val", "2-test"), {}, PETS, [20, 8, 8]),
    "an empty folder": (
        split("train", "val") | {"train/{c}/{n}.jpg": 10},
        {"min_pictures": 3},
        PETS,
        [20, 8, 0],
    ),
    "sizes are classes": (
        {f"{name}/{{n}}.jpg": 10 for name in ("small", "large")},
        {},
        ("large", "small"),
        [12, 4, 4],
    ),
    "a small class left out": (
        split("train", "val") | {"train/yeti/{n}.jpg": 1, "val/yeti/{n}.jpg": 1},
        {"min_pictures": 2},
        PETS,
        [20, 8, 0],
    ),
}
# (files, settings, what the refusal says)
REFUSED: dict[str, tuple[dict[str, int], dict[str, Any], tuple[str, ...]]] = {
    "domains": (
        {
            f"{domain}/{{c}}{k}/{{n}}.jpg": 3
            for domain in ("color", "grayscale", "segmented")
            for k in "ab"
        },
        {},
        (
            "'color', 'grayscale', 'segmented' hold the same folders ('cata', 'catb', 'doga', "
            "'dogb')",
        ),
    ),
    "a copy beside": (
        {"data/natural_images/{c}/{n}.jpg": 3, "natural_images/{c}/{n}.jpg": 3},
        {},
        ("'data' hold folders of the same names as those beside them",),
    ),
    "nothing but splits in splits": (
        {f"{a}/{b}/{{n}}.jpg": 5 for a in ("train", "test") for b in ("train", "val")},
        {},
        ("'train', 'val' are named after splits",),
    ),
    "a table beside": (
        {"train/{n}.jpg": 9, "labels.csv": 1},
        {},
        ("a table lies there (labels.csv): --set dataset.name=csv reads such",),
    ),
    "dogs vs cats, with test": (
        {"train/{c}.{n}.jpg": 10, "test/{n}.jpg": 6},
        {},
        ("no class at all", "'cat.0.jpg' is 'cat', 2 classes", "--set dataset.label_from=name"),
    ),
    "dogs vs cats": (
        {"train/{c}.{n}.jpg": 10, "test1/{n}.jpg": 6},
        {},
        ("--set dataset.label_from=name",),
    ),
    "only train": (
        {"train/{c}.{n}.jpg": 10, "extra/{n}.jpg": 3},
        {},
        ("'train'", "--set dataset.label_from=name"),
    ),
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
    "flat": (
        {"{c}{n}.jpg": 10},
        {},
        ("20 pictures directly in it", "--set dataset.label_from=name"),
    ),
    "no train": (
        split("seg_test", "seg_pred"),
        {},
        ("'seg_pred', 'seg_test' are named after splits", "splits=none"),
    ),
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
    "two test folders": (
        split("train", "test1", "test2"),
        {},
        ("two folders for the same split: test1, test2",),
    ),
    "two sets": (split("a/train", "b/train"), {}, ("several folders hold a train split: a, b",)),
    "folds": (
        split("fold_1", "fold_2", "fold_3"),
        {},
        ("'fold_1', 'fold_2', 'fold_3' can hardly be classes", "splits=none"),
    ),
    "tr and te": (split("tr", "te"), {}, ("'te', 'tr' are what splits are called for short",)),
    "words of another language": (
        split("entrenamiento", "", "prueba"),
        {},
        ("hold the same folders ('cat', 'dog')",),
    ),
    "views of each class": (
        {"{c}/indoor/{n}.jpg": 5, "{c}/outdoor/{n}.jpg": 5},
        {},
        ("hold the same folders ('indoor', 'outdoor')", "splits=none"),
    ),
    "numbers first": (
        {f"train/{{n}}_{name}.jpg": 10 for name in ("cat", "dog", "owl", "fox")},
        {},
        (
            "the number before _ in the names of the files seems to be the picture's",
            "--set dataset.label_from=name",
        ),
    ),
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
    "folds of files": (
        {f"fold{k}/{{c}}_{{n}}.jpg": 5 for k in range(5)},
        {},
        (
            "'fold0', 'fold1', 'fold2', 'fold3', 'fold4' can hardly be classes",
            "--set dataset.label_from=name",
        ),
    ),
    "batches": ({f"batch_{k}/{{n}}.jpg": 5 for k in range(3)}, {}, ("can hardly be classes",)),
    "parts of one split": (
        {f"train_{k}/{{n}}.jpg": 5 for k in "ab"},
        {},
        ("'train_a', 'train_b' are named after splits",),
    ),
    "split and class in one word": (
        {f"{part}{{c}}s/{{n}}.jpg": 5 for part in ("train", "test")},
        {},
        ("'testcats', 'testdogs', 'traincats', 'traindogs' name both a split and something else",),
    ),
    "classes that are all named with a word of splits": (
        {f"{name}/{{n}}.jpg": 5 for name in ("test kitchen", "dev board", "training shoes")},
        {},
        (
            "test kitchen/ (5 pictures), training shoes/ (5 pictures) are taken for splits",
            "splits=none",
        ),
    ),
    "names that say nothing": (
        {"{n}.jpg": 10},
        {"label_from": "name"},
        ("no class at all", "10 pictures whose name"),
    ),
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
    assert [said[part].split()[0] for part in ("train", "validation", "test")] == [
        f"{n}" if n else "none" for n in expected
    ]


@pytest.mark.parametrize("name", REFUSED)
def test_folders_are_refused_in_words(name, tmp_path):
    files, settings, words = REFUSED[name]
    with pytest.raises(UserError) as caught:
        Folder(**settings).scan(grow(tmp_path / "set", files))
    assert all(word in str(caught.value) for word in words), str(caught.value)


def test_a_class_that_is_named_after_a_split_is_said(tmp_path):
    listing = Folder().scan(
        grow(tmp_path, {f"{name}/{{n}}.jpg": 10 for name in ("train", "car", "bus")})
    )
    assert any(
        warning.startswith("the folders 'train' are taken for classes")
        for warning in listing.warnings
    )


def test_splits_in_names_of_files_are_said(tmp_path):
    listing = Folder().scan(grow(tmp_path, {"{c}/train_{n}.jpg": 10, "{c}/test_{n}.jpg": 5}))
    assert any(
        text.startswith("the names of the files say splits (test 10, train 20)")
        for text in listing.warnings
    )


def test_a_class_that_holds_folders_beside_others_with_pictures_is_said(tmp_path):
    listing = Folder().scan(
        grow(
            tmp_path,
            {"cat/{n}.jpg": 5, "dog/old/{n}.jpg": 5, "dog/young/{n}.jpg": 5, "owl/owl/{n}.jpg": 9},
        )
    )
    assert listing.classes == ("cat", "dog", "owl")
    assert any(
        "'dog' hold folders, not pictures ('old', 'young')" in text for text in listing.warnings
    )


def test_what_the_first_rules_read_is_not_doubted(tmp_path):
    """A study that was recorded on classes that are refused today goes on."""
    root = grow(tmp_path, {f"{domain}/{{c}}/{{n}}.jpg": 5 for domain in ("art", "photo")}, SCENES)
    with pytest.raises(UserError, match="can hardly be classes"):
        Folder().scan(root)
    assert Folder().read_by(Reading(FIRST_RULES)).scan(root).classes == ("art", "photo")


def test_masks_that_are_left_out_are_counted_and_an_earlier_record_keeps_them(tmp_path):
    root = grow(tmp_path, {"{c}/images/{n}.jpg": 10, "{c}/masks/{n}.png": 10})
    listing = Folder().scan(root)
    assert listing.ignored == {"pictures that are annotations of others": 20}
    assert "left out: 20 pictures that are annotations of others" in listing.warnings
    assert len(Folder().read_by(Reading(FIRST_RULES)).scan(root).files) == 40


def test_an_empty_folder_is_no_class(tmp_path):
    (grow(tmp_path, {"{c}/{n}.jpg": 10}) / "Untitled Folder" / "deeper").mkdir(parents=True)
    listing = Folder().scan(tmp_path)
    assert listing.classes == PETS
    assert "folders without pictures are no classes: 'Untitled Folder'" in listing.warnings


def test_what_is_left_out_is_counted_by_ending(tmp_path):
    files = {
        "{c}/{n}.jpg": 10,
        "{c}/{n}.xcf": 6,
        "{c}/notes.txt": 1,
        "{c}/README": 1,
        "{c}/.{n}.jpg": 2,
    }
    listing = Folder().scan(grow(tmp_path, files))
    assert listing.ignored == {
        ".xcf files": 12,
        "hidden files": 4,
        ".txt files": 2,
        "files without an ending": 2,
    }
    assert dict(listing.taken.lines())["left out"].startswith(
        "12 .xcf files, 4 hidden files, 2 .txt files"
    )
    assert any("12 .xcf files" in warning and ".txt" not in warning for warning in listing.warnings)


def test_a_licence_beside_the_set_is_counted_without_a_warning(tmp_path):
    listing = Folder().scan(grow(tmp_path, {"{c}/{n}.jpg": 10, "LICENSE": 1}))
    assert listing.ignored == {"files without an ending": 1}
    assert not any("without an ending" in warning for warning in listing.warnings)
    listing = Folder().scan(grow(tmp_path, {"{c}/photo": 1}))
    assert any("without an ending" in warning for warning in listing.warnings)


def test_what_was_taken_survives_the_cache_and_the_ledger(tmp_path):
    taken = Folder().scan(grow(tmp_path, split("train", "val") | {"test/{n}.jpg": 3}, SCENES)).taken
    assert Taken.parse(taken.dump()) == taken
    assert taken.lines() == [
        ("classes", "3: forest (14), glacier (14), sea (14)"),
        ("labels", "the names of the folders"),
        ("train", "30 pictures, folder train"),
        ("validation", "12 pictures, folder val"),
        ("test", "3 pictures (3 without a label), folder test"),
        ("left out", "nothing"),
    ]


SPELLINGS = (
    "{}",
    "{}_set",
    "{}set",
    "{}-data",
    "my {}",
    "{}1",
    "{}2017",
    "{}_Folder",
    "images_{}",
    "{}Images",
    "{} split",
)
WORDS = {
    "train": ("train", "training"),
    "valid": ("valid", "validation", "val", "dev"),
    "test": ("test", "testing", "eval"),
}


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_splits_are_known_in_every_spelling(spelling):
    for word, forms in WORDS.items():
        for form in forms:
            for cased in (form, form.title(), form.upper()):
                assert split_of(spelling.format(cased)) == SplitName(word), spelling.format(cased)


@pytest.mark.parametrize(
    "name",
    [
        "contest",
        "latest",
        "trainer",
        "strain",
        "retrain",
        "valley",
        "devil",
        "tested",
        "",
        "1",
        "_",
    ],
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
        ("12_owl.jpg", "owl"),
        ("0001.jpg", None),
        ("cat.jpg", None),
    ],
)
def test_labels_in_names_of_files(file, label):
    assert label_of(file) == label


# ---------------------------------------------------------------- tables


def table(root: Path, name: str, head: str, rows: list[str], encoding: str = "utf-8") -> Path:
    (root / name).write_bytes("\n".join([*([head] if head else []), *rows, ""]).encode(encoding))
    return root


def listed(line: str, num: int = 20, classes: tuple[str, ...] = PETS) -> list[str]:
    """Lines of `num` pictures, class by turns."""
    return [line.format(n=n, i=n % len(classes), c=classes[n % len(classes)]) for n in range(num)]


SIXTY = [("train" if n < 12 else "val" if n < 16 else "test") for n in range(20)]
# (folders of pictures, tables: name → (head, lines), settings, classes, parts, what is said of
# labels and files)
Told = tuple[
    dict[str, int],
    dict[str, tuple[str, list[str]]],
    dict[str, Any],
    tuple[str, ...],
    list[int],
    str,
]
TABLES: dict[str, Told] = {
    "GTSRB": (
        {"Train/0/{n}.png": 20, "Test/{n}.png": 6},
        {
            "Train.csv": (
                "Width,Height,Roi.X1,ClassId,Path",
                listed("2{n},3{n},5,{i},Train/0/{n}.png"),
            ),
            "Test.csv": (
                "Width,Height,Roi.X1,ClassId,Path",
                listed("2{n},3{n},5,{i},Test/{n}.png", 6),
            ),
        },
        {},
        ("0", "1"),
        [16, 4, 6],
        "column 'ClassId' of Train.csv",
    ),
    "HAM10000": (
        {"HAM_images_part_1/ISIC_{n}.jpg": 10, "HAM_images_part_2/ISIC_1{n}.jpg": 10},
        {
            "HAM10000_metadata.csv": (
                "lesion_id,image_id,dx,dx_type,age",
                [
                    line
                    for p in ("", "1")
                    for line in listed("HAM_" + p + "{n},ISIC_" + p + "{n},{c},histo,50.0", 10)
                ],
            )
        },
        {},
        PETS,
        [12, 4, 4],
        "column 'dx' of HAM10000_metadata.csv",
    ),
    "Plant Pathology": (
        {"images/Train_{n}.jpg": 20, "images/Test_{n}.jpg": 5},
        {
            "train.csv": (
                "image_id,healthy,rust,scab,both",
                [
                    f"Train_{n},{','.join(str(int(k == n % 4)) for k in range(4))}"
                    for n in range(20)
                ],
            ),
            "test.csv": ("image_id", listed("Test_{n}", 5)),
        },
        {},
        ("both", "healthy", "rust", "scab"),
        [16, 4, 5],
        "columns healthy, rust, scab, both (one for each class) of train.csv",
    ),
    "one-hot floats": (
        {"images/{n}.jpg": 20},
        {
            "train.csv": (
                "image,cat,dog",
                [f"{n},{('1.0,0.0', '0.0,1.0')[n % 2]}" for n in range(20)],
            )
        },
        {},
        PETS,
        [12, 4, 4],
        "columns cat, dog (one for each class) of train.csv",
    ),
    "Cassava": (
        {"train_images/{n}.jpg": 20, "test_images/{n}.jpg": 3},
        {
            "train.csv": ("image_id,label", listed("{n}.jpg,{i}")),
            "sample_submission.csv": ("image_id,label", listed("{n}.jpg,4", 3)),
        },
        {},
        ("0", "1"),
        [16, 4, 3],
        "column 'label' of train.csv",
    ),
    "dogbreed": (
        {"train/a{n}.jpg": 20, "test/b{n}.jpg": 5},
        {
            "labels.csv": ("id,breed", listed("a{n},{c}")),
            "sample_submission.csv": ("id,cat,dog", listed("b{n},0.5,0.5", 5)),
        },
        {},
        PETS,
        [16, 4, 5],
        "column 'breed' of labels.csv",
    ),
    "dogbreed with a test part of its own": (
        {"train/a{n}.jpg": 20, "test/b{n}.jpg": 5},
        {"labels.csv": ("id,breed", listed("a{n},{c}"))},
        {"test_table": ""},
        PETS,
        [12, 4, 4],
        "column 'breed' of labels.csv",
    ),
    "whales": (
        {"train/{n}.jpg": 20},
        {"train.csv": ("Image,Id", listed("{n}.jpg,w_{c}"))},
        {},
        ("w_cat", "w_dog"),
        [12, 4, 4],
        "'Id'",
    ),
    "APTOS": (
        {"train_images/{n}.png": 20},
        {"train.csv": ("id_code,diagnosis", listed("{n},{i}"))},
        {},
        ("0", "1"),
        [12, 4, 4],
        "'diagnosis'",
    ),
    "a column of splits": (
        {"pics/{n}.jpg": 20},
        {
            "train.csv": (
                "file,split,label,class,source",
                [f"{n}.jpg,{SIXTY[n]},{n % 2},{('pear', 'apple')[n % 2]},web" for n in range(20)],
            )
        },
        {},
        ("pear", "apple"),
        [12, 4, 4],
        "column 'class', in the order of column 'label' of train.csv",
    ),
    "a column of splits by another name": (
        {"pics/{n}.jpg": 20},
        {
            "train.csv": (
                "filepaths,labels,data set",
                [f"{n}.jpg,{n % 2},{SIXTY[n]}" for n in range(20)],
            )
        },
        {},
        ("0", "1"),
        [12, 4, 4],
        "'labels'",
    ),
    "usage as in FER2013": (
        {"pics/{n}.jpg": 20},
        {
            "train.csv": (
                "image,emotion,Usage",
                [f"{n},{n % 2},{'Training' if n < 16 else 'PrivateTest'}" for n in range(20)],
            )
        },
        {},
        ("0", "1"),
        [14, 2, 4],
        "'emotion'",
    ),
    "is_valid": (
        {"pics/{n}.jpg": 20},
        {"train.csv": ("name,label,is_valid", [f"{n}.jpg,{n % 2},{n > 15}" for n in range(20)])},
        {},
        ("0", "1"),
        [14, 4, 2],
        "'label'",
    ),
    "folds are no splits": (
        {"pics/{n}.jpg": 20},
        {"train.csv": ("image,label,fold", [f"{n},{n % 2},{n % 5}" for n in range(20)])},
        {},
        ("0", "1"),
        [12, 4, 4],
        "'label'",
    ),
    "a split column that is not wanted": (
        {"pics/{n}.jpg": 20},
        {"train.csv": ("image,label,split", [f"{n},{n % 2},{SIXTY[n]}" for n in range(20)])},
        {"split_column": "none"},
        ("0", "1"),
        [12, 4, 4],
        "'label'",
    ),
    "floats": (
        {"{n}.jpg": 24},
        {"train.csv": ("image,label", listed("{n},{i}.0", 24, tuple("abcdef")))},
        {},
        tuple("012345"),
        [12, 6, 6],
        "'label'",
    ),
    "nan": (
        {"{n}.jpg": 24},
        {"train.csv": ("image,label", [*listed("{n},{c}"), "20,nan", "21,NA", "22,", "23,N/A"])},
        {},
        PETS,
        [16, 4, 4],
        "'label'",
    ),
    "Excel": (
        {"{n}.jpg": 20},
        {"train.csv": ("sep=;\nimage;label", listed("{n}.jpg;{c}"))},
        {},
        PETS,
        [12, 4, 4],
        "'label'",
    ),
    "no names": (
        {"{n}.jpg": 20},
        {"train.csv": ("", listed("{n},{i}"))},
        {},
        ("0", "1"),
        [12, 4, 4],
        "column 2 of train.csv",
    ),
    "the other column of two": (
        {"{n}.jpg": 20},
        {"train.csv": ("编号,类", listed("{n}.jpg,{c}"))},
        {},
        PETS,
        [12, 4, 4],
        "column '类' (a guess: it is the other one of two) of train.csv",
    ),
    "files known by what they are": (
        {"{n}.jpg": 20},
        {"train.csv": ("Unnamed: 0,wert,tag", listed("{n},{n}.jpg,{c}"))},
        {},
        PETS,
        [12, 4, 4],
        "column 'tag' of train.csv",
    ),
    "named columns": (
        {"{n}.jpg": 20},
        {"train.csv": ("a,b,c", listed("7,{n}.jpg,{c}"))},
        {"file_column": "b", "label_column": "c"},
        PETS,
        [12, 4, 4],
        "column 'c' of train.csv",
    ),
    "named one-hot columns": (
        {"{n}.jpg": 20},
        {
            "train.csv": (
                "image,dark,cat,dog",
                [f"{n},1,{('1,0', '0,1')[n % 2]}" for n in range(20)],
            )
        },
        {"label_column": "cat,dog"},
        PETS,
        [12, 4, 4],
        "columns cat, dog",
    ),
    "a column of folders": (
        {"a/{n}.jpg": 10, "b/{n}.jpg": 10},
        {
            "train.csv": (
                "folder,image,label",
                [f"{f},{n},{n % 2}" for f in "ab" for n in range(10)],
            )
        },
        {},
        ("0", "1"),
        [12, 4, 4],
        "'label'",
    ),
    "a named column of folders": (
        {"a/{n}.jpg": 10, "b/{n}.jpg": 10},
        {"train.csv": ("where,image,label", [f"{f},{n},{n % 2}" for f in "ab" for n in range(10)])},
        {"folder_column": "where"},
        ("0", "1"),
        [12, 4, 4],
        "'label'",
    ),
    "a named folder": (
        {"small/{n}.jpg": 20, "large/{n}.jpg": 20},
        {"train.csv": ("image,label", listed("{n},{i}"))},
        {"images": "small"},
        ("0", "1"),
        [12, 4, 4],
        "'label'",
    ),
    "masks beside": (
        {"images/{n}.jpg": 20, "masks/{n}.png": 20},
        {"train.csv": ("image,label", listed("{n},{i}"))},
        {},
        ("0", "1"),
        [12, 4, 4],
        "'label'",
    ),
    "a class too small": (
        {"{n}.jpg": 21},
        {"train.csv": ("image,label", [*listed("{n},{c}"), "20,yeti"])},
        {"min_pictures": 2},
        PETS,
        [12, 4, 4],
        "'label'",
    ),
    "flags of splits": (
        {"{n}.jpg": 20},
        {
            "train.csv": (
                "path,label,is_training_img",
                [f"{n}.jpg,{n % 2},{int(n < 12)}" for n in range(20)],
            )
        },
        {},
        ("0", "1"),
        [10, 2, 8],
        "'label'",
    ),
    "two columns of splits that agree": (
        {"{n}.jpg": 20},
        {
            "train.csv": (
                "path,label,is_train,is_test",
                [f"{n}.jpg,{n % 2},{int(n < 12)},{int(n >= 12)}" for n in range(20)],
            )
        },
        {},
        ("0", "1"),
        [10, 2, 8],
        "'label'",
    ),
    "one-hot with a class that is called train": (
        {"{n}.jpg": 20},
        {"train.csv": ("path,train,car", [f"{n}.jpg,{n % 2},{1 - n % 2}" for n in range(20)])},
        {},
        ("car", "train"),
        [12, 4, 4],
        "columns train, car",
    ),
    "a constant column of a usual name": (
        {"{n}.jpg": 20},
        {"train.csv": ("path,type,dx", listed("{n}.jpg,image/jpeg,{c}"))},
        {},
        PETS,
        [12, 4, 4],
        "column 'dx'",
    ),
    "floats as NumPy writes them": (
        {"{n}.jpg": 24},
        {"train.csv": ("path,label", [f"{n}.jpg,{n % 3 * 5:.18e}" for n in range(24)])},
        {},
        ("0", "5", "10"),
        [18, 3, 3],
        "'label'",
    ),
    "names of files in another Unicode form": (
        {"caf\u00e9_{n}.jpg": 20},
        {"train.csv": ("path,label", listed("cafe\u0301_{n}.jpg,{c}"))},
        {},
        PETS,
        [12, 4, 4],
        "'label'",
    ),
    "one dummy label of two in the test table": (
        {"{n}.jpg": 30},
        {
            "train.csv": ("image,label", listed("{n},{i}")),
            "test.csv": ("image,label", [f"{n},0" for n in range(20, 30)]),
        },
        {},
        ("0", "1"),
        [16, 4, 10],
        "'label'",
    ),
    "one dummy label in the test table": (
        {"{n}.jpg": 30},
        {
            "train.csv": ("image,label", listed("{n},{c}", 24, SCENES)),
            "test.csv": ("image,label", [f"{n},forest" for n in range(24, 30)]),
        },
        {},
        SCENES,
        [21, 3, 6],
        "'label'",
    ),
}
# (folders, the line of names, lines, settings, what the refusal says)
UNREAD: dict[str, tuple[dict[str, int], str, list[str], dict[str, Any], tuple[str, ...]]] = {
    "which label": (
        {"{n}.jpg": 20},
        "image,width,height,who",
        listed("{n},2{n},3{n},{c}"),
        {},
        (
            "which column says the class? name it in dataset.label_column; its columns: image, "
            "width, height, who",
        ),
    ),
    "which file": (
        {"x{n}.jpg": 20},
        "a,b,label",
        listed("{n},{n},{c}"),
        {},
        ("which column names the files?", "a, b, label"),
    ),
    "two labels": (
        {"{n}.jpg": 20},
        "image,species,breed",
        [f"{n},{PETS[n % 2]},{SCENES[n % 3]}" for n in range(20)],
        {},
        ("column 'species', column 'breed' may all say the class", "dataset.label_column"),
    ),
    "several ones": (
        {"{n}.jpg": 20},
        "image,cat,dog",
        [f"{n},1,{n % 2}" for n in range(20)],
        {},
        ("line 3: columns cat, dog are read as one for each class, and 2 of them are 1",),
    ),
    "case twins": (
        {"{n}.jpg": 20},
        "image,label",
        listed("{n},{c}", 20, ("Dog", "cat", "dog")),
        {},
        ("classes 'Dog' (line 2) and 'dog' (line 4) have the same name but for case",),
    ),
    "another word in a column of splits": (
        {"{n}.jpg": 20},
        "image,label,split",
        [f"{n},{n % 2},{'train' if n else 'extra'}" for n in range(20)],
        {},
        (
            "line 2: column 'split': 'extra' is no split (train, valid, test)",
            "dataset.split_column=none",
        ),
    ),
    "a fold that is wanted as split": (
        {"{n}.jpg": 20},
        "image,label,fold",
        [f"{n},{n % 2},{n % 5}" for n in range(20)],
        {"split_column": "fold"},
        ("line 2: column 'fold': '0' is no split",),
    ),
    "a label that tells the pictures apart": (
        {"{n}.jpg": 20},
        "image,label",
        [f"{n},L{n}" for n in range(20)],
        {},
        ("column 'image', column 'label'", "20 of 20 classes", "dataset.label_column"),
    ),
    "files that are not there": (
        {"pics/x{n}.jpg": 20},
        "image,label",
        listed("{n}.jpg,{i}"),
        {},
        (
            "20 of 20 pictures are missing: 0.jpg (line 2)",
            "lie in pics/ (20)",
            "dataset.file_column",
        ),
    ),
    "a name in two folders": (
        {"small/{n}.jpg": 20, "large/{n}.jpg": 20},
        "image,label",
        listed("{n},{i}"),
        {},
        ("line 2: 0 may be large/0.jpg and small/0.jpg; name the folder in dataset.images",),
    ),
    "no such folder": (
        {"small/{n}.jpg": 20},
        "image,label",
        listed("{n},{i}"),
        {"images": "smal"},
        ("dataset.images: no pictures in 'smal'; they lie in small/ (20)",),
    ),
    "two columns of splits": (
        {"{n}.jpg": 20},
        "image,label,is_valid,is_test",
        [f"{n},{n % 2},{int(n % 5 == 0)},{int(n % 5 == 1)}" for n in range(20)],
        {},
        (
            "column 'is_valid', column 'is_test' may all say the split; name one in "
            "dataset.split_column",
        ),
    ),
    "a cell too many": (
        {"{n}.jpg": 20},
        "image,label",
        [*listed("{n},{c}", 19), "19,salmon, smoked"],
        {},
        ("line 21: more cells than the 2 of the first line", "quotes"),
    ),
    "an error of a spreadsheet": (
        {"{n}.jpg": 20},
        "image,label",
        [*listed("{n},{c}", 18), "18,#REF!", "19,#REF!"],
        {},
        ("line 20: '#REF!' in column 'label' is a spreadsheet's error",),
    ),
    "zeros before": (
        {"{n}.jpg": 20},
        "image,label",
        listed("{n},{c}", 20, ("01", "1", "2")),
        {},
        ("classes '01' (line 2) and '1' (line 3) have the same name but for case, spaces, zeros",),
    ),
    "spaces within": (
        {"{n}.jpg": 20},
        "image,label",
        listed("{n},{c}", 20, ("big cat", "big\u00a0 cat", "dog")),
        {},
        ("have the same name but for case, spaces",),
    ),
    "two columns of one name": (
        {"{n}.jpg": 20},
        "image,label,label",
        listed("{n},{i},{i}"),
        {},
        ("two columns called 'label'",),
    ),
    "three columns without names": (
        {"{n}.jpg": 20},
        "",
        listed("{n}.jpg,{i},7"),
        {},
        ("its columns: 3 without names",),
    ),
    "only ids": (
        {"{n}.jpg": 20},
        "image,label",
        ["1,a"],
        {"file_column": "nr"},
        ("dataset.file_column: no such column; got 'nr'",),
    ),
}


@pytest.mark.parametrize("name", TABLES)
def test_tables_are_read_rightly(name, tmp_path):
    folders, tables, settings, classes, expected, said = TABLES[name]
    grow(tmp_path, folders)
    for own, (head, rows) in tables.items():
        table(tmp_path, own, head, rows)
    listing = Csv(**settings).scan(tmp_path)
    assert (listing.classes, numbers(listing)) == (classes, expected)
    assert said in dict(listing.taken.lines())["labels"]
    assert all((tmp_path / file).is_file() for file in listing.files)


@pytest.mark.parametrize("name", UNREAD)
def test_tables_are_refused_in_words(name, tmp_path):
    folders, head, rows, settings, words = UNREAD[name]
    with pytest.raises(UserError) as caught:
        Csv(**settings).scan(table(grow(tmp_path, folders), "train.csv", head, rows))
    assert all(word in str(caught.value) for word in words), str(caught.value)


def test_what_is_guessed_or_not_read_of_tables_is_said(tmp_path):
    grow(tmp_path, {"{n}.jpg": 30})
    labels = ("cat", "dog", "cat|dog")
    table(tmp_path, "val.csv", "image,label", [f"{n},cat" for n in range(20, 30)])
    listing = Csv().scan(
        table(tmp_path, "train.csv", "image,train,label", listed("{n},{i},{c}", 18, labels)[::-1])
    )
    assert (
        "train.csv: 6 pictures have several labels ('cat|dog'): each combination is a class of its "
        "own"
    ) in listing.warnings
    assert (
        "val.csv is not read: put its lines into the first table, with a column split"
        in listing.warnings
    )
    table(
        tmp_path,
        "train.csv",
        "image,train,label",
        [f"{n},{int(n > 9)},{PETS[n % 2]}" for n in range(20)],
    )
    assert (
        "column 'train' of train.csv is not used as split: it holds '0', '1'"
        in Csv().scan(tmp_path).warnings
    )


def test_a_table_of_another_kind_is_named(tmp_path):
    with pytest.raises(
        UserError, match=r"no such table; found: none \(labels.xlsx: save it as CSV\)"
    ):
        Csv().scan(grow(tmp_path, {"{n}.jpg": 9, "labels.xlsx": 1}))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_encodings_and_separators(tmp_path, encoding, separator):
    grow(tmp_path, {"{n}.jpg": 20})
    rows = [line.replace(",", separator) for line in listed("{n}.jpg,Großer {c}")]
    listing = Csv().scan(table(tmp_path, "train.csv", f"image{separator}label", rows, encoding))
    assert listing.classes == ("Großer cat", "Großer dog")


def test_a_table_in_another_encoding_is_refused_with_its_line(tmp_path):
    grow(tmp_path, {"{n}.jpg": 20})
    with pytest.raises(UserError, match=r"line 3: not UTF-8 \(byte 31\); save it as UTF-8"):
        Csv().scan(
            table(tmp_path, "train.csv", "image,label", ["0.jpg,Hund", "1.jpg,größer"], "latin-1")
        )


def test_each_picture_has_the_label_of_its_line(tmp_path):
    grow(tmp_path, {"train_images/{n}.jpg": 20})
    listing = Csv(test_share=0).scan(
        table(tmp_path, "train.csv", "a,class,Image_ID", listed("x,{c},{n}"))
    )
    for file, label in zip(listing.files, listing.labels, strict=True):
        assert listing.classes[label] == PETS[int(Path(file).stem) % 2]


def test_what_a_table_leaves_out_is_said(tmp_path):
    grow(tmp_path, {"images/{n}.jpg": 25, "images/{n}.txt": 2})
    listing = Csv().scan(table(tmp_path, "train.csv", "image,label,fold", listed("{n},{c},1")))
    said = dict(listing.taken.lines())
    assert said["left out"] == "5 pictures that no table lists, 2 .txt files"
    assert said["files"] == "column 'image' of train.csv"
    assert "column 'fold' of train.csv is not used as split: it holds '1'" in listing.warnings
    grow(tmp_path, {"test/x{n}.jpg": 3})
    said = dict(Csv().scan(tmp_path).taken.lines())
    assert said["test"] == (
        "3 pictures (3 without a label), folder test, which no table lists (dataset.test_table= "
        "leaves it out)"
    )


def test_a_named_part_is_honoured_line_by_line(tmp_path):
    grow(tmp_path, {"pics/{n}.jpg": 20})
    rows = [f"{n}.jpg,{PETS[n % 2]},{SIXTY[n]}" for n in range(20)]
    listing = Csv().scan(table(tmp_path, "train.csv", "image,label,Split", rows))
    for file, part in zip(listing.files, listing.parts, strict=True):
        assert ("train", "val", "test")[part] == SIXTY[int(Path(file).stem)]
    assert dict(listing.taken.lines())["test"] == "4 pictures, column 'Split' of train.csv"


@pytest.mark.parametrize(("num", "said"), [(1, "1 .csv file"), (2, "2 .csv files")])
def test_a_table_that_is_read_is_not_left_out(tmp_path, num, said):
    grow(tmp_path, {"images/{n}.jpg": 20, "test/t{n}.jpg": 2})
    for name in ("other.csv", "another.csv")[:num]:
        (tmp_path / "images" / name).write_text("x\n")
    (tmp_path / "test.csv").write_text("image\nt0\nt1\n")
    (tmp_path / "test_labels.csv").write_text("image,label\nt0,cat\nt1,dog\n")
    listing = Csv().scan(table(tmp_path, "train.csv", "image,label", listed("{n},{c}")))
    assert listing.taken.counts["test"] == (2, 0)
    assert dict(listing.taken.lines())["left out"] == said


def test_the_names_of_the_classes_are_read_and_not_left_out(tmp_path):
    grow(tmp_path, {"training/{i}_{n}.jpg": 8, "validation/{i}_{n}.jpg": 4})
    (tmp_path / "classes.json").write_text('["cat", "dog"]')
    said = dict(Folder().scan(tmp_path).taken.lines())
    assert (said["classes"].startswith("2: cat ("), said["left out"]) == (True, "nothing")


@pytest.mark.parametrize(
    ("data", "labelled"),
    [
        ({"labelled": {"test": 7}, "counts": {"test": 9}}, 7),
        ({"most_frequent": {"train": 0.5}, "counts": {"test": 9}}, 0),
        (
            {
                "most_frequent": {"test": 0.5},
                "counts": {"test": 9},
                "taken": {"counts": {"test": (10, 4)}},
            },
            5,
        ),
        ({"counts": {"test": 9}}, 9),  # of a version that wrote neither
        ({"counts": {"train": 9}}, 0),
    ],
)
def test_only_labelled_pictures_judge(data, labelled):
    assert num_labelled(data, "test") == labelled
