"""The search in words: how it went, its best configuration, its best trials by the rung they
reached.
"""

import math
from collections.abc import Iterator

from pipeline.analysis.search_results import STATUS, Search, flat_config
from pipeline.analysis.wording import NONE, Points, value
from pipeline.counts import duration, plural
from pipeline.errors import printable
from pipeline.frozen import Scalar, flatten
from pipeline.record.record import Run
from pipeline.report.document import Block, Cell, Column, Figure, Heading, Table, Text, table
from pipeline.study.around import Around
from pipeline.study.judged import Judged
from pipeline.study.search import NUM_FIRST
from pipeline.study.study import Study
from pipeline.study.tuning import Fixed

DECIMALS = 2  # of a percent
NUM_TOP = 10
READ = (
    "What a trial is worth at a rung is its mean {} over the last ninth of the epochs up to there, "
    "over one at least."
)


def blocks(search: Search, study: Study, *, again: str, dropped: frozenset[str]) -> Iterator[Block]:
    """The section; `again`: what the best trial does when trained again; `dropped`: figures that
    could not be drawn.
    """
    yield Heading("Search")
    if not search.trials:
        yield Text(_none(study))
        return
    yield Text(overview(search, study))
    if search.best:
        yield Text(winner(search, search.best))
        if again:
            yield Text(again)
        chosen = configuration(search.stayed or search.best, study, raced=bool(search.stayed))
        if chosen.rows:
            yield chosen
    if "search" not in dropped:
        caption = (
            f"Validation {search.judged.noun} of each trial at the highest rung it reached. "
            "Colours are rungs: values of different rungs are not comparable. The line is the best "
            "value so far at the top rung alone."
            if search.num_rungs > 1
            else f"Validation {search.judged.noun} of each trial, trained in full. The line is the "
            "best value so far."
        )
        alt = f"Search history: validation {search.judged.noun} against trial number"
        yield Figure("search", caption, alt)
    if search.num_rungs > 1:
        yield rung_table(search)
    if search.ranked:
        yield top_table(search)


def _none(study: Study) -> str:
    """Why there is no trial."""
    if study.search.num_trials:
        return "No trial has been recorded."
    if isinstance(study.ablation.tuning, Fixed):
        return "This study searches nothing."
    return "This study has no search but those of its arms, which stand with their tuning."


def overview(search: Search, study: Study) -> str:
    """How many trials, how they ended, what it took."""
    ended = ", ".join(f"{count} {status}" for status, count in sorted(search.counts.items()))
    repeats = search.proposed - len(search.trials)
    again = (
        (
            f" ({plural(repeats, 'proposal')} repeated an earlier configuration and was not "
            "trained again)"
        )
        if repeats
        else ""
    )
    seconds = duration(sum(run.seconds for run in search.trials))
    read = f" {READ.format(search.judged.val)}" if search.leveled else ""
    num, past = len(study.from_portfolio), len(study.from_past[:NUM_FIRST])
    begun = len(study.first_points()) - num - past + 1
    if num and begun < search.proposed:
        read += f" {_numbered(begun, begun + num - 1, search.proposed)}"
    read += heard_of(search, study)
    return (
        f"{search.proposed} of {plural(search.planned, 'planned trial')}{again}: {ended}. Sampler "
        f"{study.search.sampler}, {study.search.way}. Training time of the trials, summed: "
        f"{seconds}.{read}"
    )


def _numbered(first: int, last: int, proposed: int) -> str:
    """Which trials nobody proposed for these pictures."""
    last = min(last, proposed - 1)
    which = f"Trial {first} was" if first == last else f"Trials {first} to {last} were"
    return f"{which} chosen beforehand, as good on other pictures."


def heard_of(search: Search, study: Study) -> str:
    """What another study said to this search, and whether it agrees; '' where none did."""
    from pipeline.engine.past import LEAST_TRIALS, Past  # numpy, for few reports

    if not (points := study.from_past):
        return ""
    number = len(study.first_points())
    said = f" Trial {number} was the best of {printable(study.search.past_of, 60)}."
    said *= number < search.proposed
    if not study.search.listens:
        return said
    own, values = _own(search, study)
    said += (
        f" The order of its {plural(len(points), 'trial')} chooses among points that are drawn, "
        f"while it agrees with that of the search's own trials, {LEAST_TRIALS} or more."
    )
    if len(own) < LEAST_TRIALS:
        return f"{said} There are fewer, so it was not heard."
    agreed = Past(study.space, points).agreement(own, values)
    how = "would be heard for the next one" if agreed > 0 else "would not be heard"
    return f"{said} Over all {len(own)} the rank correlation is {agreed:.2f}: it {how}."


def _own(search: Search, study: Study) -> tuple[list[dict[str, Scalar]], list[float]]:
    """The points of the search's trials by number, and what they are worth at the rung that most
    have reached, more being better; of one that diverged on its way there minus infinity.
    """
    told = [
        run.rungs if not run.worst else {**run.rungs, run.rung: -math.inf * run.sign}
        for run in search.trials
    ]
    rung = max(range(search.num_rungs), key=lambda rung: sum(rung in rungs for rungs in told))
    around, found = Around(study.space, study.baseline), []
    for run, rungs in zip(search.trials, told, strict=True):
        point = around.point(dict(flatten(run.config)), run.knobs) if rung in rungs else None
        found += [(point, run.sign * rungs[rung])] if point else []
    return [point for point, _ in found], [value for _, value in found]


