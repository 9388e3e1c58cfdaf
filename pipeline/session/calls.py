"""The commands as functions, for scripts and notebooks: `pipeline.search(…)` and its like."""

import argparse
import contextlib
import io
import json
import os
import re
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.engine.interrupts import Interrupted
from pipeline.errors import PipelineError, UserError, printable
from pipeline.own.code import imported_anew
from pipeline.session.guest import call
from pipeline.session.opened import OpenedRecord, open_record
from pipeline.session.options import HANDED_OVER, MLRUNS, Options
from pipeline.session.resolve import chosen, recorded_folder
from pipeline.session.values import hours, price, seconds
from pipeline.study.study import Study

if TYPE_CHECKING:
    from pipeline.core.config import TrainConfig
    from pipeline.core.setup import Inputs

DONE, INCOMPLETE, SIGNALS = 0, 3, 128  # exit codes; a signal's is its number above the last
Say = Callable[[str], None]
FLAG = re.compile(
    r"(?<![\w'\"/.=-])(?:argument )?--(?P<name>[a-z][a-z-]*)"
    r"(?: (?P<value>[a-z._]+=[^\s,;)]+|[A-Z]+\b|\d+))?"
)


@dataclass(frozen=True)
class Outcome:
    """How a command ended. `complete`: every run that was planned has a result; `exit_code`: 0,
    3 where something is missing or failed, 130 after an interrupt; the same call goes on.
    """

    record: OpenedRecord
    folder: Path
    complete: bool
    exit_code: int

    def _repr_html_(self) -> str:
        return self.record._repr_html_()


def search(
    study: Study | str,
    *,
    data: str | os.PathLike[str] | None = None,
    mlruns: str | os.PathLike[str] = MLRUNS,
    sets: Mapping[str, Any] | None = None,
    trials: int | None = None,
    race: int | None = None,
    against: Sequence[str] | None = None,
    epochs: int | None = None,
    replicates: int | None = None,
    until_answered: bool | None = None,
    variance: int | None = None,
    seed: int | None = None,
    time: str | float | None = None,
    workers: int | None = None,
    gpus_per_trial: float | None = None,
    address: str = "",
    max_gpu_hours: float | None = None,
    max_core_hours: float | None = None,
    price_per_hour: float | None = None,
    experiment: str = "",
    tags: Mapping[str, str] | None = None,
    note: str = "",
    also: Sequence[str] = (),
    resume: bool = False,
    fresh: bool = False,
    debug: bool = False,
    notify: Sequence[str] = (),
    verbosity: int = 0,
    on_progress: Say | None = None,
) -> Outcome:
    """`python -m pipeline.search`: search, arms, report. Called again, it goes on where it was.

    `study` is a Study, or the name or file of one; `data` its folder of pictures; `sets` overrides
    fields of it (`{"optimizer.lr": 0.01}`); `time` is `"2h"` or seconds; the rest are the flags of
    the command. What it says goes to `on_progress` line by line, without it to the screen. With
    `debug` it trains in this very process, where `breakpoint()` works, and says all on the screen.

    Raises UserError where the input is wrong, MachineError where the surroundings do not allow it,
    PipelineError where the command itself failed.
    """
    return _run(_options("pipeline.search", locals()), study, on_progress)


def ablate(
    study: Study | str,
    *,
    data: str | os.PathLike[str] | None = None,
    mlruns: str | os.PathLike[str] = MLRUNS,
    sets: Mapping[str, Any] | None = None,
    epochs: int | None = None,
    replicates: int | None = None,
    until_answered: bool | None = None,
    variance: int | None = None,
    seed: int | None = None,
    time: str | float | None = None,
    workers: int | None = None,
    gpus_per_trial: float | None = None,
    address: str = "",
    max_gpu_hours: float | None = None,
    max_core_hours: float | None = None,
    price_per_hour: float | None = None,
    experiment: str = "",
    tags: Mapping[str, str] | None = None,
    note: str = "",
    also: Sequence[str] = (),
    resume: bool = False,
    fresh: bool = False,
    path: bool = False,
    around: str = "",
    debug: bool = False,
    notify: Sequence[str] = (),
    verbosity: int = 0,
    on_progress: Say | None = None,
) -> Outcome:
    """`python -m pipeline.ablate`: the study's arms with replicates, then the report; with `path`
    those of the way from the baseline to the best configuration of its search, with
    `around="best"` that configuration and it with each of its changes taken back alone.

    Arguments and what is raised are those of `search`.
    """
    return _run(_options("pipeline.ablate", locals()), study, on_progress)


def report(folder: str | os.PathLike[str], *, lang: str = "en") -> tuple[Path, ...]:
    """Write the report of what is recorded in a study's folder again; returns its files. `lang`:
    "en", or "zh" into report-zh/.

    Raises UserError where nothing is recorded there, MachineError where the disk refuses.
    """
    from pipeline.report import write_report

    found = open_record(folder)
    pages = found.path / ("report" if lang == "en" else f"report-{lang}")
    return write_report(found.record, pages, lang).paths


