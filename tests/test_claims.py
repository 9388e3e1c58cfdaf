"""What a report must never claim, each with the situation in which a careless one would, in every
format.

A claim is looked for in report.md, report.html, ablation.tex, the CSV and parquet frames and on the
screen; what is honest instead must stand in all that have room for it.
"""

import functools
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import t as student

from pipeline.analysis.arm_summary import summary
from pipeline.analysis.fairness import post_hoc
from pipeline.core.config import TrainConfig
from pipeline.record import events
from pipeline.record.events import Revision
from pipeline.record.ledger import read_events
from pipeline.record.record import Record
from pipeline.report.compose import texts
from pipeline.report.document import Cell
from pipeline.report.figures import draw as figures
from pipeline.session.resume import changed_settings, grown
from pipeline.study.designs import Factorial, Fractional, Ladder, LeaveOneOut, OrderedPath, Scheme
from pipeline.study.study import Study
from pipeline.study.tuning import PerArm, Replicated
from tests.driver import Worker, drive, open_plan
from tests.formats import PAGES, WORDED, Told, columns, plain, tell
from tests.records import Scribe, lines, make_study, with_arms
from tests.test_report_classes import answers_of, known, study_with
from tests.test_report_designs import crossed, some, world
from tests.test_tuning import tuned_study

# ---- words that stand for a claim, whatever the numbers are

CLAIMS: dict[str, str] = {
    "1 better inside the noise": (
        r"\b(wins|beats|outperforms?|superior|clearly better|state of the " r"art)\b"
    ),
    "2 improves from one run": (
        r"\b(improves?|improvement|gains? (of|by)) " r"[\d.]+|\b(improves|boosts) (test |val )?acc"
    ),
    "3 significance": r"signific|\bp ?[<=≤] ?0?\.\d|wilcoxon|sign test|error bars|do not overlap",
    "4 no effect": r"(?<!not evidence of )\bno effect\b|without "
    r"effect|unnecessary|redundant|useless|"
    r"does(n't| not) (matter|help)\b",
    "7 the recipe": r"(?<!ln K \()\brecipe\b(?! incl\. tuning)|this method is|the method is better",
    "8 one pair of checkpoints": (
        r"mcnemar|bootstrap over (images|pictures|examples)|checkpoint " r"pair"
    ),
    "9 a share of the total": (
        r"contributes|accounts for|[\d.]+ ?% of the " r"(total|whole|gain|improvement|difference)"
    ),
    "10 importance as cause": (
        r"(?<!what )\bcauses\b|\bdue to (the )?(knob|lr|model)|most "
        r"important for acc|beneficial"
    ),
    "12 the best of some runs": (
        r"best (seed|replicate|run)\b|best of (\d+|n|all|its|the) " r"(runs|replicates|seeds)"
    ),
    "14 converged": r"(?<!\bnot )\bconverged?\b|\bconvergence\b",
    "15 extrapolated": r"\bextrapolat|would reach|expected to reach",
    "16 speed": r"\blatency\b|\bfaster\b|\bslower\b|\bspeed-?up\b",
    "17 beyond this set": r"\bin general\b|generali[sz]es (to|better|well)|"
    r"(other|new|unseen) (data ?sets|data|pictures(?! of this kind| \[95 % CI\]|: the 95 % "
    r"interval))|\bpopulation\b",
}
FORGED: dict[str, tuple[str, ...]] = {
    "1 better inside the noise": ("ResNet beats the baseline", "augmentation is superior"),
    "2 improves from one run": (
        "ResNet improves 2.1 points",
        "a gain of 3.2",
        "dropout improves test accuracy",
    ),
    "3 significance": (
        "a significant difference",
        "(p < .05)",
        "p = 0.03",
        "the error bars do not overlap",
    ),
    "4 no effect": (
        "dropout has no effect",
        "the component is unnecessary",
        "augmentation does not matter",
    ),
    "7 the recipe": ("so the recipe is better", "the method is better"),
    "8 one pair of checkpoints": ("McNemar: p<.001", "by bootstrap over images"),
    "9 a share of the total": ("ResNet contributes 3 points", "ResNet gives 61 % of the gain"),
    "10 importance as cause": ("a low lr causes high accuracy", "a high dropout is beneficial"),
    "12 the best of some runs": (
        "its best seed has 93 %",
        "best of 5 runs",
        "the best run of the arm",
    ),
    "14 converged": ("the baseline has converged", "after convergence"),
    "15 extrapolated": ("200 trials would reach 91 %", "extrapolated to 500 trials"),
    "16 speed": ("ResNet is slower", "latency 3 ms"),
    "17 beyond this set": (
        "it generalizes better",
        "holds on other datasets",
        "in general, A is better",
        "on new pictures",
    ),
}
HONEST = (
    "inconclusive: neither, which is not evidence of no effect. Scope: recipe incl. tuning. a "
    "generalization gap; whether more training hurts is not read off it. what causes it cannot be "
    "told."
)


def claimed(claim: str, text: str) -> str:
    """The words of the claim in `text` with those around them, or nothing."""
    found = re.search(CLAIMS[claim], text, re.IGNORECASE)
    return text[max(0, found.start() - 60) : found.end() + 40] if found else ""


@pytest.mark.parametrize("claim", CLAIMS)
def test_the_words_of_a_claim_are_found_where_they_are(claim: str) -> None:
    for sentence in FORGED[claim]:
        assert claimed(claim, sentence), sentence
    assert not claimed(claim, HONEST)


# ---- studies in which claims are tempting

EQUAL = dict.fromkeys(("baseline", "ResNet", "augmentation", "ResNet + augmentation"), 0.6)


def noisy(
    folder: Path,
    means: dict[str, float],
    *,
    replicates: int = 5,
    sd: float = 0.02,
    seed: int = 0,
    study: Study | None = None,
    **end: Any,
) -> Record:
    """Arms with exactly these means and this scatter; `end` goes into the end of every run."""
    design = study or make_study(replicates=replicates, num_trials=0, epochs=2)
    book = Scribe(
        folder,
        design if study or means.keys() == EQUAL.keys() else with_arms(design, some_arms(means)),
    )
    book.session()
    draws = np.random.default_rng(seed).normal(0, 1, (len(means), replicates))
    if replicates > 1:
        draws -= draws.mean(1, keepdims=True)
        draws *= sd / draws.std(1, ddof=1, keepdims=True)
    for replicate in range(1, replicates + 1):
        for place, (arm, mean) in enumerate(means.items()):
            book.arm(arm, replicate, float(mean + draws[place, replicate - 1]), **end)
    return book.record()


