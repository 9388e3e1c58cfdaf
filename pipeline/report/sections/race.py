"""The race of the search's best trials: who was trained again, who stays, and what the number was
worth that the best was chosen by.
"""

from collections.abc import Iterator
from statistics import fmean

from pipeline.analysis.results import Ablation, spread
from pipeline.analysis.stats import MIN_REPLICATES, NAN, winners_curse
from pipeline.analysis.wording import NONE, Points, listed
from pipeline.core.config import TrainConfig
from pipeline.counts import plural
from pipeline.engine.race import ROUNDS, Racer, laps, pick, racers, stay
from pipeline.record.record import Record, Run
from pipeline.record.revision import arm_of
from pipeline.report.document import Block, Cell, Column, Table, Text
from pipeline.study.judged import Judged

DECIMALS = 2  # of a percent
LAST = (
    "Last row: what the search found. The search chose it, or a race of its best trials; the runs "
    "shown here chose nothing."
)
BESIDE = "It has one test of its own at 5 %, beside that family."


def below(ablation: Ablation) -> str:
    """What the last row of the table is, where the search found something."""
    tested = ablation.found is not None and ablation.found.contrast.family
    return f"{LAST} {BESIDE}" if tested else LAST


def blocks(record: Record, ablation: Ablation) -> Iterator[Block]:
    """What there is to say of it; nothing where there was no race."""
    field = racers(record)
    if not field:
        return
    said = f"{_overview(field, ablation.judged)}{_fewer(field, record)}"
    yield Text(f"{said} {_outcome(field, record, ablation)}")
    if any(one.laps for one in field):
        yield Text(curse(field[0], ablation.judged))
        yield _table(field, record, ablation.judged)


def said(record: Record, ablation: Ablation) -> Iterator[str]:
    """How it ended, for a screen."""
    field = racers(record)
    if field:
        ended = _outcome(field, record, ablation)
        said = _overview(field, ablation.judged) if len(field) == 1 else f"Race of {len(field)}:"
        yield f"{said} {ended}{_fewer(field, record)}"
        if any(one.laps for one in field):
            yield curse(field[0], ablation.judged)


def curse(best: Racer, judged: Judged) -> str:
    """What choosing the best of many trials added to its number: the same trial trained again, on
    the same validation pictures. It was chosen before, not by these runs.
    """
    chosen_by, fresh = (best.trial.value or (-1, NAN))[1], best.values()
    number = best.trial.number
    if not fresh:
        return f"What choosing trial {number} added to its number is not measured yet."
    found, shown = winners_curse(chosen_by, fresh), Points.of(judged, DECIMALS)
    best_of = f"the {judged.most}" if best.trial.costs else "the best"
    text = (
        f"Winner's curse: trial {number} has {judged.val} {shown.level(found.search_val)}, "
        f"{best_of} of the search as the race began; trained again "
        f"{plural(len(fresh), 'time')} on the same "
        f"split it has {shown.level(found.fresh_val)}. Chosen minus fresh: "
        f"{shown.difference(found.optimism)}"
    )
    fair = judged.sign * found.optimism <= 0
    low = f" Choosing made it no {judged.flattered}er here." * fair
    if found.n < MIN_REPLICATES:
        return f"{text}, without an interval: fewer than {MIN_REPLICATES} runs.{low}"
    interval = shown.interval(found.low, found.high)
    return f"{text} {interval} (95 % Student interval of the fresh mean; uncorrected).{low}"


def _fewer(field: tuple[Racer, ...], record: Record) -> str:
    """That time was too short for all to race."""
    more = len(pick(record, record.study.search.race)) - len(field)
    return f" {plural(more, 'more was', 'more were')} to race." if more > 0 else ""


def _overview(field: tuple[Racer, ...], judged: Judged) -> str:
    if len(field) == 1:
        return (
            f"One trial alone was to race, or could: number {field[0].trial.number}, which stays "
            "without running."
        )
    who, behind = f"the search's {len(field)} best trials", f"the {judged.most}"
    if _several(field):
        who = f"{len(field)} points of the search's front"
        behind += " of those that cost no more"
    return (
        f"Race: {who} are trained again in full, up to {ROUNDS} "
        "times each, with the search's split and with weights and an order of pictures of their "
        f"own; from the second run on a trial is dropped whose mean is behind {behind} by "
        "more than the 95 % interval of their difference (pooled spread)."
    )