def winner(search: Search, best: Run) -> str:
    """The best trial, with the reason why its value is not a result."""
    rung, acc = best.value or (-1, 0.0)
    shown = Points.of(search.judged, DECIMALS)
    one = search.num_rungs == 1
    among = "were trained in full" if one else "reached this rung"
    place = (
        "after full training"
        if one
        else "at the top rung"
        if rung == search.num_rungs - 1
        else f"at rung {rung + 1} of {search.num_rungs}"
    )
    whose = f"number {best.number}" + (", the baseline itself" if best.number == 0 else "")
    which = f"The trial with the {search.judged.most} {search.judged.val} is {whose}: "
    if not best.costs:
        which = f"The best trial is {whose}: {search.judged.val} "
    text = (
        f"{which}{shown.level(acc)} {place}. It was "
        f"selected by this very number, among {plural(search.reached(rung), 'trial')} that "
        f"{among}, so on average it is too {search.judged.flattered}; one run, no spread, no "
        "test."
    )
    baseline = search.trials[0]
    if baseline.number == 0 and baseline is not best and rung in baseline.rungs:
        text += (
            f" The baseline (trial 0) has {shown.level(baseline.rungs[rung])} "
            f"{'then' if one else 'at that rung'}, also in one run."
        )
    return text


def configuration(best: Run, study: Study, *, raced: bool = False) -> Table:
    """The best trial's knobs beside the baseline's; `raced`: those of the one that stayed."""
    mine, theirs = {**best.knobs, **flat_config(best)}, study.baseline.flat()
    derived = [path for path in study.space.derived if best.knobs and path in mine]
    paths = [*best.knobs, *derived] or [p for p in mine if mine[p] != theirs.get(p)]
    rows = []
    for path in paths:
        same = path in theirs and theirs[path] == mine.get(path)
        rows.append(
            (Cell(path), Cell(value(mine.get(path)), bold=not same), Cell(value(theirs.get(path))))
        )
    judged = Judged.of(study.baseline)
    mark = f"{judged.most} {judged.val}" if best.costs else "stayed" if raced else "best"
    columns = (
        Column("knob"),
        Column(f"{mark} (trial {best.number})", "right"),
        Column("baseline", "right"),
    )
    what = "Configuration that stayed in the race" if raced else "Best configuration of the search"
    if best.costs:
        mean = f"{judged.most} mean {judged.val}" if raced else f"{judged.most} {judged.val}"
        what = f"Configuration of the {mean} of the {'race' if raced else 'search'}"
    return Table(f"{what}; bold: differs from the baseline.", columns, tuple(rows))


def rung_table(search: Search) -> Table:
    """How many trials reached each rung."""
    first, shown = search.num_rungs - len(search.epochs_at), Points.of(search.judged, DECIMALS)
    rows = []
    for rung in range(first, search.num_rungs):
        values = [run.rungs[rung] for run in search.trials if rung in run.rungs]
        best = shown.number(search.judged.best(values)) if values else NONE
        rows.append((rung + 1, search.epochs_at[rung - first], len(values), best))
    titles = (
        "rung",
        "after epochs (baseline's schedule)",
        "trials that reached it",
        f"{search.judged.most} {search.judged.val}† there{search.judged.unit}",
    )
    return table("Rungs of the search.", titles, rows, aligns="rrrr")


def top_table(search: Search) -> Table:
    """The best trials; a rule wherever the rung changes."""
    rows: list[tuple[Cell, ...]] = []
    rules: set[int] = set()
    previous, shown = None, Points.of(search.judged, DECIMALS)
    for run in search.ranked[:NUM_TOP]:
        rung, acc = run.value or (-1, 0.0)
        if previous not in (None, rung):
            rules.add(len(rows))
        previous = rung
        knobs = ", ".join(f"{path} = {value(knob)}" for path, knob in run.knobs.items())
        texts = (
            str(run.number),
            *[f"{rung + 1} of {search.num_rungs}"][: search.num_rungs - 1],
            str(len(run.epochs)),
            shown.number(acc),
        )
        rows.append(
            (*map(Cell, texts), Cell(STATUS[run.status]), Cell(knobs or "the baseline's own"))
        )
    columns = (
        Column("trial", "right"),
        *[Column("rung", "right")][: search.num_rungs - 1],
        Column("epochs", "right"),
        Column(f"{search.judged.val}†{search.judged.unit}", "right"),
        Column("status"),
        Column("knobs"),
    )
    caption = (
        f"Best trials, the highest rung first, then by {search.judged.val} at that rung. Rows of "
        "different rungs are not comparable."
        if search.num_rungs > 1
        else f"Best trials, by {search.judged.val}."
    )
    return Table(caption, columns, tuple(rows), frozenset(rules))
