"""`python -m pipeline.status NAME`: how a study is going, from another terminal while it runs."""

import argparse
import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.errors import printable
from pipeline.screen import fold, redraws, steadily
from pipeline.session.cli import Parser, guarded
from pipeline.session.places import add_mlruns, record_in

if TYPE_CHECKING:
    from pipeline.doctor.pulse import Pulse

EVERY_SECONDS = 2.0
NEWS = ("epochs", "best trial", "lost")  # of a look, where all of it is not said again
RESTS = 10  # looking takes one part in so many of all time, at most


@steadily
def main(argv: Sequence[str] | None = None) -> int:
    """0; raises UserError where there is no such record."""
    flags = Parser(
        "pipeline.status",
        "How a recorded study is going: epochs, time left, best trial and arm, what was lost. It "
        "only reads: from another terminal, or another machine that shares the folder.",
    )
    flags.add_argument("name", metavar="NAME", help="a folder in mlruns")
    add_mlruns(flags)
    flags.add_argument(
        "--watch", action="store_true", help="again and again, until nobody runs it any more"
    )
    flags.add_argument("--json", action="store_true", help="for programs; with --watch a line each")
    args: argparse.Namespace = flags.parse_args(argv)
    place = record_in(Path(args.mlruns), args.name)
    from pipeline.doctor.pulse import pulse

    if not args.watch:
        found = pulse(place)
        print(json.dumps(found.as_json(), indent=1) if args.json else "\n".join(_block(found)))
    elif args.json:
        for found in _changes(_looks(place)):
            print(json.dumps(found.as_json()), flush=True)
    else:
        _watch(place)
    return 0


def _looks(place: Path) -> "Iterator[Pulse]":
    """The pulse again and again; the last one is of a study that nobody runs."""
    from pipeline.doctor.pulse import pulse

    while True:
        began = time.monotonic()
        found = pulse(place)
        yield found
        if not found.running:
            return
        time.sleep(max(EVERY_SECONDS, RESTS * (time.monotonic() - began)))


def _changes(looks: "Iterator[Pulse]") -> "Iterator[Pulse]":
    """Those before which something was recorded, or who runs it has changed."""
    last = None
    for found in looks:
        if (known := (found.event, found.recorded.state)) != last:
            yield found
        last = known


def _watch(place: Path) -> None:
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    console = Console(highlight=False)
    if not redraws(console):
        last = None
        for found in _changes(_looks(place)):
            news = _block(found) if last is None else _news(found, last)
            if said := "\n".join(news):
                print(said, flush=True)
            last = found
        return
    with Live(console=console, auto_refresh=False) as live:
        for found in _looks(place):
            live.update(Text("\n".join(_block(found))), refresh=True)


def _news(found: "Pulse", last: "Pulse") -> Iterator[str]:
    """What has changed since the last look, for a file or a pipe: a line or two, not all again."""
    from pipeline.doctor.pulse import pulse_lines

    now, then = (dict(pulse_lines(one, time.time())) for one in (found, last))
    told = [text for what, text in now.items() if what in NEWS and text != then.get(what)]
    if found.recorded.state != last.recorded.state:
        told.insert(0, now["state"])
    if told:
        line = f"{time.strftime('%H:%M:%S')}  {'; '.join(told)}"
        yield from fold(printable(line, 1000), then=" " * 10)


def _block(found: "Pulse") -> Iterator[str]:
    from pipeline.doctor.pulse import pulse_lines

    yield from fold(printable(found.recorded.name))
    for what, text in pulse_lines(found, time.time()):
        yield from fold(printable(text, 500), first=f"  {what:<13}", then=" " * 15)


if __name__ == "__main__":
    guarded(main)
