"""The report of every design: planted effects come out with their family, test and scope, and
nothing is claimed beyond.
"""

import csv
import io
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.analysis.stats.family import LARGEST
from pipeline.record import events
from pipeline.record.ledger import read_events
from pipeline.record.record import Record
from pipeline.report import Report, write_report
from pipeline.report.compose import FIGURES, Findings, document, read, texts
from pipeline.report.document import Figure
from pipeline.report.figures.draw import differences
from pipeline.report.figures.draw import interactions as interaction_figure
from pipeline.report.formats.terminal import render
from pipeline.report.frame_files import files
from pipeline.report.sections import interactions
from pipeline.report.sections.sentences import points
from pipeline.report.sections.winners_curse import sentence
from pipeline.study.designs import (
    AddOneIn,
    Both,
    Crossed,
    Factorial,
    Fractional,
    Ladder,
    LeaveOneOut,
    OrderedPath,
    Scheme,
)
from pipeline.study.load import load_study
from pipeline.study.study import Study
from tests.records import Scribe, make_study

ON: dict[str, dict[str, Any]] = {
    "deep": {"model.name": "resnet18"},
    "flips": {"augment.strength": 1.0},
    "wide": {"model.width": 96},
    "large": {"batch_size": 128},
    "slow": {"optimizer.lr": 1e-4},
}
EFFECTS = {"deep": 0.05, "flips": -0.03, "wide": 0.0, "large": 0.0, "slow": 0.0}
TOGETHER = 0.02  # deep × flips
HOSTILE = '<b>&"x" $\\a$ 5% #1 {~^} [a](http://e) \x1b[31m\u202e'
SCOPE = "this test set, this pool of train and val pictures, these hyperparameters"


def some(count: int) -> dict[str, dict[str, Any]]:
    return dict(list(ON.items())[:count])


def planned(design: Scheme, replicates: int = 5, **baseline: Any) -> Study:
    study = make_study(replicates=replicates, num_trials=0, epochs=2)
    ablation = study.ablation.model_copy(update={"design": design})
    return study.model_copy(
        update={"ablation": ablation, "baseline": study.baseline.model_copy(update=baseline)}
    )


def world(folder: Path, design: Scheme, *, noise: float = 0.0005, **baseline: Any) -> Scribe:
    """Every arm at the sum of its factors' effects and of the one interaction, with little
    noise.
    """
    book = Scribe(folder / "study", planned(design, **baseline))
    book.session()
    for replicate in range(1, book.study.ablation.replicates + 1):
        for arm, _ in book.study.arms():
            acc = (
                0.5
                + sum(EFFECTS.get(factor, 0.0) for factor, on in arm.levels.items() if on)
                + 0.003 * replicate
            )
            if arm.levels.get("deep") and arm.levels.get("flips"):
                acc += TOGETHER
            book.arm(arm.name, replicate, acc + float(book.rng.normal(0, noise)))
    return book


def told(book: Scribe) -> tuple[Findings, dict[str, str]]:
    """The findings, and every text of the report by file name; `screen` is what the terminal
    shows.
    """
    findings = read(book.record())
    sheets_of = {
        name: content.decode() for name, content in files(findings).items() if name.endswith(".csv")
    }
    return findings, texts(findings, {}) | sheets_of | {
        "screen": render(findings, Path("report.html"))
    }


def rows_of(found: dict[str, str]) -> dict[tuple[str, str, str], dict[str, str]]:
    rows = csv.DictReader(io.StringIO(found["frames/contrasts.csv"]))
    return {(row["family"], row["kind"], row["name"]): row for row in rows}


def flat(text: str) -> str:
    return re.sub(r"\s+", " ", text)


def unwrapped(text: str) -> str:
    """Without the line breaks and the commands of a LaTeX cell."""
    return flat(text.replace(r"$\times$", "×").replace(r"\\ ", " "))


LEVELS = {
    "network": {"shallow": {}, "deep": ON["deep"], "wide": ON["wide"]},
    "pictures": {"plain": {}, "flips": ON["flips"]},
    "steps": {"usual": {}, "large": ON["large"], "slow": ON["slow"]},
}


def crossed(*factors: str) -> Crossed:
    return Crossed(levels={factor: LEVELS[factor] for factor in factors})


