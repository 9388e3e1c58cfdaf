"""The command line that all commands share: flags, the study they make, exit codes."""

import argparse
import json
import os
import re
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from pipeline.counts import plural
from pipeline.errors import PipelineError, UserError, choices, nearest, printable
from pipeline.limits import num_cores
from pipeline.record.outbox import THREAD as OUTBOX
from pipeline.screen import fold, steady_to_the_end

if TYPE_CHECKING:
    from pipeline.data.datasets import PictureSet
    from pipeline.study.study import Study

MLRUNS = "mlruns"
ERROR = "error: "
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
        super().__init__(prog=f"python -m {prog}", description=about, allow_abbrev=False, formatter_class=Help)

    def error(self, message: str) -> NoReturn:
        flags = [flag for action in self._actions for flag in action.option_strings]
        unknown = re.search(r"unrecognized arguments: (\S+)", message)
        flag = unknown[1].split("=")[0] if unknown else ""
        hint = nearest(flag, flags) if unknown else ""
        if flag == "--set":
            hint = "; the configuration is the recorded one here, leave it out"
        tell_error(f"{printable(message, 500)}{hint}")
        self.exit(2, f"usage: {self.prog} --help\n")


def seconds(text: str) -> float:
    """`6h`, `90m`, `1h30m`, `45s` or plain seconds."""
    match = re.fullmatch(r"(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m)?(?:(\d+(?:\.\d+)?)s?)?", text.strip().lower())
    total = sum(float(part or 0) * unit for part, unit in zip(match.groups(), (3600, 60, 1), strict=True)) if match else 0
    if total <= 0:
        raise argparse.ArgumentTypeError(f"expected a time such as 6h, 90m, 1h30m or 45s, got {text!r}")
    return total


def positive(text: str) -> int:
    """A whole number of at least 1."""
    if not re.fullmatch(r"[0-9]{1,9}", text) or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 1, got {text!r}")
    return int(text)


def workers(text: str) -> int:
    """A number of runs at the same time that a machine could do something with."""
    most = max(MANY_WORKERS, WORKERS_A_CORE * num_cores())
    if positive(text) > most:
        raise argparse.ArgumentTypeError(f"expected at most {most} on {plural(num_cores(), 'core')}, got {text!r}")
    return int(text)


def share(text: str) -> float:
    """A fraction of a GPU or a whole number of GPUs; 0 trains on CPU cores."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 64:
        raise argparse.ArgumentTypeError(f"expected a number between 0 and 64, got {text!r}")
    return value


def folder(text: str) -> str:
    """A folder's path that can be followed, to what is there or not yet."""
    try:
        os.stat(os.path.join(text, "."))
    except (FileNotFoundError, NotADirectoryError):  # who needs it there says so
        pass
    except (OSError, ValueError) as error:  # a name too long, a folder of others, a circle of links
        why = getattr(error, "strerror", None) or str(error)
        raise argparse.ArgumentTypeError(f"{printable(text)}: {why}; give a folder that can be reached") from None
    return text


def parser(prog: str, about: str, *, trains: bool, searches: bool = False) -> Parser:
    """The flags of a command; `trains` adds those of commands that train, `searches` those of the search."""
    flags = Parser(prog, about)
    flags.add_argument("--study", required=True, metavar="NAME", help="a study in studies/, or the path of a study.json")
    flags.add_argument("--data", metavar="FOLDER", help="folder of pictures (default: the study's own)")
    flags.add_argument(
        "--mlruns", type=folder, metavar="FOLDER", default=MLRUNS, help="where everything is written (default: mlruns)"
    )
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
        flags.add_argument("--trials", type=int, metavar="N", help="total number of trials, earlier ones included")
    flags.add_argument("--epochs", type=positive, metavar="N", help="epochs of a full run")
    flags.add_argument("--replicates", type=positive, metavar="N", help="replicates of every arm")
    flags.add_argument("--seed", type=int, metavar="N", help="seed of the search and of the replicates")
    flags.add_argument(
        "--time",
        type=seconds,
        metavar="TIME",
        help="stop after this long: 6h, 90m, 1h30m, 45s or 45 (seconds); the same command goes on",
    )
    flags.add_argument("--workers", type=workers, metavar="N", help="runs at the same time (default: all GPUs or cores)")
    flags.add_argument("--gpus-per-trial", type=share, metavar="X", help="share of a GPU for each run; 0 = CPU cores")
    how = flags.add_mutually_exclusive_group()
    how.add_argument(
        "--resume", action="store_true", help="go on with the study recorded before (an error if there is none)"
    )
    how.add_argument("--fresh", action="store_true", help="begin anew; what was recorded is moved aside, never deleted")
    flags.add_argument("--dry-run", action="store_true", help="print the plan and stop; nothing is written")
    loud = flags.add_mutually_exclusive_group()
    loud.add_argument("-v", "--verbose", action="store_const", const=1, default=0, dest="verbosity", help="say more")
    loud.add_argument("-q", "--quiet", action="store_const", const=-1, dest="verbosity", help="only the end")


