"""What the report says of tuned arms: what was spent, what was chosen, what that limits."""

from pathlib import Path

import pytest

from pipeline.analysis.results import read_ablation
from pipeline.analysis.tuning_effort import UNTUNED, Effort, efforts, untuned
from pipeline.record import events
from pipeline.record.record import Record
from pipeline.report import compose, frames
from pipeline.report.sections.tuning import column, hyperparameters, unpromoted, warnings
from pipeline.study.designs import Arms
from pipeline.study.space import Choice, Float, Space
from pipeline.study.study import Study
from pipeline.study.tuning import Fixed, PerArm, Replicated
from tests.driver import Worker, drive, open_plan, quality
from tests.records import Scribe, make_study
from tests.studies import small_study


def tuned_study(tuning=None, *, arms=None, **fields) -> Study:
    """Wide learning rates, which `upward` wants as high as they go."""
    space = Space(
        knobs={
            "optimizer.lr": Float(low=1e-4, high=1e-1, log=True),
            "batch_size": Choice(options=(16, 32)),
        }
    )
    study = small_study(
        **{"epochs": 4, "num_trials": 0, "replicates": 3, "reduction": 2, "space": space, **fields}
    )
    design = Arms(arms=arms or {"baseline": {}, "strong": {"augment.strength": 1.0}})
    ablation = study.ablation.model_copy(
        update={"tuning": tuning or PerArm(num_trials=6), "design": design}
    )
    return study.model_copy(update={"ablation": ablation})


def upward() -> Worker:
    """The higher the learning rate the better, and a little luck of the split."""
    return Worker(
        acc=lambda config, r: round(0.3 + 5 * config.optimizer.lr + 0.01 * quality(config, r), 6)
    )


def page(record: Record) -> str:
    return compose.texts(compose.read(record), {})["report.md"]


def test_efforts_are_what_was_spent(tmp_path):
    study = tuned_study()
    record = drive(open_plan(tmp_path, study), upward())
    found = efforts(record, study)
    assert list(found) == ["baseline", "strong"]
    for arm, effort in found.items():
        runs = record.trials(f"arm:{arm}")
        assert (effort.num_trials, effort.planned, effort.failed) == (6, 6, 0)
        assert effort.num_epochs == sum(len(run.epochs) for run in runs) > 0
        assert effort.seconds == sum(run.seconds for run in runs) > 0
        best = record.best_trial(f"arm:{arm}")
        assert effort.chosen["optimizer.lr"] == best.config["optimizer"]["lr"]
        assert set(effort.chosen) <= {"optimizer.lr", "batch_size"}
    table = frames.read(compose.read(record))["arms"]
    assert list(table["tune_trials"]) == [6, 6]
    ends = [sum(run.status == "complete" for run in record.trials(f"arm:{arm}")) for arm in found]
    assert list(table["tune_complete"]) == ends
    assert all(0 < number < 6 for number in ends), "successive halving sends few to the end"
    assert all(
        f"{arm}](#runs-{at}) | 6 | {number} |" in page(record)
        for at, (arm, number) in enumerate(zip(found, ends, strict=True), 1)
    )
    assert list(table["tune_epochs"]) == [effort.num_epochs for effort in found.values()]
    assert set(frames.read(compose.read(record))["runs"]["search"].dropna()) >= {
        "arm:baseline",
        "arm:strong",
    }


def test_a_best_value_at_an_end_of_the_arms_own_space_is_told(tmp_path):
    space = Space(knobs={"optimizer.lr": Float(low=1e-5, high=3e-4, log=True)})
    study = tuned_study(space=space)  # the baseline's own rate is the upper end
    record = drive(
        open_plan(tmp_path, study),
        Worker(acc=lambda config, _: round(0.3 + 5 * config.optimizer.lr, 9)),
    )
    found = efforts(record, study)
    assert found["strong"].edges == (
        "optimizer.lr = 0.0003 at the upper end of 1e-05 … 0.0003 (log)",
    )
    assert found["strong"].chosen == {}
    told = "strong: its best value lies at the end of a range, optimizer.lr = 0.0003"
    assert any(warning.startswith(told) for warning in compose.read(record).warnings)
    assert "as defined" in page(record)


def test_of_replicated_searches_every_choice_is_shown_and_the_scope_is_the_recipe(tmp_path):
    study = tuned_study(Replicated(num_trials=9))
    record = drive(open_plan(tmp_path, study), upward())
    assert read_ablation(record, study).basis.scope.startswith(
        "recipe incl. tuning, on this test set"
    )
    rates = [run.config["optimizer"]["lr"] for run in record.arms()["strong"]]
    chosen = str(efforts(record, study)["strong"].chosen["optimizer.lr"]).split(" | ")
    assert [float(text) for text in chosen] == pytest.approx(rates, rel=0.01)
    text = page(record)
    assert "recipe incl. tuning" in text
    assert "Each replicate of each arm was tuned by a search of its own, of 3 trials" in text


