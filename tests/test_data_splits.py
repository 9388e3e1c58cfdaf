"""Splits: disjoint, stratified, the same everywhere, and different between replicates only where
asked.
"""

from pathlib import Path

import numpy as np
import pytest
from pictures import hw3_folder, save

from pipeline.data.cache import Data, prepare
from pipeline.data.datasets import Digits, Folder
from pipeline.data.splits import splits


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Data:
    return prepare(Digits(), None, tmp_path_factory.mktemp("cache"))


def per_class(data: Data, index: np.ndarray) -> list[int]:
    return np.bincount(data.labels[index], minlength=len(data.classes)).tolist()


@pytest.mark.parametrize("scheme", ["resplit", "official"])
@pytest.mark.parametrize("replicate", [0, 1, 7, 1000])
def test_splits_are_disjoint_and_keep_the_official_sizes(digits, scheme, replicate):
    found, official = splits(digits, replicate, scheme), splits(digits, 0, scheme)
    assert found.test is not None
    indices = [found.train.index, found.val.index, found.test.index]
    together = np.concatenate(indices)
    assert sorted(together.tolist()) == list(range(1797))
    assert [len(found.train), len(found.val), len(found.test)] == [300, 500, 997]
    for index in indices:
        assert index.dtype == np.int64
        assert (np.diff(index) > 0).all()
    assert per_class(digits, found.train.index) == per_class(digits, official.train.index)
    assert per_class(digits, found.val.index) == per_class(digits, official.val.index)
    assert (found.test.index == np.flatnonzero(digits.parts == 2)).all()
    assert found.train.images is digits.images


def test_the_search_and_the_official_scheme_use_the_given_split(digits):
    for found in (
        splits(digits, 0, "resplit"),
        splits(digits, 0, "official"),
        splits(digits, 5, "official"),
    ):
        assert (found.train.index == np.flatnonzero(digits.parts == 0)).all()
        assert (found.val.index == np.flatnonzero(digits.parts == 1)).all()


def test_replicates_differ_and_are_repeatable(digits):
    drawn = {r: splits(digits, r, "resplit").train.index.tolist() for r in range(20)}
    assert len({tuple(index) for index in drawn.values()}) == 20
    assert all(splits(digits, r, "resplit").train.index.tolist() == drawn[r] for r in drawn)
    overlap = np.mean([len(set(drawn[0]) & set(drawn[r])) / 300 for r in range(1, 20)])
    assert overlap == pytest.approx(300 / 800, abs=0.05)  # as of independent draws from the pool


def test_a_draw_is_pinned(digits):
    assert splits(digits, 1, "resplit").train.index[:8].tolist() == [2, 6, 12, 22, 23, 33, 34, 38]


def test_another_seed_draws_other_replicates_and_the_same_official_split(digits):
    drawn = {
        (seed, r): splits(digits, r, "resplit", seed=seed).train.index.tolist()
        for seed in (0, 1, 2, 1_000_003, 2**64 - 1)
        for r in (1, 2, 3)
    }
    assert len({tuple(index) for index in drawn.values()}) == len(drawn)
    assert drawn[0, 1] == splits(digits, 1, "resplit").train.index.tolist()
    assert drawn[1_000_003, 1][:8] == [2, 8, 15, 31, 46, 57, 70, 75]
    for replicate, scheme in ((0, "resplit"), (0, "official"), (3, "official")):
        found = splits(digits, replicate, scheme, seed=1_000_003)
        assert (found.train.index == np.flatnonzero(digits.parts == 0)).all()
    test = splits(digits, 3, "resplit", seed=5).test
    assert test is not None
    assert (test.index == np.flatnonzero(digits.parts == 2)).all()


def folder(tmp_path: Path, counts: tuple[int, int, int]) -> Path:
    return hw3_folder(tmp_path / "set", range(3), counts)


def test_small_classes_stay_in_train(tmp_path):
    root = folder(tmp_path, (2, 5, 0))
    data = prepare(Folder(size=4), root, tmp_path / "cache")
    for replicate in range(30):
        found = splits(data, replicate, "resplit")
        assert per_class(data, found.train.index) == [2, 2, 2]
        assert per_class(data, found.val.index) == [5, 5, 5]
        assert found.test is None


def test_only_test_pictures_with_a_label_count(tmp_path):
    root = folder(tmp_path, (4, 2, 0))
    for n in range(3):
        save(root / "evaluation" / f"{n:04d}.jpg", n, n)
    data = prepare(Folder(size=4), root, tmp_path / "cache")
    assert data.counts["test"] == 3
    assert splits(data, 0, "resplit").test is None
    save(root / "evaluation" / "1_0.jpg", 1, 9)
    data = prepare(Folder(size=4), root, tmp_path / "cache")
    test = splits(data, 3, "resplit").test
    assert test is not None
    assert [data.files[row] for row in test.index] == ["evaluation/1_0.jpg"]


@pytest.mark.parametrize("folds", [2, 5, 7])
def test_kfold_validates_every_picture_once_a_round(digits, folds):
    pool = np.flatnonzero(digits.parts != 2)
    for turn in range(2):
        found = [
            splits(digits, 1 + turn * folds + fold, "kfold", folds=folds) for fold in range(folds)
        ]
        assert sorted(np.concatenate([own.val.index for own in found]).tolist()) == pool.tolist()
        for own in found:
            assert sorted([*own.train.index, *own.val.index]) == pool.tolist()
            assert abs(len(own.val) - len(pool) / folds) < 1
            spread = (
                np.array(per_class(digits, own.val.index))
                - np.bincount(digits.labels[pool]) / folds
            )
            assert np.abs(spread).max() < 1
            assert own.test is not None
            assert (own.test.index == np.flatnonzero(digits.parts == 2)).all()


def test_kfold_draws_anew_every_round_and_for_every_seed(digits):
    drawn = {
        (seed, r): tuple(splits(digits, r, "kfold", seed=seed, folds=4).val.index)
        for seed in (0, 1)
        for r in range(1, 13)
    }
    assert len(set(drawn.values())) == len(drawn)
    assert drawn[1, 7] == tuple(splits(digits, 7, "kfold", seed=1, folds=4).val.index)
    assert drawn[0, 1][:6] == (3, 14, 15, 33, 44, 45)
    assert (
        splits(digits, 0, "kfold", folds=4).val.index == np.flatnonzero(digits.parts == 1)
    ).all()


@pytest.mark.parametrize("scheme", ["resplit", "official", "kfold"])
def test_unlabeled_pictures_stand_apart(tmp_path, digits, scheme):
    root = folder(tmp_path, (6, 3, 2))
    for n in range(8):
        save(root / "training" / "unlabeled" / f"{n}.jpg", n, n)
    data = prepare(Folder(size=4), root, tmp_path / "cache")
    hidden = np.flatnonzero(data.labels == -1).tolist()
    assert len(hidden) == 8
    for replicate in (0, 1, 6):
        found = splits(data, replicate, scheme)
        assert found.unlabeled is not None
        assert found.unlabeled.index.tolist() == hidden
        assert sorted([*found.train.index, *found.val.index]) == sorted(
            np.flatnonzero((data.parts != 2) & (data.labels >= 0))
        )
        assert splits(digits, replicate, scheme).unlabeled is None


def test_a_negative_replicate_is_our_mistake(digits):
    with pytest.raises(ValueError, match="replicate"):
        splits(digits, -1, "resplit")
