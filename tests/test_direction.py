"""A metric of which less is better: what is ordered follows its sign, what is shown its unit."""

import hashlib
import json
import operator
import re
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from own import folder, written
from scans import SMALL, digits

from pipeline.analysis.chance import Guess
from pipeline.analysis.collapse import collapsed
from pipeline.analysis.pilot import sentence
from pipeline.analysis.preregistration import lines, outline
from pipeline.analysis.rung_sample import choose
from pipeline.analysis.stats import judge
from pipeline.analysis.tuning_curve import read_tuning
from pipeline.analysis.wording import Points
from pipeline.core.config import TrainConfig
from pipeline.core.history import best_epoch, exhausted
from pipeline.core.metrics import sign_of
from pipeline.core.train import train
from pipeline.engine.queue import Plan
from pipeline.engine.race import racers
from pipeline.errors import UserError
from pipeline.export.selection import select
from pipeline.record.events import Pilot
from pipeline.record.events import Study as Begun
from pipeline.record.mlflow_views import saved_view
from pipeline.record.record import Record
from pipeline.report.compose import document, read, texts
from pipeline.report.figures.tuning_curve import caption
from pipeline.report.language.catalogue import catalogue
from pipeline.report.language.translate import translated
from pipeline.report.language.translator import Translator
from pipeline.report.sections.race import curse
from pipeline.study.judged import Judged, margin_in_words
from pipeline.study.questions import differences
from pipeline.study.schedulers import SCHEDULERS
from pipeline.study.study import Study
from pipeline.testing import check_metric
from tests.driver import DATA, Worker, drive, facts, open_plan
from tests.studies import small_study
from tests.test_interactions import pairs
from tests.test_plan import FEW_POINTS, prefixes
from tests.test_report_importance import random_study, searched, trials

__all__ = ["folder"]

LESS = '''"""Metrics of which less is better."""

from typing import ClassVar, Literal

from pipeline.core.metrics import Measure


def my_errors(logits, labels, scale: float = 1.0):
    return scale * (logits.argmax(1) != labels).float().mean()


my_errors.lower_is_better = True


class Errors(Measure):
    lower_is_better: ClassVar[bool] = True
    name: Literal["errors"] = "errors"

    def value(self, logits, labels):
        return -float((logits.argmax(1) == labels).float().mean())


def my_undeclared(logits, labels):
    return (logits.argmax(1) != labels).float().mean()


def my_odd(logits, labels):
    return 0.5


my_odd.lower_is_better = "yes"
'''
ALIKE = st.lists(
    st.tuples(st.integers(0, 4), st.integers(0, 3)), min_size=1, max_size=9
)  # (metric, val_loss) of epochs, with ties


@pytest.fixture
def less(folder: Path) -> Path:
    return written(folder, "my_less.py", LESS)


def by(name: str, metric: Any) -> TrainConfig:
    return SMALL.override({"metrics": [metric], "select": name})


@pytest.mark.usefixtures("less")
@pytest.mark.parametrize(
    ("name", "metric"),
    [
        ("my_errors", {"name": "my_less:my_errors", "scale": 100.0}),
        ("Errors", "my_less:Errors"),
    ],
)
def test_ones_own_says_that_less_is_better_and_the_record_keeps_it(name: str, metric: Any) -> None:
    config = by(name, metric)
    tree = json.loads(config.model_dump_json())
    assert tree["metrics"][0]["lower_is_better"] is True
    assert config.sign == sign_of(tree) == Judged.of(config).sign == Judged.of(tree).sign == -1
    assert TrainConfig.parse(tree, source="test") == config
    result = train(config, digits(num_train=60), seed=1, stop=3)
    key = f"val_{name}"
    least = min(result.history, key=lambda e: (e[key], e["val_loss"], e["epoch"]))
    assert result.best_epoch == least["epoch"]
    shown = config.override({"select": "acc"})
    assert shown.sign == 1


