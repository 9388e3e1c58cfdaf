"""Effects planted in a simulated training core, through the real plan, ledger, statistics and
report, to the last word.
"""

import csv
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.coverage import verdicts
from pipeline.analysis.stats import Contrast
from pipeline.core.config import TrainConfig
from pipeline.errors import UserError
from pipeline.record.record import Record
from pipeline.report import Report, write_report
from pipeline.report.compose import read
from pipeline.study.designs import Arms, Crossed, Factorial, Scheme
from tests.driver import Worker, drive, open_plan
from tests.studies import small_study

DEEP, FLIPS, TOGETHER = 0.05, -0.03, 0.06  # of accuracy
ON = {"deep": {"model.dropout": 0.25}, "flips": {"augment.strength": 1.0}}
REPLICATES = 5


def level(config: TrainConfig) -> float:
    """What a configuration reaches without noise."""
    deep, flips = config.model.dropout == 0.25, config.augment.strength == 1.0
    return 0.6 + DEEP * deep + FLIPS * flips + TOGETHER * (deep and flips)


def noisy(truth: Callable[[TrainConfig], float], sd: float) -> Callable[[TrainConfig, int], float]:
    """Runs scatter around the truth, and all runs of a replicate share the luck of its split."""

    def acc(config: TrainConfig, replicate: int) -> float:
        own = np.random.default_rng([int(config.fingerprint(), 16) % 2**32, replicate]).normal(
            0, sd
        )
        shared = np.random.default_rng(replicate).normal(0, 0.001)
        return round(truth(config) + own + shared, 6)

    return acc


def reported(
    folder: Path, design: Scheme, worker: Worker, *, replicates: int = REPLICATES
) -> tuple[Record, Report, Path]:
    """A study of `design`, trained by `worker` and reported."""
    study = small_study(num_trials=0, replicates=replicates)
    study = study.model_copy(
        update={"ablation": study.ablation.model_copy(update={"design": design})}
    )
    record = drive(open_plan(folder / "study", study, with_search=False), worker)
    return record, write_report(record, folder / "report"), folder / "report"


def contrasts(record: Record) -> dict[tuple[str, str], Contrast]:
    return {
        (contrast.kind, contrast.name): contrast for contrast in read(record).ablation.contrasts
    }


LEVELS = Crossed(
    levels={
        "network": {"plain": {}, "deep": ON["deep"], "deeper": {"model.dropout": 0.5}},
        "pictures": {"as they are": {}, "flips": ON["flips"], "noise": {"batch_size": 16}},
    }
)


def of_levels(config: TrainConfig) -> float:
    """As `level`; the third levels do something of their own, and nothing more together."""
    deeper, noise = config.model.dropout == 0.5, config.batch_size == 16
    return level(config) + 0.08 * deeper - 0.05 * noise


def text(folder: Path) -> str:
    return (folder / "report.md").read_text(encoding="utf-8")


def test_effects_and_interaction_come_out_as_planted(tmp_path: Path) -> None:
    record, report, folder = reported(tmp_path, Factorial(on=ON), Worker(acc=noisy(level, 0.002)))
    found = contrasts(record)
    truth = {
        ("delta", "deep"): DEEP,
        ("delta", "flips"): FLIPS,
        ("delta", "deep + flips"): DEEP + FLIPS + TOGETHER,
        ("main", "deep"): DEEP + TOGETHER / 2,
        ("main", "flips"): FLIPS + TOGETHER / 2,
    }
    for key, effect in truth.items():
        assert found[key].delta == pytest.approx(effect, abs=0.004), (
            key
        )  # how often intervals cover: benchmarks/coverage
        if key != ("main", "flips"):
            assert found[key].verdict == ("better" if effect > 0 else "worse"), key
    assert found["main", "flips"].verdict in (
        "equivalent",
        "inconclusive",
    )  # planted at exactly nothing on average
    (interaction,) = (contrast for contrast in found.values() if contrast.kind == "interaction")
    assert interaction.verdict == "better"
    assert interaction.delta == pytest.approx(TOGETHER, abs=0.006)
    assert read(record).ablation.bold == {"deep + flips"}
    assert report.complete
    assert (
        "deep × flips: by the estimates, flips harms alone and helps beside deep: together +"
        in text(folder)
    )
    assert "Best: deep + flips. Every other arm is found behind it, after correction." in text(
        folder
    )


