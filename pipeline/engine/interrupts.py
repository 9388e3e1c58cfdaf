"""Ctrl-C, a polite kill and a closed terminal, taken for a clean end."""

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterator
from types import TracebackType
from typing import Any

from pipeline.engine.processes import end_descendants
from pipeline.errors import UserError, printable

ECHO_SECONDS = 0.2
"""A signal this soon after the first is the same stop, told twice: a shell whose terminal is closed
hands the kernel's signal on to its jobs, `timeout` tells its command and then the group; nobody
presses Ctrl-C so fast."""
SIGNALS = (signal.SIGINT, signal.SIGTERM, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else []))


class Interrupted(KeyboardInterrupt):
    """A signal that ends at once what can be left without loss."""

    def __init__(self, number: int) -> None:
        super().__init__(
            f"interrupted by {signal.Signals(number).name}; the same command goes on from here"
        )
        self.signal = number


class Interrupts:
    """SIGINT, SIGTERM and SIGHUP within a `with` block: the first asks for a clean stop, the second
    ends the process and all that it started at once. What ignored SIGHUP (`nohup`) goes on ignoring
    it. Taken over in the main thread alone.

    `raises`: whether the first is raised as Interrupted where it finds the command, instead of
    being kept in `signal`. `spared`: processes that whoever started them ends then, in their order.
    """

    def __init__(self, *, raises: bool = False) -> None:
        self.signal = 0
        self.raises = raises
        self.spared: Collection[int] = ()
        self._heard = 0.0
        self._former: dict[int, Any] = {}
        self._terminals = [descriptor for descriptor in (0, 1, 2) if _is_terminal(descriptor)]

    def __enter__(self) -> "Interrupts":
        if threading.current_thread() is threading.main_thread():
            heard = [
                one
                for one in SIGNALS
                if one in (signal.SIGINT, signal.SIGTERM) or signal.getsignal(one) != signal.SIG_IGN
            ]
            self._former = {number: signal.getsignal(number) for number in heard}
        self.install()
        return self

    def install(self) -> None:
        """Again after Ray has started, which sets a handler of its own below Python, unknown to the
        interpreter.
        """
        for number in self._former:
            signal.signal(number, self._handle)

    def __exit__(
        self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None
    ) -> None:
        for number, former in self._former.items():
            signal.signal(number, signal.SIG_DFL if former is None else former)

    @contextlib.contextmanager
    def kept(self) -> Iterator[None]:
        """A block that a signal must not leave in the middle: where it would be raised, it is
        raised afterwards.
        """
        raises, self.raises = self.raises, False
        try:
            yield
        finally:
            self.raises = raises and not self.signal
            if raises and self.signal:
                raise Interrupted(self.signal) from None

    def wait(self, action: Callable[[float], Any], seconds: float, hurry_seconds: float) -> Any:
        """What `action(seconds)` returns; `action(hurry_seconds)` where the signal has come, or
        comes and ends the first.
        """
        if not self.signal:
            try:
                self.raises = True
                return action(seconds)
            except Interrupted:
                pass
            finally:
                self.raises = False
        return action(hurry_seconds)

    def _handle(self, number: int, _frame: object) -> None:
        if self.signal:
            if time.monotonic() - self._heard < ECHO_SECONDS:
                return
            end_descendants()
            os._exit(128 + number)
        self.signal, self._heard = number, time.monotonic()
        if hasattr(signal, "alarm"):
            # Ray's handler, where it was the first to hear of it, lets the process abort in three
            # seconds
            signal.alarm(0)
        self._leave_dead_terminals()
        if self.raises:
            self.raises = False
            end_descendants(self.spared)  # a process that decodes a picture may take long
            raise Interrupted(number)

    def _leave_dead_terminals(self) -> None:
        """Writing to a terminal that is gone would be an error in the middle of the clean end."""
        for descriptor in self._terminals:
            if not _is_terminal(descriptor):
                nowhere = os.open(os.devnull, os.O_RDWR)
                os.dup2(nowhere, descriptor)
                os.close(nowhere)


def _is_terminal(descriptor: int) -> bool:
    try:
        return os.isatty(descriptor)
    except OSError:
        return False


def no_debugger(*_: object, **__: object) -> None:
    """What `breakpoint()` does where nobody would answer it: raises UserError."""
    caller = sys._getframe(1)
    raise UserError(
        f"{printable(caller.f_code.co_filename, 300)}, line {caller.f_lineno}: breakpoint(): "
        "nobody can answer it here; add --debug, or take it out"
    )


@contextlib.contextmanager
def debugged(allowed: bool) -> Iterator[None]:
    """Whether `breakpoint()` may stop this process within the block; where PYTHONBREAKPOINT is 0 it
    does nothing anyway.
    """
    before = sys.breakpointhook
    if not allowed and os.environ.get("PYTHONBREAKPOINT") != "0":
        sys.breakpointhook = no_debugger
    try:
        yield
    finally:
        sys.breakpointhook = before