@pytest.mark.parametrize(
    ("tuning", "said", "unsaid"),
    [
        (
            Fixed(),
            "none was tuned for an arm. Tuned arms could rank differently.",
            "search of its own",
        ),
        (
            PerArm(num_trials=2),
            "Each arm was tuned by a search of its own, of 2 trials",
            "none was tuned",
        ),
        (Replicated(num_trials=6), "The intervals cover the luck of the tuning.", "none was tuned"),
    ],
    ids=["fixed", "per_arm", "replicated"],
)
def test_the_report_says_whose_hyperparameters_the_arms_have(tmp_path, tuning, said, unsaid):
    study = tuned_study(tuning)
    record = drive(open_plan(tmp_path, study), upward())
    found = compose.read(record)
    texts = compose.texts(found, {})
    assert said in hyperparameters(study)
    for name in ("report.md", "report.html", "ablation.tex"):
        assert said in " ".join(texts[name].split())
        assert unsaid not in texts[name]
    assert ("recipe incl. tuning" in texts["report.md"]) == (tuning.name == "replicated")
    assert ("Tuning: what each arm" in texts["report.md"]) == (tuning.name != "fixed")


def test_an_arm_whose_trials_were_all_lost_is_a_hole_with_that_reason(tmp_path):
    study = tuned_study()
    worker = upward()
    worker.diverges = lambda config: config.augment.strength > 0
    record = drive(open_plan(tmp_path, study), worker)
    why = "no configuration: all 6 trials of its search diverged"
    assert untuned(record, study) == {("strong", replicate): why for replicate in (1, 2, 3)}
    ablation = read_ablation(record, study)
    assert [(hole.arm, hole.replicate, hole.why) for hole in ablation.holes] == [
        ("strong", r, why) for r in (1, 2, 3)
    ]
    assert ablation.empty == {"strong": why}
    assert f"strong ({why})" in page(record)


def test_a_search_cut_short_and_failed_trials_are_unequal_effort(tmp_path):
    study, worker = tuned_study(), upward()
    plan = open_plan(tmp_path, study)
    for _ in range(6):
        worker.run(plan, plan.next())
    plan.ledger.close()
    record = plan.record
    text = "\n".join(compose.read(record).warnings)
    assert (
        "baseline: its search was cut short" in text
        or "strong: its search was cut short, 0 of 6 trials" in text
    )
    failing = upward()
    failing.fails, failing.retry = (
        (lambda config, _: config.augment.strength > 0 and config.batch_size == 16),
        False,
    )
    record = drive(open_plan(tmp_path, study), failing)
    num_failed = sum(run.status == "failed" for run in record.trials("arm:strong"))
    assert num_failed > 0
    assert f"strong: {num_failed} trial" in "\n".join(compose.read(record).warnings)


def test_an_arm_with_nothing_to_tune_says_so(tmp_path):
    space = Space(knobs={"model.plain": Choice(options=(True, False))})
    study = tuned_study(space=space, arms={"baseline": {}, "resnet": {"model.name": "resnet"}})
    record = drive(open_plan(tmp_path, study), Worker())
    found = efforts(record, study)
    assert found["baseline"] == Effort(0, 0, 0.0, {}, (), settled=True)
    assert column(found)["baseline"] == "none"
    assert any(
        text.startswith("baseline: nothing of the space is left to tune")
        for text in warnings(found)
    )
    assert "nothing to tune" in page(record)


def test_what_a_record_gives_is_the_same_bytes_again(tmp_path: Path):
    study = tuned_study()
    record = drive(open_plan(tmp_path, study), upward())
    assert page(record) == page(record)
    assert compose.read(record).search.trials == ()


def test_a_variant_that_the_search_never_sent_on_is_warned_of(tmp_path):
    design = Arms(
        arms={"baseline": {}, "ResNet": {"model.name": "resnet18"}, "wide": {"model.width": 96}}
    )
    study = make_study(replicates=3, num_trials=4, epochs=2)
    study = study.model_copy(
        update={"ablation": study.ablation.model_copy(update={"design": design})}
    )

    def searched(folder: str, reached: dict[str, tuple[int, ...]]) -> list[str]:
        book = Scribe(tmp_path / folder, study)
        book.session()
        for number, (variant, rungs) in enumerate(reached.items()):
            config = study.baseline.override({"model.name": variant.split()[0]}).model_dump(
                mode="json"
            )
            book.ledger.append(
                events.Trial(run=f"t{number}", trial=number, config=config, knobs={}, asked=None)
            )
            for rung in rungs:
                book.ledger.append(events.Start(run=f"t{number}", rung=rung))
                book.ledger.append(events.Rung(run=f"t{number}", rung=rung, value=0.5))
        return list(unpromoted(book.record(), study))

    assert searched("even", {"cnn": (0, 1), "resnet18": (0, 1)}) == []
    assert searched("flat", {"cnn": (0,), "resnet18": (0,)}) == [], "none was sent on"
    (told,) = searched(
        "culled", {"cnn": (0, 1), "cnn 2": (0,), "resnet18": (0,), "resnet18 2": (0,)}
    )
    assert told.startswith(
        "ResNet: none of the search's 2 trials with model.name = resnet18 went beyond rung 1 of "
    )


def test_one_learning_rate_for_all_is_said_where_the_table_stands(tmp_path):
    for tuning in (Fixed(), PerArm(num_trials=6)):
        record = drive(open_plan(tmp_path / tuning.name, tuned_study(tuning)), upward())
        found = compose.texts(compose.read(record), {})
        for name in ("report.md", "report.html", "ablation.tex"):
            text = " ".join(found[name].split()).replace("&#39;", "'")
            assert (UNTUNED in text) == (tuning.name == "fixed"), name
