"""What judges the arms must have chosen nothing of them."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from records import Scribe, make_study

from benchmarks.coverage import judging
from pipeline.report.compose import read, texts


def unlabelled(
    folder: Path, *, overrides: dict[str, Any] | None = None, **end: Any
) -> dict[str, str]:
    """The pages of a 2x2 without test labels."""
    study = make_study(replicates=3, num_trials=0).override(overrides or {})
    book = Scribe(folder / "study", study)
    book.session()
    for replicate in (1, 2, 3):
        for arm, _ in study.arms():
            book.arm(arm.name, replicate, test_acc=None, test_loss=None, **end)
    return texts(read(book.record()), {})


def test_the_last_epoch_makes_no_false_verdicts_of_unequal_wobble() -> None:
    found = list(judging.simulate(6000, np.random.default_rng(5)))
    last = [row for row in found if row.counts]
    assert len(last) == 9
    assert all(row.good for row in last), last
    best = {
        row.condition: row.figures["false verdict"][0]
        for row in found
        if row.way == "best epoch" and row.n == 5
    }
    assert best["wobble 0.5 and 0.5 points"] < 0.08
    assert best["wobble 1.5 and 0.5 points"] > 0.5  # of the epoch that the same pictures chose


@pytest.mark.parametrize(
    ("overrides", "end", "why"),
    [
        ({"baseline.patience": 3}, {}, "they also chose where runs ended"),
        (
            {},
            {"final": {"val_acc": 0.6, "val_loss": 1.0, "plain_val_acc": 0.61}},
            "at which compression and views",
        ),
    ],
)
def test_what_the_val_pictures_chose_is_not_tested_by_them(
    tmp_path: Path, overrides: dict[str, Any], end: dict[str, Any], why: str
) -> None:
    pages = unlabelled(tmp_path, overrides=overrides, **end)
    for name in ("report.md", "report.html", "ablation.tex"):
        assert "NOT COMPARED: the arms cannot be compared fairly" in pages[name], name
        assert why in pages[name], name
    assert "not tested" in pages["report.md"]


def test_without_labels_and_choices_the_arms_are_tested(tmp_path: Path) -> None:
    pages = unlabelled(tmp_path)
    assert "NOT COMPARED" not in pages["report.md"]
    assert "last val acc" in pages["report.md"]
