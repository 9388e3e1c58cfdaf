"""Where the ± comes from: how much of an arm's spread each source of chance makes, and what follows
for further runs.
"""

import math
from collections.abc import Iterator

from pipeline.analysis.results import Ablation
from pipeline.analysis.variance import Part, Variance, read_variance
from pipeline.analysis.wording import NONE, Points
from pipeline.counts import plural
from pipeline.record.record import Record
from pipeline.report.document import Block, Cell, Column, Heading, Table, Text
from pipeline.study.study import LEAST_LEVELS, Study

NAMES = {
    "tuning": "tuning: another search for the hyperparameters",
    "split": "split: other pictures to train on",
    "initial weights": "initial weights",
    "order": "order of the pictures, with what augmentation and dropout draw",
    "all together": "all together: one run to the next",
}
METHOD = (
    "A part is what drawing that source anew adds where all above it in the table is held; what "
    "only several of them do together counts with the lowest of them. Unbiased estimates from a "
    "staggered nested design, 95 % intervals by the modified large-sample method (Burdick and "
    "Graybill 1992), each on its own; they assume that runs are spread about normally."
)


BELOW = (
    "An estimate below 0 is shown as 0: the parts then do not add up to all together, and shares "
    "are of their own sum."
)
OWN_SD = (
    "The sd of all together is of these runs; verdicts rest on the sd of the arms' replicates "
    "alone."
)
FEW = 10  # replicates taken apart: below, equal sources are told apart in one study of five


def blocks(record: Record, study: Study, ablation: Ablation, shown: Points) -> Iterator[Block]:
    """The section; nothing where the study does not ask for it."""
    found = read_variance(record, study, ablation)
    if found is None:
        return
    yield Heading("Where the ± comes from")
    yield Text(" ".join(_trained(found)))
    if found.total is None:
        return
    yield Text(" ".join((*_answer(found, shown), *_advice(found, study, shown))))
    yield _table(found, ablation, shown)
    yield Text(" ".join((METHOD, OWN_SD, *_scope(study, ablation))), small=True)


def said(record: Record, study: Study, ablation: Ablation, shown: Points) -> Iterator[str]:
    """The answer, for a screen."""
    found = read_variance(record, study, ablation)
    if found is not None:
        yield " ".join(_answer(found, shown) if found.total else _trained(found))


def _trained(found: Variance) -> Iterator[str]:
    layout = found.layout
    yield (
        f"{plural(layout.num_levels, 'replicate')} of {layout.arm} taken apart: of each, runs in "
        "which one source of chance after another is drawn anew. "
        f"{plural(found.num_runs, 'run')} so far, {found.num_added:,} of them for this alone: in "
        "no mean, test or figure of the arms."
    )
    if found.num_open:
        yield f"{plural(found.num_open, 'replicate')} not whole yet: the same command goes on."
    if found.num_lost:
        yield f"{plural(found.num_lost, 'replicate')} left out, as a run diverged or failed."
    if found.unequal:
        yield "Nothing is estimated: the runs differ in code or setting, and are not comparable."
    elif found.at_chance:
        yield "Nothing is estimated: guessing explains what these runs reached."
    elif found.total is None:
        yield (
            f"Nothing is estimated yet: {plural(found.num_levels, 'replicate')} whole, at least "
            f"{LEAST_LEVELS} are needed."
        )
    if found.num_collapsed:
        yield (
            f"{plural(found.num_collapsed, 'run')} of these fell far below the others: that is no "
            "normal spread, and may decide every number here."
        )


