"""One command on one study, from the lock to the last line on the screen: search, arms, report, always an end."""

import argparse
import json
import re
import shlex
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.panel import Panel
from rich.progress import Progress as Bar
from rich.text import Text

from pipeline.cli import MLRUNS, chosen_study
from pipeline.core import CORE_VERSION
from pipeline.errors import UserError, printable
from pipeline.header import BUDGET, describe_data, require_same, with_kept_budget
from pipeline.ledger import FILE, Event, Ledger, set_aside
from pipeline.machine import Resources, commit, describe, resources, versions
from pipeline.preflight import external_files, require_inputs
from pipeline.preview import preview
from pipeline.record import Record
from pipeline.study import Study

if TYPE_CHECKING:
    from pipeline.data.cache import Data
    from pipeline.plan import Plan
    from pipeline.runner import Interrupts
    from pipeline.tracking import Tracker

PATIENCE_SECONDS, HURRY_SECONDS = 120.0, 5.0  # for MLflow to take what is left; after Ctrl-C


def study_folder(root: Path, study: Study, data: Path | None) -> Path:
    """Where a study on these pictures keeps everything: `mlruns/hw3-food-11`."""
    slug = re.sub(r"[^A-Za-z0-9._-]+", "-", study.baseline.dataset.slug(data)).strip("-.")[:64] or "data"
    return root / f"{study.name}-{slug}"


def conduct(args: argparse.Namespace, *, with_search: bool) -> int:
    """Run a training command to its end; returns the exit code. Raises PipelineError for expected ends."""
    study, data, note = chosen_study(args)
    folder = study_folder(Path(args.mlruns), study, data)
    console = Console(quiet=args.verbosity < 0, highlight=False)
    if args.dry_run:
        if study.baseline.dataset.folder == "needed":  # the others might begin a download
            study.baseline.dataset.scan(data)
        external_files(study)
        console.print(preview(study, data, note, folder, with_search=with_search), markup=False, soft_wrap=True)
        return 0
    if args.resume and not (folder / FILE).exists():
        raise UserError(f"--resume: nothing is recorded in {printable(folder)}; leave the flag out to begin")
    if args.fresh or not folder.exists():
        study.baseline.dataset.scan(data)  # a wrong folder of pictures must leave everything as it was
    means = resources(args.workers, args.gpus_per_trial)
    aside = set_aside(folder) if args.fresh and folder.exists() else None
    ledger = Ledger(folder)
    try:
        return Session(args, study, data, note, ledger, console, means, with_search=with_search).run()
    finally:
        ledger.close()
        if not (folder / FILE).stat().st_size:  # nothing was begun: leave everything as it was
            (folder / FILE).unlink()
            (folder / "lock").unlink()
            folder.rmdir()
            if aside is not None:
                aside.rename(folder)


