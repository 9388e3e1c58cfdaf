"""The statistics against scipy, by simulation, and at their edges."""

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats as reference

from pipeline.analysis.stats import (
    NAN,
    PAIRED,
    Basis,
    Family,
    Question,
    answer,
    basis,
    by_family,
    deltas,
    detectable,
    effects,
    estimate,
    factorial_questions,
    judge,
    step_down,
    winners_curse,
)
from pipeline.study.questions import differences


def leading(scores: pd.DataFrame) -> tuple[str, ...]:
    """The arms that lead, of an ablation whose reference is the first column."""
    return judge(
        scores, differences(map(str, scores.columns), str(scores.columns[0])), 0.01
    ).leading


LEVELS = {
    "baseline": {"A": False, "B": False},
    "A": {"A": True, "B": False},
    "B": {"A": False, "B": True},
    "A + B": {"A": True, "B": True},
}


def table(seed: int = 0, n: int = 5, sd: float = 0.01, **means: float) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {arm: mean + rng.normal(0, sd, n) for arm, mean in (means or {"x": 0.6, "y": 0.62}).items()}
    )


def difference(a: str, b: str) -> Question:
    return Question(f"{a} - {b}", "delta", {a: 1.0, b: -1.0})


@pytest.mark.parametrize("n", [3, 5, 10])
def test_estimate_is_the_paired_t_test_of_scipy(n: int) -> None:
    y = table(n=n)
    got, want = estimate(y, difference("y", "x")), reference.ttest_rel(y["y"], y["x"])
    interval = want.confidence_interval(0.95)
    assert (got.p, got.low, got.high) == pytest.approx((want.pvalue, interval.low, interval.high))
    assert got.delta == pytest.approx(float((y["y"] - y["x"]).mean()))
    assert got.n == n
    assert got.dropped == 0


def test_estimate_of_a_weighted_sum_is_the_one_sample_t_test_of_the_per_replicate_sums() -> None:
    y = table(a=0.5, b=0.6, c=0.55, d=0.7)
    sums = y["a"] * 0.5 - y["b"] * 0.5 + y["c"] * 0.5 - y["d"] * 0.5
    got = estimate(y, Question("q", "main", {"a": 0.5, "b": -0.5, "c": 0.5, "d": -0.5}))
    assert got.values == pytest.approx(tuple(sums))
    assert got.p == pytest.approx(reference.ttest_1samp(sums, 0).pvalue)


@pytest.mark.parametrize(
    ("raw", "adjusted"),
    [
        (
            [0.01, 0.04, 0.03],
            [0.03, 0.06, 0.06],
        ),  # worked by hand: .01 x 3, .03 x 2, then never below the step before
        ([0.9, 0.6], [1.0, 1.0]),
        ([0.02], [0.02]),
        ([], []),
    ],
)
def test_contrasts_that_do_not_hang_together_are_corrected_as_holm_does(
    raw: list[float], adjusted: list[float]
) -> None:
    asked = [
        Question(f"q{i}", "main", {f"on{i}": 1.0, f"off{i}": -1.0, "all": 1.0})
        for i in range(len(raw))
    ]
    found, best = step_down(np.array(raw), np.array(NAN), Family.of(asked, ()))
    assert found == pytest.approx(adjusted)
    assert math.isnan(best)


@pytest.mark.parametrize("n", [3, 5, 10])
@pytest.mark.parametrize("alpha", [0.05, 0.05 / 3])
def test_a_difference_of_the_detectable_size_is_found_in_80_percent(n: int, alpha: float) -> None:
    rng = np.random.default_rng(n)
    draws = rng.normal(detectable(n, alpha), 1.0, (20_000, n))
    found = reference.ttest_1samp(draws, 0, axis=1).pvalue < alpha
    assert found.mean() == pytest.approx(0.8, abs=0.012)  # 4 standard errors


def test_detectable_is_undefined_below_three_replicates_and_falls_with_n() -> None:
    assert math.isnan(detectable(2))
    assert detectable(3) > detectable(5) > detectable(10) > detectable(30)


