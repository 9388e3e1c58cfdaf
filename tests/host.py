"""A program that calls a command twice, as a notebook does: `python tests/host.py THREADED FLAGS…`,
both with these flags.

Prints `first CODE`, `second CODE`, and `changed …` where something of this process is not as it was
before the commands.
"""

import asyncio
import gc
import logging
import os
import signal
import sys
import threading

from pipeline.search import main


def state() -> dict[str, object]:
    """What a command must leave as it was."""
    handlers = {number: signal.getsignal(number) for number in signal.valid_signals()}
    loggers = {
        name: logging.getLogger(name).level
        for name in (None, "ray", "mlflow", "alembic", "matplotlib", "PIL")
    }
    return {
        "handlers": handlers,
        "loggers": loggers,
        "environment": dict(os.environ),
        "threads": threading.active_count(),
        "streams": (sys.stdout, sys.stderr, sys.argv),
        "collects": gc.isenabled(),
        "folder": os.getcwd(),
    }


async def in_a_loop(flags: list[str]) -> int:
    return main(flags)


def in_a_thread(flags: list[str]) -> int:
    codes: list[int] = []
    thread = threading.Thread(target=lambda: codes.append(asyncio.run(in_a_loop(flags))))
    thread.start()
    thread.join()
    return codes[0]


if __name__ == "__main__":
    before = state()
    print("first", main(sys.argv[1:]), flush=True)
    print("second", in_a_thread(sys.argv[1:]), flush=True)
    after = state()
    for what in before:
        if before[what] != after[what]:
            print("changed", what, before[what], after[what], flush=True)