def some_arms(names: dict[str, float]) -> dict[str, dict[str, Any]]:
    """Arms by name, each with something of its own."""
    return {
        name: {"model.width": 16 + 8 * place} if place else {} for place, name in enumerate(names)
    }


def searched(folder: Path, *, sampler: str = "tpe", num_trials: int = 40) -> Told:
    """A search and an arm of its best trial's kind; under "random" the trials are drawn, and half
    of them stop early.
    """
    study = make_study(num_trials=num_trials, replicates=3)
    study = study.model_copy(
        update={"search": study.search.model_copy(update={"sampler": sampler})}
    )
    book = Scribe(folder, study)
    book.session()
    if sampler == "tpe":
        book.trials()
    for number in range(num_trials if sampler == "random" else 0):
        knobs = book._knobs(number)
        config = study.baseline.override(knobs).model_dump(mode="json")
        book.ledger.append(
            events.Trial(
                run=f"t{number}",
                trial=number,
                config=config,
                knobs=knobs,
                asked=number or None,
            )
        )
        for rung, epochs in enumerate((1, 2, 6)[: 3 if number % 2 else 1]):
            book.ledger.append(events.Start(run=f"t{number}", rung=rung))
            value = book.epochs(f"t{number}", epochs, 0.5 + 0.003 * number, (1, 2, 4)[rung])
            book.ledger.append(events.Rung(run=f"t{number}", rung=rung, value=value))
        book.ledger.append(
            events.End(
                run=f"t{number}", status="complete" if number % 2 else "stopped", best_epoch=1
            )
        )
    book.arms()
    return tell(book.record())


def diverging(folder: Path) -> Told:
    """The arm ResNet has the highest runs of all, the highest mean of what is left of it, and lost
    two.
    """
    book = Scribe(folder, make_study(replicates=5, num_trials=0, epochs=2))
    book.session()
    for replicate in range(1, 6):
        for arm in EQUAL:
            if arm == "ResNet" and replicate in (2, 4):
                book.arm(arm, replicate, 0.2, status="diverged")
            else:
                book.arm(
                    arm,
                    replicate,
                    {"ResNet": 0.95 if replicate == 1 else 0.5}.get(arm, 0.6) + 0.004 * replicate,
                )
    return tell(book.record())


def unequal(folder: Path) -> Told:
    """The arm ResNet was trained for twice as long."""
    book = Scribe(folder, make_study(replicates=3, num_trials=0, epochs=4))
    book.session()
    for replicate in (1, 2, 3):
        for place, arm in enumerate(EQUAL):
            book.arm(
                arm,
                replicate,
                0.5 + 0.1 * place + 0.003 * replicate,
                epochs=8 if arm == "ResNet" else None,
            )
    return tell(book.record(), drawn=frozenset({"curves"}))


def tuned(folder: Path, tuning: PerArm | Replicated, **trouble: Any) -> Told:
    """Every arm with a search of its own; the augmented one is better."""
    study = tuned_study(tuning, replicates=3)

    def acc(config: TrainConfig, replicate: int) -> float:
        own = np.random.default_rng([int(config.fingerprint(), 16) % 2**32, replicate]).normal(
            0, 0.005
        )
        return round(0.6 + 0.1 * (config.augment.strength == 1.0) + float(own), 6)

    return tell(drive(open_plan(folder, study, with_search=False), Worker(acc=acc, **trouble)))


def of_design(design: Scheme, **baseline: Any) -> Callable[[Path], Told]:
    return lambda folder: tell(world(folder, design, **baseline).record())


def with_answers(replicates: int) -> Callable[[Path], Told]:
    def build(folder: Path) -> Told:
        return tell(study_with(folder, known, replicates=replicates), folder)

    return build


def drawn(found: Told) -> set[str]:
    """The figures that there are."""
    shown = found.findings
    return {
        drawing.name
        for drawing in figures.draw_all(
            shown.ablation, shown.search, shown.importance, shown.tuning, shown.answers
        )
    }


WORLDS: dict[str, Callable[[Path], Told]] = {
    "noise": lambda folder: tell(noisy(folder, EQUAL)),
    "effects": of_design(Factorial(on=some(2))),
    "three factors": of_design(Factorial(on=some(3))),
    "levels": of_design(crossed("network", "pictures")),
    "leave one out": of_design(LeaveOneOut(on=some(4), with_none=True)),
    "ladder": of_design(Ladder(on=some(3))),
    "path": of_design(OrderedPath(steps=tuple(some(3).values()))),
    "screen": of_design(Fractional(on=some(5), resolution="III")),
    "plackett burman": of_design(Fractional(on=some(5), resolution="plackett_burman")),
    "official split": of_design(Factorial(on=some(2)), split="official"),
    "folds": of_design(Factorial(on=some(2)), split="kfold", folds=5),
    "one run": lambda folder: tell(
        noisy(folder, {arm: 0.5 + 0.1 * i for i, arm in enumerate(EQUAL)}, replicates=1)
    ),
    "two runs": lambda folder: tell(
        noisy(folder, {arm: 0.5 + 0.1 * i for i, arm in enumerate(EQUAL)}, replicates=2)
    ),
    "answers of one run": with_answers(1),
    "answers of two runs": with_answers(2),
    "answers": with_answers(3),
    "no test labels": lambda folder: tell(noisy(folder, EQUAL, test_acc=None, test_loss=None)),
    "diverged": diverging,
    "unequal": unequal,
    "search": searched,
    "random search": lambda folder: searched(folder, sampler="random"),
    "few trials": lambda folder: searched(folder, num_trials=12),
    "tuned per arm": lambda folder: tuned(folder, PerArm(num_trials=4)),
    "replicated tuning": lambda folder: tuned(folder, Replicated(num_trials=6)),
}
TESTED = (
    "noise",
    "effects",
    "three factors",
    "levels",
    "leave one out",
    "ladder",
    "path",
    "official split",
    "folds",
)


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Told]:
    """World → its report."""

    @functools.cache
    def build(name: str) -> Told:
        return WORLDS[name](tmp_path_factory.mktemp("world"))

    return build


