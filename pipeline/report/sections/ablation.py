"""The ablation's section: tables, footnotes, figures."""

import math
from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean, median
from types import MappingProxyType
from typing import Literal

from pipeline.analysis.results import Ablation, ArmRow
from pipeline.analysis.stats import MIN_REPLICATES, NAN, Contrast
from pipeline.analysis.tuning_effort import UNTUNED
from pipeline.analysis.tuning_effort import efforts as tuning_efforts
from pipeline.analysis.wording import NONE, Points, listed, millions, size
from pipeline.counts import plural
from pipeline.record.record import Record
from pipeline.report.document import Block, Bullets, Cell, Column, Figure, Heading, Table, table
from pipeline.report.sections import (
    beyond,
    costs,
    effects,
    families,
    looks,
    race,
    sentences,
    tuning,
)
from pipeline.report.sections.finished_models import finished_models
from pipeline.report.sections.footnotes import footnotes
from pipeline.report.sections.own_metrics import own_metrics
from pipeline.report.sections.sentences import points, spread_text, within
from pipeline.study.study import Study, is_default_margin

Align = Literal["left", "right", "center"]
Part = tuple[Column, list[Cell]]
NOTES = {  # one run each: val acc in percent, val loss
    "baseline": ("59.11", "1.2219"),
    "ResNet": ("59.30", "1.2785"),
    "augmentation": ("51.70", "1.3631"),
    "ResNet + augmentation": ("60.36", "1.2234"),
}


def first(ablation: Ablation, record: Record, study: Study, *, forest: bool) -> Iterator[Block]:
    """The answer as a figure, where it could be drawn, and as a table."""
    efforts = tuning_efforts(record, study)
    if forest:
        yield _forest(ablation)
    yield main_table(ablation, tuning.column(efforts))
    if study.baseline.further:
        yield own_metrics(ablation, study)


def blocks(
    ablation: Ablation, record: Record, study: Study, *, dropped: frozenset[str]
) -> Iterator[Block]:
    """The section behind the table; `dropped` holds figures that could not be drawn."""
    yield Heading("Ablation")
    if (terms := sentences.terms(ablation, record)) is not None:
        yield terms
    efforts = tuning_efforts(record, study)
    if efforts:
        keys = {row.arm: row.keys for row in ablation.rows}
        yield tuning.tuning_table(efforts, keys, ablation.judged)
    yield from (found for _, found in effects.tables(ablation))
    if any(run.final for row in ablation.rows for run in row.complete):
        yield finished_models(ablation, record)
    yield Bullets(tuple(footnotes(ablation, record, study)), small=True)
    ours = record.data.get("is_food11") and ablation.judged.is_acc
    if ours and {row.arm for row in ablation.designed} == set(NOTES):
        yield notes_table(ablation)
    if "interaction" not in dropped:
        where = (
            "at each level of the factors" if ablation.crossing else "with each factor off and on"
        )
        yield Figure(
            "interaction",
            f"Mean {ablation.judged.noun} {where}. Parallel lines: the effects "
            "add up. Small dots are single runs.",
            "Interaction plot of the factors",
        )


def _forest(ablation: Ablation) -> Figure:
    groups = listed(list(dict.fromkeys(contrast.family_name for contrast in ablation.contrasts)))
    dots = (
        "; small dots are single replicates"
        if any(contrast.paired for contrast in ablation.contrasts)
        else ""
    )
    thin = (
        ", thin for other pictures of this kind"
        if any(contrast.beyond for contrast in ablation.contrasts)
        else ""
    )
    meant = (
        ""
        if is_default_margin(ablation.rope)
        else ", a difference within which is of no practical interest"
    )
    tested = families.setting(ablation.contrasts, ablation)
    return Figure(
        "differences",
        f"What the design asks: {groups}. Mean and 95 % interval of each on its own{thin}{dots}. "
        f"The band is the margin of {within(ablation)}{meant}. "
        f"{' '.join(filter(None, (families.cautions(ablation.contrasts), tested)))}",
        f"Forest plot of differences in {ablation.judged.noun} with 95 percent intervals",
    )


