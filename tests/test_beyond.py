"""The second interval of a contrast: for other pictures of this kind."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.coverage import pictures
from pipeline.analysis.stats import Fit, Marks, basis, fit, widened
from pipeline.core.finished import evidence
from pipeline.record.record import Record
from pipeline.report.compose import read, texts
from pipeline.report.frames import read as frames
from tests.records import Scribe, make_study, with_arms
from tests.test_report_classes import answers_of

NUM = 400


def made(
    folder: Path, right: dict[str, Any], *, gone: tuple[str, int] = ("", 0), replicates: int = 4
) -> Record:
    """Arms of which each run has what `right` says right, but for one picture that its replicate
    loses.
    """
    study = with_arms(
        make_study(replicates=replicates, num_trials=0, epochs=2),
        {arm: {"model.dropout": 0.1 * i} if i else {} for i, arm in enumerate(right)},
    )
    book = Scribe(folder, study, data={"is_food11": False})
    book.session()
    for replicate in range(1, replicates + 1):
        for place, (arm, mask) in enumerate(right.items()):
            true = np.arange(NUM) % 4
            own = mask.copy()
            own[np.flatnonzero(own)[(replicate * (place + 1)) % 7]] = False
            own[np.flatnonzero(~own)[: (replicate + place) % 3]] = True
            found = answers_of(true, np.where(own, true, (true + 1) % 4))
            sha = evidence.write(evidence.evidence_path(folder, f"arm-{place}-r{replicate}"), found)
            if (arm, replicate) == gone:
                evidence.evidence_path(folder, f"arm-{place}-r{replicate}").unlink()
            book.arm(arm, replicate, float(own.mean()), evidence=sha)
    return book.record()


def told_apart() -> dict[str, Any]:
    """Arms that differ on 60 of 400 pictures: `even` wins 33 of them, `ahead` all but 2, while the
    runs hardly differ.
    """
    base = np.arange(NUM) < 240
    even, ahead = base.copy(), base.copy()
    even[:27], even[240:273] = False, True
    ahead[:2], ahead[240:298] = False, True
    return {"baseline": base, "even": even, "ahead": ahead}


def test_the_mean_square_of_the_rest_is_that_of_a_two_way_table() -> None:
    rng = np.random.default_rng(0)
    answers = rng.random((5, 300)) < rng.random(300)
    table = answers.astype(float)
    rest = table - table.mean(0) - table.mean(1)[:, None] + table.mean()
    marks = Marks.of(answers)
    assert marks.rest == pytest.approx((rest**2).sum() / (4 * 299))
    assert (marks.runs, marks.right.tolist()) == (5, table.mean(0).tolist())


def test_the_variance_is_the_sum_of_its_components() -> None:
    """Against variance components of each arm, estimated one by one from the table's mean
    squares.
    """
    rng = np.random.default_rng(1)
    ease = rng.normal(size=500)
    arms = [
        (ease + 0.4 * rng.normal(size=500) + 0.3 * rng.normal(size=(4, 500)) + m) > 0
        for m in (0.3, 0.4)
    ]
    scores = np.stack([arm.mean(axis=1) for arm in arms], axis=1)
    weights = np.array([-1.0, 1.0])
    near = fit(scores, weights, basis("official"))
    wide = widened(near, [Marks.of(arm) for arm in arms], [-1.0, 1.0])
    total = 0.0
    mean_square = (arms[1].mean(0) - arms[0].mean(0)).var(ddof=1)
    for arm in arms:
        rest = Marks.of(arm).rest
        run = arm.mean(axis=1).var(ddof=1) - rest / 500
        total += run / 4 + rest / (4 * 500)
        mean_square -= rest / 4
    assert float(wide.error) ** 2 == pytest.approx(total + mean_square / 500)
    assert float(near.df) < float(wide.df) < 499
    assert wide.half() > near.half()


def test_pictures_that_add_nothing_leave_the_interval_as_it_is() -> None:
    near = Fit(*map(np.asarray, (0.02, 0.01, 0.005, 6.0)))
    same = Marks.of(np.tile(np.arange(100) < 60, (4, 1)))
    assert widened(near, [same, same], [1.0, -1.0]) is near


@pytest.mark.parametrize("n", [3, 10])
def test_it_covers_the_truth_of_all_pictures_where_the_first_does_not(n: int) -> None:
    row = pictures.measure(pictures.REGIMES[0], n, 200, 500, np.random.default_rng(n))
    assert row.good, row
    assert row.figures["(runs alone)"][0] < 0.6
    row = pictures.measure(pictures.REGIMES[2], n, 200, 300, np.random.default_rng(n))
    assert row.good, row


def test_a_verdict_for_these_pictures_alone_says_so_in_every_format(tmp_path: Path) -> None:
    findings = read(made(tmp_path, told_apart()), tmp_path)
    (even, ahead) = findings.ablation.contrasts
    assert even.verdict == ahead.verdict == "better"
    assert even.beyond is not None
    assert ahead.beyond is not None
    assert even.beyond.low < 0 < even.low
    assert ahead.beyond.low > 0
    assert (even.only_here, ahead.only_here) == (True, False)
    pages = texts(findings, {})
    for page in pages.values():
        text = re.sub(r"\s+", " ", re.sub("<[^>]*>", "", page))
        assert text.count("better (these pictures)") == 1
        assert "other pictures" in text
        assert "Near copies among the test pictures make the second interval too narrow" in text
    assert re.search(
        r"even: .* better\. For other pictures of this kind that is open: ", pages["report.md"]
    )
    table = frames(findings)["contrasts"]
    assert table["other_pictures_ci95_low"].tolist() == [even.beyond.low, ahead.beyond.low]
    assert table["other_pictures_verdict"].tolist() == ["inconclusive", "better"]
    chinese = texts(findings, {}, "zh")
    assert "更优（限这些图像）" in chinese["report.md"]
    assert "these pictures" not in chinese["report.md"]
    assert "other pictures" not in chinese["report.md"]


@pytest.mark.parametrize(
    ("arms", "is_open"), [(("baseline", "even"), True), (("baseline", "ahead"), False)]
)
def test_the_best_arm_of_these_pictures_alone_is_said_to_be_that(
    tmp_path: Path, arms: tuple[str, ...], is_open: bool
) -> None:
    findings = read(made(tmp_path, {arm: told_apart()[arm] for arm in arms}), tmp_path)
    said = (
        f"Best: {arms[1]}. Every other arm is found behind it, after correction."
        + " For other pictures of this kind that is open." * is_open
    )
    assert said in texts(findings, {})["report.md"]
    assert (
        "For other pictures of this kind that is open." in texts(findings, {})["report.md"]
    ) == is_open


@pytest.mark.parametrize("gone", [True, False])
def test_it_is_not_given_without_all_answers_and_says_why(tmp_path: Path, gone: bool) -> None:
    lost = ("even", 2) if gone else ("", 0)
    findings = read(made(tmp_path, told_apart(), gone=lost), tmp_path if gone else None)
    assert all(contrast.beyond is None for contrast in findings.ablation.contrasts)
    left = "1 of 12 complete runs" if gone else "12 of 12 complete runs"
    assert (
        f"No interval for other pictures of this kind is given: {left} left no answers"
        in texts(findings, {})["report.md"]
    )
