"""Events are written as they always were, read from ledgers of all versions, and described as they
are.
"""

import dataclasses
import json
from pathlib import Path
from typing import ClassVar

import pytest

from pipeline.errors import MachineError, UserError
from pipeline.record import events
from pipeline.record.event_form import read, written
from pipeline.record.events import KINDS, Event, Unread
from pipeline.record.ledger import FILE, Ledger, read_events
from pipeline.record.lines import seal, unseal
from pipeline.record.record import Record
from tests import event_table
from tests.driver import Worker, drive, open_plan
from tests.records import full_record
from tests.studies import small_study

RECORDED = Path(__file__).parent / "recorded" / "dcfe179" / "small-digits" / FILE
START = {"seq": 4, "time": 1.5, "type": "start", "run": "r", "rung": 0, "code": "c"}


def test_what_is_written_has_the_fields_and_the_order_that_it_always_had(tmp_path):
    worker = Worker(diverges=lambda config: config.model.dropout > 0.4)
    drive(open_plan(tmp_path, small_study(num_trials=6, replicates=2)), worker)
    wanted = {
        "trial": ["run", "search", "arm", "trial", "knobs", "asked", "replicate", "config"],
        "arm": ["run", "arm", "replicate", "config", "data", "core_version"],
        "start": ["run", "rung", "code"],
        "epoch": ["run", "metrics"],
        "rung": ["run", "rung", "value"],
        "code": ["id", "parts"],
        "finish": ["status"],
    }
    ends = {
        "complete": ["best_epoch", "num_params"],
        "diverged": ["error"],
        "stopped": [],
    }
    for line in (tmp_path / FILE).read_text().splitlines():
        tree = json.loads(line)
        names = list(tree)[3:-1]
        if tree["type"] in wanted:
            assert names == wanted[tree["type"]]
        if tree["type"] == "end":
            tested = ["test_loss", "test_acc"] if "test_acc" in tree else []
            assert names == ["run", "status", *ends[tree["status"]], *tested]


def test_what_was_read_is_written_with_no_byte_changed(tmp_path):
    full_record(tmp_path, replicates=2, num_trials=8)
    for raw in (tmp_path / FILE).read_bytes().splitlines(keepends=True):
        line = unseal(raw)
        assert line is not None
        assert seal(written(read(line))) == raw


def test_a_ledger_of_a_former_version_loses_nothing_but_what_is_new():
    for raw in RECORDED.read_bytes().splitlines(keepends=True):
        line = unseal(raw)
        assert line is not None
        event = read(line)
        assert not isinstance(event, Unread)
        known = {part.name for part in dataclasses.fields(event)} | {"type"}
        assert written(event).items() >= {k: v for k, v in line.items() if k in known}.items()


def test_a_field_of_a_newer_version_is_passed_over():
    assert read(START | {"weather": "fair"}) == read(START)


@pytest.mark.parametrize(
    "line",
    [
        {"type": "unheard of"},
        {"type": "start", "run": "r"},
        {"type": "start", "version": 0.5},
        {"type": "start", "run": "r", "rung": None},
        {"type": "session", "command": "c", "budget": None},
        {"type": "arm", "run": "r", "arm": "a", "replicate": None, "config": {}},
        {"type": "arm", "run": "r", "arm": "a", "replicate": True, "config": {}},
        {"type": "epoch", "run": "r", "metrics": {"epoch": 1, "val_acc": "high"}},
        {"type": "end", "run": "r", "status": "tired"},
        {"type": "twin", "run": "r", "trial": 1, "knobs": {}, "asked": 0, "values": [[0]]},
    ],
    ids=str,
)
def test_what_is_no_event_is_read_as_such_and_told_by_the_record(line):
    event = read({"seq": 4, "time": 1.5} | line)
    assert isinstance(event, Unread)
    assert not event.newer
    with pytest.raises(MachineError, match=r"line 5 \('.*'\) is sealed, but no event of this"):
        Record().apply(event)


def test_what_could_not_be_read_again_is_not_written(tmp_path):
    with Ledger(tmp_path) as ledger:
        with pytest.raises(ValueError, match=r"replicate"):
            ledger.append(events.Arm(run="r", arm="a", replicate=1.5, config={}))
        ledger.append(events.Finish(status="complete"))
    assert [event.kind for event in read_events(tmp_path)] == ["finish"]


def test_a_newer_version_of_an_event_is_no_damage(tmp_path):
    with Ledger(tmp_path) as ledger:
        ledger.append(events.Study(study=small_study().model_dump(mode="json"), data={}, note=""))
    newer = {"seq": 1, "time": 1.5, "type": "start", "version": 2}
    with (tmp_path / FILE).open("ab") as file:
        file.write(seal(newer))
    with pytest.raises(UserError, match=r"line 2 \('start'\) was written by a newer version"):
        Record.of(read_events(tmp_path))


def test_a_version_is_written_from_2_on():
    @dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
    class Start(Event):
        kind: ClassVar[str] = "start"
        version: ClassVar[int] = 2

    assert written(Start(seq=1)) == {"seq": 1, "time": 0.0, "type": "start", "version": 2}
    assert "version" not in written(read(START))


def test_the_table_of_events_is_the_one_that_the_classes_give():
    text = event_table.PAGE.read_text(encoding="utf-8")
    assert text == event_table.page(text), "write it anew by python -m tests.event_table"
    assert all(f"**`{kind}`**" in text for kind in KINDS)
