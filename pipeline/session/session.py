"""One command on one study, from the lock to the last line on the screen: search, arms, report,
always an end.
"""

import functools
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from rich.panel import Panel
from rich.text import Text

from pipeline.analysis.few_pictures import few_pictures, labelled
from pipeline.analysis.preregistration import Outlook
from pipeline.analysis.to_come import rows
from pipeline.core import CORE_VERSION
from pipeline.data.folder import require_folder
from pipeline.engine.interrupts import Interrupts, debugged
from pipeline.errors import PipelineError, UserError, printable
from pipeline.machine import Resources, shortage
from pipeline.record.events import Event, Finish
from pipeline.record.folders import digest, study_folder
from pipeline.record.ledger import FILE, Ledger, set_aside
from pipeline.record.record import Record
from pipeline.screen import console as on_screen
from pipeline.screen import folded
from pipeline.session import resume
from pipeline.session.allowance import allowed, is_spent
from pipeline.session.crew import Crew, hired
from pipeline.session.dry_run import dry_run
from pipeline.session.news import News, announced
from pipeline.session.opening import open_record, prepare, tell_other_folder
from pipeline.session.options import MLRUNS, Options
from pipeline.session.preflight import external_files
from pipeline.session.resolve import Chosen, chosen, from_search, resolve
from pipeline.session.so_far import so_far
from pipeline.session.windows import Windows, opened

if TYPE_CHECKING:
    from rich.console import Console

    from pipeline.data.cache import Data
    from pipeline.engine.pace import Pace
    from pipeline.engine.queue import Plan
    from pipeline.session.progress import Progress

PATIENCE_SECONDS, HURRY_SECONDS = 120.0, 3.0  # for MLflow to take what is left; after Ctrl-C


def conduct(options: Options, *, with_search: bool) -> int:
    """Run a training command to its end; returns the exit code. Raises PipelineError, and
    Interrupted before it trains.
    """
    with (
        debugged(options.debug),
        Interrupts(raises=True) as interrupts,
        announced(options, interrupts) as news,
    ):
        return news.ended(_conduct(options, interrupts, news, with_search=with_search))


def _conduct(options: Options, interrupts: Interrupts, news: News, *, with_search: bool) -> int:
    asked = chosen(options)
    if options.way:
        asked = from_search(options, asked)
    study, data = asked.study, asked.data
    if study.baseline.dataset.folder == "needed":
        require_folder(data)  # before the lock of a folder that is called like this one
    folder = study_folder(Path(options.mlruns), study, data)
    console = on_screen(quiet=options.verbosity < 0)

    def tell(text: str) -> None:
        console.print(folded(text), markup=False, soft_wrap=True)

    hire = functools.partial(hired, options, interrupts, tell)
    if options.dry_run:
        for said in dry_run(options, asked, folder, hire, with_search=with_search):
            console.print(said, markup=False, soft_wrap=True)
        return 0
    if options.resume and not (folder / FILE).exists():
        raise UserError(
            f"--resume: nothing is recorded in {printable(folder)}; leave the flag out to begin"
        )
    listing = ""
    if options.fresh or not (folder / FILE).exists():
        # a wrong folder of pictures must leave everything as it was
        listing = digest(study.baseline.dataset.scan(data))
    tell_other_folder(asked, folder, console)
    news.study = folder.name
    with hire() as crew:
        aside = set_aside(folder) if options.fresh and folder.exists() else None
        ledger = Ledger(folder)
        try:
            held = options, asked, listing, ledger, console, crew, news
            session = Session(*held, with_search=with_search)
            with crew.beforehand(folder, interrupts, session.study, session.record):
                return session.run(interrupts)
        except OSError:
            ledger.check()  # a folder that was taken away explains it
            raise
        finally:
            gone = ledger.withdraw()  # where nothing was begun: leave everything as it was
            if aside is not None and gone:
                aside.rename(folder)


