"""What must be said of a table whose arms have replicates until their questions are answered; of
others nothing.
"""

from collections.abc import Iterator, Sequence

from pipeline.analysis.results import Ablation
from pipeline.analysis.stats import Contrast
from pipeline.analysis.wording import NONE, listed
from pipeline.counts import plural
from pipeline.report.document import Cell, Column
from pipeline.study.looks import SHARES, last_look, looks

COLUMN = Column("settled at", "right", name="look")
REPEATED = (
    "Intervals are repeated confidence intervals: in 95 % of studies that of a row holds the truth "
    "at every look. "
    "Differences, intervals and p of a row are of as many first replicates as its last look had."
)
EARLY = (
    "A difference that was settled early was large by then, so its estimate is too large on "
    "average, the more so the earlier."
)
SHOWN = 16


def by_looks(ablation: Ablation) -> bool:
    """Whether anything was tested at a look."""
    return any(contrast.look and contrast.family for contrast in ablation.table.contrasts)


def cells(contrasts: Sequence[Contrast | None], keys: Sequence[tuple[str, ...]]) -> list[Cell]:
    """The column: replicates at which a row was settled, or that were not enough; no cells where
    no contrast was tested at a look.
    """
    if not any(contrast and contrast.look for contrast in contrasts):
        return []
    return [
        Cell(_at(c) if c else NONE, runs=runs, value=c.settled or None if c else None)
        for c, runs in zip(contrasts, keys, strict=True)
    ]


def notes(ablation: Ablation) -> Iterator[str]:
    """How the table came about, and what is still open."""
    if not by_looks(ablation):
        return
    seen = looks(ablation.planned)
    shares = ", ".join(f"{100 * SHARES[look]:g}" for look in seen)
    yield (
        f"Until answered: arms are looked at when n is {', '.join(map(str, seen))}, and one whose "
        "questions are all settled gets no more, so n differs. A p-value is the smallest of "
        f"its looks' so far, each divided by the share of the 5 % that its look may spend "
        f"({shares} %): the error rates hold whenever one stops, and the maximum may be raised "
        f"later. {REPEATED} {EARLY}"
    )
    yield " ".join(_state(ablation))


def _state(ablation: Ablation) -> Iterator[str]:
    """Which questions are settled, which are open, and what the maximum leaves."""
    asked = [c for c in ablation.table.contrasts if c.look and c.family]
    done = [f"{_name(c)} ({c.settled})" for c in asked if c.settled]
    left = [f"{_name(c)} ({c.look})" for c in asked if not c.settled]
    if done:
        yield f"Settled, at so many replicates: {listed(done, SHOWN)}."
    if left:
        yield f"Open, after so many: {listed(left, SHOWN)}."
    last = last_look(ablation.planned)
    if left and last < ablation.planned:
        used = plural(last, "replicate")
        yield f"The maximum of {ablation.planned} is no look: at most {used} are used."
    if left:
        more = last - min(c.look for c in asked if not c.settled)
        yield (
            f"The maximum leaves {plural(more, 'replicate')} more."
            if more
            else "The maximum is reached; a larger one goes on from here (--max-replicates)."
        )


def _at(contrast: Contrast) -> str:
    if not contrast.look or not contrast.family:
        return NONE
    return str(contrast.settled) if contrast.settled else f"open ({contrast.look})"


def _name(contrast: Contrast) -> str:
    """A name that stands alone: a factor may be an arm and a main effect."""
    if contrast.against:
        return f"{contrast.name} against {contrast.against}"
    return f"main effect {contrast.name}" if contrast.kind == "main" else contrast.name
