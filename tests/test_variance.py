"""Where the ± comes from: which runs are trained for it, what is estimated from them, what is
said.
"""

import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scans import SMALL, digits, numbers

from benchmarks.coverage.components import Case
from pipeline.analysis.results import read_ablation
from pipeline.analysis.stats.components import components
from pipeline.analysis.variance import read_variance
from pipeline.core.config import TrainConfig
from pipeline.core.identity import REDRAWN, Keys, Seeds
from pipeline.core.train import train
from pipeline.errors import UserError
from pipeline.record.record import Record
from pipeline.report.compose import FIGURES, document, read
from pipeline.report.frames import read as frames
from pipeline.report.language.catalogue import catalogue
from pipeline.report.language.translate import translated
from pipeline.report.language.translator import Translator
from pipeline.session.dry_run import preview
from pipeline.study.study import Study
from pipeline.study.variance import Layout, in_words
from tests.driver import Worker, drive, facts, open_plan
from tests.records import lines
from tests.studies import small_study
from tests.test_plan import telling

TITLE = "Where the ± comes from"


def study_of(num_levels: int, *, replicates: int = 3, **sets: Any) -> Study:
    study = small_study(num_trials=0, replicates=replicates, epochs=2)
    return study.override({"ablation.variance": num_levels, **sets})


def trained(folder: Path, study: Study, worker: Worker | None = None, **how: Any) -> Record:
    return drive(open_plan(folder, study, with_search=False), worker or Worker(), **how)


def planted(split: float, weights: float, order: float) -> Worker:
    """A worker whose accuracies differ by what chance drew: sds of the sources."""

    def acc(_: TrainConfig, replicate: int) -> float:
        seeds = Seeds(0, replicate)
        drawn = ((split, seeds.drawn, 7), (weights, seeds.weights, 8), (order, seeds.run, 9))
        parts = (sd * np.random.default_rng([key, n]).standard_normal() for sd, key, n in drawn)
        return 0.6 + float(sum(parts))

    return Worker(acc=acc)


def section(record: Record) -> str:
    """All that the section says, in one text."""
    blocks = iter(document(read(record), FIGURES).blocks)
    for block in blocks:
        if getattr(block, "text", "") == TITLE:
            return "\n".join(repr(next(blocks)) for _ in range(4))
    return ""


# ------------------------------------------------------------------------------- the estimates


def test_of_two_sources_it_is_the_nested_analysis_of_variance() -> None:
    values = np.array([[1.0, 2.0], [4.0, 4.5], [2.0, 3.5]])
    within = ((values - values.mean(axis=1, keepdims=True)) ** 2).sum() / 3
    between = 2 * values.mean(axis=1).var(ddof=1)
    found = components(values)
    assert found.estimate == pytest.approx(
        [within, (between - within) / 2, between / 2 + within / 2]
    )
    # chi-square quantiles of 3 degrees of freedom: .2158 and 9.3484
    assert found.low[0] == pytest.approx(3 * within / 9.3484, rel=1e-4)
    assert found.high[0] == pytest.approx(3 * within / 0.2158, rel=1e-3)


@pytest.mark.parametrize("planted", [(1, 1, 1), (4, 0.1, 1), (0.25, 1, 0), (0, 0, 1), (2, 1, 0, 1)])
@pytest.mark.parametrize("num_levels", [4, 10])
def test_planted_components_are_recovered(planted: tuple[float, ...], num_levels: int) -> None:
    """1,000 tables: no bias, and 95 % intervals hold the truth."""
    rng = np.random.default_rng([num_levels, len(planted), int(10 * sum(planted))])
    found = components(Case(planted).draw(1000, num_levels, rng))
    truth = np.array([*planted[::-1], sum(planted)])
    error = found.estimate.std(axis=0) / np.sqrt(1000)
    assert (abs(found.estimate.mean(axis=0) - truth) <= 3.5 * error + 1e-12).all()
    inside = (found.low <= truth + 1e-12) & (truth - 1e-12 <= found.high)
    assert (inside[:, :-1].mean(axis=0) > 0.93).all()
    assert inside[:, -1].mean() > 0.90
    assert (found.low[:, :-1] > 0).mean(axis=0)[truth[:-1] == 0].max(initial=0) < 0.045