def load_inputs(
    config: "TrainConfig",
    data: str | os.PathLike[str] | None = None,
    *,
    replicate: int = 0,
    seed: int = 0,
    cache: str | os.PathLike[str] = f"{MLRUNS}/cache",
) -> "Inputs":
    """What `train` trains and validates on: the pictures of `config.dataset` in the folder `data`,
    decoded once into `cache` (uint8 [N, C, size, size]), split as replicate `replicate` of a study
    with this seed is. Raises UserError.
    """
    from pipeline.core.identity import Seeds
    from pipeline.core.parts import parts_of
    from pipeline.core.setup import Inputs
    from pipeline.data.cache import prepare

    folder = None if data is None else Path(data).expanduser()
    found = prepare(config.dataset, folder, Path(cache))
    parts = parts_of(config, found, Seeds(seed, replicate))
    return Inputs.of(found, parts)


def _options(command: str, given: Mapping[str, Any]) -> Options:
    """Those that the arguments of a call ask for, each in the form that the command has it in."""
    known = {field.name for field in fields(Options)} - {"study"}
    asked = {}
    for name, value in given.items():
        if name in known and value is not None:
            try:
                asked[name] = FORMS.get(name, lambda as_it_is: as_it_is)(value)
            except argparse.ArgumentTypeError as error:
                raise UserError(f"{name}: {error}") from None
            except (TypeError, AttributeError):
                got = printable(repr(value), 100)
                allowed = "what help(pipeline.session.calls.search) says of it"
                raise UserError(f"{name}: got {got}; allowed: {allowed}") from None
    return Options(command, "", **asked)


def _run(options: Options, study: Study | str, say: Say | None) -> Outcome:
    with _file_of(study) as name, _told_as_arguments():
        options = replace(options, study=name)
        with contextlib.redirect_stderr(io.StringIO()):  # the command says it once more
            asked = chosen(options)  # what is wrong is told before a process is begun
        words = options.words() + [f"--notify={url}" for url in options.notify]
        code = _here(options) if options.debug else call(options.command, words, say=say)
        if code not in (DONE, INCOMPLETE) and code <= SIGNALS:
            raise PipelineError(f"{options.command} ended with exit code {code}")
        folder = recorded_folder(options, asked)
    return Outcome(open_record(folder), folder, code == DONE, code)


def _here(options: Options) -> int:
    """The command in this process; its exit code. Code of the user's is what its files hold now,
    as for a process of its own.
    """
    from pipeline.record.sources import forget
    from pipeline.session.session import conduct

    if options.workers not in (None, 1):
        raise UserError(f"workers: debug trains one run after another, got {options.workers}")
    before, sys.argv = sys.argv, [options.command, *options.words()]  # what is recorded
    forget()
    try:
        with imported_anew():
            return conduct(options, with_search=options.command == "pipeline.search")
    except Interrupted as stop:
        return SIGNALS + stop.signal
    finally:
        sys.argv = before
        forget()


@contextlib.contextmanager
def _told_as_arguments() -> Iterator[None]:
    """Errors of the block speak of arguments where those of a command speak of its flags."""
    try:
        yield
    except PipelineError as error:
        lines = [
            FLAG.sub(_as_argument, before) + command + rest
            for line in str(error).splitlines()
            for before, command, rest in [line.partition("python -m ")]
        ]
        error.args = (re.sub(r"^flags: ", "arguments: ", "\n".join(lines), flags=re.MULTILINE),)
        raise


def _as_argument(flag: re.Match[str]) -> str:
    name, value = flag["name"].replace("-", "_"), flag["value"]
    if name == "set":
        key, _, new = (value or "").partition("=")
        return f"sets={{{key!r}: {_value(new)!r}}}" if value else "sets"
    if name not in {field.name for field in fields(Options)}:
        return flag[0]
    if getattr(Options, name, None) is False and flag.string[flag.end() :][:1] != ":":
        return f"{name}=True"
    return f"{name}={value}" if value else name


@contextlib.contextmanager
def _file_of(study: Study | str) -> Iterator[str]:
    """The name of a study, or a file of one that exists in this process alone."""
    if isinstance(study, str):
        yield study
        return
    with tempfile.TemporaryDirectory(prefix="pipeline-") as folder:
        path = Path(folder) / HANDED_OVER
        path.write_text(study.model_dump_json(), encoding="utf-8")
        yield str(path)


def _several(given: Sequence[str] | str) -> tuple[str, ...]:
    return (given,) if isinstance(given, str) else tuple(given)


def _assignments(sets: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(f"{path}={_typed(value)}" for path, value in sets.items())


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _typed(value: Any) -> str:
    """A value as `--set` reads it: JSON, or a text that is none."""
    if isinstance(value, str):
        try:
            json.loads(value)
        except ValueError:
            return value
    return json.dumps(value)


FORMS: Mapping[str, Callable[[Any], Any]] = {  # argument → the option of a value that is not None
    "data": os.fspath,
    "mlruns": os.fspath,
    "sets": _assignments,
    "against": lambda names: ",".join(_several(names)),
    "also": lambda names: ",".join(_several(names)),
    "time": lambda time: seconds(str(time)),
    "max_gpu_hours": lambda most: hours(str(most)),
    "max_core_hours": lambda most: hours(str(most)),
    "price_per_hour": lambda amount: price(str(amount)),
    "tags": lambda tags: tuple(f"{key}={value}" for key, value in tags.items()),
    "notify": _several,
}
