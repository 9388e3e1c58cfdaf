"""The plan written before results, and the pilot: from the commands' own plan over a real
ledger.
"""

import json
import math
from dataclasses import replace
from pathlib import Path
from statistics import stdev

import numpy as np
import pytest
from driver import Worker, open_plan, quality, train
from records import Scribe, make_study
from scipy import stats
from studies import small_study

from benchmarks.coverage import pilots
from pipeline.analysis.pilot import detectable, replicates_for, sentence
from pipeline.analysis.preregistration import Outlook, expected, lines, outline
from pipeline.core.config import TrainConfig
from pipeline.record import events
from pipeline.record.ledger import read_events
from pipeline.record.record import Record
from pipeline.report import write_report
from pipeline.session.dry_run import preview
from pipeline.study.designs import Arms
from pipeline.study.judged import Judged
from pipeline.study.study import Study

PLAN, JSON = "plan.md", "plan.json"


def wide(config: TrainConfig, replicate: int) -> float:
    """Runs of an arm that spread by 20 points, whatever else its configuration says."""
    return (0.35, 0.75, 0.5, 0.4, 0.7)[replicate - 1] + quality(config, replicate) / 100


def conduct(
    folder: Path, study: Study, worker: Worker | None = None, *, workers: int = 1
) -> tuple[Record, list[str]]:
    """Train the arms as a session does, the outlook following; returns the record and what was
    said.
    """
    said: list[str] = []
    holder: list[Outlook] = []
    plan = open_plan(
        folder,
        study,
        with_search=False,
        listener=lambda event: [one.event(event) for one in holder],
    )
    holder.append(Outlook(study, plan.ledger, plan.record, workers, said.append))
    step = plan.finish

    def finish(key: str, outcome: dict[str, object]) -> None:
        step(key, outcome)
        holder[0].step()

    plan.finish = finish  # type: ignore[method-assign]
    try:
        train(plan, worker or Worker(), workers=workers)
    finally:
        plan.ledger.close()
    return plan.record, said


def kinds(folder: Path) -> list[str]:
    return [event.kind for event in read_events(folder)]


def test_the_plan_is_written_once_and_before_any_run(tmp_path: Path) -> None:
    study = small_study(replicates=4)
    conduct(tmp_path, study)
    told = kinds(tmp_path)
    assert told.count("plan") == 1
    assert told.index("plan") < told.index("arm")
    conduct(tmp_path, study)
    assert kinds(tmp_path).count("plan") == 1
    tree = json.loads((tmp_path / JSON).read_text())
    plan = tree["plan"]
    assert (plan["runs"], plan["epochs"], plan["epochs_per_run"], plan["replicates"]) == (
        16,
        48,
        3,
        4,
    )
    assert plan["arms"]["dropout + augmentation"] == {
        "model.dropout": 0.25,
        "augment.strength": 1.0,
    }
    assert {family: len(asked) for family, asked in plan["questions"].items()} == {
        "differences from baseline": 3,
        "main effects and interactions": 3,
    }
    assert (plan["reports"], plan["margin"], plan["tuning"]) == (
        "test_acc",
        0.01,
        {"policy": "fixed"},
    )
    assert not tree["after_results"]
    assert tree["changed"] == []


def test_arms_of_their_own_length_are_planned_as_long(tmp_path: Path) -> None:
    study = small_study(num_trials=0, replicates=3)
    design = Arms(arms={"baseline": {}, "long": {"epochs": 5}})
    study = study.model_copy(
        update={"ablation": study.ablation.model_copy(update={"design": design})}
    )
    record, _ = conduct(tmp_path, study)
    runs = record.arms()
    assert {arm: [len(run.epochs) for run in own] for arm, own in runs.items()} == {
        "baseline": [3, 3, 3],
        "long": [5, 5, 5],
    }
    plan = json.loads((tmp_path / JSON).read_text())["plan"]
    assert (plan["epochs"], plan["epochs_by_arm"]) == (24, {"baseline": 3, "long": 5})
    assert "6 runs of 3 or 5 epochs each, 24 epochs in all" in (tmp_path / PLAN).read_text()


def test_a_changed_plan_is_written_again_and_marked(tmp_path: Path) -> None:
    conduct(tmp_path, small_study(replicates=3))
    record, _ = conduct(tmp_path, small_study(replicates=4))
    first, second = record.plans
    assert not first.after_results
    assert second.after_results
    assert second.changed == ["epochs", "replicates", "runs"]
    text = (tmp_path / PLAN).read_text()
    assert "epochs, replicates, runs; after results of the arms existed" in text
    write_report(record, tmp_path / "report")
    page = (tmp_path / "report/report.md").read_text()
    assert "Written at" in page
    assert "before any arm had a result" in page
    assert "(epochs, replicates, runs): what follows from the change is exploratory" in page