@pytest.mark.parametrize("spread", [(1, 1, 1, 1), (1, 1, 2, 3)])
def test_the_table_as_a_whole_errs_in_about_five_percent(spread: tuple[float, ...]) -> None:
    """No arm differs: any 'better' or 'worse' among the three deltas is an error of the family."""
    rng = np.random.default_rng(11)
    wrong = covered = 0
    for _ in range(500):
        y = pd.DataFrame(0.6 + rng.normal(0, 0.01, (5, 4)) * spread, columns=list(LEVELS))
        answers = deltas(y, "baseline", rope=0.001)
        wrong += any(a.verdict in ("better", "worse") for a in answers)
        covered += sum(a.low < 0 < a.high for a in answers)
    assert wrong / 500 < 0.08  # at most 5 % by design, 3 standard errors
    assert covered / 1500 == pytest.approx(0.95, abs=0.025)


def test_uncorrected_type_one_error_is_five_percent() -> None:
    rng = np.random.default_rng(5)
    wrong = 0
    for _ in range(2000):
        y = pd.DataFrame({"x": rng.normal(0.6, 0.01, 3), "y": rng.normal(0.6, 0.01, 3)})
        wrong += estimate(y, difference("y", "x")).p < 0.05
    assert wrong / 2000 == pytest.approx(0.05, abs=0.015)


def test_four_verdicts() -> None:
    rng = np.random.default_rng(1)
    base = rng.normal(0.6, 0.001, 6)
    noise = rng.normal(0, 0.001, (6, 4))
    y = pd.DataFrame(
        {
            "base": base,
            "up": base + 0.05 + noise[:, 0],
            "down": base - 0.05 + noise[:, 1],
            "same": base + noise[:, 2] - noise[:, 2].mean(),
            "open": base + 0.01 + 40 * (noise[:, 3] - noise[:, 3].mean()),
        }
    )
    verdicts = {c.name: c.verdict for c in deltas(y, "base", rope=0.01)}
    assert verdicts == {
        "up": "better",
        "down": "worse",
        "same": "equivalent",
        "open": "inconclusive",
    }


def test_equivalence_is_two_one_sided_tests() -> None:
    y = table(seed=4, n=8, sd=0.004, x=0.6, y=0.601)
    d = (y["y"] - y["x"]).to_numpy()
    for rope in np.linspace(0.001, 0.02, 40):
        below = reference.ttest_1samp(d, -rope, alternative="greater").pvalue < 0.05
        above = reference.ttest_1samp(d, rope, alternative="less").pvalue < 0.05
        verdict = deltas(y, "x", rope)[0].verdict
        assert (verdict == "equivalent") == bool(below and above)


@pytest.mark.parametrize("n", [0, 1, 2])
def test_too_few_replicates_give_values_only(n: int) -> None:
    got = deltas(table(n=n), "x", 0.01)[0]
    assert (got.n, got.verdict) == (n, "not tested")
    assert all(math.isnan(x) for x in (got.sd, got.low, got.high, got.p, got.p_holm, got.mde))
    assert "replicate" in got.reason
    assert math.isnan(got.delta) == (n == 0)


@pytest.mark.parametrize(("shift", "words"), [(0.0, "exactly 0"), (0.1, "same difference")])
def test_identical_differences_are_not_tested(shift: float, words: str) -> None:
    y = table()
    y["y"] = y["x"] + shift
    got = deltas(y, "x", 0.01)[0]
    assert got.verdict == "not tested"
    assert words in got.reason
    assert math.isnan(got.p)


def test_missing_results_drop_the_pair_and_are_counted() -> None:
    y = table(a=0.6, b=0.62, c=0.7)
    y.loc[1, "b"] = NAN
    b, c = deltas(y, "a", 0.01)
    assert (b.n, b.dropped, c.n, c.dropped) == (4, 1, 5, 0)
    kept = y.drop(index=1)
    assert b.p == pytest.approx(reference.ttest_rel(kept["b"], kept["a"]).pvalue)
    y.loc[2, "a"] = NAN
    b, c = deltas(y, "a", 0.01)
    assert (b.n, b.dropped, c.n, c.dropped) == (3, 2, 4, 1)


def test_an_untested_contrast_does_not_count_in_the_family() -> None:
    y = table(a=0.6, b=0.62, c=0.7)
    y.loc[:3, "c"] = NAN
    b, c = deltas(y, "a", 0.01)
    assert (b.family, c.family, c.verdict) == (1, 0, "not tested")
    assert b.p_holm == b.p