class Session:
    """What `conduct` does while it holds the study's lock."""

    def __init__(
        self,
        options: Options,
        asked: Chosen,
        listing: str,
        ledger: Ledger,
        console: "Console",
        crew: Crew,
        news: News,
        *,
        with_search: bool,
    ) -> None:
        self.options, self.asked, self.listing = options, asked, listing
        self.ledger, self.console, self.crew, self.means = ledger, console, crew, crew.means
        self.news, self.with_search, self.begun = news, with_search, time.monotonic()
        self.record = Record.of(ledger.events)
        self.study = resolve(options, asked, self.record)
        resume.require_settings(self.record, self.study, ledger.folder)
        self.screen = on_screen()  # for the end, which -q leaves

    def run(self, interrupts: Interrupts) -> int:
        """Train what is missing, write the report, say how it ended; returns the exit code."""
        from pipeline.session.forecast import given_up, timetable
        from pipeline.session.progress import Progress

        data = self._prepare()
        self._require_the_same(data)
        since = time.monotonic() - self.begun
        self.options = allowed(self.options, self.record, self.means, self._tell, since)
        pace = self._measured(data)
        interrupts.raises = False  # from here on a signal leads to the end of this function
        windows = opened(self.options, self.record, self.ledger, self._tell)
        listeners: list[Callable[[Event], None]] = [self.record.apply, windows.put]
        self.ledger.listener = functools.partial(_tell_all, listeners)
        held = (self.study, data, self.ledger, self.record)
        if said := open_record(*held, self.options, self.asked, self.means, self.listing):
            self._tell(said)
        plan = self._plan()
        if pace is not None and self.options.time is not None:
            plan.look = timetable(pace, self.means, self.begun, self.options.time).look
            listeners.append(lambda event: pace.event(event, self.record))
        outlook = Outlook(self.study, self.ledger, self.record, self.means.workers, self._tell)
        listeners += [outlook.event, self.news.follow(self.record)]
        problem: Exception | None = None
        verbosity, debug = self.options.verbosity, self.options.debug
        ends = self.begun + (self.options.time or float("inf"))
        shown = Progress(plan, self.console, verbosity=verbosity, plain=debug, ends=ends)
        with shown as progress:
            listeners.append(progress.event)
            try:
                self._train(
                    plan,
                    self.means,
                    data,
                    interrupts,
                    functools.partial(_step_all, (self.ledger, outlook, progress, self.news)),
                )
                outlook.step()
            except Exception as error:  # reported below, after what is done has been written up
                problem = error
        status = self._status(plan, interrupts, problem)
        if status == "time limit" and (left := given_up(plan, pace)):
            want = "hours" if is_spent(self.options) else "time"
            self._tell(f"given up for want of {want}: {left}")
        try:
            complete = self._write_up(status, windows, interrupts)
        except (OSError, PipelineError):  # as of a full disk, which is told by what it hurt first
            if problem is None:
                raise
        if problem is not None:
            raise problem
        if interrupts.signal:
            return 128 + interrupts.signal
        apart = {run.key for run in self.record.apart()}
        mine = (run for run in self.record.runs.values() if run.key not in apart)
        failed = any(run.status == "failed" and not run.given_up for run in mine)
        return 0 if status == "complete" and complete and not failed else 3

    def _prepare(self) -> "Data":
        note, known = self.asked.note, self.asked.searched
        if note:
            place = self.asked.study.data or "no folder"
            note += f" Looked in {printable(place)}; --data FOLDER names another place."
            self.console.print(Panel(Text(note), title="embedded default", style="bold yellow"))
        self.study, data = prepare(self.options, self.asked, self.record, self.means, self.console)
        if known and known["fingerprint"] != data.fingerprint:
            raise UserError(
                f"--{self.options.way}: the pictures are not those of the recorded search, or "
                "their content changed"
            )
        few = few_pictures(labelled(resume.describe_data(data)), self.study)
        said = data.taken.text((*few, *data.warnings))
        self.console.print(said, markup=False, soft_wrap=True)
        asked = self.options.workers and not self.means.gpus_per_trial
        here = not (asked or self.options.debug or self.options.address)
        if here and (short := shortage(self.means)):
            self._tell(f"warning: {short}")
        return data

    def _measured(self, data: "Data") -> "Pace | None":
        """How fast runs go here, where the command's time is limited and something is left to
        train; says what fits into it.
        """
        from pipeline.session import forecast as ahead

        limit, begun, with_search = self.options.time, self.record.begun, self.with_search
        if limit is None or is_spent(self.options) or (begun and not self._plan().outstanding()):
            return None
        most = ahead.budget_of(limit)
        self._tell(f"measuring {ahead.how_long(most)}")
        over = ahead.shape(self.study, data.labels.tolist(), data.parts.tolist(), len(data.classes))
        asked = self.study, over, self.crew
        pace = ahead.measured_pace(*asked, with_search=with_search, most_seconds=most)
        forecast = ahead.Forecast(self.study, self.record, pace, self.means.workers, with_search)
        left = self.begun + limit - ahead.ending(limit) - time.monotonic()
        for what, said in forecast.lines(limit, left):
            self._tell(f"{what}: {said}")
        return pace

    def _write_up(self, status: str, windows: Windows, interrupts: Interrupts) -> bool:
        """The report on disk, in MLflow and on the screen; whether its table has no hole."""
        from pipeline.report import write_report

        self.ledger.append(Finish(status=status))
        patience = HURRY_SECONDS if status == "failed" else PATIENCE_SECONDS
        interrupts.wait(
            windows.tracker.flush, patience, HURRY_SECONDS / 6
        )  # the report names the runs in MLflow
        folder = self.ledger.folder / "report"
        try:
            report = write_report(self.record, folder)
        finally:
            trouble = interrupts.wait(
                functools.partial(windows.close, folder), patience, HURRY_SECONDS
            )
        self.ledger.check()
        self._say(report.text)
        self.news.hear(report.text.partition("\n\n")[0])
        if trouble:
            self._say(f"warning: {trouble}")
        self._farewell(status, windows)
        return report.complete

    def _plan(self) -> "Plan":
        from pipeline.engine.queue import Plan

        return Plan(
            self.study,
            self.ledger,
            self.record,
            core_version=CORE_VERSION,
            with_search=self.with_search,
            ahead=rows,
        )

    def _train(
        self,
        plan: "Plan",
        means: Resources,
        data: "Data",
        interrupts: Interrupts,
        on_step: Callable[[], None],
    ) -> None:
        """Run the plan under the time limit."""
        from pipeline.session.forecast import ending

        limit = self.options.time
        deadline = float("inf") if limit is None else self.begun + limit - ending(limit) / 2
        if plan.outstanding() and not interrupts.signal and time.monotonic() < deadline:
            self.crew.executor().run(
                plan,
                means,
                data.path.resolve(),
                interrupts=interrupts,
                deadline=deadline,
                on_step=on_step,
            )

    def _require_the_same(self, data: "Data") -> None:
        """Raise UserError where results would mix with those recorded; says how the study has
        grown.
        """
        if not self.record.begun:
            return
        resume.require_same(
            self.record, self.study, data, external_files(self.study), self.ledger.folder
        )
        told = resume.tell_growth(self.record, self.study, self.ledger.folder)
        self.console.print(
            "\n".join(map(folded, told)), markup=False, soft_wrap=True, end="\n" * bool(told)
        )
        known = so_far(self.record, self.study, with_search=self.with_search)
        self._tell(f"recorded so far: {known}")
        outstanding = (lambda: True) if told else self._plan().outstanding
        resume.require_code(self.record, self.ledger.folder, outstanding)

    def _status(self, plan: "Plan", interrupts: Interrupts, problem: Exception | None) -> str:
        if interrupts.signal:
            return "interrupted"
        if problem is not None:
            return "failed"
        if plan.outstanding():
            return "time limit"
        plan.close_search()
        return "complete"

    def _farewell(self, status: str, windows: Windows) -> None:
        spent = time.monotonic() - self.begun
        place = "" if self.options.mlruns == MLRUNS else self.options.mlruns
        for line in windows.invitations(place):
            self._say(line)
        closing = [f"{status} after {spent:.0f} s; everything is in {self.ledger.folder}"]
        if status != "complete":
            fresh = ", without --fresh" if self.options.fresh else ""
            more = ", allowing more hours" if is_spent(self.options) else ""
            closing.append(f"to go on from here, run the same command again{fresh}{more}")
        self.news.status = status
        for text in closing:
            self._say(text)
        self.news.hear("\n".join(closing))

    def _tell(self, text: str) -> None:
        self.console.print(folded(text), markup=False, soft_wrap=True)

    def _say(self, text: str) -> None:
        self.screen.print(folded(text), markup=False, soft_wrap=True)


def _tell_all(listeners: list[Callable[[Event], None]], event: Event) -> None:
    """To each in its turn, those that joined after the ledger was opened included."""
    for listen in listeners:
        listen(event)


def _step_all(followers: tuple["Ledger", "Outlook", "Progress", News]) -> None:
    for follower in followers:
        follower.step()