@pytest.mark.parametrize("workers", [1, 3])
def test_the_pilot_goes_first_and_is_told_once(tmp_path: Path, workers: int) -> None:
    study = small_study(replicates=5)
    record, said = conduct(tmp_path, study, Worker(acc=wide), workers=workers)
    begun = [
        (event.arm, event.replicate)
        for event in read_events(tmp_path)
        if isinstance(event, events.Arm)
    ]
    assert begun[:3] == [("baseline", 1), ("baseline", 2), ("baseline", 3)]
    assert begun[3:6] == [("dropout", 1), ("augmentation", 1), ("dropout + augmentation", 1)]
    assert begun[-4] == ("baseline", 5)
    assert len(set(begun)) == 20
    assert kinds(tmp_path).count("pilot") == 1
    values = [run.test_acc for run in record.arms()["baseline"][:3] if run.test_acc is not None]
    pilot = record.pilot
    assert pilot
    assert pilot.sd == pytest.approx(stdev(values))
    assert pilot.metric == "test_acc"
    assert pilot.seconds_per_epoch == 0.5
    assert [" ".join(text.split()) for text in said] == [sentence(pilot, Judged())]
    assert pilot.sd_upper == pytest.approx(pilot.sd * math.sqrt(2 / stats.chi2.ppf(0.15, 2)))
    text = " ".join(said[0].split())
    assert pilot.detectable[0]["corrected"] > 1  # these runs spread by 20 points
    assert text.startswith("pilot: with 5 replicates you can see no difference; for ")
    for wanted in pilot.replicates_for:
        assert f"for {100 * wanted['size']:.2g} points use {wanted['replicates']}" in text
    assert "after correction over 6. 3 runs of baseline have sd" in text
    assert all(len(line) <= 80 for line in said[0].splitlines())
    plan = " ".join((tmp_path / PLAN).read_text().split())
    assert text.removeprefix("pilot: ") in plan
    assert "not known before" not in plan
    assert json.loads((tmp_path / JSON).read_text())["pilot"]["sd"] == pilot.sd
    conduct(tmp_path, study)
    assert kinds(tmp_path).count("pilot") == 1


def test_hours_are_measured_or_said_to_be_unknown(tmp_path: Path) -> None:
    study = small_study(replicates=5)
    record, _ = conduct(tmp_path, study, workers=2)
    assert record.plans[0].expected == {"epochs_left": 60, "hours": None}
    assert record.pilot
    ahead = record.pilot.expected
    assert (ahead["seconds_per_epoch"], ahead["workers"]) == (0.5, 2)
    assert ahead["hours"] == pytest.approx(ahead["epochs_left"] * 0.5 / 2 / 3600, abs=1e-5)
    assert ahead["epochs_left"] <= 60 - 9
    assert expected(study, record, 2)["epochs_left"] == 0


@pytest.mark.parametrize("replicates", [1, 2])
def test_no_pilot_of_fewer_than_three_replicates(tmp_path: Path, replicates: int) -> None:
    record, said = conduct(tmp_path, small_study(replicates=replicates))
    assert (record.pilot, said) == (None, [])
    assert "pilot         none: it takes 3 replicates" in (tmp_path / PLAN).read_text()


def test_no_pilot_where_a_run_of_it_diverged(tmp_path: Path) -> None:
    worker = Worker(
        diverges=lambda config: (
            config.model.dropout == 0 and getattr(config.augment, "strength", 0) == 0
        )
    )
    record, said = conduct(tmp_path, small_study(replicates=3), worker)
    assert (record.pilot, said) == (None, [])


def test_the_detectable_difference_is_what_a_t_test_finds() -> None:
    """Against a simulation-free reference: power of the paired t at the stated difference is 80
    %.
    """
    study = small_study(replicates=5)
    (differences, effects) = detectable(study, 0.012, "last_val_acc")
    for alpha, size in ((0.05, differences["alone"]), (0.05 / 6, differences["corrected"])):
        shift = size / (math.sqrt(2) * 0.012 / math.sqrt(5))
        power = stats.nct.sf(stats.t.ppf(1 - alpha / 2, 4), 4, shift)
        assert power == pytest.approx(0.8, abs=1e-3)
    assert (differences["size"], effects["size"]) == (6, 6)
    assert effects["alone"] == pytest.approx(
        differences["alone"] * 2 / math.sqrt(2)
    )  # the interaction adds up four arms
    official = study.override({"baseline.split": "official"})
    assert (
        detectable(official, 0.012, "test_acc")[0]["alone"] < differences["alone"]
    )  # more degrees of freedom


