"""How long a study takes here, and what of it fits into a limit of time: measured for a minute at
most, and said before anything is trained.
"""

import itertools
import time
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline.analysis.preregistration import raced
from pipeline.analysis.to_come import rows as rows_ahead
from pipeline.analysis.wording import listed
from pipeline.core.config import TrainConfig
from pipeline.core.costs import Shape
from pipeline.counts import duration, plural
from pipeline.data.listing import TEST, TRAIN, UNKNOWN, VALID, Listing
from pipeline.engine.pace import Pace, arms_left
from pipeline.engine.points import spread
from pipeline.engine.timetable import (
    LEAST_ROWS,
    TABLE_SHARE,
    Left,
    Shares,
    Timetable,
    stops,
)
from pipeline.errors import UserError
from pipeline.limits import size
from pipeline.machine import Resources
from pipeline.record.record import Record
from pipeline.session.crew import Crew
from pipeline.session.options import Options
from pipeline.study.around import Around
from pipeline.study.study import Study

if TYPE_CHECKING:
    from pipeline.engine.queue import Plan

MOST_SECONDS, SHARE = 60.0, 0.05  # for measuring; of the limit
DRY_SECONDS = 10.0  # for measuring where nothing limits the time: a dry run
ENDING_SECONDS, ENDING_SHARE = 6.0, 0.1
SLOWER = 1.5  # epochs than measured: that is said where something is given up
SIZES, LEAST_EPOCHS = (96, 64, 48, 32), 9  # of pictures; smaller ones where fewer would fit
NUM_SAMPLES, MOST_POINTS = 6, 64  # points of the space that stand for its trials


def ending(limit: float) -> float:
    """Seconds of a limit that are kept for the report."""
    return min(ENDING_SECONDS, ENDING_SHARE * limit)


def timetable(pace: Pace, means: Resources, begun: float, limit: float) -> Timetable:
    """That of a command which began at `begun`, in seconds of the monotonic clock."""
    return Timetable(pace, workers=means.workers, deadline=begun + limit - ending(limit))


def given_up(plan: "Plan", pace: Pace | None) -> str:
    """What a timetable left out of a plan, in words; '' where it is nothing."""
    if pace is not None and not pace.num_epochs:
        return "all of it: no epoch was finished in that time, so give it more"
    trials, race = plan.trials, plan.race
    lost = []
    if trials.num_trials and trials.num_left:
        lost.append(f"{trials.num_left:,} of {plural(trials.num_trials, 'trial')}")
    elif trials.outstanding() or any(run.unfinished for run in plan.record.trials()):
        lost.append("the last epochs of trials")
    begun = plan.record.race
    num = len(begun.candidates) if begun else race.most  # once it has begun no plan changes that
    if race.most < race.asked and num < race.asked:
        lost.append(f"a race of {race.asked} ({num or 'none'} instead)")
    elif race.outstanding():
        lost.append("the rest of the race" if begun else f"a race of {race.asked}")
    if tuned := list(dict.fromkeys(one.target.arm for one in plan.searches.open)):
        lost.append(f"tuning of {listed(tuned)}")
    lost += _replicates_left(plan)
    if lost and pace is not None and pace.drift > SLOWER:
        lost.append(f"as epochs took {pace.drift:.1f} times as long as was measured beforehand")
    return ", ".join(lost)


def _replicates_left(plan: "Plan") -> Iterator[str]:
    """The replicates that the table lacks, arm by arm; where its arms are looked at as they come,
    those that the next look waits for.
    """
    known, rows = plan.replicates, plan.replicates.rows
    arms: dict[int, list[str]] = {}
    for work in arms_left(known.arms, rows.now, plan.record):
        if not plan.searches.hopeless(work.arm, work.replicate):
            arms.setdefault(work.replicate, []).append(work.arm)
    said = []
    # runs of replicates that the same arms lack
    pairs = enumerate(sorted(arms.items()))
    for _, group in itertools.groupby(pairs, key=lambda one: (one[1][0] - one[0], one[1][1])):
        found = [pair for _, pair in group]
        first, last, who = found[0][0], found[-1][0], found[0][1]
        which = f"replicates {first} to {last}" if last > first else f"replicate {first}"
        said.append(f"{which} of {'every arm' if len(who) == len(known.arms) else listed(who)}")
    if said:
        lost = sum(map(len, arms.values()))
        yield f"{lost:,} of {plural(sum(rows.now.values()), 'run')} of arms: {', '.join(said)}"
    if rows.most != rows.now:
        yield f"looks beyond {plural(max(rows.now.values()), 'replicate')}"