def test_effects_of_the_two_by_two() -> None:
    y = (
        pd.DataFrame([[0.70, 0.74, 0.76, 0.76]] * 4, columns=list(LEVELS))
        + table(n=4, sd=1e-4, z=0.0)[["z"]].to_numpy()
    )
    y["A + B"] += [0, 1e-5, -1e-5, 0]
    main_a, main_b, interaction = effects(y, LEVELS, 0.01)
    assert (main_a.kind, main_b.kind, interaction.kind) == ("main", "main", "interaction")
    assert (main_a.delta, main_b.delta, interaction.delta) == pytest.approx(
        (0.02, 0.04, -0.04), abs=1e-6
    )


def test_effects_equal_the_regression_on_coded_factors() -> None:
    arms = {f"{i:03b}": {f: bool(i >> j & 1) for j, f in enumerate("ABC")} for i in range(8)}
    y = pd.DataFrame(np.random.default_rng(3).normal(0.6, 0.05, (5, 8)), columns=list(arms))
    coded = {f: np.array([1 if on[f] else -1 for on in arms.values()]) for f in "ABC"}
    columns = [
        coded["A"],
        coded["B"],
        coded["C"],
        *(coded[a] * coded[b] for a, b in ("AB", "AC", "BC")),
    ]
    design = np.column_stack([np.ones(8), *columns, coded["A"] * coded["B"] * coded["C"]])
    beta = np.linalg.lstsq(design, y.mean().to_numpy(), rcond=None)[0]
    got = [c.delta for c in effects(y, arms, 0.01)]
    # a main effect is on minus off = 2 beta; an interaction is a difference of differences = 4 beta
    assert got == pytest.approx([2 * b for b in beta[1:4]] + [4 * b for b in beta[4:7]])


@pytest.mark.parametrize(
    "levels",
    [
        {},
        {"a": {}, "b": {}},
        {"off": {"A": False}, "on": {"A": True}},
        {k: LEVELS[k] for k in list(LEVELS)[:3]},
    ],
)
def test_no_effects_without_a_full_factorial_of_two_factors(
    levels: dict[str, dict[str, bool]],
) -> None:
    assert factorial_questions(levels) == ()


def test_best_set_holds_what_cannot_be_told_from_the_top() -> None:
    y = table(seed=2, n=6, sd=0.01, low=0.3, high=0.7, near=0.699)
    assert leading(y) == ("high", "near")


def test_best_set_rarely_leaves_out_the_best_arm() -> None:
    rng = np.random.default_rng(8)
    hits = 0
    for _ in range(400):
        y = pd.DataFrame(rng.normal([0.60, 0.60, 0.61], 0.01, (5, 3)), columns=["a", "b", "best"])
        hits += "best" in leading(y)
    assert hits / 400 > 0.95


def test_best_set_of_untestable_arms() -> None:
    assert leading(table(n=2)) == ()
    y = table(n=4, x=0.6, y=0.62, z=0.1)
    y.loc[1:, "z"] = NAN  # one result: it cannot be told from the top
    y["empty"] = NAN
    assert "z" in leading(y)
    assert "empty" not in leading(y)
    twins = pd.DataFrame({"a": [0.1, 0.2, 0.3], "b": [0.1, 0.2, 0.3]})
    assert leading(twins) == ("a", "b")


def test_a_lone_arm_has_no_contrasts() -> None:
    assert deltas(table(x=0.6), "x", 0.01) == ()
    assert answer(table(x=0.6), [], 0.01) == ()


WELCH, FOLDS = basis("official"), basis("kfold", folds=5, held_out=False)


@pytest.mark.parametrize("n", [3, 5, 10])
def test_replicates_that_share_a_seed_alone_are_compared_by_welchs_t_test_of_scipy(n: int) -> None:
    y = table(n=n)
    y["y"] = y["y"].mean() + 3 * (y["y"] - y["y"].mean())
    got = estimate(y, difference("y", "x"), WELCH)
    want = reference.ttest_ind(y["y"], y["x"], equal_var=False)
    interval = want.confidence_interval(0.95)
    assert (got.p, got.low, got.high, got.df) == pytest.approx(
        (want.pvalue, interval.low, interval.high, want.df)
    )
    assert (got.n, got.dropped, got.test) == (n, 0, "Welch's t")


