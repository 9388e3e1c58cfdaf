"""What the study cost, where it has a price."""

from collections.abc import Iterator

from pipeline.analysis.expense import ALL, amount, digits, expense, parts, price_of
from pipeline.record.record import Record
from pipeline.report.document import Block, Heading, Text, table

COUNTED = (
    "Counted are the seconds of every recorded epoch with its validation; not the start of "
    "workers, the evaluation of finished models, workers that stood idle, or epochs that were lost."
)
GUESSED = (
    "Runs of earlier versions, which recorded no share of a GPU, count as on a whole one each."
)


def blocks(record: Record) -> Iterator[Block]:
    """A row for every arm and for what else was trained, and all; nothing without a price."""
    price = price_of(record)
    if price is None:
        return
    found = [(name, expense(record, runs)) for name, runs in parts(record)]
    whole = expense(record, record.runs.values())
    known = (whole.core_hours > 0, whole.gpu_hours > 0)
    titles = [name for name, there in zip(("core hours", "GPU hours"), known, strict=True) if there]
    rows = []
    for name, one in (*found, (ALL, whole)):
        pair = zip((one.core_hours, one.gpu_hours), known, strict=True)
        cells = [digits(value) for value, there in pair if there]
        rows.append((name, f"{one.num_runs:,}", *cells, digits(one.money or 0.0)))
    yield Heading("What it cost")
    yield Text(
        f"At {amount(price)} for an hour of a core or a GPU, whichever a run was on. {COUNTED}"
        + f" {GUESSED}" * whole.guessed
    )
    yield table("Cost.", ("for", "runs", *titles, "cost"), rows, aligns="lrr" + "r" * len(titles))