@pytest.mark.parametrize("name", WORLDS)
def test_no_claim_in_words_anywhere(name: str, told: Callable[[str], Told]) -> None:
    found = {
        (c, place): w
        for place, text in told(name).everything.items()
        for c in CLAIMS
        if (w := claimed(c, text))
    }
    assert not found


CHINESE = (
    *(
        "显著",
        "没有(效应|影响|效果)(?!的证据)",
        "毫无",
        "多余",
        "无用",
        "(?<!尚未)收敛",
        "贡献",
        "占(总|全部)",
        "优于",
        "胜过",
    ),
    *("击败", "更快", "更慢", "外推", "泛化(到|能力更)", "McNemar"),
)
TOKENS = ("†", "±", r"\\\[[−\d., ]+\\\]", r"[+−]\d+\.\d+", r"\*\*")


@pytest.mark.parametrize(
    "name",
    ["noise", "effects", "one run", "no test labels", "diverged", "screen", "ladder", "search"],
)
def test_the_chinese_pages_claim_no_more_than_the_english(
    name: str, told: Callable[[str], Told]
) -> None:
    """The same daggers, spreads, intervals, differences and bold letters; no words of a claim."""
    assert re.search("|".join(CHINESE), "差异显著")
    assert not re.search("|".join(CHINESE), "这并不是没有效应的证据")
    found = told(name).findings
    english, chinese = (plain(lang, texts(found, {}, lang)["report.md"]) for lang in ("en", "zh"))
    assert not re.search("|".join(CHINESE), chinese)
    assert Counter(re.findall("|".join(TOKENS), chinese)) == Counter(
        re.findall("|".join(TOKENS), english)
    )


# ---- 1 bold or best inside the noise, bold by mean alone


@pytest.mark.parametrize("lead", [0.0, 0.004])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_1_no_arm_is_bold_or_best_inside_the_noise(tmp_path: Path, lead: float, seed: int) -> None:
    found = tell(noisy(tmp_path, EQUAL | {"ResNet": 0.6 + lead}, seed=seed))
    assert set(found.marked().values()) == {frozenset()}
    assert {row["in_best_set"] for row in found.rows["arms"]} == {"True"}, (
        "all of them: that says nothing"
    )
    for place, text in found.plain.items():
        assert "Best:" not in text
        if place != "ablation.tex":
            assert "No arm can be singled out as the best" in text, place
        if place != "screen":
            assert "Nothing is bold: nothing found here puts an arm behind another" in text, place


def test_1_bold_is_the_best_set_and_not_the_highest_mean_alone(tmp_path: Path) -> None:
    means = {"baseline": 0.3, "wide": 0.600, "deep": 0.604}
    found = tell(noisy(tmp_path, means))
    assert set(found.marked().values()) == {frozenset({"wide", "deep"})}
    assert {row["arm"] for row in found.rows["arms"] if row["in_best_set"] == "True"} == {
        "wide",
        "deep",
    }
    for place in (*PAGES, "screen"):
        assert (
            "Highest mean: deep; not found behind it after correction: wide." in found.plain[place]
        )


def test_1_bold_below_an_arm_that_is_not_bold_is_explained(tmp_path: Path) -> None:
    lower = {
        "baseline": 0.42,
        "wide": 0.41,
        "deep": 0.51,
        "flips": 0.46,
        "dropout": 0.50,
        "cosine": 0.39,
    }
    asked, why = (
        "; not found behind it after correction: ",
        "may be bold where an arm of a higher mean is not.",
    )
    found = tell(noisy(tmp_path / "pairs", lower, sd=0.036))
    assert set(found.marked().values()) == {frozenset({"wide", "deep", "flips", "dropout"})}
    for place in (*PAGES, "screen"):
        assert f"Highest mean: deep{asked}wide, flips, dropout." in found.plain[place]
    # plain Holm multiplies the third by 3
    more = "Which arm is the best is one claim more of that family"
    p = {row["name"]: (float(row["p"]), float(row["p_holm"])) for row in found.rows["contrasts"]}
    assert p["flips"][1] == pytest.approx(4 * p["flips"][0]), (
        "third of five, and the best arm is open"
    )
    assert all(
        why in found.plain[place] and more in found.plain[place]
        for place in (*PAGES, "ablation.tex")
    )
    direct = tell(noisy(tmp_path / "direct", {"baseline": 0.604, "wide": 0.3, "deep": 0.6}))
    assert set(direct.marked().values()) == {frozenset({"baseline", "deep"})}
    assert why not in direct.plain["report.md"], "every row compares with the highest mean"


def test_1_an_arm_far_above_all_is_marked_in_every_format(tmp_path: Path) -> None:
    found = tell(noisy(tmp_path, {"baseline": 0.3, "wide": 0.4, "deep": 0.9}))
    assert set(found.marked().values()) == {frozenset({"deep"})}


# ---- 2 from one run per arm; ± without what it is

SPREAD = (
    r"\d ± [\d.]+ \(\d+( of \d+)?\)",  # mean ± sd (n)
    r"mean ± sd \(n\)",
    r"± is the standard deviation over replicates \(ddof 1\)",
    r"(of|within|inside) ±[\d.]+ points?\b",  # a margin
)


def unexplained(text: str) -> list[str]:
    """What stands around every ± that is neither mean ± sd (n), nor says what ± is, nor a margin in
    points.
    """
    for known_use in SPREAD:
        text = re.sub(known_use, " ", text)
    return [text[max(0, at.start() - 30) : at.end() + 30] for at in re.finditer("±", text)]


def test_2_an_unexplained_spread_is_noticed() -> None:
    assert unexplained("93.1 ± 0.2")
    assert unexplained("±0.2")
    assert not unexplained("93.1 ± 0.2 (5), mean ± sd (n), the band is the margin of ±1 point")


@pytest.mark.parametrize("name", WORLDS)
def test_2_every_spread_is_a_sd_with_its_n_or_a_margin(
    name: str, told: Callable[[str], Told]
) -> None:
    for place, text in told(name).everything.items():
        assert not unexplained(text), place