def test_without_an_interaction_none_is_claimed(tmp_path: Path) -> None:
    def additive(config: TrainConfig) -> float:
        return level(config) - TOGETHER * (
            config.model.dropout == 0.25 and config.augment.strength == 1.0
        )

    record, _, folder = reported(tmp_path, Factorial(on=ON), Worker(acc=noisy(additive, 0.002)))
    (interaction,) = (
        contrast for contrast in contrasts(record).values() if contrast.kind == "interaction"
    )
    assert interaction.verdict in ("equivalent", "inconclusive")
    assert "one by one" not in text(folder)


def test_effects_of_levels_come_out_as_planted(tmp_path: Path) -> None:
    record, report, folder = reported(tmp_path, LEVELS, Worker(acc=noisy(of_levels, 0.002)))
    found = contrasts(record)
    truth = {
        ("delta", "deeper + noise"): 0.03,
        ("delta", "deep + flips"): DEEP + FLIPS + TOGETHER,
        ("main", "deep"): DEEP + TOGETHER / 3,
        ("main", "deeper"): 0.08,
        ("main", "flips"): FLIPS + TOGETHER / 3,
        ("main", "noise"): -0.05,
        ("interaction", "deep × flips"): TOGETHER,
    }
    for key, effect in truth.items():
        assert found[key].delta == pytest.approx(effect, abs=0.004), key
        assert found[key].verdict == ("better" if effect > 0 else "worse"), key
    others = [c for c in found.values() if c.kind == "interaction" and c.name != "deep × flips"]
    assert len(others) == 3
    assert {c.verdict for c in others} <= {"equivalent", "inconclusive"}
    assert report.complete
    line = next(line for line in text(folder).splitlines() if line.startswith("- deep × flips"))
    assert "flips harms alone and helps beside deep: together +8" in line
    assert re.search(r"deep gives [45]\.\d+ with as they are and 1[01]\.\d+ with flips;", line)
    assert re.search(r"flips costs [23]\.\d+ with plain and gives [23]\.\d+ with deep\.", line)


@pytest.mark.parametrize("factors", [("network", "pictures"), ("network", "steps")])
@pytest.mark.parametrize("where", ["nothing", "something"])
def test_a_whole_report_of_levels_is_wrong_in_at_most_five_percent(
    factors: tuple[str, str], where: str
) -> None:
    """3x2 and 3x3, by the simulation of `benchmarks.coverage`: no difference, effect or best arm is
    named that is not there, whether all of it is nothing or one level does something.
    """
    sizes = {"network": 3, "pictures": 2, "steps": 3}
    levels = {f: {f"{f} {i}": {f: i} for i in range(sizes[f])} for f in factors}
    design = Crossed(levels=levels)
    truth = {arm.name: 2.0 for arm in design.expand() if arm.levels["network 1"]}
    world = verdicts.World("", design, truth if where == "something" else {})
    row = verdicts.measure(world, 5, 1000, np.random.default_rng(11))
    assert row.good
    assert row.figures["false"][0] <= 0.05
    assert row.figures["contradiction"][0] == 0
    if where == "something":
        assert row.figures["found"][0] > 0.2


ARMS = Arms(
    arms={
        "baseline": {},
        "helps": {"model.dropout": 0.25},
        "idle": {"augment.strength": 1.0},
        "explodes": {"optimizer.lr": 0.5},
        "breaks": {"batch_size": 16},
    }
)


def helps(config: TrainConfig) -> float:
    return 0.6 + DEEP * (config.model.dropout == 0.25)