DESIGNS = {
    "factorial": Factorial(on=some(3)),
    "add_one_in": AddOneIn(on=some(4)),
    "leave_one_out": LeaveOneOut(on=some(4), with_none=True),
    "both": Both(on=some(4)),
    "ladder": Ladder(on=some(3)),
    "path": OrderedPath(steps=tuple(some(3).values())),
    "fractional": Fractional(on=some(5), resolution="III"),
    "crossed": crossed("network", "pictures"),
    "crossed 3x3": crossed("network", "steps"),
    "crossed 3x2x3": crossed(*LEVELS),
}


@pytest.mark.parametrize("design", DESIGNS.values(), ids=DESIGNS)
def test_every_question_of_a_design_is_answered_with_family_against_test_and_scope(
    design: Scheme, tmp_path: Path
) -> None:
    findings, found = told(world(tmp_path, design))
    rows = rows_of(found)
    questions = design.questions()
    assert list(rows) == [(question.family, question.kind, question.name) for question in questions]
    for question in questions:
        row = rows[question.family, question.kind, question.name]
        assert (row["against"], row["test"], row["scope"]) == (question.against, "Welch's t", SCOPE)
        assert float(row["ci95_low"]) < float(row["delta"]) < float(row["ci95_high"])
    assert not [warning for warning in findings.warnings if "not tested" in warning]
    for name in ("report.md", "report.html", "ablation.tex", "screen"):
        text = flat(found[name])
        for family in {question.family for question in questions} - {"Shapley shares"}:
            assert family.split(" from ")[0] in text, (name, family)
        assert SCOPE in text


@pytest.mark.parametrize("design", DESIGNS.values(), ids=DESIGNS)
def test_every_table_with_intervals_says_its_family_test_and_scope(
    design: Scheme, tmp_path: Path
) -> None:
    findings, found = told(world(tmp_path, design))
    parts = found["report.md"].split("## Warnings")[0].split("\n\n")
    heads = [
        parts[i - 1] for i, part in enumerate(parts) if part.startswith("|") and "95 % CI" in part
    ]
    assert heads
    size = max(c.family for c in findings.ablation.contrasts)
    for head in heads:
        assert "95 % intervals by Welch's t, each on its own" in head
        sharing = head.startswith("Shapley shares") or "\nShapley shares" in head
        assert (
            "None of them is tested."
            if sharing
            else f"Family: all {size} tests of this report (here: "
        ) in head
        assert f"Scope: {SCOPE}" in head
    exact = "counting after each finding as many as can be nothing at once (Shaffer 1986)"
    left = "counting after each finding all that are left"
    for text in (flat(found["report.md"]), flat(found["ablation.tex"])):
        assert (exact in text, left in text) == (size <= LARGEST, size > LARGEST)
    bound = "At most 5 % of reports like this name " + (
        "an effect" if design.name == "fractional" else "a difference, an effect"
    )
    assert found["report.md"].count(bound) == 2, "in the summary and in the notes"
    assert flat(found["ablation.tex"]).count(bound.replace("%", r"\%")) == 1
    assert len(heads) == len({c.family_name for c in findings.ablation.contrasts}) - (
        design.name == "both"
    )


def test_arms_without_a_factor_are_compared_with_the_arm_that_has_all(tmp_path: Path) -> None:
    design = Both(on=some(4))
    findings, found = told(world(tmp_path, design))
    rows = rows_of(found)
    row = rows["differences from all 4", "delta", "without deep"]
    assert row["against"] == "all 4"
    assert float(row["delta"]) == pytest.approx(-0.07, abs=0.002)
    assert row["verdict"] == "worse"
    assert rows["differences from baseline", "delta", "all 4"]["family_size"] == "9"
    assert row["family_size"] == "9", "one family"
    table = found["report.md"].split("Δ is against", 1)[1].split("\n\n")[0]
    line = next(line for line in table.splitlines() if "| [without deep](" in line)
    assert re.search(r"\| all 4 \|", line)
    assert re.search(
        r"\| baseline \| \u2007*\+5\.\d",
        next(line for line in table.splitlines() if "| [**deep**](" in line),
    )
    assert "Δ vs" not in found["report.md"]
    assert (
        f"without deep against all 4: {points(findings.ablation).signed(float(row['delta']))} "
        "points"
    ) in flat(found["screen"])
    assert "all 4" in found["ablation.tex"]
    assert not any(contrast.kind == "main" for contrast in findings.ablation.contrasts)