@pytest.mark.parametrize(
    "name", ["one run", "two runs", "answers of one run", "answers of two runs"]
)
def test_2_few_runs_have_no_spread_no_interval_and_no_verdict(
    name: str, told: Callable[[str], Told]
) -> None:
    found = told(name)
    for place, text in found.plain.items():
        assert not re.search(r"\d ± \d", text), place
        assert not re.search(r"\[95 % CI\] .{0,200}[+−]\d+\.\d+ \[", text), place
        assert not re.search(
            r"[+−][\d.]+ points[^.]{0,40}, (better|worse|equivalent|inconclusive)", text
        ), place
        assert "Best:" not in text
    for row in found.contrasts():
        assert row["verdict"] == "not tested"
        assert not any(
            row[name] for name in ("p", "p_holm", "ci95_low", "ci95_high", "sd", "mde80")
        )
    for row in found.rows["arms"]:
        assert not any(value for column, value in row.items() if column.endswith("_sd"))
    assert found.packed["contrasts"][["p", "ci95_low", "ci95_high", "sd"]].isna().all(axis=None)
    assert set(found.marked().values()) == {frozenset()}
    for place in (*PAGES, "ablation.tex"):
        assert (
            "A replicate varies: train/val split, initial weights and order of the pictures"
            in found.plain[place]
        )
        assert "n counts replicates" in found.plain[place]
    for place in (*PAGES, "screen"):
        assert "not tested" in found.plain[place]


@pytest.mark.parametrize("values", [[0.6], [0.6, 0.7]])
def test_2_the_tracking_store_has_no_spread_of_few_runs(values: list[float]) -> None:
    assert set(summary("test_acc", values, make_study())) == {"test_acc_mean", "test_acc_n"}
    assert "test_acc_ci95_low" in summary("test_acc", [0.6, 0.7, 0.8], make_study())


# ---- 3 significance without a family, or by means that cannot carry it at a handful of runs


@pytest.mark.parametrize("name", TESTED)
def test_3_every_p_has_its_family_and_one_of_three_t_tests(
    name: str, told: Callable[[str], Told]
) -> None:
    found = told(name)
    tested = [row for row in found.contrasts() if row["p"] and row["kind"] != "shapley"]
    assert tested
    (size,) = {int(row["family_size"]) for row in tested}
    assert size == len({(row["delta"], row["se"], row["df"]) for row in tested}), (
        "what is asked twice counts once"
    )
    for row in tested:
        assert float(row["p_holm"]) >= float(row["p"])
        assert row["test"] in ("paired t", "Welch's t", "corrected t")
        for place in WORDED:
            assert row["family"] in found.plain[place], (place, row["family"])
            assert (
                f"Family: all {size} test{'s' * (size > 1)} of this report (here: "
                in found.plain[place]
            )
    for row in found.contrasts():
        assert row["kind"] != "shapley" or (row["family_size"], row["p_holm"], row["verdict"]) == (
            "0",
            "",
            "not tested",
        )
    for place in ("report.md", "report.html", "ablation.tex"):
        assert (
            f"{tested[0]['test']} at 5 % after Holm's correction over all {size} test"
            in found.plain[place]
        )


@pytest.mark.parametrize("name", TESTED)
def test_3_better_and_worse_rest_on_the_corrected_p(name: str, told: Callable[[str], Told]) -> None:
    for row in told(name).contrasts():
        if row["verdict"] in ("better", "worse"):
            assert float(row["p_holm"]) < 0.05
            assert (float(row["delta"]) > 0) == (row["verdict"] == "better")
        elif row["p_holm"]:
            assert float(row["p_holm"]) >= 0.05


# ---- 4 no effect from a difference that was not found


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("sd", [0.004, 0.02])
def test_4_equivalent_is_two_one_sided_tests_and_the_rest_is_inconclusive(
    tmp_path: Path, sd: float, seed: int
) -> None:
    found = tell(noisy(tmp_path, EQUAL, sd=sd, seed=seed))
    verdicts: Counter[str] = Counter()
    for row in found.contrasts("delta"):
        n, half_width = (
            int(row["n"]),
            float(row["sd"]) * student.ppf(0.95, int(row["n"]) - 1) / int(row["n"]) ** 0.5,
        )
        inside = abs(float(row["delta"])) + half_width < float(row["margin"])
        assert n == 5
        assert row["verdict"] == ("equivalent" if inside else "inconclusive")
        verdicts[row["verdict"]] += 1
    for place in (*PAGES, "screen"):
        text = found.plain[place]
        assert (
            len(re.findall(r"inconclusive[a-z ]*: \d+ replicates find a true difference of ", text))
            >= verdicts["inconclusive"]
            >= (3 if sd > 0.01 else 0)
        )
        assert (
            text.count("equivalent within ±1 point, the default margin (90 % interval [")
            == verdicts["equivalent"]
        )
    for place in (*PAGES, "ablation.tex"):
        assert "inconclusive: neither, which is not evidence of no effect" in found.plain[place]
        assert "Smallest true difference found with 80 % power at this spread" in found.plain[place]


# ---- 5 a validation number as the result; test used more than once


def test_5_arms_are_judged_by_test_where_val_says_the_opposite(tmp_path: Path) -> None:
    book = Scribe(
        tmp_path,
        with_arms(
            make_study(replicates=4, num_trials=0, epochs=2),
            some_arms(dict.fromkeys(("a", "b"), 0)),
        ),
    )
    book.session()
    for replicate in range(1, 5):
        book.arm("a", replicate, 0.9, test_acc=0.5 + replicate / 500)
        book.arm("b", replicate, 0.6, test_acc=0.8 + replicate / 450)
    found = tell(book.record())
    assert set(found.marked().values()) == {frozenset({"b"})}
    (row,) = found.contrasts()
    assert (row["metric"], row["verdict"], float(row["delta"]) > 0.29) == (
        "test_acc",
        "better",
        True,
    )
    assert [row["judged_by"] for row in found.rows["arms"]] == ["test_acc"] * 2
    for place in (*PAGES, "screen"):
        assert "judged by test accuracy" in found.plain[place]