def test_an_idle_arm_a_diverging_arm_and_a_hole(tmp_path: Path) -> None:
    worker = Worker(
        acc=noisy(helps, 0.002),
        diverges=lambda config: config.optimizer.lr == 0.5,
        fails=lambda config, _: config.batch_size == 16,
        retry=False,
    )
    study = small_study(num_trials=0, replicates=REPLICATES)
    study = study.model_copy(
        update={"ablation": study.ablation.model_copy(update={"design": ARMS})}
    )
    plan = open_plan(tmp_path / "study", study, with_search=False)
    record = drive(plan, worker)
    report = write_report(record, tmp_path / "report")
    ablation, words = read(record).ablation, text(tmp_path / "report")
    found = contrasts(record)
    assert found["delta", "helps"].verdict == "better"
    assert found["delta", "idle"].verdict == "equivalent"
    assert ablation.bold == {"helps"}
    assert {found["delta", arm].verdict for arm in ("explodes", "breaks")} == {"not tested"}
    assert {found["delta", arm].n for arm in ("explodes", "breaks")} == {0}
    assert not report.complete
    assert "INCOMPLETE" in words.split("## Ablation")[0]
    assert "INCOMPLETE" in report.text
    assert "explodes: 5 runs diverged" in words
    assert {hole.arm for hole in ablation.holes} == {"explodes", "breaks"}
    assert any(
        "breaks" in warning and "the worker process died" in warning for warning in report.warnings
    )
    assert any("explodes" in warning and "diverged" in warning for warning in report.warnings)
    assert "every other arm" not in words  # two were not compared


def test_an_idle_arm_in_noise_is_inconclusive_and_never_without_effect(tmp_path: Path) -> None:
    design = Arms(arms={name: ARMS.arms[name] for name in ("baseline", "idle", "helps")})
    record, _, folder = reported(tmp_path, design, Worker(acc=noisy(lambda _: 0.6, 0.03)))
    found, words = contrasts(record), text(folder)
    assert {found["delta", arm].verdict for arm in ("idle", "helps")} == {"inconclusive"}
    assert found["delta", "idle"].low < 0 < found["delta", "idle"].high
    assert "replicates find a true difference of " in words
    assert len(read(record).ablation.bold) != 1
    for claim in (
        "has no effect",
        "had no effect",
        "unnecessary",
        "useless",
        "significant",
        "does not matter",
    ):
        assert claim not in words.lower()


def test_a_factor_that_changes_nothing_is_called_a_wiring_mistake(tmp_path: Path) -> None:
    design = Arms(arms={name: ARMS.arms[name] for name in ("baseline", "idle", "helps")})
    shared = {
        r: round(0.6 + 0.01 * float(np.random.default_rng(r).normal()), 6)
        for r in range(1, REPLICATES + 1)
    }
    worker = Worker(
        acc=lambda config, r: shared[r] + DEEP * (config.model.dropout == 0.25) * (1 + 0.01 * r)
    )
    record, report, folder = reported(tmp_path, design, worker)
    assert contrasts(record)["delta", "idle"].verdict == "not tested"
    assert any("idle" in warning and "wiring mistake" in warning for warning in report.warnings), (
        report.warnings
    )
    rows = list(
        csv.DictReader(next(folder.rglob("contrasts.csv")).open(encoding="utf-8", newline=""))
    )
    assert [row["verdict"] for row in rows if row["name"] == "idle"] == ["not tested"]


@pytest.mark.parametrize(
    "same",
    [
        {"model.dropout": 0.0},
        {"augment.mixup": 0.3},  # the strength is 0
        {"distill.weight": 0.7},
        {"adversary.steps": 5},
        {"pseudo.start": 3},
    ],
)
def test_arms_of_one_configuration_are_refused_before_anything_is_trained(
    same: dict[str, Any], tmp_path: Path
) -> None:
    design = Arms(arms={"baseline": {}, "same": same})
    with pytest.raises(UserError, match="'baseline' and 'same' are the same configuration"):
        reported(tmp_path, design, Worker())
