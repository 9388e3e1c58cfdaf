"""Val far above test: said beside the table, with the copies across the splits counted."""

from pathlib import Path

import numpy as np
import pytest

from pipeline.data.checks import copies
from pipeline.report.compose import read, texts
from pipeline.report.sections.optimism import excesses
from tests.formats import PAGES, plain, tell
from tests.records import Scribe, make_study, with_arms

COPIES = {"valid": 12, "test": 3, "pool": 400}


def study(folder: Path, val: float, test: float) -> Scribe:
    """Two arms, nine epochs, 200 val and 300 test pictures."""
    book = Scribe(
        folder,
        with_arms(make_study(replicates=5, num_trials=0), {"base": {}, "wide": {"model.width": 8}}),
        data={"copies": COPIES},
    )
    book.session()
    for arm in ("base", "wide"):
        for replicate in range(1, 6):
            book.arm(arm, replicate, val, test_acc=test + 0.002 * replicate * (1 + (arm == "wide")))
    return book


def test_val_far_above_test_is_warned_of_in_every_format(tmp_path: Path) -> None:
    """70 against 56 was printed in two columns without a word."""
    found = tell(study(tmp_path, 0.75, 0.55).record())
    for place in (*PAGES, "ablation.tex", "screen"):
        text = found.plain[place]
        assert "Val acc far above test acc: base 7" in text, place
        assert (
            "The choice of epoch, search and export was made by a number that may be leaky" in text
        ), place
        assert (
            "12 of 200 val pictures in train, 3 of 300 test pictures in train or val, and 400 of "
            "the 1,000"
        ) in text, place
    assert "可能泄漏" in plain("report.md", texts(found.findings, {}, "zh")["report.md"])


def test_the_gaps_of_arms_that_are_not_warned_of_are_said_beside_it(tmp_path: Path) -> None:
    book = study(tmp_path / "both", 0.75, 0.55)
    assert "In arms not named" not in tell(book.record()).plain["report.md"]
    book = Scribe(tmp_path / "one", book.study, data={"copies": COPIES})
    book.session()
    for arm, val in (("base", 0.75), ("wide", 0.60)):
        for replicate in range(1, 6):
            book.arm(arm, replicate, val, test_acc=0.55)
    found = tell(book.record())
    (named,) = excesses(found.findings.ablation, book.record())
    other = np.mean(found.findings.ablation.rows[1].metric("val_acc")) - 0.55
    assert named.arm == "base"
    for place in (*PAGES, "ablation.tex", "screen"):
        assert (
            f"In arms not named val is up to {100 * other:.1f} points above test"
            in found.plain[place]
        )
    assert "未列出的变体" in plain("report.md", texts(found.findings, {}, "zh")["report.md"])


def test_what_chance_and_selection_explain_is_not_warned_of(tmp_path: Path) -> None:
    record = study(tmp_path, 0.60, 0.55).record()
    found = read(record)
    assert not excesses(found.ablation, record)
    assert not any("far above" in warning for warning in found.warnings)


def test_the_rule_grows_with_error_and_with_epochs_to_choose_from(tmp_path: Path) -> None:
    """Three standard errors of a difference: 200 and 300 pictures at about 65 % give 13.1
    points.
    """
    record = study(tmp_path, 0.75, 0.55).record()
    (one, _) = excesses(read(record).ablation, record)
    level = (one.val + one.test) / 2
    error = np.sqrt(level * (1 - level) * (1 / 200 + 1 / 300))
    assert 3 * error < one.explained < 3 * error + 0.03, "nine epochs with a noise of 0.8 points"


@pytest.mark.parametrize("alike", [[], [(4, 5)]])
def test_copies_are_counted_where_they_flatter(alike: list[tuple[int, int]]) -> None:
    parts = [0, 0, 1, 2, 0, 1, 0]  # train, train, val, test, train, val, train
    hashes = ["a", "a", "b", "b", "c", "d", "e"]
    found = copies(parts, hashes, alike)
    assert found == {"valid": len(alike), "test": 1, "pool": 2 + 2 * len(alike)}