def test_shifting_changes_nothing_and_scaling_scales() -> None:
    values = np.random.default_rng(1).normal(size=(7, 3))
    found, moved = components(values), components(0.01 * values + 0.7)
    for name in ("estimate", "low", "high"):
        assert getattr(moved, name) == pytest.approx(1e-4 * getattr(found, name), abs=1e-12)


def test_runs_that_are_all_alike_have_no_variance() -> None:
    found = components(np.full((4, 3), 0.75))
    assert (found.estimate == found.high).all()
    assert (found.high == 0).all()


# --------------------------------------------------------------------------- whose chance is whose


def test_a_number_says_what_is_drawn_anew() -> None:
    base, order, weights, split = (Seeds(4, 3 + n * REDRAWN) for n in range(4))
    assert order.weights == base.weights == base.run
    assert order.drawn == weights.drawn == base.drawn == 3
    assert len({seeds.run for seeds in (base, order, weights, split)}) == 4
    assert weights.weights == weights.run
    assert split.drawn not in (0, 3)
    assert [in_words(3), in_words(10_003)] == ["3", "3, another order"]


def test_what_was_there_before_is_drawn_as_before() -> None:
    for number in (0, 1, 1000, 1001, 2001):
        seeds = Seeds(7, number)
        assert seeds.weights == seeds.run == 7 * 1_000_003 + number
        assert seeds.drawn == (0 if number > 2000 else number)


def test_weights_and_order_are_drawn_apart() -> None:
    inputs = digits()
    still = SMALL.override({"epochs": 1, "optimizer.name": "sgd", "optimizer.lr": 1e-9})
    loss = {
        key: train(still, inputs, seed=key[0], init=key[1]).history[0]["val_loss"]
        for key in ((3, None), (5, 3), (5, None))
    }
    assert loss[5, 3] == pytest.approx(loss[3, None], abs=1e-4)
    assert loss[5, None] != pytest.approx(loss[3, None], abs=1e-3)
    moving = SMALL.override({"epochs": 1})
    own = numbers(train(moving, inputs, seed=3))
    assert numbers(train(moving, inputs, seed=3, init=3)) == own
    assert numbers(train(moving, inputs, seed=5, init=3)) != own


# ------------------------------------------------------------------------------------- the plan


def test_its_runs_come_last_and_the_arms_are_as_without_it(tmp_path: Path) -> None:
    bare = trained(tmp_path / "bare", study_of(0))
    worker = Worker()
    record = trained(tmp_path / "with", study_of(4), worker)
    assert facts(record) == facts(bare)
    assert len(set(worker.trained)) == len(worker.trained)
    kinds = [record.runs[e["run"]].kind for e in lines(tmp_path / "with") if e["type"] == "start"]
    assert kinds == sorted(kinds)
    own = [run.replicate for run in record.runs.values() if run.kind == "source"]
    drawn = [n + m * REDRAWN for n in range(1, 4) for m in (1, 2)]
    assert own == [*drawn, 4, 4 + REDRAWN, 4 + 2 * REDRAWN]
    assert len(own) == Layout.of(record.study).num_added(3)
    assert not record.apart()
    ours, theirs = (read_ablation(one, one.study) for one in (record, bare))
    assert ours.contrasts == theirs.contrasts
    assert [row.values for row in ours.rows] == [row.values for row in theirs.rows]
    assert TITLE not in repr(document(read(bare), FIGURES))


def test_keys_of_arms_do_not_know_of_it() -> None:
    keys, config = Keys("pictures", 3, 1), study_of(0).baseline
    assert keys.of(config, 2) == keys.of(study_of(5).baseline, 2)
    numbers = [n for level in Layout.of(study_of(50)).numbers() for n in level]
    assert len({keys.of(config, number) for number in numbers}) == 150


@pytest.mark.parametrize("workers", [1, 3])
def test_killed_after_any_event_it_ends_as_if_undisturbed(tmp_path: Path, workers: int) -> None:
    study = study_of(3, replicates=2)
    expected = trained(tmp_path / "whole", study)
    assert sum(run.kind == "source" for run in expected.runs.values()) == 7
    for folder in telling(tmp_path / "whole", tmp_path / "killed", every=5):
        worker = Worker()
        record = trained(folder, study, worker, workers=workers)
        assert everything(record) == everything(expected), folder.name
        shutil.rmtree(folder)


def everything(record: Record) -> dict[str, Any]:
    own = ("kind", "arm", "replicate", "config", "status", "test_acc")
    return {
        key: ([getattr(run, name) for name in own], [epoch["val_acc"] for epoch in run.epochs])
        for key, run in record.runs.items()
    }