def test_welch_uses_every_result_where_a_replicate_lacks_an_arm() -> None:
    y = table(n=6)
    y.loc[1, "x"] = y.loc[[0, 4], "y"] = NAN
    got = estimate(y, difference("y", "x"), WELCH)
    want = reference.ttest_ind(y["y"], y["x"], equal_var=False, nan_policy="omit")
    assert (got.p, got.df) == pytest.approx((want.pvalue, want.df))
    assert (got.n, got.dropped) == (4, 0)
    assert got.delta == pytest.approx(y["y"].mean() - y["x"].mean())


def test_unpaired_arms_differ_by_their_means_also_where_nothing_is_tested() -> None:
    y = table(n=6)
    y.loc[2:, "y"] = NAN
    got = estimate(y, difference("y", "x"), WELCH)
    assert (got.n, got.verdict) == (2, "not tested")
    assert got.delta == pytest.approx(y["y"].mean() - y["x"].mean())
    assert got.delta != pytest.approx(float(np.mean(got.values)))


def test_welch_of_a_weighted_sum_is_satterthwaites() -> None:
    y = table(n=4, a=0.5, b=0.6, c=0.55, d=0.7) * [1, 1.01, 0.98, 1.2]
    weights = {"a": 1.0, "b": -1.0, "c": -1.0, "d": 1.0}
    got = estimate(y, Question("q", "interaction", weights), WELCH)
    parts = y.var(ddof=1) / 4
    df = parts.sum() ** 2 / (parts**2 / 3).sum()
    t = abs(y["a"] - y["b"] - y["c"] + y["d"]).mean() / math.sqrt(parts.sum())
    assert (got.df, got.p) == pytest.approx((df, 2 * reference.t.sf(t, df)))
    assert got.sd == pytest.approx(math.sqrt(y.var(ddof=1).sum()))


@pytest.mark.parametrize(("folds", "n"), [(5, 5), (10, 10), (3, 6)])
def test_folds_are_compared_by_the_corrected_t_of_nadeau_and_bengio(folds: int, n: int) -> None:
    y = table(n=n)
    d = y["y"] - y["x"]
    error = math.sqrt((1 / n + (1 / folds) / (1 - 1 / folds)) * d.var(ddof=1))
    got = estimate(y, difference("y", "x"), basis("kfold", folds=folds, held_out=False))
    assert got.error == pytest.approx(error)
    assert got.p == pytest.approx(2 * reference.t.sf(abs(d.mean()) / error, n - 1))
    interval = reference.t.interval(0.95, n - 1, d.mean(), error)
    assert (got.low, got.high) == pytest.approx(interval)
    assert got.high - got.low > (naive := estimate(y, difference("y", "x"))).high - naive.low


@pytest.mark.parametrize(
    ("split", "held_out", "test", "ratio", "scope"),
    [
        (
            "resplit",
            True,
            "Welch's t",
            0.0,
            "this test set, this pool of train and val pictures, these hyperparameters",
        ),
        (
            "kfold",
            True,
            "Welch's t",
            0.0,
            "this test set, this pool of train and val pictures, these hyperparameters",
        ),
        (
            "official",
            True,
            "Welch's t",
            0.0,
            "this test set, this train/val split, these hyperparameters",
        ),
        (
            "resplit",
            False,
            "paired t",
            0.0,
            "this pool of train and val pictures, these hyperparameters",
        ),
        (
            "kfold",
            False,
            "corrected t",
            0.25,
            "pools of train and val pictures like this one, these hyperparameters",
        ),
        (
            "official",
            False,
            "Welch's t",
            0.0,
            "these val pictures, this train/val split, these hyperparameters",
        ),
    ],
)
def test_the_plan_alone_decides_test_and_scope(
    split: Any, held_out: bool, test: str, ratio: float, scope: str
) -> None:
    found = basis(split, held_out=held_out)
    assert (found.test, found.ratio, found.scope) == (test, ratio, scope)
    assert basis(split, held_out=held_out, tuning="per_arm") == found
    anew = basis(split, held_out=held_out, tuning="replicated")
    assert (anew.test, anew.ratio, anew.why) == (test, ratio, found.why)
    assert anew.scope == "recipe incl. tuning, on " + " and ".join(
        scope.removesuffix(", these hyperparameters").split(", ")
    )
    assert {c.scope for c in deltas(table(a=0.5, b=0.6, c=0.7), "a", 0.01, found)} == {scope}