@pytest.mark.usefixtures("less")
def test_the_contract_of_a_metric_knows_its_direction() -> None:
    check_metric("my_less:my_errors", scale=3.0)
    check_metric("my_less:Errors")
    with pytest.raises(AssertionError, match=r"right answers are worse.*lower_is_better = True"):
        check_metric("my_less:my_undeclared")
    with pytest.raises(AssertionError, match="lower_is_better is True or False, got 'yes'"):
        check_metric("my_less:my_odd")


def judging(name: str, metric: Any) -> Study:
    return small_study().override({"baseline.metrics": [metric], "baseline.select": name})


@pytest.mark.parametrize(("before", "after"), [(True, False), (False, True)])
def test_a_record_is_not_read_by_code_that_has_turned_round(
    less: Path, before: bool, after: bool
) -> None:
    said = "my_errors.lower_is_better = {}"
    written(less.parent, "my_less.py", LESS.replace(said.format(True), said.format(before)))
    study = judging("my_errors", "my_less:my_errors")
    begun = Begun(study=study.model_dump(mode="json"), data=DATA, note="")
    assert Record.of([begun]).study.baseline.sign == (-1 if before else 1)
    written(less.parent, "my_less.py", LESS.replace(said.format(True), said.format(after)))
    with pytest.raises(UserError, match=r"lower_is_better|now that less is"):
        Record.of([begun])


@given(ALIKE, st.integers(1, 3))
def test_epochs_are_ordered_alike_by_a_metric_and_by_its_negative(
    epochs: list[tuple[int, int]], patience: int
) -> None:
    told = [
        {"epoch": number, "val_more": value / 4, "val_less": -value / 4, "val_loss": loss}
        for number, (value, loss) in enumerate(epochs, 1)
    ]
    ways = (("val_more", 1), ("val_less", -1))
    assert len({best_epoch(told, *way) for way in ways}) == 1
    assert len({exhausted(told, patience, *way) for way in ways}) == 1
    turned = best_epoch(told, "val_more", -1)
    assert turned == best_epoch(told, "val_less")
    assert told[turned - 1]["val_more"] == min(epoch["val_more"] for epoch in told)


@settings(max_examples=20)
@given(st.integers(0, 2**16), st.floats(0.001, 0.05))
def test_arms_are_judged_alike_by_a_metric_and_by_its_negative(seed: int, rope: float) -> None:
    rng = np.random.default_rng(seed)
    means = rng.normal(0.6, 0.03, 4)
    scores = pd.DataFrame(rng.normal(means, 0.01, (5, 4)), columns=[*"abcd"])
    questions = differences([*"abcd"], "a")
    more, less = judge(scores, questions, rope), judge(-scores, questions, rope, sign=-1)
    assert (more.leading, more.p_best) == (less.leading, less.p_best)
    turned = judge(scores, questions, rope, sign=-1)
    other = {"better": "worse", "worse": "better"}
    for one, same, opposite in zip(more.contrasts, less.contrasts, turned.contrasts, strict=True):
        assert (one.verdict, one.p_holm) == (same.verdict, same.p_holm)
        assert (one.delta, one.low, one.high) == (-same.delta, -same.high, -same.low)
        assert one.values == tuple(-value for value in same.values)
        assert (one.delta, one.low, one.high) == (opposite.delta, opposite.low, opposite.high)
        if {one.verdict, opposite.verdict} <= {*other}:
            assert other[one.verdict] == opposite.verdict


class Told(Worker):
    """Its runs have `turn` of their accuracy under the name that the study selects by."""

    def __init__(self, turn: Any, **knobs: Any) -> None:
        super().__init__(acc=reached, **knobs)
        self.turn = turn

    def steps(self, plan: Plan, segment: Any) -> list[Callable[[], None]]:
        return [partial(self._told, step, plan, segment) for step in super().steps(plan, segment)]

    def _told(self, step: Callable[[], None], plan: Plan, segment: Any) -> None:
        epoch, finish, name = plan.epoch, plan.finish, segment.config.select

        def also(run: str, metrics: Any) -> None:
            epoch(run, {**metrics, f"val_{name}": self.turn(metrics["val_acc"])})

        def told(run: str, outcome: Any) -> None:
            own = {} if outcome.test_acc is None else {f"test_{name}": self.turn(outcome.test_acc)}
            finish(run, replace(outcome, metrics=own))

        plan.epoch, plan.finish = also, told  # type: ignore[method-assign]
        try:
            step()
        finally:
            plan.epoch, plan.finish = epoch, finish  # type: ignore[method-assign]