def test_an_arm_compared_with_two_references_has_both_differences(tmp_path: Path) -> None:
    """Of two factors each alone is also the arm without the other: its second difference has a
    table of its own.
    """
    _, found = told(world(tmp_path, Both(on=some(2))))
    rows = rows_of(found)
    assert float(rows["differences from baseline", "delta", "deep"]["delta"]) == pytest.approx(
        0.05, abs=0.002
    )
    assert float(rows["differences from deep + flips", "delta", "deep"]["delta"]) == pytest.approx(
        0.01, abs=0.002
    )
    assert "Differences from deep + flips. 95 % intervals" in found["report.md"]
    assert float(
        rows["main effects and interactions", "interaction", "deep × flips"]["delta"]
    ) == pytest.approx(TOGETHER, abs=0.002)


def test_leaving_one_out_is_read_against_all(tmp_path: Path) -> None:
    _, found = told(world(tmp_path, LeaveOneOut(on=some(4), with_none=True)))
    verdicts = {name: row["verdict"] for (_, _, name), row in rows_of(found).items()}
    assert verdicts["without deep"] == "worse"
    assert verdicts["without flips"] == "better"
    assert verdicts["without wide"] in ("equivalent", "better", "worse")
    assert re.search(r"^arm .*Δ vs", found["screen"], re.M)
    assert "Δ vs all 4" in found["report.md"]


@pytest.mark.parametrize(
    ("design", "steps"),
    [
        (Ladder(on=some(3)), ["adding deep", "adding flips", "adding wide"]),
        (OrderedPath(steps=tuple(some(2).values())), None),
    ],
)
def test_steps_are_shown_with_the_sentence_on_their_order(
    design: Scheme, steps: list[str] | None, tmp_path: Path
) -> None:
    _, found = told(world(tmp_path, design))
    names = [name for family, kind, name in rows_of(found) if kind == "step"]
    assert names == steps if steps else len(names) == 2
    for text in ("report.md", "report.html", "ablation.tex", "screen"):
        assert "depends on its place in the order" in flat(found[text])
    if steps:
        row = rows_of(found)["steps", "step", "adding flips"]
        assert (row["against"], row["verdict"]) == ("deep", "worse")
        assert float(row["delta"]) == pytest.approx(EFFECTS["flips"] + TOGETHER, abs=0.002)


def test_a_step_without_a_sentence_on_order_is_only_in_designs_without_steps(
    tmp_path: Path,
) -> None:
    _, found = told(world(tmp_path, AddOneIn(on=some(3))))
    assert "place in the order" not in "".join(found.values())


def test_shapley_shares_are_points_that_sum_to_the_gain(tmp_path: Path) -> None:
    _, found = told(world(tmp_path, Factorial(on=some(3))))
    rows = rows_of(found)
    shares = [float(row["delta"]) for (_, kind, _), row in rows.items() if kind == "shapley"]
    gain = float(rows["differences from baseline", "delta", "deep + flips + wide"]["delta"])
    assert sum(shares) == pytest.approx(gain, abs=1e-9)
    assert shares[0] == pytest.approx(0.05 + TOGETHER / 2, abs=0.002)
    block = found["report.md"].split("Shapley shares: what", 1)[1].split("\n\n")[1]
    assert "points \\[95 % CI\\]" in block
    assert "%" not in block.replace("95 %", "")
    assert "contributes" not in found["report.md"]


def test_of_three_factors_an_interaction_is_said_to_be_an_average(tmp_path: Path) -> None:
    for count, hedge in ((2, ""), (3, "by the averages over the other factors, ")):
        findings, found = told(world(tmp_path / str(count), Factorial(on=some(count)), noise=0.002))
        shown = points(findings.ablation)
        pair = interactions.pair_of(
            next(c for c in findings.ablation.contrasts if c.kind == "interaction"),
            findings.ablation,
        )
        said = f"deep softens the harm of flips: together {shown.signed(pair.together)}"
        assert f"deep × flips: {hedge}{said}" in flat(found["report.md"])
        assert pair.alone == pytest.approx((0.05, -0.03), abs=0.004)
        assert pair.together == pytest.approx(0.04, abs=0.004)
        assert ("mean over the others)" in found["report.md"]) == (count == 3)


