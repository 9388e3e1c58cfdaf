"""Replicates until the questions are answered: which arms go on, what is said of it, and that a
kill changes nothing.
"""

import random
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from benchmarks.coverage import answered
from benchmarks.coverage.verdicts import World
from pipeline.analysis.fairness import later_changes
from pipeline.analysis.results import Ablation, read_ablation
from pipeline.analysis.stats import basis
from pipeline.analysis.stats.looks import Walk
from pipeline.core.config import TrainConfig
from pipeline.errors import UserError
from pipeline.export.selection import select
from pipeline.record import events
from pipeline.record.ledger import FILE, Ledger, read_events
from pipeline.record.record import Record
from pipeline.report import frames
from pipeline.report.compose import FIGURES, document
from pipeline.report.compose import read as findings
from pipeline.session.cli import options, parser
from pipeline.session.dry_run import preview
from pipeline.session.opening import _command
from pipeline.session.options import Options
from pipeline.session.resolve import chosen, resolve
from pipeline.session.resume import KEPT, require_settings
from pipeline.session.so_far import so_far
from pipeline.study.looks import LOOKS, MAXIMUM, SHARES, last_look, looks
from pipeline.study.questions import Question, differences
from pipeline.study.study import Study
from pipeline.study.tuning import Replicated
from tests.driver import Worker, drive, facts, open_plan, quality
from tests.records import with_arms
from tests.studies import small_study
from tests.test_prospect import conduct
from tests.test_timetable import paced, play
from tests.test_tuning import tuned_study

ARMS = {
    "baseline": {},
    "far": {"model.dropout": 0.25},
    "near": {"augment.strength": 1.0},
}
WELCH = basis("resplit")


def study_of(most: int = MAXIMUM, **search: Any) -> Study:
    """Three arms: one far from the reference, one like it."""
    study = with_arms(
        small_study(replicates=most, **{"epochs": 1, "num_trials": 0, **search}), ARMS
    )
    return study.override({"ablation.until_answered": True}, source="test")


def reached(config: TrainConfig, replicate: int) -> float:
    """An sd of .9 points around what the arm is worth."""
    level = 0.7 - 0.08 * (config.model.dropout > 0)
    return level + (quality(config, replicate) - 0.6) / 20


def numbers(record: Record) -> dict[str, int]:
    return {arm: len(runs) for arm, runs in record.arms().items()}


def read(record: Record) -> Ablation:
    return read_ablation(record, record.study)


def words(record: Record) -> str:
    return " ".join(repr(document(findings(record), FIGURES)).split())


def test_the_shares_of_the_looks_are_all_of_the_error() -> None:
    assert sum(SHARES.values()) == pytest.approx(1)
    assert sum(SHARES.values()) <= 1
    assert min(SHARES.values()) > 0
    assert sum(SHARES[look] for look in looks(10)) > 0.5
    assert (looks(2), looks(4)) == ((), (3, 4))
    assert (last_look(2), last_look(7), last_look(8), last_look(1000)) == (2, 6, 8, 1000)


def test_an_arm_whose_question_is_settled_gets_no_more(tmp_path: Path) -> None:
    record = drive(open_plan(tmp_path, study_of()), Worker(acc=reached))
    far, near = numbers(record)["far"], numbers(record)["near"]
    assert far < near == numbers(record)["baseline"]
    assert far in LOOKS
    found = read(record)
    assert not found.holes
    assert found.barred == {}
    rows = {c.name: c for c in found.contrasts}
    assert (rows["far"].verdict, rows["far"].settled, rows["far"].n) == ("worse", far, far)
    assert rows["near"].look == near
    text = words(record)
    assert f"far against baseline ({far})" in text
    assert "is too large on average" in text
    assert "Repeated 95 % intervals" in text
    assert "and one whose questions are all settled gets no more" in text
    assert "INCOMPLETE" not in text
    table = frames.read(findings(record))["contrasts"].set_index("name")
    assert table.loc["far", "settled_at"] == far
    assert table.loc["near", "look"] == near
    assert select(record).run.arm in ("baseline", "near")