def reached(config: TrainConfig, replicate: int) -> float:
    """By what is searched and by the arm, whatever judges."""
    flat = config.flat()
    own = {k: v for k, v in flat.items() if not k.startswith(("metrics", "select"))}
    digest = hashlib.sha256(f"{sorted(own.items())} {replicate}".encode()).digest()
    return round(0.3 + 0.6 * int.from_bytes(digest[:4]) / 2**32, 6)


def orders(record: Record, sign: int) -> dict[str, Any]:
    """All that was ordered."""
    number = {run.key: run.number for run in record.trials()}
    race, chosen = record.race, select(record).run
    return {
        "trials": [
            (run.number, run.knobs, run.status, {r: sign * v for r, v in run.rungs.items()})
            for run in record.trials()
        ],
        "ranked": [run.number for run in record.ranked_trials()],
        "best epochs": [run.best["epoch"] for run in record.trials() if run.best],
        "race": [number[key] for key in race.candidates] if race else [],
        "laps": [tuple(sign * v for v in one.values()) for one in racers(record)],
        "stayed": number.get(race.winner) if race else None,
        "exported": (chosen.arm, chosen.replicate),
    }


@pytest.mark.usefixtures("less")
@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_a_study_by_a_metric_and_one_by_its_negative_are_the_same(
    scheduler: str, tmp_path: Path
) -> None:
    asked = {"num_trials": 12, "race": 3, "epochs": 9, "scheduler": scheduler}
    if scheduler == "none":
        asked["num_trials"] = 6
    ways = (
        ("macro_f1", "macro_f1", lambda acc: acc, 1),
        ("Errors", "my_less:Errors", lambda acc: -acc, -1),
    )
    found = []
    for name, metric, turn, sign in ways:
        study = small_study(**asked).override(
            {"baseline.metrics": [metric], "baseline.select": name}
        )
        worker = Told(turn, diverges=lambda config: config.batch_size == 16)
        record = drive(open_plan(tmp_path / name, study, format=3), worker, workers=1)
        found.append(orders(record, sign))
    assert found[0] == found[1]
    assert len(found[0]["ranked"]) > 2


@pytest.mark.usefixtures("less")
def test_turned_round_it_orders_trials_and_arms_in_the_opposite_way(tmp_path: Path) -> None:
    study = small_study(num_trials=5, race=0, epochs=9, scheduler="none")
    found = []
    for name, metric, turn in (
        ("macro_f1", "macro_f1", lambda acc: acc),
        ("my_errors", "my_less:my_errors", lambda acc: acc),
    ):
        own = study.override({"baseline.metrics": [metric], "baseline.select": name})
        record = drive(open_plan(tmp_path / name, own, format=3), Told(turn), workers=1)
        at_top = [run.number for run in record.ranked_trials()]
        means = {
            arm: np.mean([run.metric(f"val_{name}") for run in runs])
            for arm, runs in record.arms().items()
        }
        found.append((at_top, select(record).run.arm, means))
    (more, best, tops), (less, worst, ends) = found
    assert more == less[::-1]
    assert best == max(tops, key=tops.__getitem__)
    assert worst == min(ends, key=ends.__getitem__)


