"""One family for the whole report: what it counts, that nothing in it contradicts, and how often it
is wrong.
"""

import itertools

import numpy as np
import pandas as pd
import pytest

from benchmarks.coverage import learners
from benchmarks.coverage.verdicts import ARMS, SQUARE, TOPS, WORLDS, World, contradicts, measure
from pipeline.analysis.stats import (
    ALPHA,
    PAIRED,
    Contrast,
    Family,
    Judgement,
    Rivals,
    basis,
    conclude,
    judge,
    step_down,
)
from pipeline.study.designs import Both, Crossed, Factorial, Ladder, LeaveOneOut, Scheme
from pipeline.study.questions import Question, differences, steps

WELCH = basis("resplit")
FACTORS = {name: {name: 1} for name in "ABC"}
ZERO, LEVELS = {"zero": {}}, {name: {"A": number} for number, name in enumerate("AB", 1)}


def family(design: Scheme) -> Family:
    asked = [question for question in design.questions() if question.kind != "shapley"]
    return Family.of(asked, [arm.name for arm in design.expand()])


def test_a_finding_of_a_two_by_two_leaves_three_that_can_be_nothing() -> None:
    """Worked by hand: were A alone at work, B, its main effect and the interaction would be
    nothing; with any two of the six at work no three others can be."""
    found = family(Factorial(on={name: FACTORS[name] for name in "AB"}))
    assert found.alone == (6, 3, 3, 3, 2, 1, 0)
    assert found.beside == (6, 4, 4, 4, 3, 2, 1)
    assert len(found.apart) == 3
    assert found.size == 6


def test_differences_from_one_arm_hang_together_in_nothing_and_the_best_arm_costs_them_little() -> (
    None
):
    found = family(ARMS[4])
    assert found.alone == (3, 2, 1, 0)
    assert found.beside == (3, 2, 2, 1)
    assert family(Ladder(on={name: FACTORS[name] for name in "AB"})).beside == (3, 1, 1, 0), (
        "every pair of arms is asked"
    )


@pytest.mark.parametrize(
    "design",
    [
        SQUARE,
        Factorial(on=FACTORS),
        Ladder(on=FACTORS),
        Both(on=FACTORS),
        LeaveOneOut(off=FACTORS),
        Crossed(levels={"three": {**ZERO, **LEVELS}, "two": {"none": {}, "C": FACTORS["C"]}}),
    ],
)
def test_no_truth_has_more_zeros_than_are_counted(design: Scheme) -> None:
    arms = [arm.name for arm in design.expand()]
    asked = [question for question in design.questions() if question.kind != "shapley"]
    found = family(design)
    rng = np.random.default_rng(0)
    factors = [list(arm.levels.values()) for arm in design.expand()]
    additive = (
        np.array(factors) @ weights
        for weights in itertools.product((0, 1, 2), repeat=len(factors[0]))
    )
    for truth in [*rng.integers(0, 2, (300, len(arms))), *additive]:
        level = dict(zip(arms, map(int, truth), strict=True))
        zero = {
            column
            for column, question in zip(found.columns, asked, strict=True)
            if abs(sum(weight * level[arm] for arm, weight in question.weights.items())) < 1e-9
        }
        num = len(found.alone) - 1
        assert all(found.alone[others] >= len(zero) for others in range(num - len(zero) + 1)), (
            level,
            zero,
        )


def test_a_contrast_asked_twice_counts_once() -> None:
    twice = (
        *differences("rxy", "r"),
        *steps("rxy", "xy"),
    )  # the first step is the first difference
    found = Family.of(twice, "rxy")
    assert found.columns == (0, 1, 0, 2)
    assert found.size == 3


def made(p: dict[str, float], delta: float = 1.0) -> tuple[list[Question], list[Contrast]]:
    """Differences from r of these p-values."""
    asked = list(differences(["r", *p], "r"))
    return asked, [
        Contrast(q.name, "delta", (delta,) * 5, 0, delta, sd=1.0, p=p[q.name], error=1.0, df=8.0)
        for q in asked
    ]


def concluded(p: dict[str, float], against: dict[str, float]) -> Judgement:
    """x has the highest mean; `against`: its p-values against the others."""
    asked, raw = made(p)
    return conclude(raw, asked, 0.1, ["r", *p], Rivals("x", against))


