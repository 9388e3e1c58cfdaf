import json
import threading
from pathlib import Path
from typing import Any

import pytest

from pipeline.record import outbox
from pipeline.record.events import Event
from pipeline.record.outbox import Outbox
from tests.records import Note

pytestmark = pytest.mark.filterwarnings("error")


@pytest.fixture(autouse=True)
def _impatient(monkeypatch):
    monkeypatch.setattr(outbox, "FLUSH_SECONDS", 0.02)
    monkeypatch.setattr(outbox, "RETRY_SECONDS", 0.01)


class Receiver:
    """Keeps what it sees; raises `errors` first, one a call."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.taken: list[int] = []
        self.sent: list[int] = []
        self.calls: list[tuple[list[int], bool]] = []
        self.threads: set[str] = set()
        self.delivered = threading.Event()

    def take(self, event: Event) -> None:
        self.threads.add(threading.current_thread().name)
        self.taken.append(event.seq)

    def send(self, events: list[Event], *, last: bool) -> None:
        self.threads.add(threading.current_thread().name)
        self.calls.append(([event.seq for event in events], last))
        if self.errors:
            raise self.errors.pop(0)
        self.sent += [event.seq for event in events]
        self.delivered.set()


def events(first: int, last: int) -> list[Event]:
    return [Note(seq=seq) for seq in range(first, last)]


def state(folder: Path) -> Any:
    return json.loads((folder / "state.json").read_text())


def test_everything_arrives_once_in_order_and_in_another_thread(tmp_path):
    receiver = Receiver()
    box = Outbox(receiver, tmp_path / "state.json", "here", events(0, 5))
    for event in events(5, 50):
        box.put(event)
    assert box.close() == ""
    assert receiver.taken == receiver.sent == list(range(50))
    assert receiver.threads == {"outbox"}
    assert state(tmp_path) == {"target": "here", "seq": 49}
    assert receiver.calls[-1][1]
    assert not any(last for _, last in receiver.calls[:-1])
    assert [path.name for path in tmp_path.iterdir()] == ["state.json"]


def test_what_was_sent_is_taken_but_not_sent_again(tmp_path):
    Outbox(Receiver(), tmp_path / "state.json", "here", events(0, 5)).close()
    receiver = Receiver()
    box = Outbox(receiver, tmp_path / "state.json", "here", events(0, 8))
    box.put(Note(seq=8))
    assert box.close() == ""
    assert receiver.taken == list(range(9))
    assert receiver.sent == [5, 6, 7, 8]


def test_the_last_call_comes_even_where_nothing_is_owed(tmp_path):
    receiver = Receiver()
    assert Outbox(receiver, tmp_path / "state.json", "here", []).close() == ""
    assert receiver.calls == [([], True)]
    assert not (tmp_path / "state.json").exists()


def test_another_target_gets_everything(tmp_path):
    Outbox(Receiver(), tmp_path / "state.json", "here", events(0, 5)).close()
    receiver = Receiver()
    Outbox(receiver, tmp_path / "state.json", "there", events(0, 5)).close()
    assert receiver.sent == list(range(5))
    assert state(tmp_path) == {"target": "there", "seq": 4}


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "null", "3", '{"target": "here"}', '{"target": "here", "seq": null}', "\0"],
)
def test_a_damaged_state_means_that_everything_is_sent_again(tmp_path, text):
    (tmp_path / "state.json").write_text(text)
    receiver = Receiver()
    assert Outbox(receiver, tmp_path / "state.json", "here", events(0, 3)).close() == ""
    assert receiver.sent == [0, 1, 2]


def test_a_receiver_that_raises_is_called_again_with_the_same_and_what_came_since(tmp_path):
    receiver = Receiver(ConnectionError("away"), ValueError(""), RuntimeError("two\nlines"))
    box = Outbox(receiver, tmp_path / "state.json", "here", events(0, 3))
    assert receiver.delivered.wait(3600)
    assert not receiver.errors
    box.put(Note(seq=3))
    assert box.close() == ""
    assert receiver.taken == [0, 1, 2, 3]
    assert receiver.sent == [0, 1, 2, 3]
    failed = [sent for sent, _ in receiver.calls[:3]]
    assert all(sent == [0, 1, 2] for sent in failed)


def test_what_could_not_be_delivered_is_said_and_sent_by_the_next_process(tmp_path):
    Outbox(Receiver(), tmp_path / "state.json", "here", events(0, 2)).close()
    away = Receiver(*[ConnectionError("no route\nto host")] * 1000)
    box = Outbox(away, tmp_path / "state.json", "here", events(0, 4))
    box.put(Note(seq=4))
    assert box.close() == "ConnectionError: no route"
    assert away.sent == []
    assert away.taken == [0, 1, 2, 3, 4]
    assert state(tmp_path)["seq"] == 1
    receiver = Receiver()
    assert Outbox(receiver, tmp_path / "state.json", "here", events(0, 5)).close() == ""
    assert receiver.sent == [2, 3, 4]


def test_a_flush_returns_once_all_is_delivered(tmp_path):
    receiver = Receiver()
    box = Outbox(receiver, tmp_path / "state.json", "here", events(0, 3))
    for first in (3, 6):
        for event in events(first, first + 3):
            box.put(event)
        box.flush()
        assert receiver.sent == list(range(first + 3))
        assert state(tmp_path)["seq"] == first + 2
    assert box.close() == ""


def test_a_flush_does_not_wait_for_a_receiver_that_is_away(tmp_path):
    receiver = Receiver(*[ConnectionError("away")] * 1000)
    box = Outbox(receiver, tmp_path / "state.json", "here", events(0, 3))
    box.flush()
    assert receiver.calls
    assert receiver.sent == []
    receiver.errors.clear()
    assert box.close() == ""
    assert receiver.sent == [0, 1, 2]


def test_an_error_without_words_is_still_an_error(tmp_path):
    box = Outbox(Receiver(*[ValueError()] * 1000), tmp_path / "state.json", "here", events(0, 1))
    assert box.close() == "ValueError: no message"


def test_a_state_that_cannot_be_written_is_said_and_ends_nothing(tmp_path):
    receiver = Receiver()
    box = Outbox(receiver, tmp_path / "missing" / "state.json", "here", events(0, 3))
    assert "No such file" in box.close()
    assert set(receiver.sent) == {0, 1, 2}


def test_a_receiver_that_hangs_does_not_hold_the_end_up(tmp_path):
    release = threading.Event()

    class Slow(Receiver):
        def send(self, events: list[Event], *, last: bool) -> None:  # noqa: ARG002
            release.wait(3600)

    box = Outbox(Slow(), tmp_path / "state.json", "here", events(0, 1))
    assert box.close(timeout_seconds=0.05) == "no answer in time"
    release.set()
    box._thread.join(30)
    assert not box._thread.is_alive()


def test_a_long_backlog_arrives_in_parts_and_only_what_is_missing_is_sent_again(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(outbox, "MOST", 10)
    known: list[int] = []

    class Away(Receiver):
        """Does not answer the second call."""

        def send(self, events: list[Event], *, last: bool) -> None:
            if len(self.calls) == 1:
                known.append(state(tmp_path)["seq"])
                self.errors = [ConnectionError("away")]
            super().send(events, last=last)

    receiver = Away()
    box = Outbox(receiver, tmp_path / "state.json", "here", events(0, 25))
    box.flush()
    assert box.close() == ""
    assert known == [9]
    assert receiver.sent == list(range(25))
    lengths = [len(sent) for sent, _ in receiver.calls]
    assert max(lengths) == 10
    assert [last for _, last in receiver.calls].count(True) == 1
    assert state(tmp_path)["seq"] == 24
