"""Arms that may not lead: at chance, with lost or collapsed runs, or hardly compared; and what is
said of such runs.
"""

import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from pipeline.analysis.chance import Guess, limit
from pipeline.analysis.collapse import collapsed
from pipeline.analysis.few_pictures import few_pictures
from pipeline.report.compose import read, texts
from tests.formats import WORDED, Told, tell
from tests.records import Scribe, make_study, with_arms

Results = dict[str, list[float | str]]  # arm → test acc of each replicate, or how it ended
HIGH = [0.700, 0.704, 0.696, 0.702, 0.698]


def study(folder: Path, results: Results) -> Scribe:
    """Four classes and 300 test pictures: chance is 25 %, a run below 32.5 % cannot be told from
    it.
    """
    planned = max(map(len, results.values()))
    overrides = {
        arm: {"model.dropout": 0.01 * number} if number else {}
        for number, arm in enumerate(results)
    }
    book = Scribe(folder, with_arms(make_study(replicates=planned, num_trials=0), overrides))
    book.session()
    for arm, runs in results.items():
        for replicate, result in enumerate(runs, 1):
            if isinstance(result, str):
                book.arm(arm, replicate, status=result)
            else:
                book.arm(arm, replicate, result)
    return book


def told(folder: Path, results: Results) -> Told:
    return tell(study(folder, results).record())


def lower(by: float) -> list[float | str]:
    """Around another level, in another order: pairs of equal distance are not tested."""
    return [
        value - by
        for value in np.random.default_rng(round(1000 * abs(by))).permutation(HIGH).tolist()
    ]


def test_an_arm_at_chance_is_never_bold(tmp_path: Path) -> None:
    """Without any spread it could not be tested against the top, and stood bold beside it."""
    found = told(tmp_path, {"base": [0.25] * 5, "high": list(HIGH), "low": lower(0.2)})
    assert set(found.marked().values()) == {frozenset({"high"})}
    for place in WORDED:
        assert re.search(r"At chance \(guessing gives 25\.0+ %\): base\.", found.plain[place]), (
            place
        )
    assert {row["arm"]: row["not_best_because"] for row in found.rows["arms"]}[
        "base"
    ] == "at chance"


def test_below_the_most_frequent_class_is_no_better_than_chance(tmp_path: Path) -> None:
    book = study(tmp_path, {"base": lower(0.12), "high": list(HIGH)})
    record = book.record()
    assert read(record).ablation.barred == {}
    record.data["most_frequent"] = {"test": 0.6}
    assert read(record).ablation.barred == {"base": "not told from guessing"}, "it learned"
    record.data["most_frequent"]["train"] = 0.6
    assert read(record).ablation.barred == {"base": "at chance"}


def test_guessing_explains_what_the_binomial_distribution_says() -> None:
    """Seven of nine right are reached by guessing one of three in .8 % of cases, six in 4.2 %."""
    one = Guess(1 / 3, 9)
    assert one.explains([6 / 9])
    assert not one.explains([7 / 9])
    assert one.limit() == pytest.approx(7 / 9)
    for num, rate, share in ((9, 1 / 3, 0.01), (997, 0.1, 0.001), (40, 0.9, 0.01), (1, 0.5, 0.01)):
        least = round(limit(num, rate, share) * num)
        tails = [binomial_tail(num, rate, right) for right in (least - 1, least)]
        assert tails[0] > share >= tails[1]
    assert one.explains([15 / 27] * 1) != one.explains([7 / 9] * 3), "three runs, 27 answers"
    assert not Guess(1 / 3, 9).explains([6 / 9] * 3), "together they are more than guessing"


def binomial_tail(num: int, rate: float, right: int) -> float:
    """How often at least so many are guessed."""
    ways = range(right, num + 1)
    return math.fsum(math.comb(num, k) * rate**k * (1 - rate) ** (num - k) for k in ways)


