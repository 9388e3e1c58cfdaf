"""The path from the baseline to the best configuration of a search: steps, order, a study of its
own.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from asked import chosen, options
from driver import DATA, Worker, drive, open_plan
from studies import small_study

from pipeline.ablate import main as ablate
from pipeline.analysis.range_ends import ends
from pipeline.analysis.search_results import read_search
from pipeline.core.config import TrainConfig
from pipeline.errors import UserError
from pipeline.record import events
from pipeline.record.folders import study_folder
from pipeline.record.ledger import FILE, Ledger, read_events
from pipeline.record.record import Record
from pipeline.report.__main__ import main as report
from pipeline.report.sections.next_steps import _wider_ranges
from pipeline.session import resolve
from pipeline.session.derived import derive, derived_name
from pipeline.session.options import Options
from pipeline.session.resolve import from_search
from pipeline.session.resume import BUDGET
from pipeline.study.designs import OrderedPath
from pipeline.study.space import Choice, Float, Int, Space
from pipeline.study.study import Study

BEST = {
    "model.dropout": 0.5,
    "batch_size": 16,
    "optimizer.name": "sgd",
    "optimizer.lr": 0.1,
    "optimizer.momentum": 0.9,
}


def searched(
    folder: Path, trials: list[dict[str, Any]], values: list[float], study: Study | None = None
) -> Record:
    """A recorded search: the baseline as trial 0, then `trials`, each with its val_acc at the top
    rung.
    """
    study = study or small_study(num_rungs=1)
    with Ledger(folder) as ledger:
        ledger.append(
            events.Study(
                id="feed",
                study=study.model_dump(mode="json"),
                data=DATA,
                note="",
                files={},
                core_version=1,
            )
        )
        budget = {key: study.flat()[key] for key in BUDGET}
        facts = {"versions": {}, "commit": "", "machine": {}, "workers": 1}
        ledger.append(events.Session(command="test", budget=budget, default=budget, **facts))
        for number, (knobs, value) in enumerate(zip([{}, *trials], values, strict=True)):
            config = study.baseline.override(knobs)
            ledger.append(
                events.Trial(
                    run=f"t{number}",
                    trial=number,
                    knobs=knobs,
                    asked=None,
                    config=config.model_dump(mode="json"),
                )
            )
            ledger.append(events.Start(run=f"t{number}", rung=0))
            ledger.append(events.Rung(run=f"t{number}", rung=0, value=value))
            ledger.append(events.End(run=f"t{number}", status="complete"))
    return Record.of(read_events(folder))


def steps(study: Study) -> list[list[str]]:
    assert isinstance(study.ablation.design, OrderedPath)
    return [list(step) for step in study.ablation.design.steps]


def test_the_path_ends_at_the_best_configuration(tmp_path: Path) -> None:
    record = searched(tmp_path, [BEST], [0.5, 0.8])
    study = derive(record, record.study)
    arms = study.arms()
    assert arms[0][1] == record.study.baseline
    assert arms[-1][1].model_dump(mode="json") == record.runs["t1"].config
    assert study.name == "small-path"
    assert study.search.num_trials == 0
    assert study.ablation.replicates == record.study.ablation.replicates
    assert study.baseline.dataset == record.study.baseline.dataset
    assert "trial 1, the best of 2 trials" in study.title


def test_around_the_best_each_of_its_changes_is_taken_back_alone(tmp_path: Path) -> None:
    study = small_study(num_rungs=1)
    record = searched(study_folder(tmp_path, study, None), [BEST], [0.5, 0.8])
    found = from_search(options(tmp_path, around="best"), chosen(study)).study
    assert found.name == "small-around"
    assert "trial 1, the best of 2 trials" in found.title
    assert found.question == "Which settings of the best configuration matter?"
    arms = {arm.name: config for arm, config in found.arms()}
    best = TrainConfig.parse(record.runs["t1"].config, source="test")
    assert arms["all 3"] == best
    assert arms["baseline"] == study.baseline
    assert arms["without dropout=0.5"] == best.override({"model.dropout": 0.0})
    assert arms["without batch_size=16"] == best.override({"batch_size": 32})
    back = arms["without sgd"]
    assert back.optimizer == study.baseline.optimizer
    assert len(arms) == 5
    drive(open_plan(study_folder(tmp_path, found, None), found, with_search=False), Worker())
    again = from_search(options(tmp_path, around="best"), chosen(study)).study
    assert again.arms() == found.arms()
    path = from_search(options(tmp_path, path=True), chosen(study)).study
    assert path.name == "small-path"
    renamed = study.override({"ablation.design.reference": "as it was"})
    assert from_search(options(tmp_path, path=True), chosen(renamed)).study.arms() == path.arms()


def test_what_is_said_of_the_best_trial_is_of_the_one_that_the_race_left(tmp_path: Path) -> None:
    """The warning of a range's end was of trial 1, beside 'Best configuration: trial 2'."""
    at_end, inside = {**BEST, "optimizer.lr": 0.3}, {**BEST, "model.dropout": 0.2}
    study = small_study(num_rungs=1).override({"baseline.precision": "fp32"})
    searched(tmp_path, [at_end, inside], [0.5, 0.9, 0.8], study)
    record = Record.of(read_events(tmp_path))
    (before,) = [edge for edge in read_search(record, study).edges if "lr" in edge]
    assert before.startswith("optimizer.sgd.lr = 0.3 at the upper end")
    command = "python -m pipeline.ablate --study small --set space.knobs.model.dropout.high=0.5"
    ((text, line),) = _wider_ranges(record, command.split())
    assert text.startswith(
        "A wider range may hold a better value (model.dropout = 0.5 at the upper"
    )
    wider = [word for word in line.split() if word.startswith("space.")]
    assert line.startswith("python -m pipeline.search --study small --set ")
    assert wider == [
        "space.knobs.model.dropout.high=0.75",
        "space.branches.optimizer.sgd.lr.high=0.9",
    ]
    fields = dict(word.split("=") for word in wider)
    study.override({path: float(bound) for path, bound in fields.items()}).check()
    with Ledger(tmp_path) as ledger:
        ledger.append(events.Race(candidates=["t1", "t2"], winner="t2", arm="best", overrides={}))
    record = Record.of(read_events(tmp_path))
    assert record.stayed() is record.runs["t2"]
    assert not [edge for edge in read_search(record, study).edges if "lr" in edge]
    changes = {"baseline.precision": "auto", "ablation.design.reference": "as it was"}
    grown = resolve.as_recorded(record, study.override(changes))
    assert grown.ablation.found == record.found != {}, "whatever precision a machine resolves to"


