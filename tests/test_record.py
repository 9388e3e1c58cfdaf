import pytest

from pipeline.core.identity import Seeds
from pipeline.errors import MachineError
from pipeline.record import events
from pipeline.record.event_form import read as read_line
from pipeline.record.ledger import Ledger, read_events
from pipeline.record.record import Record, Run
from tests.driver import DATA
from tests.records import Scribe, full_record, make_study
from tests.studies import small_study


def epoch(number: int, val_acc: float = 0.5, val_loss: float = 1.0) -> dict[str, float]:
    values = {
        "train_loss": 1.0,
        "train_acc": 0.5,
        "val_loss": val_loss,
        "val_acc": val_acc,
        "lr": 0.1,
        "seconds": 2.0,
    }
    return {"epoch": number, **values}


@pytest.fixture
def ledger(tmp_path):
    """With a header, a session and trials 0 and 1 in it; closed by the test's end."""
    with Ledger(tmp_path) as ledger:
        ledger.append(
            events.Study(id="x", study=small_study().model_dump(mode="json"), data=DATA, note="n")
        )
        ledger.append(
            events.Session(command="c", versions={}, commit="", machine={}, workers=1, budget={})
        )
        for number in (0, 1):
            config = small_study().baseline.override({"model.dropout": number / 4})
            knobs = {"model.dropout": number / 4}
            ledger.append(
                events.Trial(
                    run=f"t{number}",
                    trial=number,
                    config=config.model_dump(mode="json"),
                    knobs=knobs,
                    asked=None,
                )
            )
        yield ledger


def read(ledger: Ledger) -> Record:
    return Record.of(read_events(ledger.folder))


@pytest.mark.parametrize(
    ("study", "replicate", "run", "split"),
    [(0, 0, 0, 0), (0, 3, 3, 0), (1, 0, 1_000_003, 1_000_003), (7, 12, 7_000_033, 7_000_021)],
)
def test_what_chance_is_drawn_by_never_changes(study, replicate, run, split):
    seeds = Seeds(study, replicate)
    assert (seeds.run, seeds.split) == (run, split)


def test_a_run_goes_through_its_states(ledger):
    seen = []
    record = read(ledger)
    ledger.listener = lambda event: (record.apply(event), seen.append(record.runs["t0"].status))
    ledger.append(events.Start(run="t0", rung=0))
    ledger.append(events.Epoch(run="t0", metrics=epoch(1)))
    ledger.append(events.Rung(run="t0", rung=0, value=0.5))
    ledger.append(events.End(run="t0", status="stopped"))
    ledger.append(events.Start(run="t0", rung=1))
    ledger.append(events.Fail(run="t0", error="died"))
    ledger.append(events.Start(run="t0", rung=1))
    ledger.append(events.Epoch(run="t0", metrics=epoch(2, 0.7)))
    ledger.append(events.Rung(run="t0", rung=1, value=0.7))
    end = ledger.append(events.End(run="t0", status="complete", best_epoch=2, num_params=9))
    assert seen == [
        *("running", "running", "paused", "stopped", "running"),
        *("running", "running", "running", "paused", "complete"),
    ]
    run = record.runs["t0"]
    assert (run.attempts, run.error, run.rung, run.rungs) == (1, "", 1, {0: 0.5, 1: 0.7})
    assert (run.best_epoch, run.num_params, run.ended_seq, run.seconds) == (2, 9, end.seq, 4.0)
    assert read(ledger) == record


def test_an_epoch_counts_once_and_in_order(ledger):
    for number in (1, 1, 3, 2, 1):
        ledger.append(events.Epoch(run="t0", metrics=epoch(number, number / 10)))
    assert [found["epoch"] for found in read(ledger).runs["t0"].epochs] == [1, 2]


@pytest.mark.parametrize(
    ("epochs", "best"),
    [
        ([], None),
        ([(0.5, 1.0), (0.7, 1.0), (0.6, 0.1)], 2),
        ([(0.7, 1.0), (0.7, 0.9), (0.7, 0.9)], 2),
        ([(0.7, 1.0), (0.7, 1.0)], 1),
    ],
)
def test_the_best_epoch(epochs, best):
    run = Run("r", "trial", {}, epochs=[epoch(i + 1, *values) for i, values in enumerate(epochs)])
    assert (run.best["epoch"] if run.best else None) == best
    assert run.metric("val_acc") == (run.best["val_acc"] if run.best else None)
    assert run.metric("test_acc") is None


def test_loss_and_accuracy_of_a_row_come_from_the_same_epoch():
    run = Run(
        "r", "arm", {}, epochs=[epoch(1, 0.9, 2.0), epoch(2, 0.8, 0.5)], test_loss=0.4, test_acc=0.6
    )
    assert (run.metric("val_acc"), run.metric("val_loss")) == (0.9, 2.0)
    assert (run.metric("test_acc"), run.metric("test_loss")) == (0.6, 0.4)