def test_levels_are_asked_look_by_look_and_open_effects_keep_their_cells(tmp_path: Path) -> None:
    """A level that settles at once goes on all the same, while effects that need its cells are
    open.
    """

    def acc(config: TrainConfig, replicate: int) -> float:
        strong, varied = config.model.dropout == 0.5, config.augment.strength == 1.0
        return 0.6 + 0.1 * strong - 0.1 * varied + quality(config, replicate) / 50

    networks = {"plain": {}, "weak": {"model.dropout": 0.1}, "strong": {"model.dropout": 0.5}}
    pictures = {"as they are": {}, "varied": {"augment.strength": 1.0}}
    levels = {"network": networks, "pictures": pictures}
    asked = {"ablation.design": {"name": "crossed", "levels": levels}}
    asked |= {"ablation.until_answered": True, "ablation.replicates": 6}
    record, _ = conduct(
        tmp_path, small_study(num_trials=0, epochs=1).override(asked), Worker(acc=acc)
    )
    found = {(c.kind, c.name): c for c in read(record).contrasts}
    assert len(found) == 10
    for kind, name in (("delta", "strong"), ("main", "strong"), ("delta", "varied")):
        assert found[kind, name].verdict == ("worse" if name == "varied" else "better")
        assert 0 < found[kind, name].settled <= found[kind, name].look
    for contrast in found.values():
        assert contrast.settled or contrast.look == 6


def test_without_it_everything_is_as_it_was(tmp_path: Path) -> None:
    record, _ = conduct(tmp_path, fixed(4), Worker(acc=reached))
    assert set(numbers(record).values()) == {4}
    assert "looks" not in record.plans[0].plan
    assert "settled_at" not in frames.read(findings(record))["contrasts"]
    assert "settled" not in words(record)


def test_killed_after_events_and_gone_on_with_it_ends_as_if_undisturbed(tmp_path: Path) -> None:
    """With several workers too, which report in any order."""
    study = study_of(10, epochs=2)
    calm = drive(open_plan(tmp_path / "calm", study), Worker(acc=reached))
    lines = (tmp_path / "calm" / FILE).read_bytes().splitlines(keepends=True)
    draw = random.Random(0)
    for number in range(12):
        folder = tmp_path / str(number)
        folder.mkdir()
        kept = lines[: draw.randrange(1, len(lines))]
        (folder / FILE).write_bytes(b"".join(kept))
        workers = 1 + number % 3
        again = drive(open_plan(folder, study), Worker(acc=reached), workers=workers, seed=number)
        assert facts(again) == facts(calm)


def test_the_maximum_may_grow_and_nothing_is_trained_that_is_not_needed(tmp_path: Path) -> None:
    first = drive(open_plan(tmp_path / "a", study_of(6)), Worker(acc=reached))
    assert "The maximum is reached; a larger one goes on" in words(first)
    grown = drive(open_plan(tmp_path / "a", study_of(13)), Worker(acc=reached))
    whole = drive(open_plan(tmp_path / "b", study_of(13)), Worker(acc=reached))
    assert facts(grown) == facts(whole)
    assert later_changes(grown) == ()


def test_replicates_beyond_the_last_look_are_not_begun(tmp_path: Path) -> None:
    record = drive(open_plan(tmp_path, study_of(7)), Worker(acc=reached))
    assert max(numbers(record).values()) == 6
    assert "The maximum of 7 is no look: at most 6 replicates are used." in words(record)
    assert not read(record).holes


def test_an_arm_without_any_result_holds_nobody_up(tmp_path: Path) -> None:
    worker = Worker(acc=reached, diverges=lambda config: config.augment.strength > 0)
    record = drive(open_plan(tmp_path, study_of()), worker)
    assert numbers(record)["near"] == 3
    assert numbers(record)["far"] == numbers(record)["baseline"] < MAXIMUM


def test_an_arm_that_tuning_found_nothing_for_holds_nobody_up(tmp_path: Path) -> None:
    """Its runs never begin; and of mini-searches those alone whose replicates are needed do."""
    arms = {"baseline": {}, "far": {"model.width": 5}, "lost": {"augment.strength": 1.0}}
    tuned = tuned_study(Replicated(num_trials=8), num_trials=0, replicates=4, arms=arms)
    study = tuned.override({"ablation.until_answered": True}, source="test")

    def acc(config: TrainConfig, replicate: int) -> float:
        return 0.7 - 0.3 * (config.model.width == 5) + quality(config, replicate) / 99

    worker = Worker(acc=acc, diverges=lambda config: config.augment.strength > 0)
    record = drive(open_plan(tmp_path, study), worker)
    assert numbers(record) == {"baseline": 3, "far": 3, "lost": 0}
    assert {run.search[-2:] for run in record.runs.values() if run.search} == {"#1", "#2", "#3"}
    assert [c.verdict for c in read(record).deltas] == ["worse", "not tested"]


