"""What the terminal shows while a study runs: a live block on a terminal, plain lines elsewhere."""

import math
import time
from collections import Counter
from collections.abc import Iterator

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from pipeline.core.identity import FIRST_RACE
from pipeline.counts import duration, plural
from pipeline.engine.queue import Plan
from pipeline.engine.race import racers
from pipeline.errors import printable
from pipeline.record import events
from pipeline.record.events import Event
from pipeline.record.record import Run
from pipeline.screen import fold, redraws
from pipeline.study.tuning import RACE
from pipeline.study.variance import in_words

REFRESH_SECONDS = 0.5
DRAWINGS = 20  # drawing takes one part in so many of all time, at most
MOST_LINES = 100


class Progress:
    """Follows the ledger's events. Use as a context manager; call `step` often, it draws at most
    twice a second.
    """

    def __init__(
        self,
        plan: Plan,
        console: Console,
        *,
        verbosity: int,
        plain: bool = False,
        ends: float = math.inf,
    ) -> None:
        """`verbosity`: -1 nothing, 0 the block or, without a terminal, a line per result (of many
        some), 1 every result and a line per epoch. `plain`: lines on a terminal too, as a debugger
        needs it. `ends`: when a limit of time is up, in seconds of the monotonic clock.
        """
        self.plan, self.console, self.verbosity, self.ends = plan, console, verbosity, ends
        self._live = (
            Live(console=console, auto_refresh=False, transient=True)
            if verbosity >= 0 and not plain and redraws(console)
            else None
        )
        self._every, self._results = _thinned(plan), 0
        self._begun = time.monotonic()
        self._due = self._begun + REFRESH_SECONDS
        self._before = sum(len(run.epochs) for run in plan.record.runs.values())
        self._parts = {key: run.parts for key, run in plan.record.runs.items() if run.parts}
        self._epochs = 0
        self._first_epoch = 0.0

    def __enter__(self) -> "Progress":
        if self._live:
            self._live.start()
            self.step(force=True)
        elif self.verbosity == 0 and self._every > 1:
            self.console.print(f"one line for {self._every} results, -v tells all", highlight=False)
        return self

    def __exit__(self, *_: object) -> None:
        if self._live:
            self._live.stop()

    def event(self, event: Event) -> None:
        """Take an event of the ledger (already folded into the plan's record)."""
        if isinstance(event, events.Epoch):
            self._epochs += 1
            self._first_epoch = self._first_epoch or time.monotonic()
        bad = isinstance(event, events.End) and event.status in ("diverged", "failed")
        loud = self.verbosity > 0 or isinstance(event, events.Fail | events.Start) or bad
        if not loud and self._live is None and self._is_result(event):
            self._results += 1
            loud = self._results % self._every == 0
        # what is left is reckoned for a line that is shown alone: of many results few are
        line = self._line(event) if loud and self.verbosity >= 0 else ""
        if line:
            self.console.print(
                "\n".join(fold(line, then="    ")), markup=False, highlight=False, soft_wrap=True
            )

    def step(self, *, force: bool = False) -> None:
        """Draw the block if it is due."""
        now = time.monotonic()
        if self._live and (force or now >= self._due):
            self._live.update(self._block(), refresh=True)
            drawn = time.monotonic()
            self._due = now + max(REFRESH_SECONDS, DRAWINGS * (drawn - now))

    def _is_result(self, event: Event) -> bool:
        """Whether `_line` has a line for it, of what has gone well."""
        if isinstance(event, events.Rung):
            return True
        run = self.plan.record.runs[event.run] if isinstance(event, events.End) else None
        return run is not None and run.kind != "trial" and bool(run.epochs)

    def _cut(self, run: Run, parts: int) -> str:
        """That a run is computed in more parts from here on, or, as others of its memory did not
        fit, from its start.
        """
        known = self._parts.get(run.key)
        self._parts[run.key] = max(parts, known or 0)
        if parts <= (known or 0):
            return ""
        why = "out of memory: from here on"
        if known is None:
            why = "as much memory as others that ran out of it:"
        return f"{label(run)}  {why} a batch is computed in {plural(parts, 'part')}"

    def _line(self, event: Event) -> str:
        runs = self.plan.record.runs
        match event:
            case events.Epoch() if self.verbosity > 0:
                run, metrics = runs[event.run], event.metrics
                place = f"epoch {metrics['epoch']}/{run.config['epochs']}"
                values = (
                    f"{run.selects} {metrics[run.selects]:.4f}  val_loss {metrics['val_loss']:.4f}"
                )
                return f"{label(run)}  {place}  {values}"
            case events.Start():
                return self._cut(runs[event.run], event.parts)
            case events.Rung():
                run = runs[event.run]
                ranks = self._rung(event.rung)
                place = f"epoch {len(run.epochs)}"
                place += ", stopped early: its best" if event.early else ""
                value = f"{run.selects} {event.value:.4f}"
                return f"{label(run)}  {ranks} ({place})  {value}{self._left()}"
            case events.Fail():
                said = f"{label(runs[event.run])}  error: {printable(event.error, 300)}"
                return f"{said}  ({event.log})" if event.log else said
            case events.End():
                run = runs[event.run]
                return self._end(run, event.status, label(run))
        return ""

    def _rung(self, rung: int) -> str:
        num_rungs = self.plan.trials.ladder.num_rungs
        return f"rung {rung + 1}/{num_rungs}" if num_rungs > 1 else "trained in full"

    def _end(self, run: Run, status: str, name: str) -> str:
        if status in ("diverged", "failed"):
            return f"{name}  {status}: {printable(run.error, 300)}"
        if run.kind == "trial" or run.best is None:
            return ""
        name_of_test = run.selects.replace("val_", "test_", 1)
        value = run.metric(name_of_test)
        test = "" if value is None else f"  {name_of_test} {value:.4f}"
        return (
            f"{name}  done  {run.selects} {run.best[run.selects]:.4f} (epoch "
            f"{run.best['epoch']}){test}{self._left()}"
        )

    def _planned(self) -> tuple[float, int]:
        """Epochs (planned, done) of the whole study, the search's expected."""
        done = self._before + self._epochs
        return max(float(done), sum(self.plan.total_epochs())), done

    def _left(self) -> str:
        total, done = self._planned()
        now = time.monotonic()
        if self._epochs < 10 or done >= total:
            return ""
        seconds = (total - done) * (now - self._first_epoch) / (self._epochs - 1)
        limit = max(0.0, self.ends - now)
        if seconds > limit:  # what it has no time for is given up
            return f"  · {duration(limit)} of the limit left"
        return f"  · about {duration(seconds)} left" if round(seconds) else ""

    def _block(self) -> Group:
        record = self.plan.record
        trials = record.trials()
        counts: Counter[str] = Counter(run.status for run in trials)
        needed = self.plan.replicates.wanted  # an arm may have more than its questions took
        runs = (run for own in record.arms().values() for run in own if needed(run))
        arms: Counter[str] = Counter(run.status for run in runs)
        total, done = self._planned()
        grid = Table.grid(padding=(0, 2))
        bar = max(8, min(40, self.console.width - 50))  # and the words beside it
        spent = duration(time.monotonic() - self._begun)
        left = self._left() if self._first_epoch else "  · the workers are starting"
        grid.add_row(
            "epochs", ProgressBar(total=total, completed=done, width=bar), Text(spent + left)
        )
        if self.plan.trials.num_trials:
            words = [f"{len(record.trial_keys)} of {plural(self.plan.trials.num_trials, 'trial')}"]
            shown = (
                ("running", "running"),
                ("paused", "waiting"),
                ("stopped", "stopped"),
                ("complete", "complete"),
            )
            words += [f"{counts[status]} {word}" for status, word in shown if counts[status]]
            words += [
                f"{counts[status]} {status}" for status in ("diverged", "failed") if counts[status]
            ]
            grid.add_row("search", Text(" · ".join(words)))
        if field := racers(record):
            over = sum(len(one.values()) for one in field)
            now = sum(run.status == "running" for one in field for run in one.laps)
            grid.add_row(
                "race",
                Text(
                    f"{plural(len(field), 'trial')} · {plural(over, 'run')} complete · "
                    f"{now} running"
                ),
            )
        tuning = self.plan.searches.arms
        if tuning:
            begun, planned = sum(t.num_begun for t in tuning), sum(t.num_trials for t in tuning)
            running = sum(
                run.status == "running" for run in record.runs.values() if run.arm and run.search
            )
            grid.add_row(
                "tuning",
                Text(
                    f"{begun} of {plural(planned, 'trial')} of the arms' own searches · {running} "
                    "running"
                ),
            )
        rows = self.plan.replicates.rows
        num_runs = f"{'at most ' * (rows.now != rows.most)}{plural(sum(rows.most.values()), 'run')}"
        grid.add_row(
            "ablation", Text(f"{arms['complete']} of {num_runs} · {arms['running']} running")
        )
        if found := [run.status for run in record.runs.values() if run.kind == "source"]:
            over, now = found.count("complete"), found.count("running")
            grid.add_row("variance", Text(f"{plural(over, 'run')} complete · {now} running"))
        return Group(grid, *self._best())

    def _best(self) -> Iterator[Text]:
        """The best trial so far."""
        if best := self.plan.record.best_trial():
            rung = max(best.rungs)
            knobs = ", ".join(
                f"{k}={v:.3g}" if isinstance(v, float) else f"{k}={v}"
                for k, v in best.knobs.items()
            )
            place = f"trial {best.number}, {self._rung(rung)}"
            yield Text(f"best so far  {best.selects} {best.rungs[rung]:.4f}  {place}")
            yield Text(printable(knobs, 400), style="dim")


def _thinned(plan: Plan) -> int:
    """Of how many results one is told, so that a study of any size fits a page or two."""
    ablation = sum(plan.replicates.rows.most.values())
    trials = plan.trials.num_trials + sum(one.num_trials for one in plan.searches.arms)
    results = ablation + trials * plan.trials.ladder.results()
    return max(1, round(results / MOST_LINES))


def label(run: Run) -> str:
    """`trial 7`, `ResNet · trial 7` of the arm's own search, or `ResNet · replicate 2`, safe for a
    terminal.
    """
    if run.search == RACE:
        return f"trial {run.number} again, run {run.replicate - FIRST_RACE} of the race"
    if run.kind == "trial":
        study = run.search.removeprefix(f"arm:{run.arm}")  # `#2` of several
        return (
            f"{printable(run.arm, 60)}{study} · trial {run.number}"
            if run.search
            else f"trial {run.number}"
        )
    return f"{printable(run.arm, 60)} · replicate {in_words(run.replicate)}"