def test_the_replicates_to_use_are_the_fewest_that_see_the_size() -> None:
    study = small_study(replicates=5)
    seen = detectable(study, 0.03, "test_acc")[0]["corrected"]
    half, quarter = replicates_for(study, 0.03, "test_acc")
    assert half["size"] <= seen / 2 < 2.5 * half["size"]
    assert quarter["size"] <= seen / 4 < 2.5 * quarter["size"]
    for wanted in (half, quarter):
        enough, fewer = (
            detectable(study.override({"ablation.replicates": n}), 0.03, "test_acc")[0]["corrected"]
            for n in (wanted["replicates"], wanted["replicates"] - 1)
        )
        assert enough <= wanted["size"] < fewer
    assert (
        replicates_for(study.override({"ablation.replicates": 900}), 0.03, "test_acc")[1][
            "replicates"
        ]
        is None
    )


def test_four_of_five_pilots_keep_their_promise() -> None:
    for row in pilots.simulate(1500, np.random.default_rng(3)):
        assert row.good or not row.counts, row


def test_a_pilot_says_what_it_saw_and_an_older_one_promises_nothing() -> None:
    found = {"family": "differences from baseline", "size": 3, "alone": 0.1, "corrected": 0.13}
    older = events.Pilot(
        arm="baseline",
        metric="test_acc",
        runs=3,
        sd=0.041,
        seconds_per_epoch=1.0,
        replicates=5,
        detectable=[found],
        expected={"epochs_left": 0, "hours": 0.0},
    )
    sizes = [{"size": 0.05, "replicates": 24}, {"size": 0.03, "replicates": None}]
    pilot = replace(older, sd_upper=0.1, replicates_for=sizes)
    assert sentence(pilot, Judged()).startswith(
        "pilot: with 5 replicates you can see differences of 13 points or more; for 5 points use "
        "24; for 3 points use more than 1,000. To see is to find in 80 % of studies after "
        "correction over 3."
    )
    for size, said in (
        (0.2347, "differences of 24 points"),
        (0.0312, "differences of 3.2 points"),
        (0.995, "no difference"),
    ):
        seen = replace(pilot, detectable=[found | {"corrected": size}])
        assert f"you can see {said}" in sentence(seen, Judged()), (
            "rounded down it would promise more"
        )
    assert sentence(older, Judged()) == (
        "pilot: 3 runs of baseline have sd 4.1 points. If that were the truth, 5 replicates would "
        "find a difference of 13 points with 80 % power after correction over 3."
    )


def test_a_study_that_grew_keeps_its_pilot_while_the_reference_stays_what_it_is(
    tmp_path: Path,
) -> None:
    """And its plan knows of results, though their arm is no part of it any more."""

    def arms(reference: float, **named: float) -> Study:
        levels = {"baseline": reference, **named}
        made = {arm: {"model.dropout": level} for arm, level in levels.items()}
        study = small_study(num_trials=0, replicates=3)
        return study.override({"ablation.design": {"name": "arms", "arms": made}})

    first, said = conduct(tmp_path, arms(0.0, other=0.1))
    assert (first.plans[0].after_results, len(said)) == (False, 1)
    same, said = conduct(tmp_path, arms(0.0, more=0.2))
    assert (same.plans[-1].after_results, said, same.pilot) == (True, [], first.pilot)
    anew, said = conduct(tmp_path, arms(0.3, last=0.4))
    assert anew.plans[-1].after_results, "of arms that it has no more"
    assert first.pilot is not None
    assert anew.pilot is not None
    assert (len(said), anew.pilot.seq > first.pilot.seq) == (1, True), "of another reference"


def test_an_older_record_is_reported_and_gone_on_with(tmp_path: Path) -> None:
    scribe = Scribe(tmp_path / "study", make_study(replicates=3, num_trials=0, epochs=2))
    scribe.session()
    scribe.arms()
    record = scribe.record()
    assert record.plans == []
    write_report(record, tmp_path / "report")
    assert "The plan" not in (tmp_path / "report/report.md").read_text()


def test_results_that_were_there_before_make_no_pilot(tmp_path: Path) -> None:
    study = small_study(replicates=3)
    plan = open_plan(tmp_path, study, with_search=False)
    train(plan, Worker())
    plan.ledger.close()
    record, said = conduct(tmp_path, study)
    assert record.plans[0].after_results
    assert (record.pilot, said) == (None, [])


