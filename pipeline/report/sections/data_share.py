"""Would more pictures help: arms that learn from parts of the training pictures."""

from collections.abc import Iterator

from pipeline.analysis.data_share import MIN_SHARES, Curve, Point, read_curves
from pipeline.analysis.results import Ablation
from pipeline.analysis.stats.student import MIN_REPLICATES, Fit
from pipeline.analysis.wording import NONE, Points
from pipeline.counts import plural
from pipeline.record.record import Record
from pipeline.report.document import Block, Cell, Column, Heading, Table, Text
from pipeline.study.study import Study

SILENT = {
    "replicates": f"fewer than {MIN_REPLICATES} replicates have all of these arms",
    "shares": f"that takes {MIN_SHARES} shares or more, of unlike numbers of pictures",
    "level": "errors are not found to fall with more of them",
    "part": "no arm of these learns from all that there are",
    "errors": "a run made no error, so there is no line through their logarithms",
    "chance": "an arm did no better than guessing, or runs of it were lost",
    "flat": "with all of them the error is higher than a line through the others says: the curve "
    "is flattening",
}
METHOD = (
    "A class's pictures are drawn by chance, anew where replicates have splits of their own, and a "
    "smaller share lies within a larger one. Pixels are normalised by all of them. A doubling: the "
    "slope of each replicate's values against the logarithm of the number of pictures; 95 % "
    "intervals of replicates that have all of these arms, each on its own. Twice as many: a line "
    "through the logarithms of each replicate's errors, a power law (Hestness and others 2017). It "
    "has no floor, errors have one, and few shares do not show it: so there is no interval."
)


def blocks(record: Record, study: Study, ablation: Ablation, shown: Points) -> Iterator[Block]:
    """The section; nothing where all arms learn from as many pictures."""
    curves = read_curves(record, study, ablation)
    if not curves:
        return
    yield Heading("Would more pictures help?")
    for curve in curves:
        yield Text(" ".join(_answer(curve, shown)))
    yield _table(curves, ablation, shown)
    yield Text(METHOD, small=True)


def said(record: Record, study: Study, ablation: Ablation, shown: Points) -> Iterator[str]:
    """The answers, for a screen."""
    for curve in read_curves(record, study, ablation):
        yield " ".join(_answer(curve, shown))


def _answer(curve: Curve, shown: Points) -> Iterator[str]:
    most, least = curve.points[0], curve.points[-1]
    if curve.doubling is not None:
        what, steps = "training pictures", ", so that fewer pictures were fewer steps, too"
        if curve.guessed:
            what, steps = "labels", ", the other pictures guessed at"
        low, high = _ends(curve.doubling)
        open_ = " (not told apart from 0)" * (low <= 0 <= high)
        yield (
            f"{most.arm}: from {least.num_train:,.0f} to {most.num_train:,.0f} {what} "
            f"each doubling was worth {_worth(curve.doubling, shown)}{open_}, at "
            f"{plural(curve.epochs, 'epoch')} each{steps}."
        )
    if curve.more is not None:
        twice = f"{2 * most.num_train:,.0f}"
        yield (
            f"At best, if errors go on falling like that, {twice} of them would change it by "
            f"{shown.difference(curve.more)}; by less, the nearer errors are to a floor."
        )
    else:
        yield f"{most.arm}: what more pictures would give is not said: {SILENT[curve.silence]}."


def _table(curves: tuple[Curve, ...], ablation: Ablation, shown: Points) -> Table:
    unit = " (points)" if ablation.judged.is_share else ""
    columns = (
        Column("arm"),
        Column("pictures", "right"),
        Column(f"{ablation.judged.short}{ablation.judged.unit}", "right"),
        Column(f"a doubling up to here{unit} [95 % CI]", "right"),
    )
    rows = tuple(
        (
            Cell(point.arm),
            Cell(f"{point.num_train:,.0f}" if point.values else NONE),
            Cell(_value(point, shown)),
            Cell(NONE if point.doubling is None else _change(point.doubling, shown)),
        )
        for curve in curves
        for point in curve.points
    )
    ends, rules = 0, set[int]()
    for curve in curves[:-1]:
        ends += len(curve.points)
        rules.add(ends)
    caption = f"Learning from parts of the training pictures, by {ablation.judged.short}."
    return Table(caption, columns, rows, rules=frozenset(rules))


def _value(point: Point, shown: Points) -> str:
    if not point.values:
        return NONE
    mean = shown.number(sum(point.values) / len(point.values))
    spread = f" ± {shown.number(point.sd)}" if len(point.values) > 1 else ""
    return f"{mean}{spread} ({len(point.values)})"


def _worth(found: Fit, shown: Points) -> str:
    """`+1.9 points [0.4, 3.1]`"""
    return f"{shown.difference(float(found.delta))} {shown.interval(*_ends(found))}"


def _change(found: Fit, shown: Points) -> str:
    """`+1.9 [0.4, 3.1]`"""
    return f"{shown.signed(float(found.delta))} {shown.interval(*_ends(found))}"


def _ends(found: Fit) -> tuple[float, float]:
    return float(found.delta - found.half()), float(found.delta + found.half())
