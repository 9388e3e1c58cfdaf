"""Ctrl-C and a polite kill, taken for a clean end."""

import os
import signal
import threading


class Interrupts:
    """SIGINT and SIGTERM: the first asks for a clean stop, the second ends the process at once."""

    def __init__(self) -> None:
        self.signal = 0

    def install(self) -> None:
        """Take the two signals over; Ray sets handlers of its own, so again after it has started."""
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, self._handle)

    def _handle(self, number: int, _frame: object) -> None:
        if self.signal:
            os._exit(128 + number)
        self.signal = number
