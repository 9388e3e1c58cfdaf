"""The plain executor: real segments of a plan, one after another, in this process."""

import math
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.data.cache import prepare
from pipeline.data.datasets import Digits
from pipeline.engine import in_process, worker
from pipeline.engine.interrupts import Interrupts
from pipeline.engine.queue import Plan
from pipeline.machine import Resources
from pipeline.report.compose import document, read
from pipeline.study.schedulers import SCHEDULERS
from pipeline.study.study import Study
from tests import commands
from tests.driver import open_plan
from tests.records import lines
from tests.studies import small_study

FEW = {"num_train": 480, "num_valid": 1200}


@pytest.fixture(autouse=True)
def _own_process() -> Iterator[None]:
    with commands.as_it_was():
        yield


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepare(Digits(**FEW), None, tmp_path_factory.mktemp("cache")).path


ARMS = {"baseline": {}, "dropout": {"model.dropout": 0.25}}


def few(**search: Any) -> Study:
    """A small study of two arms with few pictures left to test on and to draw planes of."""
    dataset = {f"baseline.dataset.{name}": value for name, value in FEW.items()}
    design = {"ablation.design": {"name": "arms", "arms": ARMS}}
    return small_study(replicates=1, **search).override(dataset | design)


def study() -> Study:
    return few(num_trials=2)


def trained(plan: Plan, cache: Path, interrupts: Interrupts, **rest: object) -> list[tuple]:
    """Run the plan; the epochs that its ledger holds, as (run, epoch)."""
    in_process.run(plan, Resources(1, 0.0), cache, interrupts=interrupts, **rest)  # type: ignore[arg-type]
    plan.ledger.close()
    told = lines(plan.ledger.folder)
    return [(e["run"], e["metrics"]["epoch"]) for e in told if e["type"] == "epoch"]


def test_all_is_trained_here_and_a_stop_at_an_epoch_repeats_nothing(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    where: list[int] = []
    real = worker.train

    def watched(*args: object, **rest: object) -> object:
        where.append(os.getpid())
        return real(*args, **rest)  # type: ignore[arg-type]

    monkeypatch.setattr(worker, "train", watched)
    interrupts, plan = Interrupts(), open_plan(tmp_path, study())

    def stop() -> None:
        if sum(len(run.epochs) for run in plan.record.runs.values()) == 2:
            interrupts.signal = signal.SIGINT

    assert len(trained(plan, cache, interrupts, on_step=stop)) == 2
    plan = open_plan(tmp_path, study())
    epochs = trained(plan, cache, Interrupts())
    assert len(epochs) == len(set(epochs))
    assert {run.status for runs in plan.record.arms().values() for run in runs} == {"complete"}
    assert plan.done()
    assert set(where) == {os.getpid()}
    assert math.ulp(0.0) * float(1) > 0, "the smallest numbers are no 0 for who called"


@pytest.mark.parametrize("scheduler", sorted({*SCHEDULERS} - {"promotion"}))  # others' default
def test_a_search_by_every_scheduler_is_trained_here(
    tmp_path: Path, cache: Path, scheduler: str
) -> None:
    """Interrupted once, taken up again, and told to its reader."""
    way = few(epochs=3, num_trials=5, scheduler=scheduler)
    interrupts, plan = Interrupts(), open_plan(tmp_path, way, with_search=True)

    def stop() -> None:
        if sum(len(run.epochs) for run in plan.record.runs.values()) == 4:
            interrupts.signal = signal.SIGINT

    trained(plan, cache, interrupts, on_step=stop)
    plan = open_plan(tmp_path, way)
    epochs = trained(plan, cache, Interrupts())
    assert len(epochs) == len(set(epochs))
    trials = plan.record.trials()
    assert len(trials) == 5
    assert plan.record.best_trial().status == "complete"  # type: ignore[union-attr]
    ladder = way.search.ladder
    for run in trials:
        assert len(run.epochs) == ladder.stop(3, max(run.rungs))
        assert min(run.rungs) == ladder.first(3, run.number)
    if scheduler == "none":
        assert {run.status for run in trials} == {"complete"}
    said = "\n".join(str(block) for block in document(read(plan.record), frozenset()).blocks)
    assert way.search.way in said


def test_at_the_deadline_nothing_more_is_begun(tmp_path: Path, cache: Path) -> None:
    plan = open_plan(tmp_path, study())
    assert trained(plan, cache, Interrupts(), deadline=0.0) == []
    assert not plan.record.runs


def test_an_error_of_a_run_shows_its_traceback_and_fails_the_run(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    real = worker._pictures

    def broken(order: worker.Order) -> object:
        if order.config.model.dropout > 0:  # type: ignore[union-attr]
            raise ValueError("no such layer")
        return real(order)

    monkeypatch.setattr(worker, "_pictures", broken)
    plan = open_plan(tmp_path, few(num_trials=0))
    trained(plan, cache, Interrupts())
    printed = capfd.readouterr().err
    assert "Traceback (most recent call last)" in printed
    assert "in broken" in printed
    assert {run.arm: run.error for run in plan.record.runs.values() if run.status == "failed"} == {
        "dropout": "ValueError: no such layer"
    }


STEPPED = """
import runpy, sys
from pipeline.engine import worker
real = worker.train

def train(config, *rest, **more):
    breakpoint()
    return real(config, *rest, **more)

worker.train = train
runpy.run_module("pipeline.ablate", run_name="__main__")
"""


def test_debug_stops_at_breakpoints_and_loads_no_ray(tmp_path: Path) -> None:
    home = tmp_path / "mlruns"
    (tmp_path / "study.json").write_text(few(epochs=1).model_dump_json())
    flags = ("--study", tmp_path / "study.json", "--debug")
    done = subprocess.run(
        (sys.executable, "-c", STEPPED, *map(str, flags), "--mlruns", str(home), "-v"),
        input="c\nimport sys\np 'ray' in sys.modules\nq\n",
        cwd=commands.ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 130, done.stdout + done.stderr
    assert "interrupted after" in done.stdout
    assert done.stdout.count("(Pdb)") == 4
    assert "False" in done.stdout
    assert "val_acc" in done.stdout
    runs = commands.record(home).runs.values()
    assert [run.status for run in runs] == ["complete", "running"]
    assert commands.here("ablate", *flags, home=home) == 0, commands.output(home)
    runs = commands.record(home).runs.values()
    assert [run.status for run in runs] == ["complete"] * 2


def test_debug_is_one_run_after_another(capsys: pytest.CaptureFixture[str]) -> None:
    from pipeline.search import main

    with pytest.raises(SystemExit) as ended:
        main(["--study", "hw3", "--debug", "--workers", "2"])
    assert ended.value.code == 2
    assert "--debug: trains one run after another; got --workers 2" in " ".join(
        capsys.readouterr().err.split()
    )