class Session:
    """What `conduct` does while it holds the study's lock."""

    def __init__(
        self,
        args: argparse.Namespace,
        study: Study,
        data: Path | None,
        note: str,
        ledger: Ledger,
        console: Console,
        means: Resources,
        *,
        with_search: bool,
    ) -> None:
        self.args, self.study, self.data_folder, self.note = args, study, data, note
        self.ledger, self.console, self.means, self.with_search = ledger, console, means, with_search
        self.begun = time.monotonic()
        self.record = Record.of(ledger.events)
        self.screen = Console(highlight=False)  # for the end, which -q leaves

    def run(self) -> int:
        """Train what is missing, write the report, say how it ended; returns the exit code."""
        from pipeline.progress import Progress
        from pipeline.runner import Interrupts
        from pipeline.tracking import Tracker

        if self.note:
            self.console.print(Panel(Text(self.note), title="embedded default", style="bold yellow"))
        means = self.means
        data = self._prepare(means.device)
        interrupts = Interrupts()
        interrupts.install()
        if self.record.header:
            require_same(self.record, self.study, data, external_files(self.study), self.ledger.folder)
            self.study = with_kept_budget(self.record, self.study, self.args)
        tracker = Tracker(Path(self.args.mlruns), self.ledger.folder, self.ledger.events, self.ledger.append)
        listeners: list[Callable[[Event], None]] = [self.record.apply, tracker.put]

        def tell_all(event: Event) -> None:
            for listen in listeners:
                listen(event)

        self.ledger.listener = tell_all
        self._open(data)
        plan = self._plan()
        problem: Exception | None = None
        with Progress(plan, self.console, verbosity=self.args.verbosity) as progress:
            listeners.append(progress.event)
            try:
                self._train(plan, means, data, interrupts, progress.step)
            except Exception as error:  # reported below, after what is done has been written up
                problem = error
        status = self._status(plan, interrupts, problem)
        complete = self._write_up(status, tracker)
        if problem is not None:
            raise problem
        if interrupts.signal:
            return 128 + interrupts.signal
        failed = any(run.status == "failed" for run in self.record.runs.values())
        return 0 if status == "complete" and complete and not failed else 3

    def _write_up(self, status: str, tracker: "Tracker") -> bool:
        """The report on disk, in MLflow and on the screen; whether its table has no hole."""
        from pipeline.report import write_report

        self.ledger.append("finish", status=status)
        patience = HURRY_SECONDS if status == "interrupted" else PATIENCE_SECONDS
        tracker.flush(patience)  # the report names the runs in MLflow
        folder = self.ledger.folder / "report"
        report = write_report(self.record, folder)
        trouble = tracker.close(folder, patience)
        self._say(report.text)
        if trouble:
            self._say(f"warning: {trouble}")
        self._farewell(status, tracker.shown_uri, tracker.study_run()[0])
        return report.complete

    def _prepare(self, device: str) -> "Data":
        """The pictures, decoded once; the study's `auto` precision made definite and kept for good."""
        from pipeline.data.cache import prepare

        if self.study.baseline.precision == "auto":
            definite = self.record.header.get("study", {}).get("baseline", {}).get("precision")
            if definite is None:
                from pipeline.core.train import resolve_precision  # torch takes seconds to import

                definite = resolve_precision(self.study.baseline, device)
            self.study = self.study.override({"baseline.precision": definite}, source="machine")
        began = time.monotonic()
        with Bar(console=self.console, transient=True) as bar:
            task = bar.add_task("decoding the pictures once", visible=False)
            data = prepare(
                self.study.baseline.dataset,
                self.data_folder,
                Path(self.args.mlruns) / "cache",
                on_progress=lambda done, total: bar.update(task, completed=done, total=total, visible=True),
            )
        require_inputs(self.study, data, self.means.processes)
        if time.monotonic() - began > 2:
            self.console.print(f"decoded {len(data.labels)} pictures once in {time.monotonic() - began:.0f} s")
        return data

    def _open(self, data: "Data") -> None:
        """Write the header of a new study, then the session's own event; keep the resolved study as JSON."""
        tree = self.study.model_dump(mode="json")
        if not self.record.header:
            facts = describe_data(data)
            self.ledger.append(
                "study",
                id=uuid.uuid4().hex,
                study=tree,
                data=facts,
                files=external_files(self.study),
                note=self.note,
                core_version=CORE_VERSION,
            )
        flat = self.study.flat()
        self.ledger.append(
            "session",
            command=shlex.join(["python", "-m", self.args.command, *sys.argv[1:]]),
            versions=versions(),
            commit=commit(),
            machine=describe(self.means.device),
            workers=self.means.workers,
            budget={key: flat[key] for key in BUDGET},
            default={key: self.args.defaults[key] for key in BUDGET},
        )
        (self.ledger.folder / "study.json").write_text(json.dumps(tree, indent=1) + "\n", encoding="utf-8")

    def _plan(self) -> "Plan":
        from pipeline.plan import Plan

        return Plan(self.study, self.ledger, self.record, core_version=CORE_VERSION, with_search=self.with_search)

    def _train(
        self, plan: "Plan", means: Resources, data: "Data", interrupts: "Interrupts", on_step: Callable[[], None]
    ) -> None:
        """Run the plan under the time limit; with one, the search gets its share of the epochs that are left."""
        from pipeline.runner import run

        deadline = float("inf")
        if self.args.time is not None:
            deadline = self.begun + self.args.time
            search, arms = plan.remaining_epochs()
            now = time.monotonic()
            plan.search_deadline = now + (deadline - now) * search / (search + arms) if arms else deadline
        if plan.outstanding():
            run(plan, means, data.path.resolve(), interrupts=interrupts, deadline=deadline, on_step=on_step)

    def _status(self, plan: "Plan", interrupts: "Interrupts", problem: Exception | None) -> str:
        if interrupts.signal:
            return "interrupted"
        if problem is not None:
            return "failed"
        if plan.outstanding():
            return "time limit"
        plan.close_search()
        return "complete"

    def _farewell(self, status: str, uri: str, experiment: str) -> None:
        folder = self.ledger.folder
        spent = time.monotonic() - self.begun
        from pipeline.comparison import invitation

        mlruns = "" if self.args.mlruns == MLRUNS else f" --mlruns {shlex.quote(self.args.mlruns)}"
        self._say(invitation(uri, experiment, mlruns))
        self._say(f"{status} after {spent:.0f} s; everything is in {folder}")
        if status != "complete":
            self._say("to go on from here, run the same command again" + (", without --fresh" if self.args.fresh else ""))

    def _say(self, text: str) -> None:
        self.screen.print(text, markup=False, soft_wrap=True)