def test_what_the_search_found_has_looks_of_its_own(tmp_path: Path) -> None:
    """And the reference goes on for it alone; the questions that are settled stay so."""
    study = with_arms(study_of(10, num_trials=4, race=1), {a: ARMS[a] for a in ("baseline", "far")})

    def acc(config: TrainConfig, replicate: int) -> float:
        drawn = config.model.dropout not in (0.0, 0.25)
        same = reached(config.override({"model.dropout": 0.0}) if drawn else config, replicate)
        return same + 0.05 * (drawn and not replicate)  # it leads the search, and is no better

    record = drive(open_plan(tmp_path, study), Worker(acc=acc))
    made = numbers(record)
    found = read(record)
    assert found.found is not None
    assert made[found.found.row.arm] == made["baseline"] > made["far"]
    assert found.contrasts[0].settled == found.contrasts[0].look == made["far"]
    assert found.found.contrast.look == made["baseline"]
    assert not found.holes


def test_a_limit_of_time_ends_at_a_look(tmp_path: Path) -> None:
    study, worker = study_of(), Worker(acc=reached, seconds=lambda _: 1.0)
    pace = paced(study, lambda _: 1.0)
    plan, end = play(tmp_path, study, 15.0, worker, pace, workers=2)
    assert end <= 15
    assert plan.outstanding()
    assert plan.last_row in LOOKS
    assert max(numbers(plan.record).values()) == plan.last_row
    assert {hole.why for hole in read(plan.record).holes} == {"not run"}
    record = drive(open_plan(tmp_path, study), worker)
    assert not read(record).holes


def test_looks_are_in_the_plan_and_in_a_dry_run(tmp_path: Path) -> None:
    study = study_of(9)
    record, said = conduct(tmp_path, study, Worker(acc=reached))
    assert record.plans[0].plan["looks"] == [3, 4, 5, 6, 8]
    assert any("with 8 replicates you can see" in " ".join(text.split()) for text in said)
    assert {found["replicates"] for found in record.pilot.replicates_for} <= {*LOOKS}
    shown = preview(study, None, "", tmp_path, with_search=False)
    told = " ".join(shown.split())
    assert "at least 3 arms x 3 replicates = 9 runs, 9 epochs; at most" in told
    assert "3 arms x 8 replicates = 24 runs, 24 epochs" in told
    assert "the next is beyond 9" in told


def fixed(most: int) -> Study:
    return study_of(most).override({"ablation.until_answered": False}, source="test")


def test_a_study_with_results_takes_looks_up_as_little_as_it_gives_them_up(tmp_path: Path) -> None:
    """What was seen of a fixed number has spent the error that looks would divide."""
    for number, least in ((3, "a"), (5, "b")):
        record, _ = conduct(tmp_path / least, fixed(number), Worker(acc=reached))
        with pytest.raises(UserError, match=r"recorded false, now true.*--fresh --seed N"):
            require_settings(record, study_of(8), tmp_path)
        require_settings(record, fixed(8), tmp_path)
    few, _ = conduct(tmp_path / "c", fixed(2), Worker(acc=reached))
    require_settings(few, study_of(8), tmp_path)  # of two nothing was tested
    looked, _ = conduct(tmp_path / "d", study_of(4), Worker(acc=reached))
    with pytest.raises(UserError, match="until_answered: recorded true, now false"):
        require_settings(looked, fixed(4), tmp_path)
    require_settings(looked, study_of(8), tmp_path)


