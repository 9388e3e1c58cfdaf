"""News: what addresses outside are told of a command, by apprise: how it ended, and new bests.

Whoever does not answer costs the study nothing: a thread of its own sends, and the end waits for it
for seconds. Addresses hold secrets, so no text that is shown or written has more of one than how it
begins.
"""

import contextlib
import logging
import os
import queue
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from pipeline.counts import plural
from pipeline.engine.interrupts import Interrupts
from pipeline.errors import PipelineError, UserError, nearest, printable
from pipeline.record import events
from pipeline.record.events import Event
from pipeline.record.record import Record, Run
from pipeline.screen import folded
from pipeline.session.options import NEWS, NOTIFY, Options

BEST_SECONDS = 600.0  # between two messages of a new best
PATIENCE_SECONDS, HURRY_SECONDS = 15.0, 3.0  # for the last message; after a signal
TRIES, AGAIN_SECONDS = 3, 2.0  # of the last message
MOST_LINES, MOST_KNOBS = 25, 12
PAGES = ("http", "https")  # as which some services write their addresses


@dataclass(frozen=True)
class Message:
    """kind: as apprise colours it. last: worth another try."""

    title: str
    body: str
    kind: str
    last: bool = False


class Address:
    """One that is told. name: what may be shown of it."""

    def __init__(self, url: str, source: str) -> None:
        """Raises UserError, naming `source`, where apprise is missing or knows no such address."""
        apprise = _apprise(source)
        known = {str(one) for one in apprise.manager_plugins.NotificationManager().schemas()}
        scheme, found, _ = url.partition("://")
        scheme = scheme.lower()
        self.name = "an address" if found else "an address without ://"
        if scheme in known.union(PAGES):  # else it may be anything: a word of a secret
            self.name = f"{scheme}://…"
        memory = apprise.AppriseAsset(storage_mode=apprise.PersistentStoreMode.MEMORY)
        self._apprise = apprise.Apprise(asset=memory)
        if not self._apprise.add(url):
            wrong = "is no address of its kind, or lacks a part"
            if scheme not in known:
                wrong = f"is of no kind that apprise knows{nearest(scheme, known)}"
            raise UserError(
                f"{source}: {self.name} {wrong}; kinds and their parts: `apprise --details` and "
                "https://appriseit.com/services"
            )

    def tell(self, message: Message) -> bool:
        """Whether it took the message; never raises."""
        try:
            return bool(
                self._apprise.notify(
                    title=message.title, body=message.body, notify_type=message.kind
                )
            )
        except Exception:  # of whichever library a service is reached by
            return False