def how_long(budget: float) -> str:
    """What is measured, in at most so many seconds."""
    return f"how long an epoch takes here (about {duration(budget)}, once processes have started)"


def budget_of(limit: float | None) -> float:
    """Seconds that measuring may take under a limit of time, or under none."""
    return DRY_SECONDS if limit is None else min(MOST_SECONDS, SHARE * limit)


def shape(study: Study, labels: Sequence[int], parts: Sequence[int], num_classes: int) -> Shape:
    """What an epoch of the study is over, of pictures with these labels and parts."""
    base = study.baseline
    known = [part for label, part in zip(labels, parts, strict=True) if label != UNKNOWN]
    train, val, test = (known.count(part) for part in (TRAIN, VALID, TEST))
    if base.split == "kfold":
        train, val = train + val - (train + val) // base.folds, (train + val) // base.folds
    return Shape(base.dataset.channels, base.dataset.size, num_classes, train, val, test)


def measured_pace(
    study: Study, of: Shape, crew: Crew, *, with_search: bool, most_seconds: float
) -> Pace:
    """What the arms' epochs take, and those of some trials of the search."""
    arms = [config for _, config in study.all_arms()]
    sample = list(_sample(study)) if with_search and study.search.num_trials else []
    found = crew.measured((*arms, *sample), of, crew.means, most_seconds=most_seconds)
    keys = [config.in_force().fingerprint() for config in sample]
    return Pace(found.costs, keys, found.start_seconds)


def unmeasured(study: Study, pace: Pace) -> Iterator[tuple[str, str]]:
    """What is to be said of arms of which no epoch could be measured, though of others one was."""
    keys = {arm.name: config.in_force().fingerprint() for arm, config in study.all_arms()}
    lost = [name for name, key in keys.items() if pace.costs and key not in pace.costs]
    if lost:
        yield (
            "warning",
            f"not measured, and reckoned like the slowest: {listed(lost, 5)}. The time for "
            "measuring was up, or it cannot be trained, which python -m pipeline.doctor would say",
        )


def _sample(study: Study) -> Iterator[TrainConfig]:
    """Legal points of the space, evenly spread; of the first ones of a row that never ends."""
    around = Around(study.space, study.baseline)
    points = itertools.islice(spread(around, 0), MOST_POINTS)
    legal = (point for point in points if not around.refusal(point))
    return map(around.made, itertools.islice(legal, NUM_SAMPLES))


def foreseen(
    study: Study,
    record: Record,
    listing: Listing,
    options: Options,
    crew: Crew,
    *,
    with_search: bool,
) -> Iterator[str]:
    """The lines of a command that has begun nothing yet, under the limit of its options, if any;
    the first one is said before anything is measured.
    """
    limit = options.time
    left = Left.of_study(study, record, with_search=with_search, num_racers=raced(study))
    if not left or not (budget := budget_of(limit)):
        return
    began = time.monotonic()
    yield f"measuring  {how_long(budget)}"
    over = shape(study, listing.labels, listing.parts, len(listing.classes))
    pace = measured_pace(study, over, crew, with_search=with_search, most_seconds=budget)
    forecast = Forecast(study, record, pace, crew.means.workers, with_search)
    spent = max(budget, time.monotonic() - began)
    found = forecast.lines(limit, limit - ending(limit) - spent if limit else 0.0)
    yield from (f"{what:<11}{said}" for what, said in found)