def _answer(found: Variance, shown: Points) -> Iterator[str]:
    """What is told apart from 0, the largest first, and what is not."""
    told = sorted((p for p in found.parts if p.is_told), key=lambda part: -part.estimate)
    open_ = [f"{p.source} {_in_words(p, shown)}" for p in found.parts if not p.is_told]
    assert found.total is not None
    size = f"{shown.number(found.total.sd)}{shown.points}"
    if told:
        each = "; ".join(f"{part.source} {_in_words(part, shown)}" for part in told)
        yield f"Of the sd of {size} from one run to the next: {each}."
    else:
        yield f"No source is told apart from 0, of an sd of {size} from one run to the next."
    if told and open_:
        yield f"Not told apart from 0: {'; '.join(open_)}."
    if found.parts[-1].is_told:
        yield (
            f"What no other source explains counts as {found.parts[-1].source}, which is told "
            "apart from 0 in any case."
        )
    if any(part.estimate < 0 for part in found.parts):
        yield BELOW
    if found.layout.num_levels < FEW:
        yield "With so few replicates taken apart a source is rarely told apart from 0."


def _advice(found: Variance, study: Study, shown: Points) -> Iterator[str]:
    """What more runs of either kind would do for an arm's mean, by the estimates."""
    outer, replicates = found.parts[0], study.ablation.replicates
    assert found.total is not None
    if not any(part.is_told for part in found.parts):
        if outer.source != "tuning":  # else there are as many as replicates
            more = 2 * found.layout.num_levels
            yield f"More replicates taken apart would tell: --variance {more}."
        return
    if outer.source not in ("split", "tuning") or found.total.estimate <= 0:
        yield "More replicates narrow the mean of an arm, whichever of these it is."
        return
    again = "on each split" if outer.source == "split" else "with each tuned configuration"
    of_outer = max(outer.estimate, 0.0)
    rest = max(found.total.estimate - of_outer, 0.0)

    def error(num_outer: int, num_each: int) -> str:
        value = math.sqrt(of_outer / num_outer + rest / (num_outer * num_each))
        return f"{shown.number(value)}{shown.points}"

    yield (
        f"By these estimates the mean of {plural(replicates, 'replicate')} has a standard error of "
        f"{error(replicates, 1)}; of twice the runs it is {error(2 * replicates, 1)} if they are "
        f"replicates, {error(replicates, 2)} if they are a second run {again}."
    )
    if outer.is_told and of_outer > rest:
        yield "So more replicates are what helps, as each draws that source anew, too."
    else:
        yield "More replicates are never the worse of the two."
    if outer.source == "split" and outer.is_told:
        left = f"{shown.number(math.sqrt(rest))}{shown.points}"
        yield (
            f"With one split for all (split=official) runs would have an sd of about {left}: "
            "intervals would be narrower, and silent about other splits."
        )


def _table(found: Variance, ablation: Ablation, shown: Points) -> Table:
    assert found.total is not None
    unit = " (points)" if ablation.judged.is_share else ""
    columns = (
        Column("source of chance"),
        Column(f"sd{unit} [95 % CI]", "right"),
        Column("share of the variance (%)", "right"),
    )
    rows = tuple(
        (Cell(NAMES[part.source]), Cell(_in_words(part, shown)), Cell(_share(part)))
        for part in (*found.parts, found.total)
    )
    caption = f"Sources of variance of {found.layout.arm}, by {ablation.judged.short}."
    return Table(caption, columns, rows, rules=frozenset({len(found.parts)}))


def _in_words(part: Part, shown: Points) -> str:
    return f"{shown.number(part.sd)} {shown.interval(part.low, part.high)}"


def _share(part: Part) -> str:
    return NONE if math.isnan(part.share) else f"{100 * part.share:.0f}"


def _scope(study: Study, ablation: Ablation) -> Iterator[str]:
    """What is no source here, and what is in one."""
    base, tuning = study.baseline, study.ablation.tuning.name
    if tuning != "replicated":
        yield (
            "Tuning is no part of this ±, and not told apart: all replicates have the same "
            "hyperparameters (ablation.tuning=replicated would tune each anew)."
        )
    if base.split == "official":
        either = " either" * (tuning != "replicated")
        yield f"The split is no part of it{either}: it is the official one in every run."
    elif base.split == "kfold":
        yield "Splits are folds of one pool: their part is that between folds."
    if base.split != "official" and not ablation.judged.held_out:
        yield "Each split is judged on val pictures of its own: how hard these are is in its part."