@pytest.mark.parametrize(
    ("knob", "value", "wider"),
    [
        (Float(low=0.001, high=0.3, log=True), 0.3, ("high", 0.9)),
        (Float(low=0.001, high=0.3, log=True), 0.001, ("low", 0.00033)),
        (Float(low=0.1, high=0.5), 0.1, ("low", 0.0)),
        (Float(low=0.0, high=2.0), 1.99, ("high", 3.0)),
        (Int(low=2, high=6), 6, ("high", 8)),
        (Int(low=1, high=8, log=True), 1, None),
        (Float(low=0.0, high=1.0, step=0.1), 1.0, None),
    ],
)
def test_a_wider_range_goes_further_where_it_may(
    knob: Float | Int, value: float, wider: tuple[str, float] | None
) -> None:
    (end,) = ends(Space(knobs={"epochs": knob}), {"epochs": value})
    assert end.wider == wider


def test_another_variant_of_a_part_is_one_step(tmp_path: Path) -> None:
    record = searched(tmp_path, [BEST], [0.5, 0.8])
    assert steps(derive(record, record.study)) == [
        ["model.dropout"],
        ["batch_size"],
        ["optimizer.name", "optimizer.lr", "optimizer.momentum"],
    ]


def test_of_the_same_variant_each_knob_is_a_step_and_equal_ones_are_none(tmp_path: Path) -> None:
    knobs = {
        "model.dropout": 0.0,
        "batch_size": 32,
        "optimizer.name": "adam",
        "optimizer.lr": 0.009,
    }
    record = searched(tmp_path, [knobs], [0.5, 0.8])
    assert steps(derive(record, record.study)) == [["optimizer.lr"]]


