"""The plan as it was written down, when that was, and what the pilot said beside what the results
say.
"""

from collections.abc import Iterator

from pipeline.analysis.pilot import is_blind, said
from pipeline.analysis.preregistration import ahead, hours, lines
from pipeline.analysis.results import Ablation
from pipeline.analysis.stats import by_family
from pipeline.analysis.wording import NONE, moment
from pipeline.record.events import Pilot
from pipeline.record.record import Record
from pipeline.report.document import Block, Heading, Text, table
from pipeline.report.sections.sentences import points

MAXIMUM = ("replicates", "runs", "epochs")
"""What of a plan changes with its maximum, which a table that is looked at as it comes allows."""


def blocks(record: Record, ablation: Ablation) -> Iterator[Block]:
    """The section; nothing for records of versions that wrote no plan."""
    if not record.plans:
        return
    yield Heading("The plan")
    for text in told(record):
        yield Text(text)
    newest = record.plans[-1]
    rows = [*lines(newest.plan), ("time", hours(ahead(record)))]
    shown = [
        ("" if i and rows[i - 1][0] == what else what, text) for i, (what, text) in enumerate(rows)
    ]
    yield table("The plan, as last written down.", ("", ""), shown)
    if record.pilot:
        yield Text(f"P{said(record.pilot, record)[1:]}")
        if not is_blind(record.pilot, record):
            yield _sizes(record.pilot, ablation)


def told(record: Record) -> Iterator[str]:
    """When the plan was written, and every change of it."""
    for number, event in enumerate(record.plans):
        first = min(
            (
                run.ended_seq
                for runs in record.arms().values()
                for run in runs
                if run.ended_seq >= 0
            ),
            default=None,
        )
        before = first is None or event.seq < first
        when = "before any arm had a result" if before else "after results of the arms existed"
        at = f"{moment(event.time)}, event {event.seq:,} of the ledger, {when}"
        if number:
            free = {"looks", *MAXIMUM} if record.plans[number - 1].plan.get("looks") else set()
            harmless = before or (free >= {*event.changed} and "looks" in event.plan)
            late = "" if harmless else ": what follows from the change is exploratory"
            yield f"Changed at {at} ({', '.join(event.changed)}){late}."
        else:
            yield f"Written at {at}" + (
                f" (the first is event {first:,})." if before and first is not None else "."
            )


def _sizes(pilot: Pilot, ablation: Ablation) -> Block:
    """Smallest true effects found with 80 % power: by the pilot, and at the spread of the
    results.
    """
    shown = points(ablation)
    final = by_family(ablation.contrasts)
    rows = []
    for guess in pilot.detectable:
        tested = [contrast.mde for contrast in final.get(guess["family"], ()) if contrast.family]
        seen = f"{shown.number(min(tested))} to {shown.number(max(tested))}" if tested else NONE
        sizes = (shown.number(guess["alone"]), shown.number(guess["corrected"]))
        rows.append((guess["family"], guess["size"], *sizes, seen))
    titles = (
        "family",
        "corrected over",
        "pilot, one alone",
        "pilot, corrected",
        "results, corrected",
    )
    upper = pilot.sd_upper is not None
    source = (
        "the largest spread that the reference's first runs allow for"
        if upper
        else "the spread of the reference's first runs"
    )
    caption = (
        f"Smallest true effect found with 80 % power{', in points' * ablation.judged.is_share}: "
        "what the pilot said, from "
        f"{source} with arms taken as independent (of a family, for the question that takes most), "
        "and what the spread of the differences themselves says."
    )
    return table(caption, titles, rows, aligns="lrrrr")