def _several(field: tuple[Racer, ...]) -> bool:
    """Whether the search had several objectives."""
    return bool(field[0].trial.costs)


def _outcome(field: tuple[Racer, ...], record: Record, ablation: Ablation) -> str:
    """Who stays, and which arm that is."""
    race, number = record.race, len(record.raced)
    if race is None or not race.winner:
        lost = not any(laps(field)) and not stay(field)
        failed = any(run.status == "failed" for one in field for run in one.laps)
        text = "Nothing stays: every run was lost." if lost and not failed else "It is not over."
        older = ablation.found.row.arm if ablation.found else ""
        return f"{text} The arm {older} is of an earlier race." if older else text
    best = next(one.trial for one in field if one.trial.key == race.winner)
    text = f"Trial {best.number} stays"
    text += f", by the {ablation.judged.most} mean" * (len(field) > 1)
    if len(left := stay(field)) > 1 and _several(field):
        numbers = listed([str(one.trial.number) for one in left])
        text = f"Trials {numbers} stay. Trial {best.number} has the {ablation.judged.most} mean"
    if ablation.found:
        text += (
            f": the arm {ablation.found.row.arm}, trained with replicates of its own for the table."
        )
    else:
        text += "."
        same = arm_of(record.study, TrainConfig.parse(best.config, source=f"run {best.key}"))
        text += f" Its configuration is that of the arm {same}." if same else ""
    former = [record.runs[key] for key in record.raced[:-1] if key != race.winner]
    if not former:
        return text
    apart = not all(_is_arm(run, record) for run in former)
    return (
        f"{text} This is race {number}: each one's winner is tested anew. Before this one stayed: "
        f"trial {listed(list(dict.fromkeys(str(run.number) for run in former)))}"
        + ("; its runs as an arm are kept apart." if apart else ".")
    )


def _is_arm(run: Run, record: Record) -> bool:
    """Whether a trial's configuration is that of an arm of the study."""
    return bool(arm_of(record.study, TrainConfig.parse(run.config, source=f"run {run.key}")))


def _table(field: tuple[Racer, ...], record: Record, judged: Judged) -> Table:
    rows, num_rungs = [], record.study.search.ladder.num_rungs
    shown = Points.of(judged, DECIMALS)
    for one in field:
        acc = (one.trial.value or (-1, NAN))[1]
        stays = record.race is not None and record.race.winner == one.trial.key
        rung = f"{(one.trial.value or (-1, NAN))[0] + 1} of {num_rungs}"
        texts = (str(one.trial.number), rung, shown.number(acc), _again(one.values(), shown))
        ended = _end(one, field, record, judged)
        rows.append((*(Cell(text, bold=stays) for text in texts), Cell(ended)))
    columns = (
        Column("trial", "right"),
        Column("rung", "right"),
        Column(f"{judged.val}† in the search{judged.unit}", "right"),
        Column(f"again: {judged.val}†{judged.unit}, mean ± sd (n)", "right"),
        Column("outcome"),
    )
    of = "points of the search's front" if _several(field) else "the search's best trials"
    caption = f"Race of {of}. Values of different rungs are not comparable."
    return Table(caption, columns, tuple(rows))


def _again(values: tuple[float, ...], shown: Points) -> str:
    if len(values) < MIN_REPLICATES:
        return ", ".join(map(shown.number, values)) or NONE
    return f"{shown.number(fmean(values))} ± {shown.number(spread(values))} ({len(values)})"


def _end(one: Racer, field: tuple[Racer, ...], record: Record, judged: Judged) -> str:
    race = record.race
    if race is not None and race.winner:
        if race.winner == one.trial.key:
            return "stays"
        last = next((n for n in range(1, ROUNDS + 1) if one not in stay(field, n)), 0)
        if last and one.lost(last):
            return f"lost run {last}"
        left = "stays" if _several(field) else f"not the {judged.most} mean"
        return f"dropped after run {last}" if last else left
    return "open"
