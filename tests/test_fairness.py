"""Arms that were not treated alike are not compared, anywhere; changes after results are said."""

import csv
import io
from pathlib import Path
from typing import Any

import pytest
from records import EFFECTS, Scribe, make_study, with_arms

from pipeline.analysis.fairness import by_design, later_changes, unequal
from pipeline.record import events
from pipeline.record.event_form import read
from pipeline.record.events import Revision
from pipeline.record.ledger import read_events
from pipeline.record.record import Record
from pipeline.report import compose, write_report
from pipeline.session.resume import changed_settings, grown
from tests.records import lines

ARMS = {"baseline": {}, "ResNet": {"model.name": "resnet18"}}


def book(
    folder: Path, *, replicates: int = 3, arms: dict[str, dict[str, Any]] | None = None
) -> Scribe:
    study = make_study(replicates=replicates, num_trials=0, epochs=4)
    scribe = Scribe(folder / "study", with_arms(study, arms) if arms else study)
    scribe.session()
    return scribe


def found(scribe: Scribe) -> tuple[str, ...]:
    record = scribe.record()
    return unequal(record, record.study)


def edited(scribe: Scribe, change: dict[str, Any], *, arm: str, kind: str = "arm") -> Record:
    """The record with other facts in the events of an arm's runs, as another version would have
    written them.
    """
    scribe.ledger.close()
    told = lines(scribe.folder)
    runs = {event["run"] for event in told if event["type"] == "arm" and event["arm"] == arm}
    for event in told:
        if event["type"] == kind and event.get("run") in runs:
            config = event.get("config", {}) | {
                key: value for key, value in change.items() if key in event.get("config", {})
            }
            event |= {key: value for key, value in change.items() if key not in config} | (
                {"config": config} if config else {}
            )
    return Record.of(map(read, told))


def test_an_arm_that_is_longer_training_is_compared_and_said_to_be_unequal(tmp_path: Path) -> None:
    for number, epochs in enumerate((4, 6)):
        scribe = book(tmp_path / str(number), arms=ARMS | {"long": {"epochs": 8}})
        for replicate in (1, 2, 3):
            scribe.arm("baseline", replicate)
            scribe.arm("ResNet", replicate, epochs=epochs)
            scribe.arm("long", replicate, 0.7, epochs=8)
        if epochs != 4:
            assert found(scribe) == ("epochs: baseline 4, ResNet 6",)
            continue
        assert found(scribe) == ()
        pages = compose.texts(compose.read(scribe.record()), {})
        assert "After 4 or 8 epochs, " in pages["report.md"]
        assert "NOT COMPARED" not in pages["report.md"]
        told = "Unequal by design: epochs (baseline 4, ResNet 4, long 8)."
        assert told in pages["report.md"]
        wide = with_arms(scribe.study, {"baseline": {}, "wide": {"epochs": 4, "ema": 0.9}})
        assert by_design(wide) == "", "what is set and is the same for all is not unequal"
        trio = with_arms(scribe.study, {"baseline": {}, "trio": {"members": 3}})
        assert by_design(trio) == "Unequal by design: members (baseline 1, trio 3)."
        assert (
            "按设计不相等：epochs"
            in compose.texts(compose.read(scribe.record()), {}, "zh")["report.md"]
        )


def test_arms_treated_alike_are_compared(tmp_path: Path) -> None:
    scribe = book(tmp_path)
    scribe.arms()
    record = scribe.record()
    assert unequal(record, record.study) == ()
    assert any(contrast.family for contrast in compose.read(record).ablation.contrasts)


def test_unequal_epochs_leave_no_difference_anywhere(tmp_path: Path) -> None:
    scribe = book(tmp_path)
    for replicate in (1, 2, 3):
        for arm, acc in EFFECTS.items():
            scribe.arm(arm, replicate, acc + replicate / 100, epochs=8 if arm == "ResNet" else None)
    record = scribe.record()
    stated = "epochs: baseline 4, ResNet 8, augmentation 4, ResNet + augmentation 4"
    assert unequal(record, record.study) == (stated,)
    report = write_report(record, tmp_path / "r")
    ablation = compose.read(record).ablation
    assert {c.verdict for c in ablation.contrasts} == {"not tested"}
    assert all(c.n == 0 and "cannot be compared fairly" in c.reason for c in ablation.contrasts)
    assert not ablation.best
    assert any(stated in warning for warning in report.warnings)
    texts = {
        name: (tmp_path / "r" / name).read_text()
        for name in ("report.md", "report.html", "ablation.tex")
    }
    for text in (*texts.values(), report.text):
        assert "NOT COMPARED" in text
        for word in ("better", "worse", "equivalent", "inconclusive"):
            assert f"points, {word}" not in text
            assert f"], {word}" not in text
    rows = list(csv.DictReader(io.StringIO((tmp_path / "r/frames/contrasts.csv").read_text())))
    assert {(row["verdict"], row["n"], row["delta"], row["p"]) for row in rows} == {
        ("not tested", "0", "", "")
    }
    arms = list(csv.DictReader(io.StringIO((tmp_path / "r/frames/arms.csv").read_text())))
    assert {row["in_best_set"] for row in arms} == {"False"}
    assert not (tmp_path / "r" / "figures" / "differences.png").exists()
    assert not (tmp_path / "r" / "figures" / "interaction.png").exists()