def test_the_report_shows_the_pilot_beside_the_results(tmp_path: Path) -> None:
    record, said = conduct(tmp_path, small_study(replicates=5), Worker(acc=wide))
    write_report(record, tmp_path / "report")
    page = (tmp_path / "report/report.md").read_text()
    section = page[page.index("## The plan") :]
    assert "| family | corrected over | pilot, one alone | pilot, corrected |" in section
    assert "results, corrected" in section
    assert "Pilot: with 5 replicates you can see no difference; for 50 points use" in section
    assert "not known before" not in section
    assert said


def test_a_dry_run_says_what_the_plan_would(tmp_path: Path) -> None:
    study = small_study(replicates=5)
    text = preview(study, None, "", tmp_path / "none", with_search=False)
    assert "4 arms x 5 replicates = 20 runs, 60 epochs" in text
    assert max(len(line) for line in text.splitlines() if " " in line.strip()) <= 80, (
        "but for a path, which is one word"
    )
    for what, said in lines(outline(study)):
        assert said in " ".join(text.split()) or what in ("runs", "arms")
    assert list(tmp_path.iterdir()) == []


def test_hostile_names_stay_inert_in_the_plan(tmp_path: Path) -> None:
    hostile = "<script>|# x\n# y\x1b[31m"
    study = small_study(replicates=1)
    ablation = study.ablation.model_copy(
        update={"design": Arms(arms={"baseline": {}, hostile: {"model.dropout": 0.1}})}
    )
    conduct(tmp_path, study.model_copy(update={"ablation": ablation}))
    text = (tmp_path / PLAN).read_text()
    assert "\x1b" not in text
    first, blank, *rest = text.splitlines()
    assert (first, blank) == ("# Plan of the study", "")
    assert all(line.startswith("    ") for line in rest)


@pytest.mark.parametrize(("labelled", "judged"), [(0, "last_val_acc"), (3, "test_acc")])
def test_the_plan_names_the_number_that_will_judge(labelled: int, judged: str) -> None:
    """HW3's test pictures have no label: the plan said that they would judge."""
    data = {
        "title": "food",
        "fingerprint": "f",
        "counts": {"test": 9},
        "labelled": {"test": labelled},
    }
    assert outline(small_study(), data)["reports"] == judged


def test_a_pilot_without_spread_promises_nothing(tmp_path: Path) -> None:
    record, said = conduct(tmp_path, small_study(replicates=3), Worker(acc=lambda *_: 0.6))
    assert record.pilot
    assert record.pilot.sd == 0
    words = " ".join(said[0].split())
    assert words.startswith(
        "pilot: 3 runs of baseline have the same value: what 3 replicates can see is not known."
    )
    assert "points" not in words


@pytest.mark.parametrize(
    ("epochs", "said"),
    [
        (9, "rungs at epochs 1, 3, 9"),
        (2, "rungs at epochs 1, 2 (the last 2 of 3 rungs: runs are too short for earlier ones)"),
        (1, "rungs at epochs 1 (the last of 3 rungs: runs are too short for earlier ones)"),
    ],
)
def test_a_dry_run_numbers_the_rungs_as_the_search_does(
    epochs: int, said: str, tmp_path: Path
) -> None:
    study = small_study(epochs=epochs).override({"search.num_rungs": 3, "search.reduction": 3})
    text = " ".join(preview(study, None, "", tmp_path, with_search=True).split())
    assert f"; {said}; about " in text


@pytest.mark.parametrize(
    ("scheduler", "said"),
    [
        ("promotion", "rungs at epochs 3, 9, 27; about 70 epochs"),
        ("stopping", "rungs at epochs 3, 9, 27; about 70 epochs"),
        (
            "hyperband",
            "rungs at epochs 3, 9, 27, of the trials first judged 58 % at 3, 27 % at 9, 15 % at 27;"
            " about 122 epochs",
        ),
        ("median", "rungs at epochs 9, 12, 15, 18, 21, 24, 27; about 200 epochs"),
        ("none", "every trial is trained in full; 270 epochs"),
    ],
)
def test_a_dry_run_says_where_a_scheduler_judges_and_what_it_takes(
    scheduler: str, said: str, tmp_path: Path
) -> None:
    study = small_study(epochs=27, num_trials=10, scheduler=scheduler)
    text = " ".join(preview(study, None, "", tmp_path, with_search=True).split())
    assert f"search 10 trials (tpe, {scheduler}, seed 0); {said} " in text