@pytest.mark.parametrize("name", WORLDS)
def test_5_every_column_of_val_numbers_carries_the_dagger(
    name: str, told: Callable[[str], Told]
) -> None:
    found = told(name)
    val = [
        column.title for column in columns(found) if re.search(r"\bval[ _](acc|loss)", column.title)
    ]
    val = [
        title for title in val if not title.startswith(("notes: ", "last "))
    ]  # somebody else's; chosen by nothing
    assert all("†" in title for title in val), val
    for place in (*PAGES, "ablation.tex"):
        assert not val or "† Used for selection" in found.plain[place]


def test_5_without_test_labels_every_format_says_that_the_last_epoch_judges(
    told: Callable[[str], Told],
) -> None:
    found = told("no test labels")
    for place in (*PAGES, "screen"):
        assert "judged by validation accuracy at each run's last epoch" in found.plain[place]
    for place in WORDED:
        assert "last val acc" in found.plain[place]
        assert "this pool of train and val pictures" in found.plain[place]
        assert not re.search(r"test acc \(%\), mean|of test acc", found.plain[place])
    assert {row["metric"] for row in found.contrasts()} == {"last_val_acc"}


def test_5_the_best_trials_number_is_called_optimistic(told: Callable[[str], Told]) -> None:
    found = told("search")
    for place in PAGES:
        assert "selected by this very number" in found.plain[place]
        assert "so on average it is too high; one run, no spread, no test" in found.plain[place]
    assert "(selected by it, so on average too high)" in found.plain["screen"]
    assert not any(row["test_acc"] for row in found.rows["runs"] if row["kind"] == "trial")


def test_5_the_ledger_has_one_test_of_each_arms_run_and_none_of_a_trial(tmp_path: Path) -> None:
    study = tuned_study(PerArm(num_trials=4))
    for _ in range(2):  # once more: nothing is done again
        drive(open_plan(tmp_path, study), Worker())
    tests = Counter(event["run"] for event in lines(tmp_path) if event.get("test_acc") is not None)
    runs = Record.of(read_events(tmp_path)).runs
    assert tests == {key: 1 for key, run in runs.items() if run.kind == "arm"}
    assert len(tests) == 4
    assert len(runs) > 8


# ---- 6 more trials, epochs or a wider search for one arm


def test_6_unequal_epochs_are_refused_in_every_format(told: Callable[[str], Told]) -> None:
    found = told("unequal")
    for place in WORDED:
        text = found.plain[place]
        assert "NOT COMPARED" in text, place
        assert "baseline 4, ResNet 8" in text, place
        assert not re.search(r"[+−]\d+\.\d+ (points )?\[|\], (better|worse)|Best:", text), place
    assert set(found.marked().values()) == {frozenset()}
    assert {(row["verdict"], row["delta"], row["p"]) for row in found.contrasts()} == {
        ("not tested", "", "")
    }
    assert {row["in_best_set"] for row in found.rows["arms"]} == {"False"}
    assert drawn(found) == {"curves"}


@pytest.mark.parametrize(
    "name", sorted(WORLDS.keys() - {"tuned per arm", "replicated tuning", "unequal"})
)
def test_6_untuned_arms_carry_the_caveat_wherever_they_are_compared(
    name: str, told: Callable[[str], Told]
) -> None:
    for place in WORDED:
        assert (
            "none was tuned for an arm. Tuned arms could rank differently."
            in told(name).plain[place]
        ), place


def test_6_the_effort_of_tuned_arms_is_a_column(told: Callable[[str], Told]) -> None:
    found = told("tuned per arm")
    for place in (*PAGES, "ablation.tex"):
        assert re.search(r"\btuning\b.*4 trials, \d+ epochs", found.plain[place]), place
        assert "Each arm was tuned by a search of its own, of 4 trials" in found.plain[place]
    assert [row["tune_trials"] for row in found.rows["arms"]] == ["4", "4"]
    assert all(int(row["tune_epochs"]) > 0 for row in found.rows["arms"])
    assert not any("tuned less" in warning for warning in found.findings.warnings)


def test_6_unequal_tuning_is_warned_of(tmp_path: Path) -> None:
    strong_fails = Worker(
        fails=lambda config, _: config.augment.strength == 1.0 and config.model.dropout > 0.05,
        retry=False,
    )
    study = tuned_study(PerArm(num_trials=6), replicates=3)
    record = drive(open_plan(tmp_path, study, with_search=False), strong_fails)
    lost = sum(run.status == "failed" for run in record.runs.values())
    assert lost
    found = tell(record)
    for place in (*PAGES, "screen"):
        assert re.search(
            r"strong: \d trials? of its search failed: it was tuned less than arms",
            found.plain[place],
        )


# ---- 7 the recipe is better, from intervals of configurations chosen once; 17 scope of every
# interval


@pytest.mark.parametrize("name", WORLDS)
def test_7_the_scope_is_the_recipe_only_where_every_replicate_was_tuned(
    name: str, told: Callable[[str], Told]
) -> None:
    found = told(name)
    recipe = name == "replicated tuning"
    for place, text in found.everything.items():
        assert "recipe" not in text or recipe, place
    if recipe:
        assert {row["scope"] for row in found.contrasts()} == {f"recipe incl. tuning, on {HELD}"}
        assert all(
            f"Scope: recipe incl. tuning, on {HELD}" in found.plain[place] for place in WORDED
        )


def test_7_tuning_once_says_that_the_luck_of_the_search_is_not_covered(
    told: Callable[[str], Told],
) -> None:
    found = told("tuned per arm")
    assert {row["scope"] for row in found.contrasts()} == {
        "this test set, this pool of train and val pictures, these hyperparameters"
    }
    for place in WORDED:
        assert (
            "The intervals are about these configurations, not about the luck of the search"
            in found.plain[place]
        )


HELD = "this test set and this pool of train and val pictures"
SCOPES = (
    "this test set, this (pool of train and val pictures|train/val split)",
    "this pool of train and val pictures",
    "pools of train and val pictures like this one",
    "these val pictures, this train/val split",
)
POOLS = (
    r"these [\d,]+ test pictures, of which one is worth [\d.]+ points",
    "this pool of train and val pictures",
)