def test_a_record_that_took_looks_up_late_is_read_and_tells_what_was_run(tmp_path: Path) -> None:
    """As a version did that let it: in its table are the first replicates, of what is there all."""
    conduct(tmp_path, fixed(5), Worker(acc=reached))
    record, _ = conduct(tmp_path, study_of(), Worker(acc=reached))
    assert later_changes(record) == ("looks on the way were begun after results existed",)
    assert "looks" in record.plans[-1].changed
    assert "what follows from the change is exploratory" in words(record)
    assert numbers(record)["far"] == 5 > read(record).planned_of("far")
    last = max(numbers(record).values())
    assert f"Seeds 1 to {last};" in words(record)
    wanted = sum(read(record).planned_of(arm) for arm in numbers(record))
    assert wanted < sum(numbers(record).values())
    said = so_far(record, study_of(), with_search=False)
    assert said == f"{wanted} of at most {wanted} runs of arms done; nothing is left to train"


def test_a_command_says_it_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And the maximum is that of the flag, else of the record, else 20; what is recorded of it has
    no more words than make the same study.
    """
    path = tmp_path / "study.json"
    path.write_text(small_study(replicates=5).model_dump_json())

    def asked(**flags: Any) -> Study:
        given = Options("pipeline.ablate", str(path), mlruns=str(tmp_path), **flags)
        folder = tmp_path / "record"
        record = Record.of(read_events(folder)) if (folder / FILE).exists() else Record()
        return resolve(given, chosen(given), record)

    def limits(**flags: Any) -> tuple[bool, int]:
        ablation = asked(**flags).ablation
        return ablation.until_answered, ablation.replicates

    assert limits() == (False, 5)
    assert limits(until_answered=True) == (True, MAXIMUM)
    assert limits(until_answered=True, replicates=9) == (True, 9)
    assert limits(until_answered=True, sets=("ablation.replicates=8",)) == (True, 8)
    words = ["--study", str(path), "--until-answered", "--max-replicates", "9"]
    given = options(parser("pipeline.ablate", "", trains=True), words)
    assert (given.until_answered, given.replicates) == (True, 9)
    assert options(parser("pipeline.ablate", "", trains=True), given.words()) == given

    ledger = open_plan(tmp_path / "record", asked(until_answered=True, replicates=9)).ledger
    flat = asked(until_answered=True, replicates=9).flat()
    budget = {key: flat[key] for key in KEPT}
    default = {**budget, "ablation.until_answered": False, "ablation.replicates": 5}
    ledger.append(events.Session(command="", budget=budget, default=default))
    ledger.close()
    assert limits() == limits(until_answered=True) == (True, 9)
    assert limits(replicates=16) == (True, 16)

    def recorded(**flags: Any) -> list[str]:
        given = Options("pipeline.ablate", str(path), mlruns=str(tmp_path), **flags)
        monkeypatch.setattr("sys.argv", ["pipeline.ablate"])
        return _command(given, chosen(given), asked(**flags), tmp_path).split()[3:]

    looked = ["--max-replicates", "9", "--until-answered"]
    assert (recorded(), recorded(until_answered=True)) == (looked, looked[:2])
    assert recorded(until_answered=True, replicates=MAXIMUM) == []
    assert recorded(sets=(f"ablation.replicates={MAXIMUM}",)) == looked[2:]
    fixed = {**budget, "ablation.until_answered": False, "ablation.replicates": 4}
    ledger = Ledger(tmp_path / "record")
    ledger.append(events.Session(command="", budget=fixed, default=default))
    ledger.close()
    assert (limits(), limits(until_answered=True)) == ((False, 4), (True, MAXIMUM))


def normal(seed: int, levels: dict[str, float], most: int = 20) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    columns = {arm: level + rng.standard_normal(most) for arm, level in levels.items()}
    return pd.DataFrame(columns, range(1, most + 1))


def walk(scores: pd.DataFrame, questions: tuple[Question, ...], **over: int) -> Walk:
    reached = {str(arm): over.get(str(arm), len(scores)) for arm in scores}
    return Walk(scores, questions, 0.1, WELCH).to(reached, len(scores))


def test_what_comes_after_a_look_changes_nothing_of_it() -> None:
    scores = normal(0, {"r": 0.0, "x": 6.0, "y": 0.0})
    asked = differences(scores.columns, "r")
    whole = walk(scores, asked)
    stopped = whole.rows.now["x"]
    assert stopped < whole.rows.now["y"] == 20
    less = scores.copy()
    less.loc[stopped + 1 :, "x"] = np.nan
    assert walk(less, asked, x=stopped).judged().contrasts == whole.judged().contrasts


def test_how_far_it_is_follows_from_what_is_over() -> None:
    scores = normal(1, {"r": 0.0, "x": 0.0})
    asked = differences(scores.columns, "r")
    for over, now in ((0, 3), (2, 3), (3, 4), (5, 6), (6, 8), (7, 8), (20, 20)):
        found = walk(scores, asked, x=over)
        assert found.rows.now == {"r": now, "x": now}
        assert found.rows.most == {"r": 20, "x": 20}
        assert found.judged().contrasts[0].look == max(looks(over), default=0)
        assert found.judged().contrasts[0].family == (over >= 3)


def test_a_finding_that_the_estimate_turned_against_is_none() -> None:
    """As where its arms go on for other questions, and all that comes then is far off."""
    scores = normal(2, {"r": 0.0, "x": 9.0, "y": 9.0, "z": 0.0})
    asked = tuple(
        Question(arm, "delta", {arm: 1.0, other: -1.0}, "", other)
        for arm, other in (("x", "r"), ("x", "y"), ("z", "r"))
    )
    calm = walk(scores, asked).judged().contrasts[0]
    assert (calm.verdict, calm.look) == ("better", 20)
    assert calm.settled < 6
    scores.loc[6:, "x"] = -400.0
    found = walk(scores, asked).judged().contrasts[0]
    assert found.look > 6
    assert found.verdict == "worse"  # not what five replicates had said
    scores.loc[7:, "x"] = 9.0
    found = walk(scores, asked).judged().contrasts[0]
    assert (found.delta < 0, found.verdict, found.settled) == (True, "inconclusive", 0)


def test_equivalence_is_found_at_a_look_and_stays() -> None:
    scores = normal(3, {"r": 0.0, "x": 0.0}) / 100
    asked = differences(scores.columns, "r")
    reached = dict.fromkeys(("r", "x"), 20)
    found = Walk(scores, asked, 0.05, WELCH).to(reached, 20)
    (one,) = found.judged().contrasts
    assert one.verdict == "equivalent"
    assert one.settled == one.look == found.rows.now["x"] < 20


@pytest.mark.parametrize("way", [basis("resplit"), basis("official", held_out=False)])
def test_reports_that_stop_by_what_they_saw_are_as_seldom_wrong(way: Any) -> None:
    """Seeded and small; `python -m benchmarks.coverage --only answered` is the whole of it."""
    rng = np.random.default_rng(5)
    nothing = answered.Case(World("nothing", answered.FOUR, way=way))
    row = answered.measure(nothing, 400, rng)
    assert row.figures["false"][0] <= 0.05
    falls = answered.Case(World("all -2", answered.FOUR, dict.fromkeys("xyz", -2.0), way=way))
    row = answered.measure(falls, 200, rng)
    assert row.figures["runs"][0] < 0.7
    assert row.figures["found"][0] > 0.7


def test_a_verdict_is_settled_since_it_is_called_so() -> None:
    """Equivalent at the first looks, better once there are enough: the arm goes on meanwhile, as
    another question of each is open.
    """
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 1, (20, 3))
    noise = (noise - noise.mean(0)) / noise.std(0, ddof=1)
    scores = pd.DataFrame(
        noise * [0.01, 0.01, 0.3] + [0.5, 0.52, 0.5], columns=["a", "b", "c"], index=range(1, 21)
    )
    asked = (
        Question("b", "delta", {"b": 1.0, "a": -1.0}, "f", "a"),
        Question("c", "delta", {"c": 1.0, "a": -1.0}, "f", "a"),
        Question("c", "delta", {"c": 1.0, "b": -1.0}, "f", "b"),
    )
    said = {}
    for look in looks(20):
        walk = Walk(scores, asked, 0.1, WELCH).to(dict.fromkeys("abc", look), 20)
        found = walk.judged().contrasts[0]
        said[look] = (found.verdict, found.settled)
    assert {verdict for verdict, _ in said.values()} >= {"equivalent", "better"}
    first = {
        verdict: min(look for look, (name, _) in said.items() if name == verdict)
        for verdict in ("equivalent", "better")
    }
    assert first["equivalent"] < first["better"]
    assert all(since == first[name] for name, since in said.values() if name in first)