@dataclass(frozen=True)
class Forecast:
    """What is left of a study to train, `workers` runs at once."""

    study: Study
    record: Record
    pace: Pace
    workers: int
    with_search: bool

    def lines(self, limit: float | None, time_left: float) -> Iterator[tuple[str, str]]:
        """(what, in words): how long all of it takes, what it keeps on disk, and what fits into the
        `time_left` of a limit, if there is one. Nothing where nothing is left.
        """
        if self.pace.trial_epoch() is None and self.pace.epoch(self.study.baseline) is None:
            yield (
                "time",
                "not known: no epoch could be measured beforehand; where an arm cannot be trained, "
                "python -m pipeline.doctor says why",
            )
            return
        everything = self._shares(raced(self.study), LEAST_ROWS).total
        if not everything:
            return
        yield from unmeasured(self.study, self.pace)
        yield (
            "time",
            f"about {duration(everything)} of training for all that is left, "
            f"{plural(self.workers, 'run')} at once, measured here; start and report come to it",
        )
        yield "disk", f"about {size(self._bytes())} for the weights that its runs keep"
        if limit is None:
            return
        time_left -= self.pace.starting()
        what, asked = "limit", self.study.ablation.replicates
        rows = min(LEAST_ROWS, asked)
        said = f"{duration(limit)}, {duration(max(0.0, time_left))} of it for training"
        table = self._shares(0, rows).table
        if everything <= time_left:
            yield what, f"{said}: enough for all of it"
        elif table > time_left:
            fit = self._would_fit(table / (TABLE_SHARE * max(1.0, time_left)))
            yield (
                what,
                f"{said}: not enough for {plural(rows, 'replicate')} of every arm, about "
                f"{duration(table)}: the table will have holes, until the same command has gone on "
                "for longer" + (f"; {fit}" if fit else ""),
            )
        else:
            fits = ", ".join(self._fits(time_left, rows, asked))
            yield what, f"{said}: enough for {fits}"

    def _would_fit(self, over: float) -> str:
        """The flags by which a table fits that takes so many times what there is; '' where none do.

        Fewer epochs, and where few would be left smaller pictures, which cost by their area.
        """
        base = self.study.baseline
        if any(config.epochs != base.epochs for _, config in self.study.arms()):
            return ""  # --epochs changes the baseline's alone
        whole, size = base.epochs, base.dataset.size
        epochs = int(whole / over)
        for less in (each for each in SIZES if each < size):
            if epochs >= min(whole, LEAST_EPOCHS):
                break
            try:
                self.study.override({"baseline.dataset.size": less}, source="limit")
            except UserError:
                continue
            size, epochs = less, min(whole, int(whole / over * (base.dataset.size / less) ** 2))
        if not epochs:
            return ""
        fewer = f"--epochs {epochs}" if epochs < whole else ""
        if size == base.dataset.size:
            return f"{fewer} would fit"
        return f"--set dataset.size={size} {fewer}".rstrip() + " may fit: try it with --dry-run"

    def _fits(self, time_left: float, rows: int, asked: int) -> Iterator[str]:
        racers = raced(self.study)
        while racers and self._shares(racers, rows).table > TABLE_SHARE * time_left:
            racers -= 1
        all_of_it = self._shares(racers, rows)
        search = min(all_of_it.of_search(time_left), all_of_it.search)
        if all_of_it.search:
            left = self._left(racers).num_trials
            trials = round(left * search / all_of_it.search)
            yield f"about {trials:,} of {plural(left, 'trial')}"
        if self.with_search and raced(self.study):
            yield f"a race of {racers}" if racers else "no race"
        left_then, more = self._left(racers), [n for n in stops(self.study) if n > rows]
        fit = bisect_right(
            more,
            time_left - search,
            key=lambda rows: Shares.of(left_then, self.pace, self.workers, rows).table,
        )
        rows = more[fit - 1] if fit else rows
        yield f"{rows} of {plural(asked, 'replicate')} of every arm"

    def _left(self, racers: int) -> Left:
        return Left.of_study(
            self.study,
            self.record,
            with_search=self.with_search,
            num_racers=racers,
            most=rows_ahead(self.record, self.study).most,
        )

    def _shares(self, racers: int, rows: int) -> Shares:
        return Shares.of(self._left(racers), self.pace, self.workers, rows)

    def _bytes(self) -> float:
        """Of the weights of every run: the finished ones keep their best, and a trial's are like
        those of the mean.
        """
        sizes = [cost.num_bytes for cost in self.pace.costs.values()]
        left = self._left(raced(self.study))
        runs = len(left.works) + left.num_trials + left.num_laps + left.found_rows
        return runs * sum(sizes) / max(1, len(sizes))