def test_levels_are_told_by_their_base_and_drawn_on_an_axis(tmp_path: Path) -> None:
    findings, found = told(world(tmp_path, crossed("network", "pictures"), noise=0.001))
    text = flat(found["report.md"])
    assert (
        "Factors and their levels, the base first: network (shallow, deep, wide); pictures (plain, "
        "flips)."
    ) in text
    assert "| deep | main effect against shallow (mean over the others' levels) |" in text
    assert "| flips | main effect against plain (mean over the others' levels) |" in text
    assert "mean over the others)" not in text, "there is but one other factor"
    assert re.search(r"deep gives 5\.\d+ with plain and [67]\.\d+ with flips; flips costs", text)
    assert not re.search(r"gives \S+ without|with it\b|off and on", text)
    shown = {b.name: b.caption for b in document(findings, FIGURES).blocks if isinstance(b, Figure)}
    assert "Mean accuracy at each level of the factors." in shown["interaction"]
    (axis,) = interaction_figure(findings.ablation).axes
    assert [tick.get_text() for tick in axis.get_xticklabels()] == ["shallow", "deep", "wide"]
    assert axis.get_xlabel() == "network"
    means = {row.arm: row.mean for row in findings.ablation.rows}
    lines = {
        str(line.get_label()): line
        for line in axis.get_lines()
        if not str(line.get_label()).startswith("_")
    }
    assert list(lines) == ["plain", "flips"]
    wanted = [["baseline", "deep", "wide"], ["flips", "deep + flips", "wide + flips"]]
    for line, arms in zip(lines.values(), wanted, strict=True):
        assert np.asarray(line.get_ydata()) == pytest.approx([100 * means[arm] for arm in arms])
    assert len({line.get_color() for line in lines.values()}) == 2


def test_a_pair_of_levels_is_of_its_four_cells_and_their_replicates(tmp_path: Path) -> None:
    """What the words say of an interaction adds up to its estimate, where replicates of other cells
    are lost too and runs are paired.
    """
    book = Scribe(tmp_path / "study", planned(crossed("network", "steps")))
    book.session()
    rng = np.random.default_rng(2)
    for replicate in range(1, 6):
        for arm, _ in book.study.arms():
            acc = 0.5 + 0.1 * arm.levels["deep"] + float(rng.normal(0, 0.05))
            fell = (arm.name, replicate) in {("wide", 1), ("deep + slow", 2)}
            ends = {"test_acc": None, "test_loss": None}
            book.arm(arm.name, replicate, acc, **({"status": "failed"} if fell else ends))
    findings, _ = told(book)
    found = [c for c in findings.ablation.contrasts if c.kind == "interaction"]
    assert {c.name: c.n for c in found} == {
        "deep × large": 5,
        "deep × slow": 4,
        "wide × large": 4,
        "wide × slow": 4,
    }
    for contrast in found:
        assert contrast.paired
        pair = interactions.pair_of(contrast, findings.ablation)
        assert pair.extra == pytest.approx(contrast.delta, abs=1e-12)
        assert pair.bases == ("shallow", "usual")


def test_levels_that_are_told_apart_only_together_are_said_so(tmp_path: Path) -> None:
    book = Scribe(tmp_path / "study", planned(crossed("network", "pictures")))
    book.session()
    rng = np.random.default_rng(4)
    for replicate in range(1, 6):
        for arm, _ in book.study.arms():
            acc = 0.5 + 0.02 * sum(arm.levels.values()) + 0.18 * (arm.name == "deep + flips")
            book.arm(arm.name, replicate, acc + float(rng.normal(0, 0.03)))
    findings, found = told(book)
    said = r"No level alone is told apart, levels of all factors together are: deep \+ flips \(\+\d"
    assert re.search(said, flat(found["report.md"]))
    assert "没有任何单个水平能被单独区分" in texts(findings, {}, "zh")["report.md"]


