"""A command that another program calls, such as a notebook, runs in a process of its own, as a
guest of its host.

Ray and its signal handlers, loggers and environment stay in that process, and so does the end of it
where Ray ends it.
"""

import codecs
import contextlib
import importlib
import os
import selectors
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from typing import NoReturn, TextIO

from pipeline.errors import MachineError, UserError
from pipeline.screen import width
from pipeline.session.cli import ERROR, guarded, tell_error
from pipeline.session.options import NOTIFY, parted

PATIENCE_SECONDS = 10.0  # for a guest to write down what it has when its host is in a hurry


def call(command: str, words: Sequence[str], say: Callable[[str], None] | None = None) -> int:
    """Run `python -m COMMAND WORDS` and say what it says, to `say` line by line where that is
    given; returns its exit code.

    Raises UserError and MachineError as the command does. A KeyboardInterrupt is handed on and the
    clean end waited for (130 is returned); the second one ends the command at once and is raised.
    """
    variables = {
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        "PYTHONIOENCODING": "utf-8",
    }
    variables["COLUMNS"] = str(width())
    words, told = parted(words)
    if told:  # everybody on the machine can read a process's words
        variables[NOTIFY] = " ".join((os.environ.get(NOTIFY, ""), *told))
    with subprocess.Popen(
        (sys.executable, "-m", "pipeline.session.guest", command, *words),
        env={**os.environ, **variables},
        stdin=subprocess.PIPE,  # it ends with this process, however that ends
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        # a notebook is interrupted with the group of its processes: twice for the guest
        start_new_session=True,
    ) as guest:
        try:
            errors = _relay(guest, say)
        finally:
            with contextlib.suppress(OSError):
                guest.stdin.close()  # type: ignore[union-attr]
            try:
                guest.wait(PATIENCE_SECONDS)
            except subprocess.TimeoutExpired:
                guest.kill()
    for kind in (UserError, MachineError):
        if guest.returncode == kind.exit_code:
            raise kind("\n".join(errors) or f"{command} ended with exit code {guest.returncode}")
    tell_error("\n".join(errors))
    return guest.returncode if guest.returncode >= 0 else 128 - guest.returncode


def _relay(guest: "subprocess.Popen[bytes]", say: Callable[[str], None] | None) -> list[str]:
    """Say what `guest` says until it has ended; returns its errors, which are not said."""
    errors: list[str] = []
    out, err = (_Lines(say), _Lines(say)) if say else (sys.stdout, sys.stderr)
    voices = {guest.stdout: _Voice(out, None), guest.stderr: _Voice(err, errors)}
    interrupted = False
    with selectors.DefaultSelector() as selector:
        for pipe, voice in voices.items():
            selector.register(pipe, selectors.EVENT_READ, voice)  # type: ignore[arg-type]
        while selector.get_map():
            try:
                ready = selector.select(0.5)
                for key, _ in ready:
                    if not key.data.say(os.read(key.fd, 2**16)):
                        selector.unregister(key.fileobj)
                if not ready and guest.poll() is not None:  # a process that it left holds the pipes
                    break
            except KeyboardInterrupt:
                guest.send_signal(signal.SIGINT)
                if interrupted:
                    raise
                interrupted = True
    return errors


class _Lines:
    """What is written, to a function, line by line."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self.say, self.line = say, ""

    def write(self, text: str) -> None:
        *lines, self.line = (self.line + text).split("\n")
        for line in lines:
            self.say(line)

    def flush(self) -> None:
        """Nothing waits but a line that has not ended."""


class _Voice:
    """One of the guest's streams, said as it comes; where there is a list for them, lines that are
    errors go there.
    """

    def __init__(self, stream: TextIO | _Lines, errors: list[str] | None) -> None:
        self.stream, self.errors, self.line, self.in_error = stream, errors, "", False
        self.decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def say(self, chunk: bytes) -> bool:
        """Whether there may be more."""
        text = self.decoder.decode(chunk, final=not chunk)
        if self.errors is not None:
            *lines, self.line = (self.line + text).split("\n")
            if not chunk and self.line:
                lines.append(self.line)
            text = "".join(f"{line}\n" for line in lines if not self._is_error(line, self.errors))
        self.stream.write(text)
        self.stream.flush()
        return bool(chunk)

    def _is_error(self, line: str, errors: list[str]) -> bool:
        """Whether a line is one, or goes on with one; then it is kept. How a command line is helped
        is of no use to who wrote none.
        """
        if line.startswith("usage: "):
            return True
        more = self.in_error and line.startswith(" " * len(ERROR))
        self.in_error = more or line.startswith(ERROR)
        if more:
            errors[-1] += f" {line.lstrip()}"
        elif self.in_error:
            errors.append(line.removeprefix(ERROR))
        return self.in_error


def main() -> NoReturn:
    """Run the command that is named first, with the words that follow; ask for its end when the
    host has gone.
    """

    def await_the_hosts_end() -> None:
        while os.read(0, 2**10):
            pass
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=await_the_hosts_end, name="host", daemon=True).start()
    sys.argv = sys.argv[1:]
    guarded(importlib.import_module(sys.argv[0]).main)


if __name__ == "__main__":
    main()
