"""Several pictures of one subject stay on one side of every split."""

import csv
import random
from dataclasses import replace
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
from pipeline.data.groups import by_pattern, groups_of
from pipeline.data.listing import TEST, VALID, Listing
from pipeline.data.splits import splits
from pipeline.data.taken import Source, Taken
from pipeline.errors import UserError
from pipeline.session.whole_groups import require_whole_groups
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
    some.integers(0, 2**32),
)
def test_whatever_the_groups_they_stay_whole(
    pictures: list[tuple[int, int]], folds: int, seed: int
) -> None:
    chance = random.Random(seed)
    labels = np.array([label for label, _ in pictures])
    names = [str(group) if group else "" for _, group in pictures]  # 0: in none
    units = codes(names)
    ranks = [chance.random() for _ in pictures]
    fold = deal(labels, units, ranks, folds, 3)
    counts = np.bincount(labels[labels >= 0], minlength=3)
    taken = take(labels, units, ranks, counts // 4, counts // 5)
    for name in {*names} - {""}:
        rows = np.flatnonzero(np.array(names) == name)
        assert len(set(fold[rows].tolist())) == 1
        assert len(set(taken[rows].tolist())) == 1
    left = np.bincount(labels[(labels >= 0) & (taken < 0)], minlength=3)
    assert ((left >= LEAST) | (left == counts)).all()
    known = labels >= 0
    assert len(set(fold[known].tolist())) == min(folds, len(set(units[known].tolist())))


def test_a_table_in_the_folder_or_a_column_says_the_same(data: Data, tmp_path: Path) -> None:
    root = photos(tmp_path / "photos")
    rows = [(file, file.split("/")[1].split("_")[0]) for file in data.files]
    with open(root / "subjects.csv", "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("file", "patient"), *rows])
    listing = Folder(size=8, group_table="subjects.csv").scan(root)
    assert listing.parts == tuple(data.parts.tolist())
    assert listing.taken.groups.endswith("by column 'patient' of subjects.csv")
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
    assert said["validation"].endswith("cut from train, whole groups")
    assert data.warnings[0] == (
        "no validation part: 10 % of the training pictures were cut off, whole groups"
    )


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
        said == "leak: groups with pictures in more than one part: 2 in train and valid; what is "
        "judged on these parts as they are is flattered"
        for said in found
    ), found


def test_refusals_name_the_setting(tmp_path: Path) -> None:
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
    for words, said in (
        ({"group_column": "patient"}, "got 'patient', but no table"),
        ({"group_table": "twice.csv"}, "has another subject before"),
        ({"group_table": "wide.csv"}, "which column says the subject"),
        ({"group_table": "bare.csv"}, "write its path below the folder"),
    ):
        with pytest.raises(UserError, match=said):
            Folder(**words).scan(tables(root))
    with pytest.raises(UserError, match="says no group of any picture"):
        Csv(table="empty.csv", group_column="patient", test_table="").scan(root)


def tables(root: Path) -> Path:
    """Tables that leave something open, beside a second picture of a name."""
    save(root / "b" / "p00_0.png", 1, 5)
    for name, text in (
        ("twice", "file,patient\na/p00_0.png,1\na/p00_0.png,2\n"),
        ("wide", "file,patient,type\na/p00_0.png,1,2\n"),
        ("bare", "file,patient\np00_0.png,1\n"),
        ("empty", "file,label,patient\n" + "".join(f"a/p00_{n}.png,a,\n" for n in range(4))),
    ):
        (root / f"{name}.csv").write_text(text, encoding="utf-8")
    return root


def test_cells_are_read_as_labels_are(tmp_path: Path) -> None:
    """Of a column of floats with holes: 0.0 is 0, and nan is nobody."""
    root = photos(tmp_path, 8)
    cells = ["nan", "0", "0.0", "3.0", "3", "", "x", "x"]
    lines = [("file", "label", "patient")]
    lines += [
        (f"{'ab'[s % 2]}/p{s:02}_{n}.png", "ab"[s % 2], cells[s])
        for s in range(8)
        for n in range(4)
    ]
    with open(root / "train.csv", "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(lines)
    found = Csv(group_column="patient", test_table="").scan(root)
    assert set(found.groups) == {"", "0", "3", "x"}
    assert found.taken.groups.startswith(
        "3 groups of 8 pictures, by column 'patient' of train.csv;"
    )


def test_names_are_one_in_either_form_of_unicode() -> None:
    assert len({*groups_of(["e\u0301_1", "\u00e9_2"], r"^[^_]+", None)[0]}) == 1
    assert by_pattern(["a1", "b2", "c"], r"(a)?(b)?") == ("a/", "/b", "")
    assert codes(["", "", "x", "x", "1"]).tolist() == [0, 1, 2, 2, 4]


def grouped(data: Data, sizes: list[tuple[int, int]]) -> Data:
    """Pictures of groups of (pictures of class 0, of class 1)."""
    labels = np.array([c for own in sizes for c in (0, 1) for _ in range(own[c])])
    groups = np.repeat(np.arange(len(sizes)), [sum(own) for own in sizes])
    _, first = np.unique(groups, return_index=True)
    parts = np.where(groups % 4 == 0, VALID, 0).astype(np.int8)
    return replace(
        data, labels=labels, parts=parts, groups=first[groups], classes=("a", "b"), files=()
    )


@pytest.mark.parametrize("seed", [0, 7])
def test_rounds_of_folds_of_unequal_groups_differ(data: Data, seed: int) -> None:
    chance = np.random.default_rng(0)
    found = grouped(data, [tuple(row) for row in chance.integers(1, 9, (16, 2)).tolist()])
    seen = [splits(found, r, "kfold", seed=seed, folds=3).val.index for r in range(1, 10)]
    deals = [{tuple(index.tolist()) for index in seen[at : at + 3]} for at in (0, 3, 6)]
    assert all(one != other for n, one in enumerate(deals) for other in deals[:n])
    config = small_study().baseline.override({"split": "kfold", "folds": 3})
    require_whole_groups(config, found, seed, 9)


@pytest.mark.parametrize(
    ("sizes", "split", "replicates", "said"),
    [
        ([(3, 3)] * 3, "kfold", 4, r"folds: got 4, but .* are of 3 groups"),
        ([(3, 3), (3, 0), (3, 0), (3, 0)], "kfold", 4, "no picture of class 'b' to learn from"),
        ([(60, 60), (1, 1), (1, 1), (1, 1)], "kfold", 4, r"would have 2 to 120 pictures"),
        ([(9, 9), (5, 5), (5, 5), (5, 5)], "kfold", 8, "from 5 on they would repeat"),
        ([(5, 0), (0, 5)], "resplit", 1, "replicate 1 would have nothing to validate on"),
    ],
)
def test_what_whole_groups_cannot_be_split_into_is_refused_beforehand(
    data: Data, sizes: list[tuple[int, int]], split: str, replicates: int, said: str
) -> None:
    config = small_study().baseline.override({"split": split, "folds": 4})
    with pytest.raises(UserError, match=said):
        require_whole_groups(config, grouped(data, sizes), 0, replicates)


def test_a_rare_class_is_not_all_in_one_fold(data: Data) -> None:
    found = grouped(data, [(100, 1), (50, 1), *[(40, 0)] * 6])
    config = small_study().baseline.override({"split": "kfold", "folds": 3})
    require_whole_groups(config, found, 0, 6)


def test_what_could_not_be_cut_off_is_said(tmp_path: Path) -> None:
    root = photos(tmp_path, 2, 12)
    for label in "ab":
        save(root / label / "p50_0.png", "ab".index(label), 7)
    found = Folder(group_pattern=PATTERN).scan(root)
    assert found.warnings[:2] == (
        "no validation part: 8 % of the training pictures were cut off, whole groups",
        "no test part: no whole group could be cut off",
    )


def test_without_groups_all_is_as_it_was(tmp_path: Path) -> None:
    root = photos(tmp_path, 4)
    plain, grouped = Folder(size=8), Folder(size=8, group_pattern=PATTERN)
    listings: list[Listing] = [plain.scan(root), grouped.scan(root)]
    assert listings[0].groups == ()
    assert "groups" not in listings[0].taken.dump()
    assert _key(plain, listings[0]) != _key(grouped, listings[1])


def test_caches_that_were_made_before_there_were_groups_serve() -> None:
    """Their key is that of 0.1.0."""
    taken = Taken.of(Source("folders"), ("a", "b"), [0, 1], [0, 0])
    names, stamps = ("a/1.png", "b/2.png"), ((9, 1), (9, 2))
    made = Listing(None, "t", "classes", names, (0, 1), (0, 0), stamps, ("a", "b"), taken, ())
    assert _key(Folder(size=8), made) == "fe57b3078d94cbac530e7e54ca83c7c3"
    assert _key(Folder(size=8), replace(made, groups=("x", "x"))) != _key(Folder(size=8), made)