def test_few_trials_leave_the_order_of_the_space_and_say_so(tmp_path: Path) -> None:
    record = searched(tmp_path, [BEST], [0.5, 0.8])
    title = derive(record, record.study).title
    assert (
        "order of the search space (at most 1 of its trials at one rung lies in it, importance "
        "needs 20)"
    ) in title


def test_the_most_important_step_comes_first(tmp_path: Path) -> None:
    """Batch size decides everything here; the space names it after dropout."""
    rng = np.random.default_rng(3)
    trials, values = [], [0.2]
    for number in range(60):
        dropout, lr = rng.uniform(0, 0.5), 10 ** rng.uniform(-2.9, -0.6)
        trials.append(
            BEST
            | {"model.dropout": dropout, "batch_size": (32, 16)[number % 2], "optimizer.lr": lr}
        )
        trials[-1]["optimizer.momentum"] = rng.uniform(0.5, 0.98)
        values.append(0.5 + 0.4 * (number % 2) + rng.normal(0, 0.002))
    record = searched(tmp_path, trials, values)
    study = derive(record, record.study)
    assert steps(study)[0] == ["batch_size"]
    assert len(steps(study)) == 3
    assert "importance in that search (PED-ANOVA" in study.title
    assert derive(record, record.study) == study


def test_where_no_step_is_above_noise_the_order_is_said_to_be_arbitrary(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    trials = [
        BEST
        | {"model.dropout": rng.uniform(0.01, 0.5), "optimizer.lr": 10 ** rng.uniform(-2.9, -0.6)}
        for _ in range(30)
    ]
    record = searched(tmp_path, trials, [0.2, *(0.5 + rng.normal(0, 0.01) for _ in trials)])
    title = derive(record, record.study).title
    assert "order of their PED-ANOVA shares in that search" in title
    assert "none is above its noise floor, so that another order is as good" in title


def test_searched_epochs_are_those_of_every_arm(tmp_path: Path) -> None:
    study = small_study(num_rungs=1)
    space = study.space.model_dump(mode="json")
    space["knobs"]["epochs"] = {"kind": "int", "low": 2, "high": 9}
    study = study.override({"space": space})
    record = searched(tmp_path, [BEST | {"epochs": 7}], [0.5, 0.8], study)
    path = derive(record, study)
    assert {config.epochs for _, config in path.arms()} == {7}
    assert all("epochs" not in step for step in steps(path))


def test_a_baseline_that_won_has_no_path(tmp_path: Path) -> None:
    record = searched(tmp_path, [BEST], [0.9, 0.8])
    with pytest.raises(UserError, match=r"'small': --path: .* number 0, is the baseline"):
        derive(record, record.study)


def test_without_a_search_there_is_no_path() -> None:
    with pytest.raises(UserError, match=r"'small': --path: no search of it is recorded"):
        derive(Record(), small_study())


def test_a_long_name_stays_a_name() -> None:
    for way in ("path", "around"):
        assert len(derived_name("x" * 64, way)) == 64
        assert derived_name("x" * 64, way).endswith(f"-{way}")


def test_the_recorded_path_goes_on_even_if_the_search_finds_another_best(tmp_path: Path) -> None:
    study = small_study(num_rungs=1)
    searched(study_folder(tmp_path, study, None), [BEST], [0.5, 0.8])
    found = from_search(options(tmp_path, path=True), chosen(study))
    path = found.study
    assert found.searched is not None
    assert found.searched["fingerprint"] == DATA["fingerprint"]
    assert found.budget["search.num_trials"] == 0
    plan = open_plan(study_folder(tmp_path, path, None), path, with_search=False)
    drive(plan, Worker())
    assert len(plan.record.runs) == 4 * study.ablation.replicates
    assert all(run.replicate for run in plan.record.runs.values()), (
        "no step is measured on a trial of the search"
    )
    folder = study_folder(tmp_path, study, None)
    (folder / FILE).unlink()
    searched(folder, [BEST, BEST | {"batch_size": 32}], [0.5, 0.8, 0.9])
    again = from_search(options(tmp_path, path=True), chosen(study)).study
    assert again.arms() == path.arms()
    longer = study.override({"ablation.replicates": 4})
    again = from_search(options(tmp_path, path=True, replicates=4), chosen(longer)).study
    assert again.ablation.replicates == 4
    assert again.arms() == path.arms()
    anew = from_search(options(tmp_path, path=True, fresh=True), chosen(study)).study
    assert [len(steps(one)) for one in (path, anew)] == [3, 2]


def test_a_search_that_has_grown_since_makes_the_path_anew(tmp_path: Path) -> None:
    study = small_study(num_rungs=1, num_trials=2)
    folder = study_folder(tmp_path, study, None)
    searched(folder, [BEST], [0.5, 0.8])
    path = from_search(options(tmp_path, path=True), chosen(study)).study
    drive(open_plan(study_folder(tmp_path, path, None), path, with_search=False), Worker())
    knobs = {**study.space.knobs, "batch_size": Choice(options=(16, 32, 64))}
    wider = study.override(
        {"space": {**study.space.model_dump(), "knobs": knobs}, "search.num_trials": 9}
    )
    with pytest.raises(UserError, match=r"recorded with other settings:\nspace\.knobs\.batch_size"):
        from_search(options(tmp_path, path=True), chosen(wider))
    drive(open_plan(folder, wider), Worker(acc=lambda config, _: 0.9 + config.batch_size / 1000))
    found = from_search(options(tmp_path, path=True), chosen(wider))
    assert found.study.arms() != path.arms()
    best = Record.of(read_events(folder)).best_trial()
    assert best is not None
    assert best.config["batch_size"] == 64
    assert found.study.arms()[-1][1].batch_size == 64


def test_flags_other_than_those_of_the_search_are_refused(tmp_path: Path) -> None:
    study = small_study(num_rungs=1)
    searched(study_folder(tmp_path, study, None), [BEST], [0.5, 0.8])
    other = study.override({"baseline.epochs": 9})
    with pytest.raises(UserError, match=r"baseline\.epochs: recorded 3, now 9"):
        from_search(options(tmp_path, path=True), chosen(other))


def test_the_command_says_what_is_missing_and_creates_nothing(tmp_path: Path) -> None:
    args = ["--study", "hw3", "--path", "--mlruns", str(tmp_path / "mlruns")]
    with pytest.raises(UserError, match=r"'hw3': --path: no search of it is recorded"):
        ablate(args)
    assert not (tmp_path / "mlruns").exists()


def test_the_report_of_the_path_is_written_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("FOOD11", raising=False)
    asked = resolve.chosen(Options("pipeline.ablate", "hw3"))
    study = asked.study.override({"baseline.precision": "fp32", "baseline.epochs": 2})
    searched(
        study_folder(tmp_path, study, None),
        [{"batch_size": 64, "augment.strength": 1.5}],
        [0.5, 0.8],
        study,
    )
    path = from_search(options(tmp_path, path=True), chosen(study)).study
    folder = study_folder(tmp_path, path, None)
    drive(open_plan(folder, path, with_search=False, note=asked.note), Worker())
    assert report(["--study", "hw3", "--path", "--mlruns", str(tmp_path)]) == 0
    page = (folder / "report" / "report.md").read_text()
    assert "the path from the baseline to trial 1, the best of 2 trials" in page
    assert "order of the search space" in page
    assert "Steps: every arm minus the one before it" in page