class News:
    """What a command has to tell; of no address nothing is kept or sent.

    Events come from whichever thread writes the ledger, the rest from the command's own.
    """

    def __init__(self, study: str, addresses: tuple[Address, ...] = ()) -> None:
        self.study, self.addresses = study, addresses
        self.status = ""  # how the session ended, in its own words
        self._heard: list[str] = []
        self._lost: set[int] = set()  # addresses that were not reached
        self._took: set[int] = set()  # those that took the newest message
        self._said = False
        self._best: tuple[int, float] | None = None
        self._waiting: Message | None = None
        self._next_best = 0.0
        self._queue: queue.Queue[Message | None] = queue.Queue()
        self._thread: threading.Thread | None = None

    @classmethod
    def of(cls, options: Options) -> "News":
        """By the command line and the environment; raises UserError where an address is wrong."""
        asked = [("--notify", url) for url in options.notify]
        asked += [(NOTIFY, url) for url in os.environ.get(NOTIFY, "").split()]
        first = {url: source for source, url in reversed(asked)}
        return cls(options.study, tuple(Address(url, source) for url, source in first.items()))

    def hear(self, text: str) -> None:
        """Keep what the command says of its result, for the last message: what it says last comes
        first there, as a telephone shows the beginning.
        """
        self._heard = [*text.strip("\n").splitlines(), *self._heard] if self.addresses else []

    def follow(self, record: Record) -> Callable[[Event], None]:
        """What is to hear the ledger's events once they are folded into the record. New is what is
        better than the best trial that is recorded by now.
        """
        best = record.best_trial() if self.addresses else None
        self._best = self._worth(best, *best.value) if best is not None and best.value else None

        def event(event: Event) -> None:
            if self.addresses and isinstance(event, events.Rung):
                self._reached_rung(record.runs[event.run], event)

        return event

    def _reached_rung(self, run: Run, event: events.Rung) -> None:
        if run.kind != "trial" or run.search:
            return
        before, worth = self._best, self._worth(run, event.rung, event.value)
        if before is None or worth > before:
            self._best = worth
        if before is not None and worth > before:
            self._waiting = self._message("new best", _best(run, event.value), "info")

    @staticmethod
    def _worth(run: Run, rung: int, value: float) -> tuple[int, float]:
        return rung, run.sign * value

    def step(self) -> None:
        """Call often: sends a new best where that is due, says who was not reached."""
        now = time.monotonic()
        if self._waiting is not None and now >= self._next_best:
            message, self._waiting = self._waiting, None
            self._next_best = now + BEST_SECONDS
            self._send(message)
        self._tell_lost()

    def ended(self, code: int) -> int:
        """The command ended with this exit code, which is returned."""
        status = {0: "complete"}.get(code, f"{self.status or 'ended'} (exit {code})")
        if code == 3 and self.status == "complete":
            status = "finished, and something is missing (exit 3)"
        self._end(status, "\n".join(self._heard), "warning" if code else "success")
        return code

    def failed(self, error: BaseException) -> None:
        """The command ended with an error."""
        if isinstance(error, KeyboardInterrupt):
            code = 128 + int(getattr(error, "signal", 2))
            self._end(f"interrupted (exit {code})", str(error), "warning")
            return
        code = error.exit_code if isinstance(error, PipelineError) else 1
        said = (
            str(error) if isinstance(error, PipelineError) else f"{type(error).__name__}: {error}"
        )
        self._end(f"failed (exit {code})", "\n".join((said, *self._heard)), "failure")

    def close(self, interrupts: Interrupts) -> None:
        """Wait for what is under way, for seconds."""
        if self._thread is None:
            return
        self._queue.put(None)
        begun = time.monotonic()
        while self._thread.is_alive():
            patience = HURRY_SECONDS if interrupts.signal else PATIENCE_SECONDS
            if time.monotonic() - begun > patience:
                break
            self._thread.join(0.1)
        if self._thread.is_alive():
            self._lost |= {*range(len(self.addresses))} - self._took
        self._tell_lost()

    def _end(self, status: str, body: str, kind: str) -> None:
        self._send(self._message(status, body, kind, last=True))

    def _message(self, what: str, body: str, kind: str, *, last: bool = False) -> Message:
        lines = [printable(line, 500) for line in body.splitlines()]
        if len(lines) > MOST_LINES:
            lines = [
                *lines[: MOST_LINES - 1],
                f"… {plural(len(lines) - MOST_LINES + 1, 'line')} more",
            ]
        title = f"{printable(self.study, 100)} on {socket.gethostname()}: {what}"
        return Message(title, "\n".join(lines) or what, kind, last)

    def _send(self, message: Message) -> None:
        if not self.addresses:
            return
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name=NEWS, daemon=True)
            self._thread.start()
        self._queue.put(message)

    def _work(self) -> None:
        while (message := self._queue.get()) is not None:
            self._took.clear()
            for number, address in enumerate(self.addresses):
                for attempt in range(TRIES if message.last else 1):
                    if attempt:
                        time.sleep(AGAIN_SECONDS)
                    if address.tell(message):
                        self._took.add(number)
                        break
                else:
                    self._lost.add(number)

    def _tell_lost(self) -> None:
        """Once, whoever it is."""
        if not self._lost or self._said:
            return
        self._said = True
        names = ", ".join(self.addresses[number].name for number in sorted(self._lost))
        sys.stderr.write(
            folded(
                f"warning: --notify: {names} did not take a message; the study is not touched by "
                "that. Is it reachable from here, and are its words right? `apprise -vv -t test -b "
                "test URL` says more"
            )
            + "\n"
        )


@contextlib.contextmanager
def announced(options: Options, interrupts: Interrupts) -> Iterator[News]:
    """Tell the addresses of the command how the block ended, where it did so with an error."""
    news = News.of(options)
    if options.dry_run:  # addresses are looked at, and nobody is told
        yield News(options.study)
        return
    with _kept_back():
        try:
            yield news
        except BaseException as error:
            news.failed(error)
            raise
        finally:
            news.close(interrupts)


@contextlib.contextmanager
def _kept_back() -> Iterator[None]:
    """Neither workers nor code of the user's inherit the variable; a notebook's next command finds
    it again.
    """
    told = os.environ.pop(NOTIFY, None)
    try:
        yield
    finally:
        if told is not None:
            os.environ[NOTIFY] = told


def _best(run: Run, value: float) -> str:
    shown = [f"{name} = {run.knobs[name]}" for name in list(run.knobs)[:MOST_KNOBS]]
    head = f"trial {run.number}: {run.selects} {value:.4f} after {plural(len(run.epochs), 'epoch')}"
    return "\n".join((f"{head} of {run.config['epochs']}", *shown))


def _apprise(source: str) -> Any:
    try:
        import apprise
    except ImportError:
        raise UserError(
            f"{source}: needs the package apprise: pip install '.[notify]' (or pip install apprise)"
        ) from None
    logging.getLogger("apprise").setLevel(logging.CRITICAL + 1)  # it writes addresses whole
    return apprise
