"""Arms of several records are judged as the arms of one study."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipeline import compare as command
from pipeline.analysis.comparison import Comparison, Side, _answers, compare
from pipeline.analysis.results import read_ablation
from pipeline.analysis.stats import basis
from pipeline.core.config import TrainConfig
from pipeline.errors import UserError
from pipeline.record.record import Record
from pipeline.study.designs.arms import Arms
from pipeline.study.judged import Judged
from pipeline.study.study import Study
from tests.driver import Worker, drive, open_plan
from tests.studies import small_study

WIDE = {"model.width": 8}


def acc(config: TrainConfig, replicate: int) -> float:
    width: int = config.model.width  # type: ignore[union-attr]
    return 0.5 + (width == 8) / 10 + (replicate * width) % 7 / 200


def study(arms: dict[str, dict[str, object]], **changes: object) -> Study:
    design = Arms(arms=arms)
    made = small_study(num_trials=0, replicates=5)
    return made.override(
        {"ablation.design": design.model_dump(mode="json"), **changes}, source="test"
    )


def recorded(folder: Path, asked: Study, worker: Worker | None = None) -> Record:
    return drive(open_plan(folder, asked, with_search=False), worker or Worker(acc=acc))


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Side, Side]:
    """The same two configurations, a record each."""
    one = recorded(tmp_path / "narrow", study({"narrow": {}, "other": {"model.dropout": 0.5}}))
    changed = study({"wide": {}, "other": {"model.dropout": 0.5}}, **{"baseline.model.width": 8})
    return Side.of("narrow", one), Side.of("wide", recorded(tmp_path / "wide", changed))


def test_two_records_give_the_numbers_of_one(pair: tuple[Side, Side], tmp_path: Path) -> None:
    asked = study({"narrow": {}, "wide": WIDE})
    whole = read_ablation(recorded(tmp_path / "whole", asked), asked).contrasts[0]
    made = compare(pair)
    found = made.contrasts[0]
    assert (whole.name, whole.against) == (found.name, found.against) == ("wide", "narrow")
    for name in ("delta", "sd", "low", "high", "p", "p_holm", "error", "df", "values", "verdict"):
        assert getattr(whole, name) == getattr(found, name), name
    assert made.decision(found) == "keep"
    assert list(made.differing(pair[1])) == ["model.width 4 → 8"]
    back = compare(pair[::-1])
    assert back.decision(back.contrasts[0]) == "discard"


def test_of_pairs_without_a_difference_few_are_kept() -> None:
    chance, judged = np.random.default_rng(0), Judged()
    way = basis("official")
    decisions = []
    for table in chance.normal(0.7, 0.01, (500, 2, 5)):
        columns = {
            name: dict(enumerate(own.tolist(), 1)) for name, own in zip("ab", table, strict=True)
        }
        found = _answers(columns, 0.01, way, judged)
        decisions.append(Comparison((), judged, way, 0.01, found).decision(found[0]))
    assert 0 < decisions.count("keep") <= 0.05 * 500
    assert decisions.count("undecided") > 250


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"baseline.epochs": 4}, "they differ in epochs: 3 and 4"),
        ({"baseline.split": "official"}, "they differ in split: resplit and official"),
        ({"ablation.until_answered": True}, "its results were looked at until"),
    ],
)
def test_what_was_not_judged_alike_is_refused(
    changes: dict[str, object], said: str, pair: tuple[Side, Side], tmp_path: Path
) -> None:
    other = recorded(
        tmp_path / "other", study({"wide": {}, "b": {"model.dropout": 0.5}}, **changes)
    )
    with pytest.raises(UserError, match=said):
        compare((pair[0], Side.of("other", other)))


def test_other_pictures_and_other_splits_are_refused(
    pair: tuple[Side, Side], tmp_path: Path
) -> None:
    begun = pair[1].record.header
    pair[1].record.begun = replace(begun, data={**begun.data, "fingerprint": "other"})
    with pytest.raises(
        UserError, match="fingerprint of their pictures: 0123456789abcdef and other"
    ):
        compare(pair)
    sides = []
    for seed in (0, 1):  # without a test part replicates are paired by their splits
        asked = study({"a": {}, "b": WIDE}, **{"search.seed": seed})
        record = recorded(tmp_path / str(seed), asked)
        for run in record.runs.values():
            run.test_acc = None
        sides.append(Side.of(str(seed), record))
    with pytest.raises(UserError, match=r"search.seed, which draws their splits: 0 and 1"):
        compare(sides)


def test_the_command_says_it_to_people_and_to_programs(
    pair: tuple[Side, Side], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert pair
    where = ["--mlruns", str(tmp_path)]
    assert command.main(["narrow", "wide", *where]) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "narrow: 51." in told
    assert "wide less narrow: +9.7 points [8.3, 11.1], p <0.001: better decision: keep" in told
    assert "decision: keep differs in model.width 4 → 8" in told
    assert command.main(["narrow", "wide", "--json", "--margin", "0.2", *where]) == 0
    tree = json.loads(capsys.readouterr().out)
    assert tree["margin"] == 0.2
    assert [side["replicates"] for side in tree["sides"]] == [5, 5]
    assert tree["comparisons"][0]["decision"] == "keep"
    for words, said in (
        (["narrow"], "two or more records are compared"),
        (["narrow", "wode"], "did you mean 'wide'"),
        (["narrow", "wide:othr"], "did you mean 'other'"),
        (["narrow", "narrow"], "two of one record"),
        (["narrow", f"{tmp_path}/narrow:other"], "two of one record"),
        (["narrow", "~nobody_of_that_name/x"], "records in"),
        (["narrow", "x" * 300], "records in"),
        (["narrow", "wide", "--margin", "5"], "below 1, a share of 1"),
        (["narrow", "wide", "--margin", "-1"], "--margin: got -1.0"),
    ):
        with pytest.raises(UserError, match=said):
            command.main([*words, *where])


def test_who_lost_runs_is_not_kept(tmp_path: Path) -> None:
    """As in a study's own report, where such an arm is neither bold nor best."""
    calm = recorded(tmp_path / "calm", study({"narrow": {}, "b": {"model.dropout": 0.5}}))
    lucky = study({"wide": {}, "b": {"model.dropout": 0.5}}, **{"baseline.model.width": 8})
    record = recorded(tmp_path / "lucky", lucky)
    for run in record.arms()["wide"][3:]:
        run.status = "diverged"
    made = compare([Side.of("calm", calm), Side.of("lucky", record)])
    assert made.contrasts[0].verdict == "better"
    assert made.decision(made.contrasts[0]) == "undecided"
    assert made.why_open(made.contrasts[0]) == "lucky: 2 of 5 runs diverged"
    assert made.needed(made.contrasts[0]) is None


