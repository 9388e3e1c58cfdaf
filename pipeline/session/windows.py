"""Where a command's events go beside the ledger: MLflow always, and what `--also` names. Each has a
thread and a memory of its own; none holds up the training or another.
"""

import importlib.util
import shlex
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.errors import UserError, choices, printable
from pipeline.record.events import Event
from pipeline.record.ledger import Ledger
from pipeline.record.outbox import Outbox, Receiver
from pipeline.record.record import Record
from pipeline.session.options import Options

if TYPE_CHECKING:
    from pipeline.record.tracking import Tracker

FOLDER, NONE = "windows", "none"
OPTUNA, TENSORBOARD = "optuna", "tensorboard"
NAMES = (OPTUNA, TENSORBOARD)


def wanted(text: str) -> tuple[str, ...]:
    """What `--also` names, each once; raises UserError where it cannot be had."""
    found = tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    for name in found:
        if name not in (*NAMES, NONE):
            raise UserError(f"--also: {choices(name, (*NAMES, NONE))}")
        if name == NONE and len(found) > 1:
            raise UserError(f"--also: got {printable(text, 100)}; {NONE} stands alone")
    if text and not found:
        raise UserError(f"--also: {choices(text, (*NAMES, NONE))}")
    if TENSORBOARD in found and not _has_tensorboard():
        raise UserError(
            "--also tensorboard: needs the package tensorboard: pip install '.[tensorboard]' (or "
            "pip install tensorboard)"
        )
    return found


def kept(options: Options, record: Record) -> tuple[str, ...]:
    """What this command writes: what it names, else what the last one that said something did."""
    said = (session.also for session in reversed(record.sessions) if session.also)
    text = options.also or next(said, "")
    return tuple(name for name in text.split(",") if name in NAMES)


def _has_tensorboard() -> bool:
    return importlib.util.find_spec("tensorboard") is not None


@dataclass(frozen=True)
class Window:
    """One beside MLflow. command: what shows it."""

    name: str
    outbox: Outbox
    command: str


class _Said:
    """A receiver whose first failure is told."""

    def __init__(self, name: str, receiver: Receiver, tell: Callable[[str], None]) -> None:
        self._name, self._receiver, self._tell, self._told = name, receiver, tell, False
        self.take = receiver.take

    def send(self, owed: list[Event], *, last: bool) -> None:
        try:
            self._receiver.send(owed, last=last)
        except Exception as error:
            if not self._told:
                self._told = True
                said = printable((str(error) or "no message").splitlines()[0], 300)
                self._tell(
                    f"warning: --also {self._name}: {type(error).__name__}: {said}; the study goes "
                    "on without it, nothing is lost, and the next command writes what is missing"
                )
            raise


class Windows:
    """All of them; MLflow's tracker is one, and what it says of itself is handed on."""

    def __init__(self, tracker: "Tracker", others: tuple[Window, ...]) -> None:
        self.tracker, self._others = tracker, others

    def put(self, event: Event) -> None:
        """An event that is in the ledger; never blocks, never raises."""
        self.tracker.put(event)
        for one in self._others:
            one.outbox.put(event)

    def close(self, report: Path, timeout_seconds: float) -> str:
        """Write what is left, and the report to MLflow; what went wrong there, or ''. MLflow is
        waited for no longer than this, and so are all others.
        """
        problem = self.tracker.close(report, timeout_seconds)
        ends = time.monotonic() + timeout_seconds
        for one in self._others:
            one.outbox.close(max(ends - time.monotonic(), 0.0))
        return problem

    def invitations(self, mlruns: str) -> list[str]:
        """A line each: how it is looked at. `mlruns`: as for `mlflow_views.invitation`."""
        from pipeline.record.mlflow_views import invitation

        first = invitation(self.tracker.shown_uri, self.tracker.study_run()[0], mlruns)
        return [first, *(f"look at it in {one.name}: {one.command}" for one in self._others)]


def opened(
    options: Options, record: Record, ledger: Ledger, tell: Callable[[str], None]
) -> Windows:
    """Those of a command on the study in the ledger's folder; `tell`: see `Tracker`."""
    from pipeline.analysis.arm_summary import summary
    from pipeline.record.tracking import Tracker

    folder = ledger.folder
    tracker = Tracker(Path(options.mlruns), folder, ledger.events, ledger.append, summary, tell)
    others = []
    for name in kept(options, record):
        if name == TENSORBOARD and not _has_tensorboard():
            tell("warning: --also tensorboard: the package tensorboard is not installed here")
            continue
        (folder / FOLDER).mkdir(exist_ok=True)
        state = folder / FOLDER / f"{name}.json"
        receiver, command = _made(name, folder)
        outbox = Outbox(_Said(name, receiver, tell), state, name, ledger.events)
        others.append(Window(name, outbox, command))
    return Windows(tracker, tuple(others))


def _made(name: str, folder: Path) -> tuple[Receiver, str]:
    """(the receiver, the command that shows what it writes)."""
    if name == OPTUNA:
        from pipeline.engine.optuna_window import OptunaWindow
        from pipeline.record.mlflow_places import store_uri

        file = folder / FOLDER / "optuna.db"
        return OptunaWindow(folder.name, file), f"optuna-dashboard {shlex.quote(store_uri(file))}"
    from pipeline.record.tensorboard_window import TensorBoardWindow

    place = folder / FOLDER / TENSORBOARD
    return TensorBoardWindow(place), f"tensorboard --logdir {shlex.quote(str(place))}"
