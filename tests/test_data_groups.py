"""Several pictures of one subject stay on one side of every split."""

import csv
import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as some
from pictures import save

from pipeline.data.cache import Data, _key, prepare
from pipeline.data.datasets import Folder
from pipeline.data.datasets.csv import Csv
from pipeline.data.dealt import LEAST, codes, deal, take
from pipeline.data.groups import by_pattern
from pipeline.data.listing import TEST, VALID, Listing
from pipeline.data.splits import splits
from pipeline.errors import UserError
from pipeline.session.preflight import _require
from tests.studies import small_study

PATTERN = r"(p\d+)_"


def photos(folder: Path, num_subjects: int = 20, num_each: int = 4) -> Path:
    """Two classes; each subject has pictures of one."""
    for subject in range(num_subjects):
        for number in range(num_each):
            name = f"p{subject:02}_{number}.png"
            save(folder / "ab"[subject % 2] / name, subject % 2, 100 * subject + number)
    return folder


def whole(groups: np.ndarray, *sides: np.ndarray) -> bool:
    """Whether no group lies on two sides."""
    return not any(
        set(groups[one].tolist()) & set(groups[other].tolist())
        for place, one in enumerate(sides)
        for other in sides[:place]
    )


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Data:
    root = photos(tmp_path_factory.mktemp("photos"))
    return prepare(Folder(size=8, group_pattern=PATTERN), root, tmp_path_factory.mktemp("cache"))


@pytest.mark.parametrize("scheme", ["official", "resplit", "kfold"])
def test_no_subject_lies_on_two_sides(data: Data, scheme: str) -> None:
    assert data.groups is not None
    seen = []
    for replicate in range(6):
        found = splits(data, replicate, scheme, folds=5)
        assert found.test is not None
        sides = (found.train.index, found.val.index, found.test.index)
        assert whole(data.groups, *sides)
        assert sorted(np.concatenate(sides).tolist()) == list(range(80))
        assert set(data.labels[found.train.index]) == set(data.labels[found.val.index]) == {0, 1}
        seen.append(found.val.index.tolist())
    assert (len({*map(tuple, seen)}) == 1) == (scheme == "official")
    if scheme == "resplit":
        assert {len(index) for index in seen} == {8}, "six of each class are wanted: a subject"


def test_folds_hold_every_picture_once(data: Data) -> None:
    found = [splits(data, replicate, "kfold", folds=4).val.index for replicate in (1, 2, 3, 4)]
    pool = np.flatnonzero(data.parts != TEST)
    assert sorted(np.concatenate(found).tolist()) == pool.tolist()
    assert max(map(len, found)) - min(map(len, found)) <= 4