@pytest.mark.usefixtures("less")
def test_race_and_winners_curse_are_told_in_its_unit(tmp_path: Path) -> None:
    found = []
    for name, metric, turn in (
        ("macro_f1", "macro_f1", lambda acc: acc),
        ("log_loss", "log_loss", lambda acc: 2 - 2 * acc),
    ):
        study = small_study(num_trials=9, race=3, replicates=3).override(
            {"baseline.metrics": [metric], "baseline.select": name}
        )
        record = drive(open_plan(tmp_path / name, study, format=3), Told(turn), workers=1)
        found.append((record, Judged.of(study.baseline)))
    (more, _), (less, _) = found
    number = {run.key: run.number for run in more.trials()}
    other = {run.key: run.number for run in less.trials()}
    assert more.race
    assert less.race
    assert number[more.race.winner] == other[less.race.winner]
    said, told = (curse(racers(record)[0], judged) for record, judged in found)
    assert re.search(r"has val macro_f1 [\d.]+ %,.*Chosen minus fresh: [+−][\d.]+ points", said)
    assert "%" not in told.replace("95 %", "")
    assert "points" not in told
    one, two = (
        float(re.search(r"fresh: ([+−][\d.]+)", x)[1].replace("−", "-")) for x in (said, told)
    )  # type: ignore[index]
    assert two == pytest.approx(-2 * one / 100, abs=2e-4)
    assert ("no higher here" in said) == ("no lower here" in told)
    findings = read(less)
    md = texts(findings, {})["report.md"].replace("\\_", "_")
    assert "is behind the lowest by more than" in md
    assert "by the lowest mean" in md
    assert "| val log_loss† in the search |" in md
    say = Translator(catalogue("zh"), [row.arm for row in findings.ablation.rows])
    translated(document(findings, frozenset()), say, title=findings.study.title)
    assert not say.missed


def test_killed_after_any_event_it_ends_as_if_it_had_not_been(tmp_path: Path) -> None:
    """With twins, a trial that diverges and one that stops early, which stands with its lowest."""
    study = small_study(num_trials=7, race=2, replicates=1, epochs=9, space=FEW_POINTS).override(
        {"baseline.metrics": ["log_loss"], "baseline.select": "log_loss", "baseline.patience": 4}
    )

    def worker() -> Told:
        return Told(
            lambda acc: 2 - 2 * acc,
            diverges=lambda config: (config.batch_size, config.model.dropout) == (16, 0.1),
            patience=lambda _: 3,
        )

    expected = drive(open_plan(tmp_path / "whole", study, format=3), worker())
    early = [run for run in expected.trials() if run.early]
    assert early
    lowest = (min(epoch["val_log_loss"] for epoch in run.epochs) for run in early)
    assert [run.value for run in early] == [(2, value) for value in lowest]
    for cut in prefixes(tmp_path / "whole", tmp_path / "killed")[::9]:
        record = drive(open_plan(cut, study, format=3), worker())
        assert facts(record) == facts(expected), cut.name


def test_a_tuning_curve_falls_and_counts_the_diverged_as_the_worst_seen() -> None:
    study = random_study().override({"baseline.metrics": ["ece"], "baseline.select": "ece"})
    config, judged = study.baseline.model_dump(mode="json"), Judged.of(study.baseline)
    runs, turned = trials(30, diverged=10), trials(30, diverged=10)
    for run in turned:
        run.config = config | {"epochs": 9}
        run.rungs = {rung: 1 - value for rung, value in run.rungs.items()}
    rising = read_tuning(searched(runs), random_study())
    falling = read_tuning(replace(searched(turned), judged=judged), study)
    assert rising
    assert falling
    assert list(falling.expected) == sorted(falling.expected, reverse=True)
    assert all(map(operator.le, falling.low, falling.expected))
    assert all(map(operator.le, falling.expected, falling.high))
    worst = max(run.rungs[0] for run in turned[1:] if run.rungs)
    known = [run.rungs[0] for run in turned[1:] if run.rungs]
    assert falling.expected[0] == pytest.approx(np.mean([*known, *[worst] * 10]))
    assert "10 diverged, counted as the worst value seen" in caption(falling, judged)
    both = [choose(own, study).trials for own in (runs, turned)]
    assert [one.value for one in both[0]] == pytest.approx([1 - one.value for one in both[1]])
    assert [one.worth for one in both[1]] == [-one.value for one in both[1]]


