"""Outbox: hands a study's events to a slow or absent receiver from a thread of its own, remembers
how far it got.
"""

import json
import os
import queue
import threading
import time
from pathlib import Path
from typing import Protocol

from pipeline.record.events import Event

FLUSH_SECONDS = 1.0
RETRY_SECONDS = 5.0
MOST = 5000  # events in one delivery: of a long backlog what has arrived is known after each
THREAD = "outbox"


class Anew(Exception):
    """What was delivered is not there any more: everything is owed again, and taken at once."""


class Receiver(Protocol):
    """What an outbox delivers to; both methods are called in the outbox's thread alone."""

    def take(self, event: Event) -> None:
        """See an event, once, in order, whether or not it was sent before."""

    def send(self, events: list[Event], *, last: bool) -> None:
        """Deliver; may raise, and is then called again with the same events and those that came
        since.

        Raises `Anew` to be called again with all events of the study.
        """


class Outbox:
    """Delivers in batches of about a second. `put` never blocks and nothing that `send` raises
    reaches the caller.
    """

    def __init__(self, receiver: Receiver, state: Path, target: str, events: list[Event]) -> None:
        """`events` came before; those after the sequence number in file `state`, if it is for
        `target`, are still owed.
        """
        self.problem = ""
        self._receiver, self._state, self._target = receiver, state, target
        self._sent = self._read()
        self._queue: queue.SimpleQueue[Event | threading.Event | None] = queue.SimpleQueue()
        self._waiting: list[threading.Event] = []
        self._taken: list[Event] = []
        for event in events:
            self._queue.put(event)
        self._thread = threading.Thread(target=self._work, name=THREAD, daemon=True)
        self._thread.start()

    def put(self, event: Event) -> None:
        self._queue.put(event)

    def flush(self, timeout_seconds: float = 120.0) -> None:
        """Wait until all that was put has been delivered, or once tried in vain."""
        reached = threading.Event()
        self._queue.put(reached)
        reached.wait(timeout_seconds)

    def close(self, timeout_seconds: float = 300.0) -> str:
        """Deliver what is left and end; returns what went wrong, or an empty string."""
        self._queue.put(None)
        self._thread.join(timeout_seconds)
        return "no answer in time" if self._thread.is_alive() else self.problem

    def _work(self) -> None:
        owed: list[Event] = []
        last = False
        while not last:
            fresh, last = self._collect()
            owed += fresh
            try:
                if owed or last:
                    try:
                        self._deliver(owed, last=last)
                    except Anew:
                        owed = list(self._taken)
                        self._deliver(owed, last=last)
                self.problem = ""
            except (
                Exception
            ) as error:  # whatever a tracking server does must not reach the training
                self.problem = (
                    f"{type(error).__name__}: {(str(error) or 'no message').splitlines()[0][:2000]}"
                )
            while self._waiting:
                self._waiting.pop().set()
            if self.problem and not last:
                time.sleep(RETRY_SECONDS)

    def _deliver(self, owed: list[Event], *, last: bool) -> None:
        """Send it in parts, and take what has arrived out of it."""
        while len(owed) > MOST:
            self._arrive(owed[:MOST], last=False)
            del owed[:MOST]
        self._arrive(owed, last=last)
        owed.clear()

    def _arrive(self, part: list[Event], *, last: bool) -> None:
        self._receiver.send(part, last=last)
        self._write(part)

    def _collect(self) -> tuple[list[Event], bool]:
        """The owed events of about the next second, and whether the outbox is being closed."""
        events: list[Event] = []
        until = time.monotonic() + FLUSH_SECONDS
        while (left := until - time.monotonic()) > 0:
            try:
                event = self._queue.get(timeout=left)
            except queue.Empty:
                break
            if event is None:
                return events, True
            if isinstance(event, threading.Event):
                self._waiting.append(event)
                break
            self._receiver.take(event)
            self._taken.append(event)
            if event.seq > self._sent:
                events.append(event)
        return events, False

    def _read(self) -> int:
        try:
            state = json.loads(self._state.read_text())
            return int(state["seq"]) if state["target"] == self._target else -1
        except (OSError, ValueError, KeyError, TypeError):
            return -1

    def _write(self, delivered: list[Event]) -> None:
        if delivered:
            scratch = self._state.with_suffix(".tmp")
            scratch.write_text(json.dumps({"target": self._target, "seq": delivered[-1].seq}))
            os.replace(scratch, self._state)