def test_an_arm_that_equals_the_highest_run_by_run_is_among_the_best(tmp_path: Path) -> None:
    book = Scribe(tmp_path / "study", planned(AddOneIn(on=some(3))))
    book.session()
    for replicate in range(1, 6):
        for (arm, _), acc in zip(book.study.arms(), (0.9, 1.0, 1.0, 0.8), strict=True):
            book.arm(
                arm.name,
                replicate,
                acc if acc == 1.0 else acc + 0.002 * replicate + float(book.rng.normal(0, 0.001)),
            )
    _, found = told(book)
    text = flat(found["report.md"])
    assert "Highest mean: deep; not found behind it after correction: flips." in text
    assert "Not compared with the highest mean" not in text


def test_unpaired_runs_are_not_paired_in_words_or_dots(tmp_path: Path) -> None:
    book = Scribe(tmp_path / "study", planned(AddOneIn(on=some(2)), split="official"))
    book.session()
    accs = {
        "baseline": (0.5, 0.51, 0.56, 0.54, 0.53),
        "deep": (0.6, 0.63),
        "flips": (0.5, 0.57, 0.55, 0.56, 0.58),
    }
    for arm, values in accs.items():
        for replicate, acc in enumerate(values, 1):
            book.arm(arm, replicate, acc)
    findings, found = told(book)
    assert f"deep: +{100 * (0.615 - 0.528):.1f} points, not tested (only 2 replicates)." in flat(
        found["report.md"]
    )
    assert "small dots are single replicates" not in found["report.md"]
    (axis,) = differences(findings.ablation).axes
    assert not [
        line
        for line in axis.get_lines()
        if line.get_markersize() == 2.6 and len(np.atleast_1d(line.get_xdata()))
    ]


@pytest.mark.parametrize("resolution", ["III", "plackett_burman"])
def test_a_screen_is_its_main_effects_with_their_aliases_and_no_more(
    resolution: Any, tmp_path: Path
) -> None:
    findings, found = told(world(tmp_path, Fractional(on=some(5), resolution=resolution)))
    rows = rows_of(found)
    assert {kind for _, kind, _ in rows} == {"main"}
    for (_, _, name), row in rows.items():
        aliases = dict(re.findall(r"(\S+ × \S+): ([+-][\d.]+)", row["aliases"]))
        share = float(aliases.get("deep × flips", 0))
        bias = TOGETHER / 2 if name in ("deep", "flips") else share * TOGETHER
        assert float(row["delta"]) == pytest.approx(EFFECTS[name] + bias, abs=0.002), name
    for name in ("report.md", "report.html", "ablation.tex", "screen"):
        text = flat(found[name])
        assert "Each estimate is aliased" in text, name
        assert "Alias table" in text, name
        for claim in (
            "Δ vs",
            "interaction (more",
            "together they give",
            "Best:",
            "better than",
            "cannot be told from the",
        ):
            assert claim not in text.replace("told from the interaction", ""), (name, claim)
    assert not findings.ablation.bold
    assert "its arms are not compared" in found["report.md"]
    (deep,) = [row for row in rows.values() if row["name"] == "deep"]
    assert deep["verdict"].startswith("positive (aliased with flips × ")
    assert not {row["verdict"] for row in rows.values()} & {"better", "worse"}
    zh = texts(findings, {}, "zh")
    for name in ("report.md", "report.html", "ablation.tex"):
        assert "positive (aliased with flips × " in unwrapped(found[name]), name
        assert "为正（与 flips × " in unwrapped(zh[name]), name
    if resolution == "III":  # the product of two that are found: flips × deep is all that large has
        assert "It may be deep × flips alone, as both factors of that are found too." in flat(
            found["report.md"]
        )


def test_a_screen_of_resolution_iv_is_still_called_aliased(tmp_path: Path) -> None:
    _, found = told(world(tmp_path, Fractional(on=some(4), resolution="IV")))
    text = flat(found["report.md"])
    assert "Each estimate is aliased: no two-way interaction is mixed into it" in text
    assert "Alias table" not in text
    assert float(
        rows_of(found)["main effects of the fraction", "main", "wide"]["delta"]
    ) == pytest.approx(0, abs=0.002)