def test_runs_that_learned_have_not_collapsed_on_a_handful_of_pictures(tmp_path: Path) -> None:
    """Nine test pictures of three classes: 89, 44 and 56 % beside train accuracies of 1."""
    data = {
        "classes": ["a", "b", "c"],
        "counts": {"train": 42, "valid": 9, "test": 9},
        "most_frequent": {"train": 1 / 3, "valid": 1 / 3, "test": 1 / 3},
    }
    planned = with_arms(make_study(replicates=3, num_trials=0), {"base": {}, "other": {"ema": 0.9}})
    book = Scribe(tmp_path, planned, data=data)
    book.session()
    for replicate, right in enumerate((8, 4, 5), 1):
        run = book.arm("base", replicate, 0.99, test_acc=right / 9)
        assert run
        book.arm("other", replicate, 0.98, test_acc=4 / 9)
    record = book.record()
    found = tell(record)
    ablation = read(record).ablation
    assert (ablation.collapsed, ablation.at_chance) == ({}, frozenset())
    assert ablation.barred == {"other": "not told from guessing"}
    warnings = read(record).warnings
    assert warnings[0].startswith("the test part has 9 pictures: one is worth 11 points, more than")
    assert warnings[1].startswith("the validation part has 9 pictures")
    for place in WORDED:
        plain = found.plain[place]
        assert "collapsed" not in plain.replace("late collapse", "")
        assert not re.search(r"(is|are) at chance|not learning;", plain), place
        assert "though training accuracy shows that they learned: other." in plain, place
    steps = found.plain["report.md"].split("What next")[1].split("Details")[0]
    assert "More pictures that judge, before more runs" in steps
    assert "More replicates" not in steps


def test_an_arm_that_lost_runs_is_not_best_on_its_survivors(tmp_path: Path) -> None:
    found = told(
        tmp_path,
        {"base": lower(0.1), "fast": [0.74, 0.742, 0.738, "diverged", "failed"], "high": lower(0)},
    )
    assert set(found.marked().values()) == {frozenset({"high"})}
    for place in WORDED:
        line = (
            r"fast: 1 of 5 runs diverged and 1 of 5 runs failed, not in its numbers; counted as "
            r"chance \(25\.0+ %\)"
        )
        assert re.search(line + r" it has 54\.40* %\.", found.plain[place]), place
        assert "Best:" not in found.plain[place]


def test_an_arm_that_lacks_replicates_of_the_others_is_not_bold(tmp_path: Path) -> None:
    """Two shared replicates left nothing to test, and the arm was bold 4 points below the top."""
    results: Results = {
        "base": lower(0.1),
        "few": [0.66, 0.662, "running", "running", "running"],
        "high": lower(0),
    }
    found = told(tmp_path, results)
    assert set(found.marked().values()) == {frozenset({"high"})}
    equal: Results = {arm: runs[:3] for arm, runs in (("base", lower(0.1)), ("high", lower(0)))}
    record = study(
        tmp_path / "all", {arm: [*runs, "running", "running"] for arm, runs in equal.items()}
    ).record()
    assert read(record).ablation.bold == {"high"}, "a study that stands at 3 of 5 bars none"


def test_a_single_collapsed_run_is_named_everywhere_and_its_arm_is_not_bold(tmp_path: Path) -> None:
    """58 ± 27 was bold beside 73, without a word of the run at 10 %: the flag needs more than half
    of the runs.
    """
    runs: list[float | str] = [0.700, 0.704, 0.250, 0.702, 0.698]
    found = told(tmp_path, {"base": lower(0.2), "high": lower(-0.03), "torn": runs})
    assert set(found.marked().values()) == {frozenset({"high"})}
    for place in WORDED:
        line = (
            r"torn: replicate 3 \(25\.0+ %\) collapsed, its other runs have 69\.80* to 70\.40* "
            r"%; guessing gives 25\.0+ %"
        )
        assert re.search(line, found.plain[place]), place
        assert "no warnings" not in found.plain[place]
    assert "torn (1 of 5 runs collapsed)" in found.plain["report.md"]


def test_one_run_beside_a_collapsed_one_is_no_range(tmp_path: Path) -> None:
    found = told(tmp_path, {"base": [0.2, 0.21, 0.7], "high": lower(0)[:3]})
    for place in WORDED:
        line = (
            r"base: replicates 1 \(20\.0+ %\), 2 \(21\.0+ %\) collapsed, its other run has "
            r"70\.0+ %; guessing gives 25\.0+ %"
        )
        assert re.search(line, found.plain[place]), place


