"""Counting what models confuse: known answers give known rates, and no rate is about more pictures
than there are.
"""

import math

import numpy as np
import pytest
from sklearn import metrics

from pipeline.analysis.confusion import (
    Classes,
    confusion_rows,
    mean,
    per_class_rows,
    tally,
    wilson,
)
from pipeline.core.finished.evidence import Judged
from pipeline.core.metrics import NUM_BINS


def judged(true: list[int], pred: list[int], sure: float | list[float] = 0.9) -> Judged:
    probs = np.broadcast_to(np.array(sure, np.float32), len(true)).copy()
    right = np.array(true) == np.array(pred)
    return Judged(
        np.array(true), np.array(pred), np.where(right, probs, 1 - probs).astype(np.float32), probs
    )


def of(*answers: tuple[list[int], list[int]], num_classes: int = 3) -> Classes:
    return Classes(
        num_classes,
        tuple(tally(judged(*each), num_classes, i) for i, each in enumerate(answers, 1)),
    )


TRUE = [0] * 6 + [1] * 3 + [2] * 1
FIRST = [0, 0, 0, 0, 1, 1, 1, 1, 0, 0]
SECOND = [0, 0, 0, 0, 0, 1, 1, 0, 0, 1]


def test_counts_are_summed_over_replicates_and_shares_are_of_the_row() -> None:
    classes = of((TRUE, FIRST), (TRUE, SECOND))
    assert classes.confusion.tolist() == [[9, 3, 0], [3, 3, 0], [1, 1, 0]]
    assert classes.shares[0].tolist() == [0.75, 0.25, 0.0]
    assert classes.shares.sum(1) == pytest.approx([1, 1, 1])


@pytest.mark.parametrize("seed", range(5))
def test_rates_are_those_of_scikit_learn(seed: int) -> None:
    rng = np.random.default_rng(seed)
    true, pred = rng.integers(0, 6, (2, 200))
    classes = of((true.tolist(), pred.tolist()), num_classes=6)
    precision, recall, f1, support = metrics.precision_recall_fscore_support(
        true, pred, labels=range(6)
    )
    assert classes.recall[0] == pytest.approx(recall)
    assert classes.precision[0] == pytest.approx(precision)
    assert classes.f1[0] == pytest.approx(f1)
    assert classes.support[0].tolist() == support.tolist()
    assert classes.macro_f1[0] == pytest.approx(metrics.f1_score(true, pred, average="macro"))
    assert classes.balanced_accuracy[0] == pytest.approx(
        metrics.balanced_accuracy_score(true, pred)
    )
    assert classes.accuracy[0] == pytest.approx(metrics.accuracy_score(true, pred))


def test_a_class_never_named_has_no_precision_and_an_f1_of_zero() -> None:
    classes = of((TRUE, FIRST), (TRUE, SECOND))
    assert np.isnan(classes.precision[:, 2]).all()
    assert classes.f1[:, 2].tolist() == [0, 0]
    assert math.isnan(mean(classes.precision)[2])
    assert classes.worst == 2


def test_a_class_without_pictures_takes_no_part() -> None:
    classes = of(([0, 0, 1, 1], [0, 2, 1, 1]))
    assert np.isnan(classes.recall[0, 2])
    assert classes.balanced_accuracy[0] == pytest.approx(0.75)
    assert classes.macro_f1[0] == pytest.approx((2 / 3 + 1) / 2)
    assert classes.imbalance == 1.0
    assert classes.worst == 0


def test_the_largest_confusions_come_with_count_share_and_replicates() -> None:
    first, second, *rest = of(
        (TRUE, FIRST), (TRUE, SECOND), (TRUE, [0] * 6 + [0] * 3 + [2])
    ).largest()
    assert (first.true, first.pred, first.count, first.replicates) == (1, 0, 6, 3)
    assert first.share == pytest.approx(6 / 9)
    assert (second.true, second.pred, second.count, second.replicates) == (0, 1, 3, 2)
    assert len(rest) == 2
    assert of((TRUE, TRUE)).largest() == ()


