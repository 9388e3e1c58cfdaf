"""What the report says about the knobs of the search, and that it says no more than the trials
do.
"""

import csv
import io
import itertools
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from pipeline.analysis.search_results import Search
from pipeline.analysis.tuning_curve import Tuning, expected_best, read_tuning
from pipeline.record.record import Record, Run
from pipeline.report import write_report
from pipeline.report.compose import Findings, document, read
from pipeline.report.document import Bullets, Figure, Heading, Table, Text
from pipeline.report.figures import draw as figures
from pipeline.report.figures.tuning_curve import caption
from pipeline.report.frame_files import files
from pipeline.report.sections.importance import NOISE, blocks
from pipeline.study.judged import Judged
from pipeline.study.study import Study
from tests.records import Scribe, make_study

DRAWN = ("importance", "slices", "parallel")


@pytest.fixture(scope="module")
def findings(tmp_path_factory: pytest.TempPathFactory) -> Findings:
    """A search by TPE without arms, whose knobs do nothing."""
    book = Scribe(tmp_path_factory.mktemp("searched"), make_study(num_trials=50, replicates=1))
    book.session()
    book.trials()
    return read(book.record())


def few(folder: Path, count: int) -> Findings:
    book = Scribe(folder, make_study(num_trials=count, replicates=1))
    book.session()
    book.trials()
    return read(book.record())


def section(findings: Findings, *, dropped: frozenset[str] = frozenset()) -> list[object]:
    shown = findings.sample, findings.importance, findings.tuning
    return list(blocks(*shown, findings.study, dropped=dropped))


def words(parts: list[object]) -> str:
    texts = [part.text for part in parts if isinstance(part, (Text, Heading))]
    return " ".join(
        texts + [item for part in parts if isinstance(part, Bullets) for item in part.items]
    )


def test_fidelity_trials_and_limits_are_named(findings: Findings) -> None:
    said, sample = words(section(findings)), findings.sample
    assert (sample.rung, sample.epochs) == (1, (3,))
    assert f"rung 2 of 3, after epoch 3, among the {len(sample.trials)} of 50 trials" in said
    assert f"{len(sample.trials)} of 50 trials used; left out: " in said
    assert f"{sample.excluded['stopped or waiting below it']} stopped or waiting below it" in said
    assert "1 diverged before it" in said
    assert "The scheduler chose who reached this rung" in said
    assert "Sampler TPE" in said
    ahead = sample.ahead
    assert ahead is not None
    assert (
        f"the same {ahead[1]} trials at the rung above, where the best were sent: {ahead[0]:.2f}"
        in said
    )
    assert "no evidence for any row of the ablation table" in said
    assert "60 or more are advised" in said


def test_a_row_a_knob_with_interval_floor_and_verdict(findings: Findings) -> None:
    table = next(part for part in section(findings) if isinstance(part, Table))
    assert findings.importance is not None
    assert [row[0].text for row in table.rows] == [knob.name for knob in findings.importance.knobs]
    conditional = next(row for row in table.rows if row[0].text == "optimizer.sgd.lr")
    assert [cell.text for cell in conditional[4:6]] == ["–", "–"]
    for row, knob in zip(table.rows, findings.importance.knobs, strict=True):
        assert (row[-1].text == NOISE) == (not knob.clear)
        assert row[1].text == str(knob.num_trials)
        if knob.ped_anova:
            assert row[2].text.startswith(f"{100 * knob.ped_anova.share:.0f} [")


def test_the_sheet_holds_the_numbers_of_the_table(findings: Findings) -> None:
    rows = list(csv.DictReader(io.StringIO(files(findings)["frames/importance.csv"].decode())))
    assert findings.importance is not None
    expected = {
        (knob.name, measure)
        for knob in findings.importance.knobs
        for measure in ("ped_anova", "fanova")
        if getattr(knob, measure)
    }
    assert {(row["knob"], row["measure"]) for row in rows} == expected
    for row in rows:
        knob = next(knob for knob in findings.importance.knobs if knob.name == row["knob"])
        share = getattr(knob, row["measure"])
        assert float(row["share"]) == share.share
        assert (row["rung"], row["first_epoch"], row["last_epoch"]) == ("2", "3", "3")
        assert int(row["used"]) + int(row["excluded"]) == 50
        assert row["above_noise"] == str(int(share.low > share.floor))


