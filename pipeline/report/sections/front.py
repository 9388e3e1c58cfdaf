"""The front of a search with several objectives: what accuracy costs, and what of it holds when
points are trained again.
"""

from collections.abc import Iterator

from pipeline.analysis.front import Front, Pair, Point
from pipeline.analysis.wording import NONE, Points, listed, value
from pipeline.counts import plural
from pipeline.record.record import Run
from pipeline.report.document import Block, Bullets, Cell, Column, Figure, Heading, Table, Text
from pipeline.study.objectives import UNITS, WORDS, against

DECIMALS = 2  # of a percent
MOST = 30  # rows of the table
TITLES = {"params": "params", "macs": "MACs", "size": "size"}


def blocks(front: Front | None, *, dropped: frozenset[str]) -> Iterator[Block]:
    """The section; nothing where the search has one objective."""
    if front is None:
        return
    judged = front.judged
    yield Heading("The front against cost")
    yield Text(overview(front))
    if "front" not in dropped:
        yield Figure("front", caption(front), f"The front: validation {judged.noun} against cost")
    yield _table(front)
    if front.pairs:
        yield Text(_how(front))
        yield Bullets(tuple(sentence(pair, front) for pair in front.pairs))


def said(front: Front | None) -> str:
    """How many are on the front, for the first screen; '' where the search has one objective."""
    return overview(front).partition(" Each is one run")[0] if front else ""


def overview(front: Front) -> str:
    """What the front is, and which of its points race."""
    judged, num = front.judged, len(front.points)
    among, alone = plural(num + len(front.others), "trial"), num == 1 and not front.others
    where = f"{'was' if alone else 'were'} trained in full"
    if front.num_rungs > 1:
        where = f"reached rung {front.rung + 1} of {front.num_rungs}"
    found = (
        f"On the front {'is' if num == 1 else 'are'} {num} of the {among} that {where}: no other "
        f"is as good by {judged.val} at no more of every cost."
    )
    if alone:
        found = f"Only one trial {where}: it is the front, beside nothing that it could beat."
    text = (
        f"The search keeps {against(front.objectives)} low beside {judged.val}. {found} Each is "
        "one run, chosen by the very number that it shows, so on average it is too "
        f"{judged.flattered}."
    )
    if not any(point.values for point in front.points):
        return text
    return (
        f"{text} Trained again are the point of the {judged.most} {judged.val}, the cheapest one "
        "that was no worse than the baseline (of all, where the baseline did not come so far), the "
        "knee, where gain and saving together, as shares of what the front spans and costs by "
        "their logarithms, are largest, and then those farthest from these, as many as were to "
        "race."
    )


def caption(front: Front) -> str:
    """Of the figure."""
    again = ""
    if any(point.values for point in front.points):
        again = (
            " Squares: the same points trained again, mean and 95 % interval (pooled spread); the "
            "dotted lines lead to them."
        )
    return (
        f"Validation {front.judged.noun} of the trials at the front's rung against what their "
        "networks cost. Blue, with the line: the front, in one run each. Where a point has several "
        f"costs it may lie behind the line in a panel.{again}"
    )


def _how(front: Front) -> str:
    """What the pairs' intervals are."""
    num = len({point.run.key for pair in front.pairs for point in (pair.ahead, pair.behind)})
    which = "every pair" if len(front.pairs) == num * (num - 1) // 2 else "neighbours by their mean"
    return (
        f"Of the raced points {which}: the difference of their means over the runs of the race, "
        "with the search's split, and its 95 % interval (pooled spread; uncorrected)."
    )


def sentence(pair: Pair, front: Front) -> str:
    """Whether two raced points can be told apart, and what the second saves."""
    shown = Points.of(front.judged, DECIMALS)
    one, other, gap = pair.ahead, pair.behind, pair.difference
    size = f"{shown.difference(gap)} {shown.interval(gap - pair.half, gap + pair.half)}"
    a, b = one.run.number, other.run.number
    found = "cannot be told apart" if pair.alike else f"trial {a} is better"
    text = f"Trials {a} and {b}: {size}, {found}"
    if pair.in_vain:
        return f"{text}; trial {b} costs no less."
    saved = [_share(one.run, other.run, name) for name in front.objectives]
    return f"{text}; trial {b} has {listed(saved)}."


def _share(one: Run, other: Run, name: str) -> str:
    """What the other has of a cost: `31 % of the parameters`, `1.2 times the bytes`."""
    share = other.costs[name] / max(one.costs[name], 1)
    what = WORDS[name]
    return f"{share:.3g} times the {what}" if share >= 1 else f"{100 * share:.2g} % of the {what}"


def _table(front: Front) -> Table:
    judged, shown = front.judged, Points.of(front.judged, DECIMALS)
    raced = any(point.values for point in front.points)
    rows = []
    for point in front.points[:MOST]:
        texts = [str(point.run.number), *(_cost(point.run, name) for name in front.objectives)]
        texts += [shown.number(point.worth), *[_again(point, shown)][: int(raced)]]
        knobs = ", ".join(f"{path} = {value(knob)}" for path, knob in point.run.knobs.items())
        rows.append((*map(Cell, texts), Cell(knobs or "the baseline's own")))
    columns = (
        Column("trial", "right"),
        *(Column(f"{TITLES[name]}{UNITS[name][1]}", "right") for name in front.objectives),
        Column(f"{judged.val}† in the search{judged.unit}", "right"),
        *[Column(f"again: {judged.val}†{judged.unit}, mean ± 95 % (n)", "right")][: int(raced)],
        Column("knobs"),
    )
    more = len(front.points) - MOST
    rest = f" The first {MOST} of {len(front.points)}." if more > 0 else ""
    told = f"The front, the {judged.most} {judged.val} first.{rest}"
    return Table(told, columns, tuple(rows))


def _cost(run: Run, name: str) -> str:
    return f"{run.costs[name] / UNITS[name][0]:.3g}"


def _again(point: Point, shown: Points) -> str:
    if point.half != point.half or len(point.values) < 2:
        return ", ".join(map(shown.number, point.values)) or NONE
    out = "" if point.stays else ", dropped"
    return f"{shown.number(point.mean)} ± {shown.number(point.half)} ({len(point.values)}){out}"