@pytest.mark.parametrize(
    ("split", "test", "words"),
    [
        ("official", "Welch's t", "all replicates are judged on the same pictures"),
        ("kfold", "Welch's t", "all replicates are judged on the same pictures"),
    ],
)
def test_the_test_follows_from_the_split_everywhere(
    split: str, test: str, words: str, tmp_path: Path
) -> None:
    findings, found = told(world(tmp_path, Factorial(on=some(2)), split=split, folds=5))
    assert {row["test"] for row in rows_of(found).values()} == {test}
    assert findings.ablation.basis.test == test
    for text in ("report.md", "ablation.tex"):
        assert "paired t" not in found[text].replace("not paired", "")
    assert words in found["report.md"]
    assert f"The design calls for this test: {words}" in found["report.md"]
    assert "the design calls for this test" in flat(found["ablation.tex"]).lower()
    assert f"intervals by {test}" in flat(found["screen"])


def test_without_test_labels_the_scope_is_the_pool(tmp_path: Path) -> None:
    book = Scribe(tmp_path / "study", planned(AddOneIn(on=some(2)), replicates=3))
    book.session()
    for replicate in (1, 2, 3):
        for arm, _ in book.study.arms():
            book.arm(arm.name, replicate, test_acc=None, test_loss=None)
    _, found = told(book)
    assert {row["scope"] for row in rows_of(found).values()} == {
        "this pool of train and val pictures, these hyperparameters"
    }
    assert "this test set" not in found["report.md"]
    assert {row["test"] for row in rows_of(found).values()} == {"paired t"}
    assert "all arms of a replicate are judged on the same pictures" in found["report.md"]


def test_folds_that_judge_themselves_are_corrected(tmp_path: Path) -> None:
    book = Scribe(tmp_path / "study", planned(AddOneIn(on=some(2)), replicates=5, split="kfold"))
    book.session()
    for replicate in range(1, 6):
        for arm, _ in book.study.arms():
            book.arm(arm.name, replicate, test_acc=None, test_loss=None)
    _, found = told(book)
    rows = rows_of(found).values()
    assert {row["test"] for row in rows} == {"corrected t"}
    assert {row["scope"] for row in rows} == {
        "pools of train and val pictures like this one, these hyperparameters"
    }
    assert "corrected for folds that share training pictures" in found["report.md"]
    assert "each replicate is judged on its own fold" in found["report.md"]


@pytest.mark.parametrize("design", ["both", "ladder", "fractional"])
def test_the_forest_has_a_group_for_every_family(design: str, tmp_path: Path) -> None:
    report: Report = write_report(
        world(tmp_path, DESIGNS[design], replicates=3).record(), tmp_path / "r"
    )
    svg = (tmp_path / "r/figures/differences.svg").read_text()
    headings = {
        "both": ("vs baseline", "vs all 4"),
        "ladder": ("vs baseline", "steps, in this order"),
        "fractional": ("main effects (aliased)",),
    }
    for heading in headings[design]:
        assert f">{heading}<" in svg
    assert ("vs baseline" in svg) == (design != "fractional")
    assert not (tmp_path / "r/figures/interaction.svg").exists()
    page = flat((tmp_path / "r/report.html").read_text())
    caption = page[page.index("What the design asks:") :][:1500]
    assert f"Scope: {SCOPE}" in caption
    assert report.complete


def test_a_lost_run_leaves_a_screen_with_the_replicates_that_are_whole(tmp_path: Path) -> None:
    design = Fractional(on=some(3), resolution="III")
    book = Scribe(tmp_path / "study", planned(design, replicates=4))
    book.session()
    for replicate in range(1, 5):
        for i, (arm, _) in enumerate(book.study.arms()):
            if (i, replicate) != (1, 2):
                book.arm(arm.name, replicate, 0.5 + 0.01 * i + 0.001 * replicate * i**2)
    _, found = told(book)
    assert {(row["n"], row["dropped"]) for row in rows_of(found).values()} == {("3", "0")}, (
        "unpaired: nothing is left out"
    )
    assert "left out of the effects" not in found["report.md"]