def test_a_margin_is_in_the_unit_of_what_judges() -> None:
    share, own = Judged(), Judged("log_loss", sign=-1)
    assert (margin_in_words(0.02, share), margin_in_words(0.02, own)) == ("2 points", "0.02")
    study = small_study().override({"ablation.rope": 3.0})
    with pytest.raises(UserError, match=r"ablation\.rope: got 3; allowed: below 1, as acc is"):
        study.check()
    by_loss = study.override({"baseline.metrics": ["log_loss"], "baseline.select": "log_loss"})
    by_loss.check()
    plan = outline(by_loss)
    said = dict(lines(plan))
    assert said["margin"] == "3: smaller differences are of no practical interest"
    assert said["selects"] == "val_log_loss, less is better, of the epoch of each run"
    assert said["reports"].startswith("test_log_loss where")
    shown = Points.fit([0.0123], own)
    assert (shown.level(0.312), shown.difference(-0.021)) == ("0.312", "−0.021")
    assert Points.fit([0.0123], share).level(0.312) == "31.2 %"
    pilot = Pilot(
        arm="baseline",
        metric="test_log_loss",
        runs=3,
        sd=0.041,
        sd_upper=0.1,
        seconds_per_epoch=1.0,
        replicates=5,
        detectable=[{"family": "all", "size": 3, "alone": 1.1, "corrected": 1.3}],
        replicates_for=[{"size": 0.5, "replicates": 24}],
        expected={"epochs_left": 0, "hours": 0.0},
    )
    assert sentence(pilot, own).startswith(
        "pilot: with 5 replicates you can see differences of 1.3 or more; for 0.5 use 24."
    )


def test_of_what_is_no_share_a_run_is_far_where_it_has_twice_the_loss() -> None:
    scores = pd.DataFrame({"a": [0.3, 0.31, 0.32, 0.66], "b": [0.3, 0.31, 0.32, 0.45]})
    none = Guess(float("nan"), is_share=False)
    assert collapsed(-scores, none) == {"a": (3,)}


def test_the_saved_view_puts_the_best_arm_first() -> None:
    assert json.loads(saved_view(Judged()))["orderByAsc"] is False
    assert json.loads(saved_view(Judged("log_loss", sign=-1)))["orderByAsc"] is True


def test_what_factors_do_together_is_said_in_the_unit_of_what_judges() -> None:
    shown, turn = Points(1), str.maketrans("+−", "−+")
    for pair in pairs()[:400]:
        said = pair.phrase(shown).replace(" above ", " BELOW ").replace(" below ", " above ")
        turned = replace(pair, sign=-1)
        assert turned.phrase(shown) == said.replace("BELOW", "below").translate(turn)
        simple = (
            pair.simple(shown).replace("costs", "raises it by").replace("gives", "lowers it by")
        )
        assert turned.simple(shown) == simple


@pytest.mark.parametrize(
    "text",
    [
        "ResNet: replicate 3 (0.712) collapsed, its other runs have 0.301 to 0.334.",
        "The reference, baseline, has 0.994, 0.983.",
        "ResNet: −0.021, +0.003, not tested (only 2 replicates).",
        "ResNet: −0.021 [−0.05, 0.01], inconclusive: 3 replicates find a true difference of 0.055 "
        "in 80 % of studies, one of 0.05 takes about 4.",
        "ResNet: −0.021 [−0.05, −0.01], better, though by less than the default margin of 0.05.",
        "Pilot: with 5 replicates you can see differences of 0.027 or more; for 0.01 use 11.",
        "3 runs of baseline have sd 0.003; so few tell little, and up to 0.0076 is allowed for.",
        "Shapley shares: what all factors together gain over none, shared out; they sum to it.",
        "Chosen minus fresh: −0.0002, without an interval: fewer than 3 runs.",
    ],
)
def test_what_is_said_of_a_metric_in_its_own_unit_has_no_shares_in_chinese(text: str) -> None:
    say = Translator(catalogue("zh"), ["baseline", "ResNet"])
    said = say.text(text)
    assert not say.missed
    assert "百分点" not in said
    assert "%" not in said.replace("80%", "")