def test_the_interval_is_of_one_replicates_pictures_however_many_replicates() -> None:
    one, many = of((TRUE, FIRST)), of(*[(TRUE, FIRST)] * 50)
    interval = many.interval(0, many.recall, many.support)
    assert interval == pytest.approx(one.interval(0, one.recall, one.support))
    assert interval == pytest.approx(wilson(4 / 6, 6))
    assert all(math.isnan(end) for end in one.interval(2, one.precision, one.predicted))


@pytest.mark.parametrize(("right", "size"), [(0, 5), (3, 7), (40, 40), (17, 100)])
def test_wilson_is_the_interval_of_the_score_test(right: int, size: int) -> None:
    from scipy.stats import binomtest

    expected = binomtest(right, size).proportion_ci(0.95, method="wilson")
    assert wilson(right / size, size) == pytest.approx((expected.low, expected.high))


def test_calibration_error_of_known_bins() -> None:
    # 4 answers at .9 of which 2 are right, 4 at .5 of which 2 are right: (4 × |.5 − .9| + 4 × 0) /
    # 8
    true, pred = [0] * 8, [0, 0, 1, 1, 0, 0, 1, 1]
    assert tally(judged(true, pred, [0.9] * 4 + [0.5] * 4), 2, 1).ece == pytest.approx(
        0.2, abs=1e-6
    )
    assert tally(judged([0] * 9, [0] * 9, 1.0), 2, 1).ece == 0
    rng = np.random.default_rng(0)
    sure = rng.uniform(0.4, 1, 20_000)
    right = rng.random(20_000) < sure
    assert (
        tally(judged([0] * 20_000, (~right).astype(int).tolist(), sure.tolist()), 2, 1).ece < 0.02
    )
    assert NUM_BINS == 15


@pytest.mark.parametrize(
    ("true", "pred", "collapses"),
    [
        ([0] * 50 + [1] * 50, [0] * 95 + [1] * 5, True),
        ([0] * 50 + [1] * 50, [0] * 60 + [1] * 40, False),
        ([0] * 90 + [1] * 10, [0] * 92 + [1] * 8, False),  # as frequent as it is
        ([0] * 90 + [1] * 10, [0] * 100, True),
        (list(range(3)) * 10, [2] * 30, True),
        ([0] * 30, [0] * 30, False),  # there is no other class
    ],
)
def test_collapse_is_told_from_a_large_class(
    true: list[int], pred: list[int], collapses: bool
) -> None:
    assert bool(of((true, pred)).collapsed) is collapses


def test_one_collapsed_replicate_among_sound_ones_is_found() -> None:
    true = list(range(3)) * 10
    classes = of((true, true), (true, [1] * 30), (true, true))
    assert classes.collapsed == ((2, 1, 1.0),)


def test_labels_outside_the_classes_are_refused() -> None:
    for true, pred in (([0, 3], [0, 0]), ([0, 0], [0, 3]), ([-1], [0]), ([], [])):
        ones = np.ones(len(true), np.float32)
        with pytest.raises(ValueError, match=r"outside|no picture"):
            tally(Judged(np.array(true, int), np.array(pred, int), ones, ones), 3, 1)


def test_rows_of_the_frames_add_up() -> None:
    arms = {"a": of((TRUE, FIRST), (TRUE, SECOND)), "b": of((TRUE, TRUE))}
    rows = list(confusion_rows(arms, ("x", "y", "z")))
    assert sum(int(str(row["count"])) for row in rows) == 30
    assert {"arm": "a", "replicate": 2, "true": "z", "pred": "y", "count": 1} in rows
    each = list(per_class_rows(arms, ("x", "y", "z")))
    assert len(each) == 9
    assert each[2] == {
        "arm": "a",
        "replicate": 1,
        "class": "z",
        "support": 1,
        "predicted": 0,
        "recall": 0.0,
        "precision": None,
        "f1": 0.0,
    }


def test_many_classes_keep_only_what_occurs() -> None:
    true = np.arange(1000) % 200
    one = tally(judged(true.tolist(), true.tolist()), 200, 1)
    assert len(one.codes) == 200
    assert Classes(200, (one,)).most_confused(3) == [0, 1, 2]