@pytest.mark.parametrize("name", WORLDS)
def test_17_every_interval_has_a_scope(name: str, told: Callable[[str], Told]) -> None:
    found = told(name)
    for row in found.contrasts():
        assert re.fullmatch(
            f"({'|'.join(SCOPES)}), these hyperparameters|recipe incl. tuning, on {HELD}",
            row["scope"],
        )
    for table in found.tables:
        if any("95 % CI" in column.title for column in table.columns) and any(
            row["p"] for row in found.contrasts()
        ):
            assert "Scope: " in table.caption
    if any(row["ci95_low"] for row in found.contrasts()):
        for place in WORDED:
            assert "Scope: " in found.plain[place], place
        for place in (*PAGES, "ablation.tex"):
            assert re.search(rf"; here: ({'|'.join(POOLS)})", found.plain[place]), place


# ---- 8 one pair of checkpoints


def test_8_many_pictures_of_one_run_each_are_no_test(tmp_path: Path) -> None:
    true = np.repeat(np.arange(4), 500)
    wrong = {"baseline": 900, "ResNet": 100, "augmentation": 500, "ResNet + augmentation": 300}

    def give(arm: str, _: int) -> Any:
        pred = true.copy()
        pred[: wrong[arm]] = (pred[: wrong[arm]] + 1) % 4
        return answers_of(true, pred)

    found = tell(study_with(tmp_path, give, replicates=1), tmp_path)
    assert "confusion" in found.rows, "the answers were read"
    assert {row["verdict"] for row in found.contrasts()} == {"not tested"}
    assert not any(row["p"] for row in found.contrasts())
    assert not any(
        re.fullmatch("p|p_.*|.*_p", column)
        for name in ("confusion", "per_class")
        for column in found.rows[name][0]
    )
    for place, text in found.everything.items():
        assert not claimed("8 one pair of checkpoints", text), place
        assert not claimed("3 significance", text), place


# ---- 9 shares of a total; a ladder without its order


@pytest.mark.parametrize("name", ["ladder", "path", "three factors", "leave one out"])
def test_9_what_a_component_gives_is_in_points_against_a_named_arm(
    name: str, told: Callable[[str], Told]
) -> None:
    found = told(name)
    for row in found.contrasts():
        assert row["against"] or row["kind"] in ("main", "interaction", "shapley")
    for table in found.tables:
        if any("CI]" in column.title for column in table.columns):
            where = next(i for i, column in enumerate(table.columns) if "CI]" in column.title)
            assert not any("%" in row[where].text for row in table.rows)
            assert "percent points" in table.caption or "points" in table.columns[where].title
    if name in ("ladder", "path"):
        for place in WORDED:
            assert "What a step gives depends on its place in the order" in found.plain[place], (
                place
            )
        assert {row["kind"] for row in found.contrasts()} >= {"step"}


def test_9_a_main_effect_beside_an_interaction_is_called_an_average(
    told: Callable[[str], Told],
) -> None:
    found = told("effects")
    (interaction,) = found.contrasts("interaction")
    assert interaction["verdict"] == "better"
    for place in (*PAGES, "ablation.tex"):
        assert (
            "A main effect is an average over unlike cases where its factor interacts"
            in found.plain[place]
        )


# ---- 10 importance


def test_10_importance_has_its_n_sampler_fidelity_and_interval(told: Callable[[str], Told]) -> None:
    found = told("search")
    rows = found.rows["importance"]
    assert rows
    used = {
        run["run"]
        for run in found.rows["runs"]
        if run["kind"] == "trial" and int(run["rung"] or 0) >= int(rows[0]["rung"])
    }
    for row in rows:
        assert float(row["ci95_low"]) <= float(row["share"]) <= float(row["ci95_high"])
        assert row["noise_floor"]
        assert (row["rung"], row["sampler"], int(row["used"])) == (
            rows[0]["rung"],
            "tpe",
            len(used),
        )
        assert row["first_epoch"] == row["last_epoch"], "one fidelity"
    for place in PAGES:
        text = found.plain[place]
        assert (
            f"at rung {rows[0]['rung']} of 3, after epoch {rows[0]['first_epoch']}, among the "
            f"{len(used)} of 40 trials"
        ) in text
        assert "Sampler TPE: it crowds" in text
        assert "Intervals: bootstrap over trials (" in text
        assert "It does not say which setting helps" in text
        assert "no evidence for any row of the ablation table" in text
    table = next(
        table for table in found.tables if table.caption.startswith("Importance of the knobs")
    )
    shares = [cell.text for row in table.rows for cell in (row[2], row[4]) if cell.text != "–"]
    assert shares
    assert all(re.fullmatch(r"\d+ \[\d+, \d+\]", text) for text in shares)
    for place in ("ablation.tex", "screen"):
        assert "mportance" not in found.plain[place]


def test_10_few_trials_have_no_importance_in_any_format(told: Callable[[str], Told]) -> None:
    found = told("few trials")
    assert "importance" not in found.rows
    assert "importance" not in found.packed
    assert not {"importance", "slices", "parallel"} & set(found.figures)
    for place in PAGES:
        assert (
            "No importance of the knobs is given: it needs at least 20 trials" in found.plain[place]
        )
        assert "ANOVA" not in found.plain[place]


# ---- 11 interactions of a screen


@pytest.mark.parametrize("name", ["screen", "plackett burman"])
def test_11_a_screen_has_main_effects_with_aliases_and_no_interactions(
    name: str, told: Callable[[str], Told]
) -> None:
    found = told(name)
    assert {row["kind"] for row in found.contrasts()} == {"main"}
    assert all(re.search(r"\S+ × \S+: [+-]", row["aliases"]) for row in found.contrasts())
    assert not any("×" in row["name"] for row in found.contrasts())
    for place in WORDED:
        text = found.plain[place]
        assert "Each estimate is aliased" in text, place
        assert "Alias table: what the estimate of each main effect holds besides it" in text, place
        assert not re.search(
            r"interaction \(more together|together they give|they interact|\bΔ vs\b|Best:", text
        ), place
    assert set(found.marked().values()) == {frozenset()}
    assert {"differences"} == drawn(found) - {"curves"}


# ---- 12 the best run; runs dropped in silence