def test_what_is_not_finished_is_not_decided(pair: tuple[Side, Side]) -> None:
    for run in pair[1].runs[3:]:
        run.status = "running"
    made = compare(pair)
    assert made.decision(made.contrasts[0]) == "undecided"
    assert made.barred["wide"].startswith("2 planned replicates have not ended")


def test_pairs_are_of_the_replicates_that_both_have(tmp_path: Path) -> None:
    asked = study({"a": {}, "b": WIDE})
    record = recorded(tmp_path, asked)
    for run in record.runs.values():
        run.test_acc = None
    for run in record.arms()["a"][3:]:
        run.status = "failed"
    made = compare([Side.of("a", record), Side.of("b", record, "b")])
    assert made.basis.test == "paired t"
    assert [set(side.values) for side in made.sides] == [{1, 2, 3}] * 2
    assert made.sides[1].mean - made.sides[0].mean == pytest.approx(made.contrasts[0].delta)


def test_without_a_replicate_in_common_nothing_is_paired(tmp_path: Path) -> None:
    sides = []
    for name, lost in (("a", range(3)), ("b", range(3, 5))):
        record = recorded(tmp_path / name, study({name: {}, "other": WIDE}))
        for number, run in enumerate(record.arms()[name]):
            run.status = "failed" if number in lost else run.status
        for run in record.runs.values():
            run.test_acc = None
        sides.append(Side.of(name, record))
    with pytest.raises(UserError, match="nothing is paired"):
        compare(sides)


def test_what_is_open_says_how_many_replicates_would_tell(tmp_path: Path) -> None:
    def noisy(config: TrainConfig, replicate: int) -> float:
        return 0.5 + (replicate * 37 + config.model.width * 11) % 13 / 300  # type: ignore[union-attr]

    asked = study({"narrow": {}, "wide": WIDE})
    record = recorded(tmp_path, asked, Worker(acc=noisy))
    made = compare([Side.of("a", record), Side.of("b", record, "wide")])
    needed = made.needed(made.contrasts[0])
    assert made.decision(made.contrasts[0]) == "undecided"
    assert needed is not None
    assert 5 < needed < 200