def main_table(ablation: Ablation, efforts: Mapping[str, str] = MappingProxyType({})) -> Table:
    """Reference first; check marks of the factors; val acc and val loss of a row come from the same
    epochs.

    `efforts` is what tuning each arm took, in words. A column that has nothing to say of any arm is
    left out.
    """
    designed, ablation = ablation, ablation.table
    asked = effects.in_table(ablation)
    against = tuple(dict.fromkeys(contrast.against for contrast in asked.values()))
    answers = [asked.get(row.arm) for row in ablation.rows]
    parts = [
        *_marks(ablation),
        _named(ablation, "arm", "left", [row.arm for row in ablation.rows], bold=True, name="arm"),
    ]
    parts += [
        part for part in _measured(ablation, efforts) if any(cell.text != NONE for cell in part[1])
    ]
    texts = [spread_text(row.values, points(ablation)) for row in ablation.rows]
    spread = (
        "mean ± sd (n)" if any(row.n >= MIN_REPLICATES for row in ablation.rows) else "each run"
    )
    title = f"{ablation.judged.short}{ablation.judged.unit}, {spread}"
    results = len(parts)
    parts.append(
        _named(
            ablation,
            title,
            "right",
            texts,
            [row.mean for row in ablation.rows],
            bold=True,
            name="score",
        )
    )
    parts += _differences(ablation, answers, against)
    caption = f"Ablation: {plural(len(ablation.designed), 'arm')}, {_first(ablation)}"
    if against:
        points_of = "percent points of " if ablation.judged.is_share else ""
        caption += f" Differences in {points_of}{ablation.judged.short}"
        caption += ". " if ablation.judged.is_share else ", of which less is better. "
        planned = tuple(effects.in_table(designed).values())
        caption += families.setting(planned, designed) if planned else ""
        caption += f" {UNTUNED}" if ablation.policy == "fixed" else ""
    sides = [contrast.against if contrast else "" for contrast in answers]
    rules = (
        {i for i in range(2, len(sides)) if sides[i] != sides[i - 1]} if len(against) > 1 else ()
    )
    if ablation.found:
        rules = {*rules, len(ablation.designed)}
        caption += f" {race.below(ablation)}"
    rows = tuple(zip(*(cells for _, cells in parts), strict=True))
    return Table(
        caption,
        tuple(column for column, _ in parts),
        rows,
        frozenset(rules),
        key=len(ablation.factors),
        results=results,
    )


def _first(ablation: Ablation) -> str:
    """What comes first: the arm, and of factors that have levels, of which columns are but the
    others, the base.
    """
    if not ablation.crossing:
        return "reference first."
    factors = "; ".join(f"{name} ({', '.join(own)})" for name, own in ablation.crossing.items())
    return f"reference first. Factors and their levels, the base first: {factors}."


def _named(
    ablation: Ablation,
    title: str,
    align: Align,
    texts: Sequence[str],
    values: Sequence[float] = (),
    *,
    bold: bool = False,
    name: str,
) -> Part:
    """A column with one cell an arm; `bold` where the arms that lead are to stand out in it."""
    numbers = [None if math.isnan(value) else value for value in values] or [None] * len(texts)
    cells = [
        Cell(text, bold and row.arm in ablation.bold, runs=row.keys, value=number)
        for row, text, number in zip(ablation.rows, texts, numbers, strict=True)
    ]
    return Column(title, align, name=name), cells


def _marks(ablation: Ablation) -> Iterator[Part]:
    for factor in ablation.factors:
        on = [row.levels.get(factor, False) for row in ablation.rows]
        yield _named(
            ablation,
            factor,
            "center",
            ["✓" if level else "" for level in on],
            [float(level) for level in on],
            name="factors",
        )