def test_the_best_trial_went_furthest(ledger):
    assert read(ledger).best_trial() is None
    ledger.append(events.Rung(run="t0", rung=0, value=0.9))
    assert read(ledger).best_trial().number == 0
    ledger.append(events.Rung(run="t1", rung=0, value=0.9))
    assert read(ledger).best_trial().number == 0
    ledger.append(events.Rung(run="t1", rung=1, value=0.3))
    assert read(ledger).best_trial().number == 1
    ledger.append(events.End(run="t1", status="diverged", error="nan"))
    assert read(ledger).best_trial().number == 0


def test_a_twin_is_a_number_without_a_run(ledger):
    ledger.append(events.Twin(run="t0", trial=2, knobs={}, asked=0, values=[]))
    record = read(ledger)
    assert record.trial_keys == ["t0", "t1", "t0"]
    assert [run.number for run in record.trials()] == [0, 1]


def test_the_newest_session_says_the_budget(ledger):
    assert read(ledger).study == small_study()
    for trials in (9, 4):
        budget = {"search.num_trials": trials, "ablation.replicates": 7}
        ledger.append(
            events.Session(
                command="c", versions={}, commit="", machine={}, workers=1, budget=budget
            )
        )
    study = read(ledger).study
    assert (study.search.num_trials, study.ablation.replicates) == (4, 7)
    assert study.baseline == small_study().baseline


def test_arms_stand_in_the_order_of_the_design_whenever_they_ran(ledger):
    names = [arm.name for arm, _ in small_study().arms()]
    for number, name in enumerate(reversed(names)):
        for replicate in (2, 1):
            ledger.append(
                events.Arm(run=f"a{number}-{replicate}", arm=name, replicate=replicate, config={})
            )
    ledger.append(events.Arm(run="gone", arm="an arm of an older design", replicate=1, config={}))
    arms = read(ledger).arms()
    assert list(arms) == [*names, "an arm of an older design"]
    assert all([run.replicate for run in arms[name]] == [1, 2] for name in names)


def test_an_arm_without_runs_is_a_hole_and_no_missing_row(ledger):
    assert read(ledger).arms() == {arm.name: [] for arm, _ in small_study().arms()}


def test_mlflow_ids_are_kept_by_address(ledger):
    for uri in ("here", "there"):
        for what in ("study", "t0"):
            ledger.append(events.Mlflow(uri=uri, what=what, id=f"{uri}-{what}"))
    record = read(ledger)
    assert record.mlflow_ids["here|study"] == "here-study"
    assert record.mlflow_ids["there|t0"] == record.runs["t0"].mlflow_id == "there-t0"


def test_an_empty_ledger_is_an_empty_record():
    record = Record.of([])
    assert record.begun is None
    assert record.trials() == []
    assert record.best_trial() is None


def test_a_finished_study_reads_the_same_event_by_event(tmp_path):
    record = full_record(tmp_path, num_trials=8, replicates=2)
    grown = Record()
    for event in read_events(tmp_path):
        grown.apply(event)
    assert grown == record
    assert record.data["title"] == "Food-11"
    assert len(record.trials()) == 8
    assert [len(runs) for runs in record.arms().values()] == [2, 2, 2, 2]
    assert {run.status for run in record.trials()} >= {"complete", "diverged"}


def test_every_prefix_of_a_ledger_can_be_read(tmp_path):
    scribe = Scribe(tmp_path, make_study(num_trials=7, replicates=1, epochs=3))
    scribe.session()
    scribe.trials()
    scribe.arms()
    scribe.ledger.close()
    told = list(read_events(tmp_path))
    record = Record()
    for count, event in enumerate(told, 1):
        record.apply(event)
        assert len(record.trials()) <= 7
        assert sum(len(run.epochs) for run in record.runs.values()) == sum(
            isinstance(e, events.Epoch) for e in told[:count]
        )
        if record.sessions:
            record.arms()
            record.best_trial()


@pytest.mark.parametrize(
    "event",
    [
        {"type": "unheard of"},
        {"type": "_init__"},
        {"type": "__class__"},
        {"type": "epoch", "run": "nobody", "metrics": {"epoch": 1}},
        {"type": "epoch"},
        {"type": "rung", "run": []},
        {"type": "trial", "run": "r"},
        {"type": "mlflow"},
    ],
    ids=str,
)
def test_a_sealed_event_that_no_version_writes_is_refused_in_words(event):
    with pytest.raises(
        MachineError,
        match=r"line 8 \('.*'\) is sealed, but no event of this study.*nothing has been",
    ):
        Record().apply(read_line({"seq": 7, "time": 1.0, **event}))