@pytest.mark.parametrize("scheme", [Both, Crossed, Ladder, Fractional])
def test_hostile_factor_names_stay_text(scheme: Any, tmp_path: Path) -> None:
    names = [f"=1+1 {HOSTILE}", "@x", "-y × z", "中文"]
    options: dict[str, Any] = {"resolution": "III"} if scheme is Fractional else {}
    made = dict(zip(names, ON.values(), strict=False))
    options |= {"on": made} if scheme is not Crossed else {"levels": of_hostile_levels(made)}
    design = scheme(reference=HOSTILE, **options)
    report = write_report(world(tmp_path, design, replicates=3).record(), tmp_path / "r")
    kinds = (".html", ".md", ".tex", ".csv", ".svg")
    written = {path.name: path.read_text() for path in report.paths if path.suffix in kinds}
    for name in ("report.html", "report.md", "ablation.tex", "differences.svg"):
        assert not re.search("[\x00-\x08\x1b\u202e]", written[name]), name
    assert not re.search("[\x00-\x09\x1b\u202e]", report.text)
    for name in ("report.html", "report.md"):
        assert "<b>" not in written[name]
    for line in csv.reader(io.StringIO(written["contrasts.csv"])):
        for cell in line:
            assert not cell.startswith(("=", "+", "@")), cell
            assert not cell.startswith("-") or float(cell) < 0
    bare = re.sub(r"\\[{}\\$&%#_]", "", written["ablation.tex"])
    assert bare.count("{") == bare.count("}")
    for body in re.findall(
        r"\\begin\{tabular\}(.*?)\\end\{tabular\}", written["ablation.tex"], re.DOTALL
    ):
        columns = len(re.match(r"\{@\{\}([lrc]+)@\{\}\}", body)[1])  # type: ignore[index]
        rows = [line for line in body.splitlines() if line.endswith(r"\\")]
        assert rows
        assert all(len(re.findall(r"(?<!\\)&", row)) == columns - 1 for row in rows)


def of_hostile_levels(made: dict[str, dict[str, Any]]) -> dict[str, dict[str, dict[str, Any]]]:
    """Two factors, of which the bases and names are hostile too."""
    a, b, c, d = made
    return {
        f"@ {HOSTILE}": {f"+ {HOSTILE}": {}, a: made[a], b: made[b]},
        "=2 and 7 more": {"; with it": {}, c: made[c], d: made[d]},
    }


def searched(
    folder: Path, *, knobs: dict[str, Any], rung: int = 2, count: int = 4
) -> tuple[Scribe, str]:
    """Two trials, of which the second, of these `knobs`, wins at `rung`; then `count` replicates of
    the arms.
    """
    study = make_study(replicates=4, num_trials=2, epochs=2)
    design = AddOneIn(on={"dropout": {"model.dropout": 0.2}})
    book = Scribe(
        folder / "study",
        study.model_copy(update={"ablation": study.ablation.model_copy(update={"design": design})}),
    )
    book.session()
    for number, (changes, value) in enumerate((({}, 0.5), (knobs, 0.7))):
        config = book.study.baseline.override(changes).model_dump(mode="json")
        changes = {
            "model.dropout": 0.0,
            "batch_size": 64,
            "optimizer.name": "adam",
            "optimizer.lr": 3e-4,
        } | changes
        book.ledger.append(
            events.Trial(run=f"t{number}", trial=number, config=config, knobs=changes, asked=None)
        )
        book.ledger.append(events.Start(run=f"t{number}", rung=0))
        book.epochs(f"t{number}", 2, value)
        book.ledger.append(events.Rung(run=f"t{number}", rung=rung, value=value))
        book.ledger.append(events.End(run=f"t{number}", status="complete", best_epoch=2))
    for replicate in range(1, count + 1):
        for arm, _ in book.study.arms():
            book.arm(arm.name, replicate, 0.6)
    _, found = told(book)
    return book, flat(found["report.md"])


def test_the_winner_stands_beside_its_fresh_replicates_and_test(tmp_path: Path) -> None:
    book, text = searched(tmp_path, knobs={"model.dropout": 0.2})
    runs = Record.of(read_events(book.folder)).arms()["dropout"]
    fresh = sum(run.epochs[-1]["val_acc"] for run in runs) / 4
    line = re.search(r"Winner's curse: trial 1 .*?Scope: [^.]*\.", text)
    assert line
    assert "has val acc 70.00 %, by which it was chosen" in line[0]
    assert (
        f"as the arm dropout its configuration has {100 * fresh:.2f} % at that epoch (4 fresh "
        "replicates)"
    ) in line[0]
    assert "test acc 60.00 % (4, at each run's best epoch by val acc)" in line[0]
    assert f"+{70 - 100 * fresh:.2f} points \\[" in line[0]