@given(
    some.lists(some.tuples(some.integers(-1, 2), some.integers(0, 9)), min_size=1, max_size=60),
    some.integers(2, 5),
    some.randoms(use_true_random=False),
)
def test_whatever_the_groups_they_stay_whole(
    pictures: list[tuple[int, int]], folds: int, chance: random.Random
) -> None:
    labels = np.array([label for label, _ in pictures])
    names = [str(group) if group else "" for _, group in pictures]  # 0: in none
    units = codes(names)
    ranks = [chance.random() for _ in pictures]
    fold = deal(labels, units, ranks, folds, 3)
    counts = np.bincount(labels[labels >= 0], minlength=3)
    taken = take(labels, units, ranks, counts // 4)
    for name in {*names} - {""}:
        rows = np.flatnonzero(np.array(names) == name)
        assert len(set(fold[rows].tolist())) == 1
        assert len(set(taken[rows].tolist())) == 1
    left = np.bincount(labels[(labels >= 0) & ~taken], minlength=3)
    assert ((left >= LEAST) | (left == counts)).all()
    assert len(set(fold.tolist())) == min(folds, len(set(units.tolist())))


def test_a_table_in_the_folder_or_a_column_says_the_same(data: Data, tmp_path: Path) -> None:
    root = photos(tmp_path / "photos")
    rows = [(file, file.split("/")[1].split("_")[0]) for file in data.files]
    with open(root / "subjects.csv", "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("file", "patient"), *rows])
    listing = Folder(size=8, group_table="subjects.csv").scan(root)
    assert listing.parts == tuple(data.parts.tolist())
    assert "by table subjects.csv" in listing.taken.groups
    assert not any("csv" in what for what in listing.ignored)
    with open(root / "train.csv", "w", newline="", encoding="utf-8") as file:
        lines = [(file, file[0], group) for file, group in rows]
        csv.writer(file).writerows([("file", "label", "patient"), *lines])
    found = Csv(size=8, group_column="patient", test_table="").scan(root)
    assert found.groups == listing.groups
    assert whole(
        codes(found.groups), *(np.flatnonzero(np.array(found.parts) == p) for p in range(3))
    )


def test_what_was_grouped_is_said(data: Data) -> None:
    said = dict(data.taken.lines())
    assert said["groups"] == f"20 groups of 4 pictures, by dataset.group_pattern={PATTERN}"
    assert said["validation"].endswith("cut from train: about 15 % of it, whole groups")
    assert data.warnings[0].startswith("no validation part: about 15 % of the training pictures")


def test_groups_that_the_set_itself_parts_are_a_leak(tmp_path: Path) -> None:
    for part, names in (("train", ("p1_0", "p1_1", "p2_0")), ("valid", ("p1_2", "p3_0"))):
        for label in "ab":
            for place, name in enumerate(names):
                save(
                    tmp_path / part / label / f"{label}{name}.png",
                    ord(label),
                    10 * len(part) + place,
                )
    found = prepare(
        Folder(size=8, group_pattern=r"(\w+?p\d)_"), tmp_path, tmp_path / "cache"
    ).warnings
    assert any(
        said == "leak: groups with pictures in more than one part: 2 in train and valid; numbers "
        "are flattered"
        for said in found
    ), found


def test_refusals_name_the_setting(data: Data, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"dataset.group_pattern: got '\(', which is no regular"):
        by_pattern(["a"], "(")
    with pytest.raises(UserError, match=r"dataset.group_pattern: 'x' matches in no path"):
        by_pattern(["a"], "x")
    assert by_pattern(["p1/a", "b"], r"^p\d") == ("p1", "")
    root = photos(tmp_path, 4)
    with pytest.raises(UserError, match=r"dataset.group_table: no table .*none.csv"):
        Folder(group_table="none.csv").scan(root)
    (root / "other.csv").write_text("file,patient\nx.png,1\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"names none of the pictures"):
        Folder(group_table="other.csv").scan(root)
    (root / "some.csv").write_text("file,patient\np00_0.png,1\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"a pattern and a table of groups"):
        Folder(group_table="some.csv", group_pattern=PATTERN).scan(root)
    study = small_study().override({"baseline.split": "kfold", "baseline.folds": 50}, source="test")
    with pytest.raises(UserError, match=r"folds: got 50, but .* are of \d+ groups"):
        _require(study.baseline, data, 1)


def test_a_class_of_one_group_cannot_be_folded(tmp_path: Path) -> None:
    root = photos(tmp_path / "photos", 8)
    for number in range(6):
        save(root / "c" / f"p99_{number}.png", 2, number)
    found = prepare(Folder(size=8, group_pattern=PATTERN, test_share=0), root, tmp_path / "cache")
    study = small_study().override({"baseline.split": "kfold", "baseline.folds": 3}, source="test")
    with pytest.raises(
        UserError, match=r"split: kfold: all pictures of class 'c' are of one group"
    ):
        _require(study.baseline, found, 1)


def test_without_groups_all_is_as_it_was(tmp_path: Path) -> None:
    root = photos(tmp_path, 4)
    plain, grouped = Folder(size=8), Folder(size=8, group_pattern=PATTERN)
    listings: list[Listing] = [plain.scan(root), grouped.scan(root)]
    assert listings[0].groups == ()
    assert "groups" not in listings[0].taken.dump()
    assert _key(plain, listings[0]) != _key(grouped, listings[1])
    tree = plain.model_dump(mode="json")
    assert {key for key in tree if key.startswith("group_")} == {
        "group_pattern",
        "group_table",
        "group_column",
    }
    assert VALID in listings[0].parts