def _measured(ablation: Ablation, efforts: Mapping[str, str]) -> Iterator[Part]:
    """What an arm costs, and the numbers that its runs were selected by."""
    rows, shown = ablation.rows, points(ablation)
    macs = [costs.num_macs(row) or NAN for row in rows]
    unit, letter = (1e9, "G") if any(number >= 1e9 for number in macs) else (1e6, "M")
    speeds = [median(costs.speeds(row) or [NAN]) for row in rows]
    params = [float(row.num_params or NAN) for row in rows]
    yield _named(
        ablation,
        "params (M)",
        "right",
        millions([row.num_params for row in rows]),
        params,
        name="params",
    )
    yield _named(
        ablation,
        f"MACs ({letter})",
        "right",
        [size(number / unit) for number in macs],
        macs,
        name="macs",
    )
    yield _named(ablation, "images/s", "right", list(map(size, speeds)), speeds, name="speed")
    tuned = [efforts.get(row.arm, NONE) for row in rows]
    yield _named(ablation, "tuning", "right", tuned, name="tuning")
    best = [row.best_epoch for row in rows]
    yield _named(ablation, "best epoch", "right", list(map(_epochs, rows)), best, name="epoch")
    judged = ablation.judged
    for name, column, title, scale in (
        (judged.selects, "val", f"{judged.val}†{judged.unit}", shown),
        ("val_loss", "val_loss", "val loss†", None),
    ):
        means = [fmean(row.metric(name) or [NAN]) for row in rows]
        texts = [_mean(row, name, scale) for row in rows]
        yield _named(ablation, title, "right", texts, means, name=column)


def _differences(
    ablation: Ablation, answers: Sequence[Contrast | None], against: tuple[str, ...]
) -> Iterator[Part]:
    """Of the differences: none where a design asks for none; what they are against in a column
    where that varies.
    """
    if not against:
        return
    keys = [
        ablation.keys(row.arm, contrast.against) if contrast else row.keys
        for row, contrast in zip(ablation.rows, answers, strict=True)
    ]
    if len(against) > 1:
        cells = [
            Cell(c.against, runs=ablation.keys(c.against)) if c else Cell(NONE) for c in answers
        ]
        yield Column("Δ is against", name="against"), cells
    interval = " [95 % CI]" if any(c and c.n >= MIN_REPLICATES for c in answers) else ""
    title = f"Δ{interval}" if len(against) > 1 else f"Δ vs {against[0]}{interval}"
    texts = effects.differences(answers, points(ablation))
    cells = [
        Cell(text, runs=runs, value=effects.order(c))
        for text, runs, c in zip(texts, keys, answers, strict=True)
    ]
    yield Column(title, "right", name="difference"), cells
    if others := beyond.cells(answers, keys, points(ablation)):
        yield beyond.COLUMN, others
    if any(contrast and contrast.family for contrast in answers):
        ps = zip(answers, effects.p_values(answers), keys, strict=True)
        yield (
            Column(effects.P_VALUES, "right", loose=True, name="p"),
            [effects.p_cell(c, text, runs) for c, text, runs in ps],
        )
    yield (
        Column("verdict", name="verdict"),
        [effects.verdict(c, ablation.rope, runs) for c, runs in zip(answers, keys, strict=True)],
    )
    if settled := looks.cells(answers, keys):
        yield looks.COLUMN, settled


def notes_table(ablation: Ablation) -> Table:
    """The reader's notes beside our val columns; only where arms and data are the same."""
    shown, rows = points(ablation), []
    for row in ablation.rows:
        acc, loss = NOTES[row.arm]
        losses = row.metric("val_loss")
        rows.append(
            (
                row.arm,
                acc,
                loss,
                spread_text(row.metric("val_acc"), shown),
                _mean(row, "val_loss", None) if losses else NONE,
            )
        )
    caption = (
        "Beside a course reader's notes on Food-11. Theirs are one run each, without spread, so "
        "their differences cannot be told from noise; both sides are validation numbers at the "
        "selected epoch."
    )
    titles = (
        "arm",
        "notes: val acc (%), one run",
        "notes: val loss, one run",
        "here: val acc† (%)",
        "here: val loss†",
    )
    return table(caption, titles, rows, aligns="lrrrr")


def _epochs(row: ArmRow) -> str:
    epochs = row.best_epochs
    return f"{row.best_epoch:g} [{min(epochs)}–{max(epochs)}]" if epochs else NONE


def _mean(row: ArmRow, name: str, shown: Points | None) -> str:
    values = row.metric(name)
    if not values:
        return NONE
    mean = sum(values) / len(values)
    return shown.number(mean) if shown else f"{mean:.3f}"