def test_the_best_arm_is_better_in_every_difference() -> None:
    """x would be told from every arm if it were asked alone (Holm: .009, .018, .019), and is not
    better than r.
    """
    found = concluded({"x": 0.019, "y": 0.5, "z": 0.6}, {"r": 0.019, "y": 0.003, "z": 0.009})
    assert {c.verdict for c in found.contrasts} == {"inconclusive"}
    assert set(found.leading) == {"r", "x", "y", "z"}
    assert found.p_best >= ALPHA


def test_the_best_arm_is_named_where_all_agree() -> None:
    found = concluded({"x": 0.001, "y": 0.5, "z": 0.6}, {"r": 0.001, "y": 0.02, "z": 0.024})
    assert found.leading == ("x",)
    assert found.p_best == pytest.approx(2 * 0.024)
    assert found.contrasts[0].verdict == "better"
    near = concluded({"x": 0.001, "y": 0.5, "z": 0.6}, {"r": 0.001, "y": 0.02, "z": 0.026})
    assert near.leading == ("x", "y", "z"), (
        "r is behind x by its difference; y and z only where all of them are"
    )


def test_arms_far_behind_an_arm_that_is_better_than_the_reference_do_not_lead() -> None:
    found = concluded({"x": 0.001, "y": 0.004, "z": 0.6}, {"r": 0.001, "y": 0.4, "z": 0.0001})
    assert found.leading == ("x", "y")


def test_an_arm_far_below_that_no_question_compares_with_the_top_is_told_apart() -> None:
    """As of a deeper head that is asked against a head alone, beside a network trained whole: it is
    nothing that the design found, and must not stand beside the best."""
    rng = np.random.default_rng(0)
    means = {"all": 0.9, "fresh": 0.895, "head": 0.5, "deeper": 0.49, "near": 0.88}
    scores = pd.DataFrame({arm: rng.normal(mean, 0.02, 5) for arm, mean in means.items()})
    pairs = (("fresh", "all"), ("head", "all"), ("deeper", "head"), ("near", "head"))
    asked = [Question(a, "delta", {a: 1.0, b: -1.0}, f"from {b}", b) for a, b in pairs]
    found = judge(scores, asked, 0.01, WELCH)
    verdicts = {one.name: one.verdict for one in found.contrasts}
    assert (verdicts["head"], verdicts["near"]) == ("worse", "better")
    assert {verdicts["fresh"], verdicts["deeper"]} <= {"inconclusive", "equivalent"}
    assert set(found.leading) == {"all", "fresh", "deeper", "near"}, "nothing found puts it behind"
    assert (found.top, found.below) == ("all", ("deeper",))


def test_without_a_finding_no_arm_is_told_apart() -> None:
    """Of equal arms the highest and the lowest mean may lie far apart; that is no finding."""
    p = {"r": 0.2, "y": 0.4, "z": 0.0001}
    none = concluded({"x": 0.2, "y": 0.5, "z": 0.6}, p)
    assert (none.leading, none.below) == (("r", "x", "y", "z"), ())
    near = concluded({"x": 0.001, "y": 0.004, "z": 0.6}, {**p, "r": 0.001})
    assert near.top == "x"
    assert near.below == (), "found behind it, as x is better than all that it is compared with"


def test_what_two_findings_imply_is_found() -> None:
    """The second step is clear and so is the first; both together are the second difference."""
    rng = np.random.default_rng(0)
    y = pd.DataFrame(
        {"r": rng.normal(0, 1, 5), "a": rng.normal(6, 1, 5), "b": rng.normal(12, 1, 5)}
    )
    asked = (*differences("rab", "r"), *steps("rab", "ab"))
    found = judge(y, asked, 0.1, WELCH)
    assert {c.verdict for c in found.contrasts} == {"better"}
    assert found.leading == ("b",)
    raw = [
        Contrast(c.name, c.kind, c.values, 0, c.delta, sd=1.0, p=c.p, error=1.0, df=8.0)
        for c in found.contrasts
    ]
    raw = [
        Contrast(c.name, c.kind, c.values, 0, c.delta, sd=1.0, p=p, error=1.0, df=8.0)
        for c, p in zip(raw, (0.001, 0.2, 0.001, 0.002), strict=True)
    ]
    implied = conclude(raw, asked, 0.1, ["r", "a", "b"])
    assert [c.verdict for c in implied.contrasts] == ["better"] * 4
    assert implied.contrasts[1].p_holm == max(
        implied.contrasts[0].p_holm, implied.contrasts[3].p_holm
    )