@pytest.mark.parametrize("plan", [PAIRED, WELCH, FOLDS])
@pytest.mark.parametrize("n", [3, 10])
def test_a_difference_of_the_size_said_to_be_detectable_is(plan: Basis, n: int) -> None:
    """`mde` speaks of the standard error seen: against the power of a noncentral t at that many
    errors.
    """
    for contrast in deltas(table(n=n, a=0.5, b=0.6, c=0.7), "a", 0.01, plan):
        shift, critical = contrast.mde / contrast.error, reference.t.ppf(1 - 0.025 / 2, contrast.df)
        assert reference.nct.sf(critical, contrast.df, shift) == pytest.approx(0.8)


@pytest.mark.parametrize("plan", [WELCH, FOLDS])
def test_identical_runs_are_called_out_whatever_the_test(plan: Basis) -> None:
    y = table()
    y["y"] = y["x"]
    got = deltas(y, "x", 0.01, plan)[0]
    assert (got.verdict, got.test) == ("not tested", plan.test)
    assert "exactly 0" in got.reason


def test_unpaired_arms_without_spread_are_not_tested() -> None:
    y = pd.DataFrame({"x": [0.5, 0.5, 0.5, NAN, NAN, NAN], "y": [NAN, NAN, NAN, 0.6, 0.6, 0.6]})
    got = estimate(y, difference("y", "x"), WELCH)
    assert (got.verdict, got.reason) == ("not tested", "no arm varies over its replicates")
    assert got.delta == pytest.approx(0.1)


def test_families_are_groups_of_one_family_and_keep_their_order() -> None:
    y = table(seed=3, n=6, a=0.6, b=0.61, c=0.615, d=0.6)
    asked = [
        Question("b", "delta", {"b": 1.0, "a": -1.0}, "one", "a"),
        Question("c", "delta", {"c": 1.0, "d": -1.0}, "two", "d"),
        Question("c", "delta", {"c": 1.0, "a": -1.0}, "one", "a"),
    ]
    got = answer(y, asked, 0.01)
    assert [(c.name, c.against, c.family_name, c.family) for c in got] == [
        ("b", "a", "one", 3),
        ("c", "d", "two", 3),
        ("c", "a", "one", 3),
    ]
    assert by_family(got) == {"one": (got[0], got[2]), "two": (got[1],)}


def test_the_winner_beside_itself_again() -> None:
    fresh, test = [0.80, 0.82, NAN, 0.81, 0.79], [0.78, 0.80]
    got = winners_curse(0.86, fresh, test)
    assert (got.search_val, got.fresh_val, got.test, got.n, got.num_tested) == pytest.approx(
        (0.86, 0.805, 0.79, 4, 2)
    )
    assert got.optimism == pytest.approx(0.055)
    interval = reference.ttest_1samp(
        0.86 - np.array([0.80, 0.82, 0.81, 0.79]), 0
    ).confidence_interval(0.95)
    assert (got.low, got.high) == pytest.approx((interval.low, interval.high))


def test_a_winner_without_fresh_runs_has_no_optimism() -> None:
    alone, pair = winners_curse(0.9, [], []), winners_curse(0.9, [0.8, 0.84])
    assert alone.n == 0
    assert all(
        math.isnan(x)
        for x in (alone.fresh_val, alone.test, alone.optimism, alone.low, pair.low, pair.test)
    )
    assert pair.optimism == pytest.approx(0.08)


def test_the_best_of_many_equals_is_optimistic_by_what_the_simulation_knows() -> None:
    """50 equal configurations, each seen once: the winner's lead is all luck, and fresh runs show
    it.
    """
    rng = np.random.default_rng(0)
    seen = rng.normal(0.6, 0.01, (300, 50)).max(axis=1)
    found = [winners_curse(float(top), list(rng.normal(0.6, 0.01, 5))).optimism for top in seen]
    assert np.mean(found) == pytest.approx(
        0.0225, abs=0.001
    )  # expected maximum of 50 standard normals: 2.249