def test_12_diverged_runs_are_counted_and_the_highest_run_is_no_result(
    told: Callable[[str], Told],
) -> None:
    found = told("diverged")
    for place in WORDED:
        assert "2 runs diverged" in found.plain[place] or "2 diverged" in found.plain[place], place
    for place in WORDED:
        assert (
            "ResNet: 2 of 5 runs diverged, not in its numbers; counted as chance (25.0 %) it has "
            "49.7 %."
        ) in found.plain[place]
    arm = next(row for row in found.rows["arms"] if row["arm"] == "ResNet")
    assert (arm["planned"], arm["complete"], arm["diverged"]) == ("5", "3", "2")
    assert Counter(row["status"] for row in found.rows["runs"] if row["arm"] == "ResNet") == {
        "complete": 3,
        "diverged": 2,
    }
    row = next(row for row in found.contrasts() if row["name"] == "ResNet")
    assert (row["n"], row["dropped"]) == ("3", "0"), (
        "unpaired: no run of another arm is left out for them"
    )
    top, mean = "95.4", f"{100 * (0.954 + 0.512 + 0.52) / 3:.1f}"
    for place in WORDED:
        assert f"{mean} ± " in found.plain[place]
        assert top not in found.plain[place].partition("MLflow")[0].partition("Runs Every")[0], (
            place
        )
    assert not any("ResNet" in arms for arms in found.marked().values())


# ---- 13 numbers of different epochs in one row


def test_13_val_acc_and_val_loss_of_a_row_are_of_one_epoch(tmp_path: Path) -> None:
    """Each metric has its best at an epoch of its own."""
    curve = [
        (0.50, 0.111, 0.40),
        (0.70, 2.222, 0.45),
        (0.60, 0.999, 0.99),
    ]  # val_acc, val_loss, train_acc
    book = Scribe(
        tmp_path,
        with_arms(
            make_study(replicates=3, num_trials=0, epochs=3),
            some_arms(dict.fromkeys(("a", "b"), 0)),
        ),
    )
    book.session()
    for number, (arm, config) in enumerate(book.study.arms()):
        for r in (1, 2, 3):
            run = f"arm-{number}-r{r}"
            book.ledger.append(
                events.Arm(
                    run=run, arm=arm.name, replicate=r, config=config.model_dump(mode="json")
                )
            )
            book.ledger.append(events.Start(run=run, rung=-1))
            for epoch, (acc, loss, train) in enumerate(curve, 1):
                values = {
                    "epoch": epoch,
                    "train_loss": 1.0,
                    "train_acc": train,
                    "val_loss": loss,
                    "val_acc": acc,
                }
                book.ledger.append(
                    events.Epoch(run=run, metrics={**values, "lr": 1e-3, "seconds": 1.0})
                )
            book.ledger.append(
                events.End(
                    run=run,
                    status="complete",
                    best_epoch=2,
                    num_params=9,
                    test_loss=1.5,
                    test_acc=0.6 + r / 90 + number / 50,
                )
            )
    found = tell(book.record())
    for place in (*PAGES, "ablation.tex"):
        text = found.plain[place].partition("MLflow")[0]
        assert "2 [2–2]" in text
        assert "70.0" in text
        assert "2.222" in text
        assert not re.search(r"0\.111|0\.999|99\.0", text), place
        assert "Val acc and val loss are means over runs of that same epoch" in text
    for row in found.rows["arms"]:
        assert [float(row["val_acc_mean"]), float(row["val_loss_mean"])] == pytest.approx(
            [0.7, 2.222]
        )
    for row in found.rows["runs"]:
        assert (row["best_epoch"], row["val_acc"], row["val_loss"], row["train_acc"]) == (
            "2",
            "0.7",
            "2.222",
            "0.45",
        )


# ---- 14 overfitting from one pair of numbers; converged while the tail falls


def curves(folder: Path, lines: list[dict[str, float]]) -> Told:
    """Two arms of three runs, all with these epochs."""
    study = with_arms(
        make_study(replicates=3, num_trials=0, epochs=len(lines)),
        some_arms(dict.fromkeys(("a", "b"), 0)),
    )
    book = Scribe(folder, study)
    book.session()
    for place, (arm, config) in enumerate(study.arms()):
        for r in (1, 2, 3):
            run = f"arm-{place}-r{r}"
            book.ledger.append(
                events.Arm(
                    run=run, arm=arm.name, replicate=r, config=config.model_dump(mode="json")
                )
            )
            for epoch, line in enumerate(lines, 1):
                book.ledger.append(
                    events.Epoch(
                        run=run, metrics={"epoch": epoch, "lr": 1e-3, "seconds": 1.0, **line}
                    )
                )
            best = 1 + max(range(len(lines)), key=lambda i: lines[i]["val_acc"])
            end = {"test_loss": 1.5, "test_acc": 0.6 + r / 90 + place / 50, "num_params": 9}
            book.ledger.append(events.End(run=run, status="complete", best_epoch=best, **end))
    return tell(book.record())


def judged(found: Told) -> str:
    """What is said of the arms' curves: cells of tables, warnings, frames; not the rules
    themselves.
    """
    cells = [
        cell.text
        for table in found.tables
        for row in table.rows
        for cell in row
        if isinstance(cell, Cell)
    ]
    frames = [row["diagnosis"] for row in found.rows["arms"]]
    return " ".join(
        [
            *cells,
            *frames,
            *found.findings.warnings,
            found.plain["screen"],
            found.findings.ablation.rows[0].arm,
        ]
    )


@pytest.mark.parametrize("num_epochs", [1, 2, 20])
def test_14_a_wide_gap_alone_is_not_called_overfitting(tmp_path: Path, num_epochs: int) -> None:
    flat = {"train_loss": 0.05, "train_acc": 0.99, "val_loss": 2.0, "val_acc": 0.5}
    found = curves(
        tmp_path, [flat | {"val_acc": 0.5 + 0.0001 * (i % 3)} for i in range(num_epochs)]
    )
    said = judged(found)
    assert "gap" in said
    assert "overfit" not in said.lower()
    for place in PAGES:
        assert (
            "a generalization gap; whether more training hurts is not read off it"
            in found.plain[place]
        )