def test_shapley_shares_are_estimated_and_not_tested() -> None:
    design = Factorial(on=FACTORS)
    arms = [arm.name for arm in design.expand()]
    y = pd.DataFrame(np.random.default_rng(2).normal(0.6, 0.01, (5, 8)), columns=arms)
    found = judge(y, design.questions(), 0.01, WELCH).contrasts
    shares = [c for c in found if c.kind == "shapley"]
    assert len(shares) == 3
    assert all(
        (c.verdict, c.family, c.reason) == ("not tested", 0, "") and c.low < c.delta < c.high
        for c in shares
    )
    assert {c.family for c in found if c.kind != "shapley"} == {13}


def test_adjusted_p_values_of_many_tables_are_those_of_each() -> None:
    rng = np.random.default_rng(4)
    asked = family(SQUARE)
    p, best = rng.random((50, 6)) ** 3, rng.random(50) ** 2
    together = step_down(p, best, asked)
    for i in range(50):
        alone = step_down(p[i], best[i], asked)
        np.testing.assert_allclose((*alone[0], alone[1]), (*together[0][i], together[1][i]))


@pytest.mark.parametrize(
    "world",
    [
        World("nothing", ARMS[4]),
        World("two at the top, unequal spreads", ARMS[4], TOPS, {"x": 3.0, "z": 2.0}),
        World("2x2, nothing", SQUARE),
        World("2x2, A alone", SQUARE, {"A": 3.0, "A + B": 3.0}),
        World("ladder, last step", Ladder(on=FACTORS), {"A + B + C": 2.0}),
        World("paired", SQUARE, rho=0.3, way=PAIRED),
    ],
    ids=lambda world: world.name,
)
def test_a_report_is_wrong_in_at_most_five_percent_and_never_contradicts_itself(
    world: World,
) -> None:
    row = measure(world, 5, 400, np.random.default_rng(1))
    assert row.good, row.figures
    assert row.figures["contradiction"][0] == 0


def test_a_contradiction_would_be_seen() -> None:
    """By the rule of before: the best arm by tests of its own, the differences by theirs."""
    asked, raw = made({"x": 0.02, "y": 0.5, "z": 0.6})
    found = conclude(
        raw, asked, 0.1, ["r", "x", "y", "z"], Rivals("x", {"r": 0.02, "y": 0.02, "z": 0.02})
    )
    assert not contradicts(asked, found)
    assert contradicts(asked, Judgement(found.contrasts, ("x",)))
    better, raw = made({"x": 0.001, "y": 0.5, "z": 0.6})
    told = conclude(
        raw, better, 0.1, ["r", "x", "y", "z"], Rivals("x", {"r": 0.001, "y": 0.4, "z": 0.4})
    )
    assert contradicts(better, Judgement(told.contrasts, ("r", "x"))), (
        "r is not distinguishable, and x better than r"
    )


def test_the_tests_cover_what_real_small_learners_do() -> None:
    """No assumption of a test is drawn from: splits, overlap and seeds make the runs depend as they
    do.
    """
    rng = np.random.default_rng(5)
    fits = [learners.measure(learners.Condition("", "resplit", True, WELCH), 5, 12, rng)]
    fits += [learners.measure(learners.Condition("", "kfold", True, basis("kfold")), 5, 12, rng)]
    assert all(row.good for row in fits), fits
    assert all(abs(row.figures["correlation"][0]) < 0.1 for row in fits)
    corrected = basis("kfold", held_out=False)
    wide = learners.measure(learners.Condition("", "kfold", True, corrected), 5, 12, rng)
    assert wide.figures["width"][0] > 1.4 * fits[1].figures["width"][0], (
        "the correction where a test set judges"
    )


def test_every_world_of_the_benchmark_is_within_its_design() -> None:
    for world in WORLDS:
        arms = {arm.name for arm in world.design.expand()}
        assert {*world.truth, *world.spreads} <= arms, world.name
