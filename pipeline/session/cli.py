"""The command line that all commands share: flags, the study they make, exit codes."""

import argparse
import os
import re
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from pipeline.counts import plural
from pipeline.errors import PipelineError, nearest, printable
from pipeline.limits import num_cores
from pipeline.record.outbox import THREAD as OUTBOX
from pipeline.screen import fold, steady_to_the_end
from pipeline.session.about import about_of, add_about
from pipeline.session.allowance import add_allowance
from pipeline.session.options import BEST, NEWS, NOTIFY, Options
from pipeline.session.places import add_mlruns
from pipeline.session.values import at_least_0, positive, price, seconds, share
from pipeline.session.windows import NAMES, NONE, wanted
from pipeline.study.looks import MAXIMUM
from pipeline.study.names import every_shipped

ERROR = "error: "
LEVELS = 10  # that --variance takes apart: fewer leave its intervals wide
MANY_WORKERS, WORKERS_A_CORE = 64, 4


class Help(argparse.HelpFormatter):
    """argparse's help, whose lines are broken between words alone."""

    def _split_lines(self, text: str, width: int) -> list[str]:
        return fold(text, width)

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return "\n".join(fold(text, width, first=indent, then=indent))


class Parser(argparse.ArgumentParser):
    """argparse in the house's error style: exit code 2, one message, the nearest flag."""

    def __init__(self, prog: str, about: str) -> None:
        self.command, self.words = prog, list[str]()
        super().__init__(
            prog=f"python -m {prog}", description=about, allow_abbrev=False, formatter_class=Help
        )

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        self.words = sys.argv[1:] if args is None else list(args)
        return super().parse_known_args(args, namespace)

    def error(self, message: str) -> NoReturn:
        flags = [flag for action in self._actions for flag in action.option_strings]
        if "arguments are required" in message:  # a wrong flag may be the one that is missing
            given = (word.split("=")[0] for word in self.words if word.startswith("--"))
            wrong = next((flag for flag in given if flag not in flags), None)
            message = f"unrecognized arguments: {wrong}" if wrong else message
        unknown = re.search(r"unrecognized arguments: (\S+)", message)
        flag = unknown[1].split("=")[0] if unknown else ""
        hint = nearest(flag, flags) if unknown else ""
        if flag == "--set":
            hint = "; the configuration is the recorded one here, leave it out"
            if any(word.removeprefix("--set=").startswith("name=") for word in self.words):
                hint += ", and give --study mlruns/NAME-DATA/study.json of the record of that name"
        tell_error(f"{printable(message, 500)}{hint}")
        self.exit(2, f"usage: {self.prog} --help\n")


def options(flags: Parser, argv: Sequence[str] | None = None) -> Options:
    """What the command line asks for, of a command that has no flags of its own."""
    found = Options.of(flags.command, flags.parse_args(argv))
    most = max(MANY_WORKERS, WORKERS_A_CORE * num_cores())
    if found.workers and found.workers > most and not found.address:
        flags.error(
            f"--workers: expected at most {most} on {plural(num_cores(), 'core')}, got "
            f"{found.workers}"
        )
    if found.debug and found.address:
        flags.error(
            f"--debug: trains in this very process; got --address {found.address}, leave one out"
        )
    if found.debug and found.workers not in (None, 1):
        flags.error(
            f"--debug: trains one run after another; got --workers {found.workers}, leave it out"
        )
    if found.notify and found.address:
        flags.error(
            "--notify: its address would stand in the cluster's list of jobs, which all who use it "
            f"can read; set {NOTIFY} instead"
        )
    about_of(found)  # what is wrong with them is told at once
    wanted(found.also)
    return found


def parser(prog: str, about: str, *, trains: bool, searches: bool = False) -> Parser:
    """The flags of a command; `trains` adds those of commands that train, `searches` those of the
    search.
    """
    flags = Parser(prog, about)
    flags.add_argument(
        "--study",
        required=True,
        metavar="NAME",
        help=f"yours in studies/, else a shipped one: {every_shipped()}; or the path of a "
        ".py or a study.json; or a module (package.mine)",
    )
    flags.add_argument(
        "--data", metavar="FOLDER", help="folder of pictures (default: the study's own)"
    )
    add_mlruns(flags, "where everything is written")
    if trains:
        _training(flags, searches=searches)
    return flags


def _training(flags: Parser, *, searches: bool) -> None:
    flags.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        dest="sets",
        help="override a field of the study; repeatable",
    )
    if searches:
        _searching(flags)
    flags.add_argument("--epochs", type=positive, metavar="N", help="epochs of a full run")
    flags.add_argument(
        "--replicates",
        "--max-replicates",
        type=positive,
        metavar="N",
        help="replicates of every arm; with --until-answered at most so many",
    )
    flags.add_argument(
        "--until-answered",
        action="store_const",
        const=True,
        help="look at the results as they come, from the start: arms whose questions are all "
        f"settled get no more replicates (at most {MAXIMUM}, or --max-replicates)",
    )
    flags.add_argument(
        "--variance",
        type=at_least_0,
        nargs="?",
        const=LEVELS,
        metavar="N",
        help="say where the ± comes from: N replicates of the reference are taken apart by what "
        f"chance drew anew, with a run more for each source (default: {LEVELS}; 0: none)",
    )
    flags.add_argument(
        "--seed", type=int, metavar="N", help="seed of the search and of the replicates"
    )
    flags.add_argument(
        "--time",
        type=seconds,
        metavar="TIME",
        help="plan for this long, so that the table is whole by then: 6h, 90m, 1h30m, 45s or 45 "
        "(seconds); the same command goes on",
    )
    _where(flags)
    add_allowance(flags)
    add_about(flags)
    flags.add_argument(
        "--also",
        metavar="NAMES",
        default="",
        help=f"write the study for others to show, too: {' or '.join(NAMES)}, several with commas "
        f"between; kept for later commands until one says otherwise ({NONE}: no more)",
    )
    _ways(flags)