def test_more_replicates_later_take_over_what_is_there(tmp_path: Path) -> None:
    worker = Worker()
    record = trained(tmp_path, study_of(5), worker)
    before = read_variance(record, record.study, read_ablation(record, record.study))
    record = trained(tmp_path, study_of(5, replicates=5), worker)
    assert len(set(worker.trained)) == len(worker.trained), "nothing is trained twice"
    own = record.arms()["baseline"]
    assert [run.replicate for run in own] == [1, 2, 3, 4, 5]
    after = read_variance(record, record.study, read_ablation(record, record.study))
    assert before is not None
    assert after is not None
    assert after.parts == before.parts
    assert (before.num_added, after.num_added) == (12, 10)


def test_looks_may_end_before_a_replicate_is_there(tmp_path: Path) -> None:
    """What the arm needs no more is trained for this, and taken over where it is needed after
    all.
    """
    study = study_of(6, replicates=10, **{"ablation.until_answered": True})
    for number, seed in enumerate(range(3)):
        worker = Worker()
        folder = tmp_path / str(number)
        record = trained(folder, study, worker, workers=3, seed=seed)
        assert len(set(worker.trained)) == len(worker.trained)
        found = read_variance(record, study, read_ablation(record, record.study))
        assert found is not None
        assert (found.num_levels, found.num_open) == (6, 0)


def test_another_reference_has_levels_of_its_own(tmp_path: Path) -> None:
    record = trained(tmp_path, study_of(3))
    study = study_of(3)
    on = {"batch": {"batch_size": 16}}
    grown = study.override({"ablation.design": {"name": "factorial", "on": on}})
    record = trained(tmp_path, grown)
    assert not [run for run in record.apart() if run.kind == "source"], "the baseline stays"
    other = grown.override(
        {"ablation.design": {"name": "arms", "arms": {"wide": {"model.width": 6}, "old": {}}}}
    )
    worker = Worker()
    record = trained(tmp_path, other, worker)
    assert len([run for run in record.apart() if run.kind == "source"]) == 6
    wide = [run for run in record.runs.values() if run.kind == "source" and run.arm == "wide"]
    assert {run.config["model"]["width"] for run in wide} == {6}
    assert len(wide) == 6


def test_a_replicate_whose_run_is_lost_is_left_out(tmp_path: Path) -> None:
    study = study_of(4, replicates=4)
    plan = open_plan(tmp_path, study, with_search=False)
    while (segment := plan.next()) is not None:
        lost = segment.seeds.replicate == 2 + REDRAWN
        Worker(diverges=lambda _, lost=lost: lost).run(plan, segment)
    assert plan.done()
    assert not plan.outstanding()
    plan.ledger.close()
    assert 2 + 2 * REDRAWN not in {run.replicate for run in plan.record.runs.values()}
    found = read_variance(plan.record, study, read_ablation(plan.record, study))
    assert found is not None
    assert (found.num_levels, found.num_lost, found.num_open) == (3, 1, 0)
    assert "1 replicate left out, as a run diverged or failed." in section(plan.record)


@pytest.mark.parametrize(
    ("sets", "sources", "runs"),
    [
        ({}, ("order", "initial weights", "split"), 9),
        ({"baseline.split": "kfold"}, ("order", "initial weights", "split"), 9),
        ({"baseline.split": "official"}, ("order", "initial weights"), 6),
        ({"ablation.tuning": {"name": "per_arm", "num_trials": 3}}, None, 9),
        (
            {"ablation.tuning": {"name": "replicated", "num_trials": 6}},
            ("order", "initial weights", "split", "tuning"),
            12,
        ),
    ],
)
def test_every_scheme_has_its_sources_and_is_said_in_chinese(
    tmp_path: Path, sets: dict[str, Any], sources: tuple[str, ...] | None, runs: int
) -> None:
    study = study_of(3, **sets)
    record = trained(tmp_path, study)
    layout = Layout.of(study)
    assert layout.sources == (sources or ("order", "initial weights", "split"))
    found = read_variance(record, study, read_ablation(record, record.study))
    assert found is not None
    assert (found.num_levels, found.num_runs) == (3, runs)
    assert [part.source for part in found.parts] == list(layout.sources[::-1])
    tuned = study.ablation.tuning.name == "replicated"
    own = {run.replicate: run.config for run in record.arms()["baseline"]}
    for run in record.runs.values():
        if run.kind == "source":
            assert run.config == own[run.replicate % REDRAWN], "each tuned one with its own"
    assert len({str(config) for config in own.values()}) == (3 if tuned else 1)
    in_chinese(record)


