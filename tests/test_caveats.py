"""What is wrong with a model is the first thing that is said of it."""

from pathlib import Path
from typing import Any

import pytest

from pipeline.core.finished.artifact import Artifact
from pipeline.export.caveats import caveats
from pipeline.export.model_card import Facts, card, config_json
from pipeline.export.selection import Selection, select
from pipeline.record.record import Record
from tests.records import Scribe, make_study

SOUND = {"baseline": (0.6, 0.61, 0.62), "ResNet": (0.7, 0.71, 0.72)}


def written(
    folder: Path,
    levels: dict[str, tuple[float, ...]],
    data: dict[str, Any] | None = None,
    **lost: int,
) -> Record:
    """`lost`: status of the baseline's replicate of that number."""
    book = Scribe(folder, make_study(replicates=3, num_trials=0), data=data or {})
    book.session()
    for arm, accs in levels.items():
        for replicate, acc in enumerate(accs, 1):
            status = next(
                (how for how, number in lost.items() if (arm, number) == ("baseline", replicate)),
                "complete",
            )
            book.arm(arm, replicate, acc, status=status)
    return book.record()


def said(record: Record, **wishes: Any) -> str:
    return " | ".join(caveats(record, select(record, **wishes)))


def test_of_a_sound_model_that_validation_chose_nothing_is_said(tmp_path: Path) -> None:
    assert said(written(tmp_path, SOUND)) == ""


@pytest.mark.parametrize(("right", "said_first"), [(7, ""), (4, "What this model scores cannot")])
def test_a_model_that_learned_is_not_called_dead_by_nine_pictures(
    right: int, said_first: str, tmp_path: Path
) -> None:
    """Seven of nine are reached by guessing in .8 % of cases, and were called chance."""
    data = {"classes": ["a", "b", "c"], "counts": {"train": 42, "valid": 9, "test": 9}}
    book = Scribe(tmp_path, make_study(replicates=1, num_trials=0), data=data)
    book.session()
    for arm, _ in book.study.arms():
        book.arm(arm.name, 1, 0.99, test_acc=right / 9)
    told = said(book.record())
    assert told.startswith(said_first)
    assert "at chance" not in told
    assert bool(told) == bool(said_first)


def test_a_model_at_chance_says_so_first(tmp_path: Path) -> None:
    record = written(tmp_path, {arm: (0.09, 0.1, 0.09) for arm in SOUND})
    assert said(record).startswith("This model is at chance: ")
    selection = select(record)
    config = record.study.baseline
    artifact = Artifact(config, 3, 32, len(record.data["classes"]), (0.5,) * 3, (0.25,) * 3)
    facts = Facts(
        record, selection, artifact, 800, 200, with_onnx=False, caveats=caveats(record, selection)
    )
    text = card(facts)
    assert 0 < text.index("> **This model is at chance") < text.index("## What it is")
    assert '"caveats": [\n  "This model is at chance' in config_json(facts)
    assert "Test accuracy had no part in the choice" in text


@pytest.mark.parametrize(
    ("lost", "expected"),
    [
        (
            {"diverged": 2},
            "1 of 3 replicates of its arm diverged (2) and is not in the arm's numbers",
        ),
        ({"failed": 3}, "1 of 3 replicates of its arm failed (3) and is not in the arm's numbers"),
    ],
)
def test_lost_replicates_are_said_of_the_others(
    tmp_path: Path, lost: dict[str, int], expected: str
) -> None:
    assert expected in said(written(tmp_path, SOUND, **lost), arm="baseline")


def test_collapse_is_said_of_the_run_itself_and_of_those_beside_it(tmp_path: Path) -> None:
    record = written(tmp_path, {**SOUND, "ResNet": (0.7, 0.09, 0.72)})
    assert "1 of 3 replicates of its arm collapsed (2): training this way is unsure" in said(
        record, arm="ResNet"
    )
    assert "This very replicate collapsed" in said(record, arm="ResNet", replicate=2)
    assert "collapsed" not in said(record, arm="baseline")


def test_who_asks_for_an_arm_may_have_seen_its_test_numbers(tmp_path: Path) -> None:
    record = written(tmp_path, SOUND)
    selection = select(record, arm="ResNet")
    assert "asked for by name (--arm), not chosen by validation" in caveats(record, selection)[0]
    artifact = Artifact(
        record.study.baseline, 3, 32, len(record.data["classes"]), (0.5,) * 3, (0.25,) * 3
    )
    text = card(Facts(record, selection, artifact, 800, 200, with_onnx=False))
    assert "Test accuracy had no part in the choice" not in text


def test_a_trial_is_not_read_as_an_arm(tmp_path: Path) -> None:
    book = Scribe(tmp_path, make_study(replicates=1, num_trials=3))
    book.session()
    book.trials(3)
    record = book.record()
    assert isinstance(select(record), Selection)
    assert "replicate" not in said(record)
