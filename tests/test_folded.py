"""Where nothing has learned, that is said once; what does not follow from it stays."""

import re
from pathlib import Path

import pytest

from pipeline.record.record import Record
from pipeline.report.compose import read, texts
from tests.records import Scribe, make_study


def report(folder: Path, levels: list[float]) -> Record:
    book = Scribe(folder / "study", make_study(replicates=3, num_trials=0, epochs=12))
    book.session()
    for replicate in (1, 2, 3):
        for number, (arm, _) in enumerate(book.study.arms()):
            book.arm(arm.name, replicate, levels[number] + 0.003 * ((replicate + number) % 3))
    return book.record()


def test_what_follows_from_chance_is_one_line_with_the_number_of_the_others(tmp_path: Path) -> None:
    findings = read(report(tmp_path, [0.09] * 4), tmp_path)
    first, *others = findings.warnings
    assert re.fullmatch(
        r"Every arm is at chance \(guessing gives 25\.0+ %\): what is compared here "
        r"has learned nothing yet; "
        r"\d+ warnings that follow from it, of curves, answers and differences: see there",
        first,
    )
    assert not [
        warning for warning in others if "not learning" in warning or "at chance" in warning
    ]
    assert [warning for warning in others if "only 3 results" in warning], (
        "what does not follow from it stays"
    )
    assert "：这里比较的模型尚未学到任何东西；由此引出的" in texts(findings, {}, "zh")["report.md"]
    assert texts(findings, {})["report.md"].count("cannot be told from chance") >= 4, (
        "each arm's curve is told of in full"
    )


def test_where_an_arm_learned_the_others_are_named_in_one_line(tmp_path: Path) -> None:
    findings = read(report(tmp_path, [0.09, 0.09, 0.09, 0.7]), tmp_path)
    first, *others = findings.warnings
    lost = [arm.name for arm, _ in findings.study.arms()][:3]
    assert first.startswith("3 of 4 arms are at chance (guessing gives 25")
    assert f"learned nothing yet: {', '.join(lost)}; 4 warnings that follow from it" in first
    assert not [warning for warning in others if "not learning" in warning]
    assert "4 个变体中有 3 个处于随机水平" in texts(findings, {}, "zh")["report.md"]


def test_what_is_said_of_arms_that_learned_stays(tmp_path: Path) -> None:
    """The reference and both factors together learned; every replicate has the same difference."""
    warnings = read(report(tmp_path, [0.7, 0.09, 0.09, 0.79]), tmp_path).warnings
    first = next(one for one in warnings if one.startswith("2 of 4 arms are at chance"))
    assert "ResNet, augmentation" in first
    of_both = [one for one in warnings if one.startswith("ResNet + augmentation (")]
    alone = read(report(tmp_path / "alone", [0.7, 0.7, 0.7, 0.79]), tmp_path).warnings
    assert of_both, "not tested, as it has no variance"
    assert of_both == [one for one in alone if one.startswith("ResNet + augmentation (")]


def test_what_next_begins_with_the_doctor_where_the_reference_learned_nothing(
    tmp_path: Path,
) -> None:
    page = texts(read(report(tmp_path, [0.09] * 4), tmp_path), {})["report.md"]
    ahead = page[page.index("## What next") : page.index("## Details")]
    assert ahead.index("The reference learned nothing") < ahead.index("python -m pipeline.doctor")
    assert "More replicates" not in ahead
    page = texts(read(report(tmp_path / "learned", [0.7] * 4), tmp_path), {})["report.md"]
    assert "pipeline.doctor" not in page[page.index("## What next") : page.index("## Details")]


@pytest.mark.parametrize("levels", [[0.09, 0.7, 0.7, 0.7], [0.7] * 4])
def test_a_single_arm_that_learned_nothing_is_warned_of_by_itself(
    levels: list[float], tmp_path: Path
) -> None:
    warnings = read(report(tmp_path, levels), tmp_path).warnings
    assert not [warning for warning in warnings if warning.startswith("Every arm is at chance")]
    assert len([warning for warning in warnings if "not learning" in warning]) == levels.count(0.09)