def test_14_overfitting_is_said_where_val_loss_rises_while_train_loss_falls(tmp_path: Path) -> None:
    t = np.linspace(0, 1, 30)
    lines = [
        {
            "train_loss": 1.5 * (1 - s) + 0.02,
            "train_acc": 0.4 + 0.59 * s,
            "val_loss": 1.0 + 3 * max(0, s - 0.3) + max(0, 0.3 - s),
        }
        | {"val_acc": 0.7 - 0.25 * max(0, s - 0.3) - max(0, 0.3 - s)}
        for s in t
    ]
    found = curves(tmp_path, lines)
    assert "overfitting" in judged(found)
    assert {row["diagnosis"] for row in found.rows["arms"]} == {"overfit 3/3"}


def test_14_a_falling_tail_is_still_improving_and_never_done(tmp_path: Path) -> None:
    t = np.linspace(0, 1, 20)
    lines = [
        {
            "train_loss": 2 - s,
            "train_acc": 0.3 + 0.3 * s,
            "val_loss": 2.1 - s,
            "val_acc": 0.29 + 0.3 * s,
        }
        for s in t
    ]
    found = curves(tmp_path, lines)
    assert {row["diagnosis"] for row in found.rows["arms"]} == {"still_improving 3/3"}
    for place in PAGES:
        assert "needs more epochs; run it again with a longer schedule" in found.plain[place]
    for place, text in found.everything.items():
        assert not re.search(
            r"(?<!not )converge|has stopped|enough epochs|a shorter budget would do",
            text.partition("Rules of thumb")[0],
        )
        assert "saturated" not in text.partition("Rules of thumb")[0], place


# ---- 15 tuning curves


def test_15_no_tuning_curve_of_a_sampler_that_learns(told: Callable[[str], Told]) -> None:
    for name in ("search", "few trials", "tuned per arm"):
        found = told(name)
        assert found.findings.tuning is None
        assert "tuning" not in found.figures
        assert not any("uning curve" in text for text in found.everything.values())


def test_15_a_tuning_curve_ends_within_the_trials_that_were_run(
    told: Callable[[str], Told],
) -> None:
    found = told("random search")
    tuning = found.findings.tuning
    assert tuning is not None
    assert tuning.rung == 0, "half of the trials were stopped: above, they are selected"
    assert tuning.num_trials == 39
    assert max(tuning.budgets) <= tuning.num_trials // 2
    assert "tuning" in found.figures
    for place in PAGES:
        assert (
            "the highest that all of the 39 random trials reached, so that nothing was selected"
            in found.plain[place]
        )
        assert "Shown up to half of the trials, never beyond what was run" in found.plain[place]


# ---- 16 speed without its conditions


def test_16_speed_is_shown_with_hardware_batch_size_warm_up_and_repeats(tmp_path: Path) -> None:
    found = tell(noisy(tmp_path / "a", EQUAL, num_train=800, num_macs=5_000_000))
    for place in (*PAGES, "ablation.tex"):
        text = found.plain[place]
        assert "images/s" in text
        note = re.search(r"images/s: training pictures a second[^.]*\.", text)
        assert note, place
        for fact in (
            "median of 5 epochs an arm",
            "as warm-up",
            "batch size 64",
            "2 at once",
            "workstation, cpu",
        ):
            assert fact in note[0], (place, fact)
        assert (
            "counted in one way for all arms; MACs: multiply-accumulates of one picture's forward "
            "pass"
        ) in text
    assert all(float(row["images_per_s"]) == 320 for row in found.rows["arms"])
    assert {row["config.batch_size"] for row in found.rows["runs"]} == {"64"}


def test_16_what_was_not_measured_is_not_shown(told: Callable[[str], Told]) -> None:
    for place, text in told("noise").plain.items():
        assert "images/s" not in text, place
        assert "MACs" not in text, place
    assert not any(row["images_per_s"] for row in told("noise").rows["arms"])


# ---- 18 later changes


def later(folder: Path) -> Told:
    book = Scribe(folder, make_study(replicates=3, num_trials=0, epochs=2))
    book.session()
    book.arms()
    book.session(**{"ablation.replicates": 5})  # type: ignore[arg-type]
    for replicate in (4, 5):
        for place, arm in enumerate(EQUAL):
            book.arm(arm, replicate, 0.5 + place / 20 + replicate / 300)
    return tell(book.record())


def test_18_replicates_raised_after_results_are_called_exploratory(tmp_path: Path) -> None:
    found = later(tmp_path)
    for place in (*PAGES, "ablation.tex"):
        assert "replicates were raised from 3 to 5 after results existed" in found.plain[place], (
            place
        )
        assert "read the verdicts as exploratory" in found.plain[place], place
        assert "of reports like this name" not in found.plain[place], "what no longer holds"
    first = found.plain["report.md"].split("## Details")[0]
    assert "Exploratory, where results led to the change: replicates were raised" in first


@pytest.mark.parametrize("name", ["noise", "effects", "search"])
def test_18_what_was_planned_is_not_called_exploratory(
    name: str, told: Callable[[str], Told]
) -> None:
    for place, text in told(name).everything.items():
        assert "exploratory" not in text, place


def test_18_arms_and_factors_that_are_added_to_what_is_recorded_are_told(tmp_path: Path) -> None:
    study = make_study(replicates=3, num_trials=0, epochs=2)
    record = noisy(tmp_path, EQUAL, replicates=3)
    assert changed_settings(record, study) == []
    assert changed_settings(record, study.override({"ablation.replicates": 9})) == [], (
        "allowed, and said in the report"
    )
    more = some_arms(dict.fromkeys((*EQUAL, "another"), 0.0))
    for number, other in enumerate((with_arms(study, more), of_factors(study, 3))):
        assert changed_settings(record, other) == []
        lines = grown(record, other)
        assert all(line.startswith("ablation.design") for line in lines)
        tree = other.model_dump(mode="json")
        record.apply(Revision(seq=10**6 + number, study=tree, changed=lines))
    assert post_hoc(record).startswith(
        "Changed later: the arms were changed after results existed. Where results led to"
    )


def of_factors(study: Study, count: int) -> Study:
    """`study` with other factors."""
    return study.model_copy(
        update={"ablation": study.ablation.model_copy(update={"design": Factorial(on=some(count))})}
    )