def test_a_difference_below_the_margin_says_so_beside_its_verdict(tmp_path: Path) -> None:
    """Better by .4 points, where 1 is the margin: said in the summary alone, the table read as any
    other finding.
    """
    high = [0.7001, 0.6999, 0.7002, 0.6998, 0.7]
    found = told(tmp_path, {"base": [0.6959, 0.6962, 0.696, 0.6958, 0.6961], "high": list(high)})
    for place in ("report.md", "report.html", "ablation.tex"):
        assert "better (below the default margin)" in found.plain[place], place
    assert (
        "更优（小于默认等效界值）"
        in texts(
            read(
                study(
                    tmp_path / "zh", {"base": [v - 0.004 for v in high[::-1]], "high": list(high)}
                ).record()
            ),
            {},
            "zh",
        )["report.md"]
    )
    assert [row["below_margin"] for row in found.rows["contrasts"]] == ["True"]
    far = told(tmp_path / "far", {"base": lower(0.2), "high": lower(0)})
    assert [row["below_margin"] for row in far.rows["contrasts"]] == ["False"]
    assert "below the default margin" not in far.plain["report.md"]


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ([0.7, 0.7, 0.7, 0.7, 0.5], (5,)),  # far from its arm, though above chance
        ([0.7, 0.5, 0.71, 0.5, 0.7], (2, 4)),
        ([0.7, 0.62, 0.71, 0.66, 0.64], ()),  # 8 points of spread
        ([0.3, 0.7], (1,)),
        ([0.3, 0.31, 0.3], ()),  # all of them: the arm is at chance, no run of it collapsed
        ([0.3, 0.3, 0.3, 0.7], (1, 2, 3)),
    ],
)
def test_which_runs_collapsed(values: list[float], named: tuple[int, ...]) -> None:
    scores = pd.DataFrame({"arm": values}, range(1, len(values) + 1))
    assert collapsed(scores, Guess(0.25, 300)).get("arm", ()) == named


def test_runs_beside_others_that_learned_no_more_have_not_collapsed() -> None:
    """One cause, a network that does not learn, was told as two kinds of run."""
    scores = pd.DataFrame({"default": [0.2, 0.109, 0.196, 0.177, 0.101]}, range(1, 6))
    assert collapsed(scores, Guess(0.102, 1197)) == {}
    scores.loc[:4] += 0.6
    assert collapsed(scores, Guess(0.102, 1197)) == {"default": (5,)}


def test_ordinary_runs_are_seldom_called_collapsed() -> None:
    rng = np.random.default_rng(1)
    for n in (3, 5, 10):
        scores = pd.DataFrame(
            0.7 + 0.03 * rng.standard_normal((n, 1000)), range(1, n + 1), map(str, range(1000))
        )
        assert len(collapsed(scores, Guess(0.1, 500))) <= 6


@pytest.mark.parametrize(
    ("others", "said"),
    [
        ((0.7, 0.1, 0.1), "its other run has 70.0 %"),
        ((0.7, 0.7, 0.1), "its other runs have 70.0 %"),
        ((0.71, 0.7, 0.1), "its other runs have 70.0 to 71.0 %"),
    ],
)
def test_the_runs_beside_a_collapse_are_counted(
    others: tuple[float, ...], said: str, tmp_path: Path
) -> None:
    found = told(tmp_path, {"base": [0.6, 0.61, 0.62], "torn": list(others)})
    for place in WORDED:
        plain = re.sub(r"(\d\.\d)0+\b", r"\1", found.plain[place])
        assert f"collapsed, {said}; guessing gives" in plain, place


@pytest.mark.parametrize(
    ("num", "fields", "said"),
    [
        ({"train": 800, "valid": 200, "test": 100}, {}, []),
        ({"train": 800, "valid": 200, "test": 99}, {}, ["the test part has 99 pictures: one is"]),
        ({"train": 800, "valid": 99, "test": 300}, {}, ["the validation part has 99 pictures"]),
        ({"train": 800, "valid": 200, "test": 150}, {"ablation.rope": 0.005}, ["the test part"]),
        ({"train": 40, "valid": 10, "test": 0}, {"baseline.split": "kfold"}, ["the folds have 50"]),
        ({"train": 90, "valid": 20, "test": 0}, {"baseline.split": "kfold"}, []),
        ({"train": 90, "valid": 20, "test": 0}, {}, ["the validation part has 20 pictures"]),
    ],
)
def test_a_part_is_small_where_one_picture_is_worth_more_than_the_margin(
    num: dict[str, int], fields: dict[str, Any], said: list[str]
) -> None:
    found = few_pictures(num, make_study().override(fields))
    assert len(found) == len(said)
    assert all(text.startswith(words) for text, words in zip(found, said, strict=True))