def test_only_replicates_with_the_winners_configuration_are_its_fresh_runs(tmp_path: Path) -> None:
    """Where each replicate is tuned by itself, an arm's runs differ: those of another configuration
    say nothing of it.
    """
    book, _ = searched(tmp_path, knobs={"model.dropout": 0.2})
    findings = read(Record.of(read_events(book.folder)))
    row = next(row for row in findings.ablation.rows if row.arm == "dropout")
    last = row.complete[-1]
    other = replace(
        last, config={**last.config, "batch_size": 32}, epochs=[{**last.epochs[-1], "val_acc": 0.0}]
    )
    changed = replace(row, runs=(*row.complete[:-1], other))
    ablation = replace(
        findings.ablation, rows=tuple(changed if r is row else r for r in findings.ablation.rows)
    )
    fresh = np.mean([run.epochs[-1]["val_acc"] for run in row.complete[:-1]])
    said = sentence(findings.search, ablation)
    assert f"its configuration has {100 * fresh:.2f} % at that epoch (3 fresh replicates)" in said
    assert "(3, at each run's best epoch by val acc)" in said


@pytest.mark.parametrize(
    ("knobs", "rung", "count", "words"),
    [
        ({"model.dropout": 0.4}, 2, 4, "is not measured: no arm trains its configuration again"),
        ({"model.dropout": 0.2}, 1, 4, "is not measured: it never reached the top rung"),
        ({"model.dropout": 0.2}, 2, 2, "without an interval: fewer than 3 replicates"),
    ],
)
def test_the_winners_curse_is_claimed_only_where_it_was_measured(
    knobs: dict[str, Any], rung: int, count: int, words: str, tmp_path: Path
) -> None:
    _, text = searched(tmp_path, knobs=knobs, rung=rung, count=count)
    assert words in text
    assert not re.search(r"Chosen minus fresh: \S+ points \\\[", text)


@pytest.mark.parametrize("design", DESIGNS.values(), ids=DESIGNS)
def test_forbidden_claims_are_absent(design: Scheme, tmp_path: Path) -> None:
    """Differences within the noise: nothing is best, bold, without effect or unnecessary, and none
    is a cause or a share.
    """
    book = Scribe(tmp_path / "study", planned(design))
    book.session()
    noise = book.rng.normal(0, 0.04, (len(book.study.arms()), 5))
    noise -= noise.mean(axis=1, keepdims=True)
    for replicate in range(1, 6):
        for (arm, _), around in zip(book.study.arms(), noise, strict=True):
            book.arm(arm.name, replicate, 0.5 + float(around[replicate - 1]))
    findings, found = told(book)
    head = flat(found["report.md"].split("## Warnings")[0])
    assert not findings.ablation.bold
    told_of = [row["verdict"] for row in rows_of(found).values() if row["kind"] != "shapley"]
    assert set(told_of) <= {"inconclusive", "equivalent"}
    forbidden = (
        r"significant|no effect(?<!evidence of no "
        r"effect)|unnecessary|improves|contributes|causes|the recipe is better"
    )
    assert not re.search(forbidden, head, re.IGNORECASE)
    assert "**" not in head.replace("**Δ", "")
    assert "which is not evidence of no effect" in head
    assert re.search(
        r"inconclusive: \d+ replicates find a true difference of", flat(found["screen"])
    )


def test_regularizers_leaves_each_one_out_by_its_design() -> None:
    study = load_study("regularizers")
    assert isinstance(study.ablation.design, LeaveOneOut)
    arms = {arm.name: config for arm, config in study.arms()}
    assert next(iter(arms)) == "all 4"
    assert arms["all 4"] == study.baseline
    amounts = {
        name: [c.flat()[path] for off in study.ablation.design.off.values() for path in off]
        for name, c in arms.items()
    }
    assert not any(amounts["none of them"])
    assert [
        amount.index(0.0) for name, amount in amounts.items() if name.startswith("without ")
    ] == [0, 1, 2, 3]
    assert {question.against for question in study.ablation.design.questions()} == {"all 4"}