def test_figures_are_drawn_placed_and_the_same_each_time(
    findings: Findings, tmp_path: Path
) -> None:
    first = write_report(findings.record, tmp_path / "a")
    write_report(findings.record, tmp_path / "b")
    names = {path.stem for path in first.paths if path.suffix == ".svg"}
    assert names >= set(DRAWN)
    assert "tuning" not in names, "TPE's trials are no independent sample"
    for path in first.paths:
        assert path.read_bytes() == (tmp_path / "b" / path.relative_to(tmp_path / "a")).read_bytes()
    for name in DRAWN:
        ElementTree.parse(tmp_path / "a" / "figures" / f"{name}.svg")
        assert f"figures/{name}.svg" in (tmp_path / "a" / "report.md").read_text()
    bars = (tmp_path / "a" / "figures" / "importance.svg").read_text()
    assert "noise floor" in bars
    assert "optimizer.lr (in its own range)" in bars
    assert "absent" in (tmp_path / "a" / "figures" / "parallel.svg").read_text()


def test_a_figure_that_was_not_drawn_is_not_shown(findings: Findings) -> None:
    shown = {
        part.name
        for part in section(findings, dropped=frozenset({"slices"}))
        if isinstance(part, Figure)
    }
    assert shown == {"importance", "parallel"}


def test_few_trials_are_refused_with_the_number_needed(tmp_path: Path) -> None:
    found = few(tmp_path, 12)
    parts = section(found)
    assert found.importance is None
    assert not any(isinstance(part, (Table, Figure)) for part in parts)
    assert "at least 20 trials" in words(parts)
    assert "the most there are at one rung is 11 (rung 1 of 3, after epoch 1)" in words(parts)
    assert "frames/importance.csv" not in files(found)
    drawings = figures.draw_all(found.ablation, found.search, found.importance, found.tuning)
    assert not set(DRAWN) & {drawing.name for drawing in drawings}


def test_a_study_without_a_search_does_not_mention_importance(tmp_path: Path) -> None:
    found = few(tmp_path, 0)
    assert section(found) == []
    headings = [
        part.text for part in document(found, frozenset()).blocks if isinstance(part, Heading)
    ]
    assert "What mattered in the search" not in headings


def random_study() -> Study:
    study = make_study(num_trials=40)
    return study.model_copy(
        update={"search": study.search.model_copy(update={"sampler": "random"})}
    )


def searched(runs: list[Run]) -> Search:
    ranked = tuple(run for run in runs if run.rungs)
    worth = Record().worth
    return Search(
        len(runs),
        len(runs),
        tuple(runs),
        ranked,
        (1, 3, 9),
        3,
        None,
        None,
        (),
        worth,
        Judged(),
        False,
    )


def trials(count: int, *, high: int = 0, diverged: int = 0) -> list[Run]:
    """The baseline and `count` random trials: all at rung 0, the first `high` at rung 1 too, and
    others diverged.
    """
    values = np.random.default_rng(0).uniform(0.2, 0.8, count + diverged + 1)
    runs = []
    for number, value in enumerate(values):
        run = Run(
            f"t{number}",
            "trial",
            {"epochs": 9},
            number,
            asked=0 if number else None,
            status="stopped",
        )
        if number > count:
            run.status = "diverged"
        else:
            run.rungs = {0: float(value)} | ({1: 0.99} if 0 < number <= high else {})
        runs.append(run)
    return runs


def test_expected_best_is_the_mean_over_all_subsets() -> None:
    values = np.sort(np.random.default_rng(1).random(8))
    for n, found in zip(range(1, 9), expected_best(values, range(1, 9)), strict=True):
        assert found == pytest.approx(
            np.mean([max(chosen) for chosen in itertools.combinations(values, n)])
        )


def test_tuning_curve_of_random_trials_at_the_rung_that_all_reached() -> None:
    runs = trials(40, high=10)
    tuning = read_tuning(searched(runs), random_study())
    assert isinstance(tuning, Tuning)
    assert (tuning.rung, tuning.num_trials, tuning.budgets[0], tuning.budgets[-1]) == (0, 40, 1, 20)
    assert tuning.expected[0] == pytest.approx(np.mean([run.rungs[0] for run in runs[1:]])), (
        "the baseline was not drawn"
    )
    assert list(tuning.expected) == sorted(tuning.expected)
    for low, expected, high in zip(tuning.low, tuning.expected, tuning.high, strict=True):
        assert low <= expected <= high
    assert "rung 1 of 3" in caption(tuning, Judged())


def test_diverged_trials_spend_their_budget() -> None:
    clean, spoilt = (read_tuning(searched(trials(30, diverged=d)), random_study()) for d in (0, 10))
    assert clean is not None
    assert spoilt is not None
    assert (spoilt.num_trials, spoilt.num_diverged) == (40, 10)
    assert spoilt.expected[0] < clean.expected[0]
    assert "10 diverged, counted as 0" in caption(spoilt, Judged())


@pytest.mark.parametrize("count", [19, 40])
def test_no_tuning_curve_of_few_trials_or_of_a_sampler_that_learns(count: int) -> None:
    assert (read_tuning(searched(trials(count)), random_study()) is None) == (count < 20)
    assert read_tuning(searched(trials(count)), make_study()) is None
