"""How a study is going, told from outside while it runs."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from pipeline import status
from pipeline.doctor.pulse import MIN_EPOCHS, _pace, pulse
from pipeline.engine.order import Outcome
from pipeline.errors import MachineError, UserError
from pipeline.record.events import Epoch, Event
from pipeline.record.ledger import FILE, read_events
from pipeline.record.record import Record
from pipeline.session.so_far import so_far
from pipeline.status import main
from tests.driver import Worker, drive, open_plan
from tests.studies import small_study


def begun(folder: Path, num_segments: int, **fields: Any):
    """The plan of a study of which so many segments are trained; it is still held."""
    plan = open_plan(folder, small_study(num_trials=3, **fields))
    for _ in range(num_segments):
        segment = plan.next()
        assert segment is not None
        Worker().run(plan, segment)
    return plan


def told(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main([*words]) == 0
    return " ".join(capsys.readouterr().out.split())


def test_one_that_runs_says_what_is_left_and_how_long_it_takes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = begun(tmp_path / "half-digits", 5)
    record = Record.of(read_events(tmp_path / "half-digits"))
    said = told(capsys, "half-digits", "--mlruns", str(tmp_path))
    assert f"state running, process {os.getpid()} on" in said
    found = pulse(tmp_path / "half-digits")
    assert found.num_epochs == sum(len(run.epochs) for run in record.runs.values()) >= MIN_EPOCHS
    assert f"about {found.epochs_left} epoch" in so_far(record, record.study, with_search=True)
    assert found.seconds_left is not None
    assert f"epochs {found.num_epochs} trained, about {found.epochs_left} left, " in said
    best = record.best_trial()
    assert best is not None
    assert f"best trial number {best.number}, val_acc " in said
    assert "; not counted: what " in said
    assert "last event" in said
    plan.ledger.close()
    said = told(capsys, "half-digits", "--mlruns", str(tmp_path))
    assert "state waiting for its command to go on (the last one: ended without a word)" in said
    assert "at the pace of" not in said, "nobody runs it"
    assert "last event" not in said


def test_what_was_lost_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan = begun(tmp_path / "x", 0)
    segment = plan.next()
    assert segment is not None
    plan.finish(segment.name, Outcome(status="diverged", error="loss is nan \x1b[2J"))
    plan.ledger.close()
    said = told(capsys, "x", "--mlruns", str(tmp_path))
    assert "lost 1 run diverged; the last error: loss is nan" in said
    assert "\x1b" not in said


def test_a_complete_one_has_nothing_left(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    drive(open_plan(tmp_path / "x", small_study(num_trials=3)), Worker())
    tree = json.loads(told(capsys, "x", "--json", "--mlruns", str(tmp_path)))
    assert "not counted" not in told(capsys, "x", "--mlruns", str(tmp_path))
    assert (tree["state"], tree["epochs_left"], tree["seconds_left"]) == ("complete", 0, None)
    assert tree["event"] == list(read_events(tmp_path / "x"))[-1].time
    assert tree["best"] in {arm["name"] for arm in tree["arms"]}
    assert tree["error"] is None


def test_what_there_is_not_is_null_and_a_record_that_goes_away_is_said(tmp_path: Path) -> None:
    begun(tmp_path / "x", 0).ledger.close()
    tree = pulse(tmp_path / "x").as_json()
    assert (tree["best"], tree["best_trial"], tree["error"]) == (None, None, None)
    (tmp_path / "x" / FILE).unlink()
    with pytest.raises(MachineError, match="moved or removed"):
        pulse(tmp_path / "x")


def test_only_what_may_come_is_not_counted(tmp_path: Path) -> None:
    """Trials that wait at a rung may go on; `--race 0` races nothing."""
    plan = begun(tmp_path / "x", 2, race=0)
    assert pulse(tmp_path / "x").uncounted == ("trials already begun",)
    plan.ledger.close()


@pytest.mark.parametrize("jump", [3e7, -3e7])
def test_a_clock_that_jumps_is_no_part_of_the_pace(jump: float) -> None:
    def epochs(*times: float) -> list[Event]:
        return [Epoch(run="a", metrics={}, time=time) for time in times]

    steady = _pace(epochs(*range(0, 40, 2)))
    assert steady == 2.0
    jumped = _pace(epochs(*range(0, 20, 2), *(jump + time for time in range(20, 40, 2))))
    assert jumped == pytest.approx(steady, rel=0.1)


def test_it_is_watched_until_nobody_runs_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A line for what was recorded meanwhile, none where nothing was."""
    monkeypatch.setattr(status, "EVERY_SECONDS", 0.01)
    plan, looks = begun(tmp_path / "x", 1), []
    real = status.__dict__["_looks"]

    def looked(place: Path):
        for number, found in enumerate(real(place)):
            looks.append(found)
            yield found
            if number == 2:
                segment = plan.next()
                assert segment is not None
                Worker().run(plan, segment)
            elif number == 4:
                plan.ledger.close()

    monkeypatch.setattr(status, "_looks", looked)
    assert main(["x", "--watch", "--json", "--mlruns", str(tmp_path)]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["state"] for line in lines] == ["running", "running", "waiting"]
    assert lines[0]["num_epochs"] < lines[1]["num_epochs"] == lines[2]["num_epochs"]
    assert len(looks) > len(lines)


def test_beside_a_terminal_a_look_says_what_is_new(tmp_path: Path) -> None:
    plan = begun(tmp_path / "x", 1)
    first = pulse(tmp_path / "x")
    assert [*status._news(first, first)] == []
    segment = plan.next()
    assert segment is not None
    Worker().run(plan, segment)
    second = pulse(tmp_path / "x")
    said = " ".join(status._news(second, first))
    assert f"{second.num_epochs} trained" in said
    assert "state" not in said
    assert second.recorded.title not in said
    plan.ledger.close()
    assert "waiting for its command" in " ".join(status._news(pulse(tmp_path / "x"), second))


def test_a_damaged_record_and_a_wrong_name_are_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "hurt").mkdir()
    (tmp_path / "hurt" / FILE).write_bytes(b"no ledger\n" * 3)
    assert "state unreadable" in told(capsys, "hurt", "--mlruns", str(tmp_path))
    assert "state unreadable" in told(capsys, f"{tmp_path / 'hurt'}/"), (
        "a path, as commands end with"
    )
    with pytest.raises(UserError, match="did you mean 'hurt'"):
        main(["hrt", "--mlruns", str(tmp_path)])
    with pytest.raises(UserError, match="nothing is recorded there yet"):
        main(["hurt", "--mlruns", str(tmp_path / "hurt")])