def chosen_study(args: argparse.Namespace) -> tuple["Study", Path | None, str]:
    """(the study with all flags applied and checked, its folder of pictures, the note that must be shown or '')."""
    from pipeline.study.study import load_study

    study = load_study(args.study)
    sets = dict(_assignment(text) for text in getattr(args, "sets", ()))
    data, note, overrides = _data_folder(study, args.data, sets)
    if note:
        study = study.override(overrides, source=f"study '{study.name}', fallback")
    args.defaults = study.flat()  # what the study says before the flags do
    knobs: dict[str, Any] = {}
    for flag, key in (("trials", "search.num_trials"), ("epochs", "baseline.epochs"), ("seed", "search.seed")):
        if getattr(args, flag, None) is not None:
            knobs[key] = getattr(args, flag)
    if getattr(args, "replicates", None) is not None:
        knobs["ablation.replicates"] = args.replicates
    study = study.override(knobs, source="flags")
    study = study.override(sets, source="--set")
    if args.data is not None and study.baseline.dataset.folder == "unused":
        name = study.baseline.dataset.name
        raise UserError(f"--data: got {printable(repr(args.data))}, but this study's pictures ({name}) are in no folder")
    study.check()
    return study, data, note


def _assignment(text: str) -> tuple[str, Any]:
    """(path in the study, value) of `KEY=VALUE`; a field of the training configuration means the baseline's."""
    from pipeline.core.config import TrainConfig
    from pipeline.study.study import Study

    key, equals, value = (part.strip() for part in text.partition("="))
    if not equals or not key:
        raise UserError(f"--set: expected KEY=VALUE, got {printable(repr(text))}")
    if key == "ablation.tuning" and not value.startswith("{"):
        key = "ablation.tuning.name"
    head = key.split(".")[0]
    if head in TrainConfig.model_fields:
        key = f"baseline.{key}"
    elif head in ("data", "data_env", "fallback"):
        raise UserError(f"--set: {printable(key)}: give the folder of pictures with --data")
    elif head not in Study.model_fields:
        raise UserError(
            f"--set: {printable(key)}: unknown; {choices(head, (*TrainConfig.model_fields, *Study.model_fields))}"
        )
    try:
        return key, json.loads(value)
    except (ValueError, RecursionError):
        return key, value


def _data_folder(study: "Study", flag: str | None, sets: dict[str, Any]) -> tuple[Path | None, str, dict[str, Any]]:
    """(folder, note, overrides): the flag, else the environment, else the study's own folder, else its fallback.

    A dataset that `--set` names in the study's place has neither the study's folder nor its fallback.
    """
    if flag is not None:
        return Path(flag).expanduser(), "", {}
    own, chosen = study.baseline.dataset, _chosen_dataset(study, sets)
    if (chosen.name, chosen.folder) != (own.name, own.folder):
        if chosen.folder == "needed":
            raise UserError(f"--set: dataset.name: {chosen.name}: its pictures lie in a folder; give it with --data")
        return None, "", {}
    if own.folder == "unused":
        return None, "", {}
    if study.data_env and os.environ.get(study.data_env):
        return Path(os.environ[study.data_env]).expanduser(), "", {}
    if study.data is not None and Path(study.data).is_dir():
        return Path(study.data), "", {}
    if own.folder == "optional":
        return None, "", {}
    if study.fallback is not None:
        return None, study.fallback.note, study.fallback.overrides
    looked = f"{study.data}/" if study.data else "(the study names no folder)"
    raise UserError(f"study '{study.name}': its pictures were not found at {printable(looked)}; give the folder with --data")


def _chosen_dataset(study: "Study", sets: dict[str, Any]) -> "PictureSet":
    """The study's dataset as `--set` has it; fields that it does not know may be meant for the fallback's."""
    part = {key: value for key, value in sets.items() if key.startswith("baseline.dataset")}
    try:
        return study.override(part, source="--set").baseline.dataset
    except UserError:
        if "baseline.dataset.name" in part:
            raise
        return study.baseline.dataset


def guarded(main: Callable[[Sequence[str] | None], int]) -> NoReturn:
    """Run a command and leave with its exit code; expected errors are printed without a traceback."""
    with steady_to_the_end():
        code = _ended(main)
    if any(thread.name == OUTBOX for thread in threading.enumerate()):
        os._exit(code)  # MLflow does not answer: the interpreter's end would abort in a thread that is in C++ code
    sys.exit(code)


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