def in_chinese(record: Record) -> None:
    findings = read(record)
    say = Translator(catalogue("zh"), [row.arm for row in findings.ablation.rows])
    translated(document(findings, FIGURES), say, title=findings.study.title)
    assert say.missed == []


# ---------------------------------------------------------------------------------- what is said


def test_what_was_planted_is_said(tmp_path: Path) -> None:
    record = trained(tmp_path, study_of(40), planted(0.05, 0.0, 0.01))
    text = section(record)
    assert "40 replicates of baseline taken apart" in text
    assert "120 runs so far, 117 of them for this alone: in no mean, test or figure" in text
    assert re.search(
        r"from one run to the next: split [45]\.\d \[[34]\.\d, 6\.\d\]; order \d", text
    )
    assert "Not told apart from 0: initial weights " in text
    assert "So more replicates are what helps" in text
    assert re.search(r"With one split for all \(split=official\) .* an sd of about [01]\.\d", text)
    assert "Tuning is no part of this ±" in text
    table = frames(read(record))["variance"].set_index("source")
    assert table.loc["split", "sd_low"] < 0.05 < table.loc["split", "sd_high"]
    assert table.loc["order", "sd_low"] < 0.01 < table.loc["order", "sd_high"]
    assert table.loc["initial weights", "sd_low"] == 0
    assert table["share"].iloc[:-1].sum() == pytest.approx(1)
    in_chinese(record)


def test_where_the_split_is_little_it_is_not_blamed(tmp_path: Path) -> None:
    record = trained(tmp_path, study_of(20), planted(0.0, 0.03, 0.01))
    text = section(record)
    assert re.search(r"from one run to the next: initial weights [23]\.\d \[", text)
    assert "Not told apart from 0: split " in text
    assert "More replicates are never the worse of the two." in text
    assert "With one split for all" not in text
    in_chinese(record)


def test_one_run_that_fell_is_named(tmp_path: Path) -> None:
    worker = planted(0.005, 0.005, 0.005)
    usual = worker.acc
    worker.acc = lambda config, n: 0.1 if n == 3 + REDRAWN else usual(config, n)
    record = trained(tmp_path, study_of(6), worker)
    assert "1 run of these fell far below the others" in section(record)
    in_chinese(record)


def test_of_half_a_study_nothing_is_estimated(tmp_path: Path) -> None:
    plan = open_plan(tmp_path, study_of(4), with_search=False)
    for _ in range(15):
        segment = plan.next()
        assert segment is not None
        Worker().run(plan, segment)
    assert plan.outstanding()
    plan.ledger.close()
    text = section(plan.record)
    assert "3 replicates not whole yet: the same command goes on." in text
    assert "Nothing is estimated yet: 1 replicate whole, at least 3 are needed." in text
    assert "variance" not in frames(read(plan.record))
    in_chinese(plan.record)


def test_runs_of_other_code_are_not_told_apart(tmp_path: Path) -> None:
    record = trained(tmp_path, study_of(4))
    late = next(run for run in record.runs.values() if run.kind == "source")
    record.runs[late.key] = replace(late, code=["another"])
    assert "the runs differ in code or setting" in section(record)
    in_chinese(record)


def test_a_dry_run_says_how_many_runs_it_takes(tmp_path: Path) -> None:
    shown = " ".join(preview(study_of(5), None, "", tmp_path, with_search=False).split())
    assert (
        "variance 5 replicates of baseline taken apart into split, initial weights, order: "
        "12 runs beside the arms', 24 epochs" in shown
    )
    assert "variance" not in preview(study_of(0), None, "", tmp_path, with_search=False)


def test_fewer_than_tell_a_spread_are_refused() -> None:
    with pytest.raises(
        UserError, match=r"ablation.variance: got 2; allowed: 0 \(off\), or at least 3"
    ):
        study_of(2).check()
    tuned = {"ablation.tuning": {"name": "replicated", "num_trials": 6}}
    with pytest.raises(UserError, match=r"got 4; allowed with ablation.tuning=replicated: at most"):
        study_of(4, **tuned).check()
    study_of(3, **tuned).check()