@pytest.mark.parametrize(
    ("change", "stated"),
    [
        ({"split": "official"}, "split: baseline resplit, ResNet official"),
        ({"precision": "bf16"}, "precision: baseline auto, ResNet bf16"),
        ({"patience": 2}, "patience: baseline 0, ResNet 2"),
        ({"data": "feed", "core_version": 9}, None),
    ],
)
def test_what_the_runs_record_of_themselves_must_agree(
    tmp_path: Path, change: dict[str, Any], stated: str | None
) -> None:
    scribe = book(tmp_path, arms=ARMS)
    scribe.arms()
    record = edited(scribe, change, arm="ResNet")
    other = (
        edited(scribe, {"data": "beef", "core_version": 8}, arm="baseline")
        if stated is None
        else record
    )
    for key, run in other.runs.items():
        if run.arm == "baseline":
            record.runs[key] = run
    expected = (
        (stated,)
        if stated
        else (
            "pictures (fingerprint): baseline beef, ResNet feed",
            "training core: baseline 8, ResNet 9",
        )
    )
    assert unequal(record, record.study) == expected


def test_folds_count_where_they_are_used(tmp_path: Path) -> None:
    scribe = book(tmp_path, arms=ARMS)
    scribe.arms()
    record = edited(scribe, {"folds": 9}, arm="ResNet")
    assert unequal(record, record.study) == ()


def test_patience_may_be_what_an_arm_is_about(tmp_path: Path) -> None:
    scribe = book(tmp_path, arms=ARMS | {"stopping": {"patience": 2}})
    scribe.arms()
    assert found(scribe) == ()


def test_arms_judged_on_other_pictures(tmp_path: Path) -> None:
    scribe = book(tmp_path, arms=ARMS)
    for replicate in (1, 2, 3):
        scribe.arm("baseline", replicate)
        scribe.arm("ResNet", replicate, test_acc=None, test_loss=None)
    assert found(scribe) == ("judged on: baseline test, ResNet val",)


@pytest.mark.parametrize("early", [True, False])
def test_runs_cut_short_of_their_plan(tmp_path: Path, early: bool) -> None:
    scribe = book(tmp_path, arms=ARMS | {"stopping": {"patience": 2}})
    scribe.arms(without=(("stopping", 1),))
    run = scribe.arm("stopping", 1, status="running")
    scribe.ledger.append(
        events.End(
            run=run,
            status="complete",
            best_epoch=2,
            num_params=5,
            test_loss=1.0,
            test_acc=0.5,
            early=early,
        )
    )
    stated = "epochs trained: stopping has 1 run cut short after at most 2 of 4 planned epochs"
    assert found(scribe) == (() if early else (stated,))


def test_many_arms_are_grouped_by_what_they_have(tmp_path: Path) -> None:
    arms = {"baseline": {}} | {f"lr {i}": {"optimizer.lr": i / 1000} for i in range(1, 9)}
    scribe = book(tmp_path, replicates=1, arms=arms)
    for arm in arms:
        scribe.arm(arm, 1, epochs=9 if arm == "lr 8" else None)
    assert found(scribe) == (
        "epochs: 4 (baseline, lr 1, lr 2, lr 3, lr 4, lr 5 and 2 more); 9 (lr 8)",
    )


def test_replicates_raised_after_results_are_said(tmp_path: Path) -> None:
    scribe = book(tmp_path)
    scribe.session()  # the same budget again
    scribe.arms()
    assert later_changes(Record.of(read_events(scribe.folder))) == ()
    scribe.session(**{"ablation.replicates": 5})
    for replicate in (4, 5):
        for arm in EFFECTS:
            scribe.arm(arm, replicate)
    record = scribe.record()
    assert later_changes(record) == ("replicates were raised from 3 to 5 after results existed",)
    write_report(record, tmp_path / "r")
    for name in ("report.md", "ablation.tex"):
        text = (tmp_path / "r" / name).read_text()
        assert "replicates were raised from 3 to 5 after results existed" in text
        assert "exploratory" in text


def test_replicates_raised_before_any_result_are_planning(tmp_path: Path) -> None:
    scribe = book(tmp_path)
    scribe.arm("baseline", 1, status="running")
    scribe.session(**{"ablation.replicates": 5})
    scribe.arm("baseline", 2)
    assert later_changes(scribe.record()) == ()


def test_a_margin_moved_after_results_is_said(tmp_path: Path) -> None:
    scribe = book(tmp_path)
    scribe.session(**{"ablation.rope": 0.01})
    scribe.arms()
    scribe.session(**{"ablation.rope": 0.05})
    scribe.session(**{"ablation.rope": 0.02})
    assert later_changes(scribe.record()) == (
        "the margin was raised from 1 to 5 points after results existed",
        "the margin was lowered from 5 to 2 points after results existed",
    )


def test_other_epochs_on_recorded_arms_are_other_runs(tmp_path: Path) -> None:
    """The way to unequal epochs that a user would take: train with some, then ask for others."""
    scribe = book(tmp_path)
    scribe.arms(without=(("ResNet", 1), ("ResNet", 2)))
    record = scribe.record()
    assert changed_settings(record, record.study.override({"ablation.replicates": 9})) == []
    study = record.study
    longer = study.override({"baseline.epochs": 20})
    assert changed_settings(record, longer) == []
    assert grown(record, longer) == ["baseline.epochs: recorded 4, now 20"]
    lines = ["baseline.epochs: recorded 4, now 20"]
    revised = Revision(seq=10**6, study=longer.model_dump(mode="json"), changed=lines)
    record.apply(revised)
    assert not any(record.arms().values())
    assert record.apart()