def _where(flags: Parser) -> None:
    """What a command that trains does it on."""
    flags.add_argument(
        "--workers",
        type=positive,
        metavar="N",
        help="runs at the same time (default: all GPUs or cores)",
    )
    flags.add_argument(
        "--gpus-per-trial",
        type=share,
        metavar="X",
        help="share of a GPU for each run; 0 = CPU cores",
    )
    flags.add_argument(
        "--address",
        metavar="HOST:PORT",
        default="",
        help="train on the nodes of this Ray cluster (auto: the one that this machine is a node "
        "of); those that do not see the folder --mlruns get copies",
    )
    flags.add_argument(
        "--price-per-hour",
        type=price,
        metavar="X",
        help="what an hour of one GPU costs, or of one core where runs train on cores: the report "
        "says what each arm cost; kept until another is given (0: none)",
    )


def _searching(flags: Parser) -> None:
    flags.add_argument(
        "--trials", type=int, metavar="N", help="total number of trials, earlier ones included"
    )
    racing = flags.add_mutually_exclusive_group()
    racing.add_argument(
        "--race",
        type=at_least_0,
        metavar="N",
        help="best trials that are trained again, until one stays: an arm of the table "
        "(default: the study's; 3 where it says none)",
    )
    racing.add_argument(
        "--no-race",
        action="store_const",
        const=0,
        dest="race",
        default=None,
        help="the same as --race 0",
    )
    flags.add_argument(
        "--against",
        metavar="COSTS",
        help="search for the front of the metric against params, macs or size of the network; "
        "several with commas between",
    )
    flags.add_argument(
        "--warm-start",
        metavar="FOLDER",
        default="",
        help="begin with what another study's record (mlruns/OTHER) says is good: its best "
        "configuration early, then the order of its trials while it agrees with the search's own; "
        "auto: the most similar record under --mlruns",
    )


def _ways(flags: Parser) -> None:
    """How a command that trains begins, and how much it says."""
    how = flags.add_mutually_exclusive_group()
    how.add_argument(
        "--resume",
        action="store_true",
        help="go on with the study recorded before (an error if there is none)",
    )
    how.add_argument(
        "--fresh",
        action="store_true",
        help="begin anew; what was recorded is moved aside, never deleted",
    )
    flags.add_argument(
        "--notify",
        action="append",
        default=[],
        metavar="URL",
        help="tell this address (mail, Slack, Telegram, … as apprise writes them) how the command "
        "ended, and of each new best trial, at most one in ten minutes; repeatable; addresses "
        f"that hold secrets are better in {NOTIFY}, with blanks between, as `ps` shows the words "
        "of a command to everybody on a machine; neither is recorded",
    )
    flags.add_argument(
        "--dry-run",
        action="store_true",
        help="print the plan and about how long it takes here; nothing is written",
    )
    flags.add_argument(
        "--debug",
        action="store_true",
        help="train in this very process, one run after another: breakpoint() works",
    )
    loud = flags.add_mutually_exclusive_group()
    loud.add_argument(
        "-v",
        "--verbose",
        action="store_const",
        const=1,
        default=0,
        dest="verbosity",
        help="say more",
    )
    loud.add_argument(
        "-q", "--quiet", action="store_const", const=-1, dest="verbosity", help="only the end"
    )


def derived(flags: Parser, does: str) -> None:
    """Add the flags of the studies that are derived from a recorded search; `does`: what the
    command does with them.
    """
    ways = flags.add_mutually_exclusive_group()
    ways.add_argument(
        "--path",
        action="store_true",
        help=f"{does} the way from the baseline to the best configuration of the recorded search "
        "instead, one change after another: a study of its own (NAME-path)",
    )
    ways.add_argument(
        "--around",
        choices=(BEST,),
        default="",
        help=f"{does} that configuration and it with each of its changes taken back alone "
        "instead: which of the found settings matter? (NAME-around)",
    )


def guarded(main: Callable[[Sequence[str] | None], int]) -> NoReturn:
    """Run a command and leave with its exit code; expected errors are printed without a
    traceback.
    """
    try:
        with steady_to_the_end():
            code = _ended(main)
    except Exception:  # a bug
        if not _held_up():
            raise
        sys.excepthook(*sys.exc_info())
        code = 1
    if _held_up():
        os._exit(code)
    sys.exit(code)


def _held_up() -> bool:
    """Whether the interpreter's end would abort, as MLflow does not answer and a thread is in C++
    code; or never come, as it waits for the threads of apprise and an address answers for ever.
    """
    return any(thread.name in (OUTBOX, NEWS) for thread in threading.enumerate())


def _ended(main: Callable[[Sequence[str] | None], int]) -> int:
    try:
        return main(None)
    except PipelineError as error:
        tell_error(str(error))
        return error.exit_code
    except KeyboardInterrupt as stop:
        if str(stop):
            print("\n".join(fold(str(stop))), file=sys.stderr)
        return 128 + int(getattr(stop, "signal", signal.SIGINT))


def tell_error(text: str) -> None:
    """Every line of `text` on standard error, in the width of the screen."""
    for line in text.splitlines():
        print("\n".join(fold(line, first=ERROR, then=" " * len(ERROR))), file=sys.stderr)
