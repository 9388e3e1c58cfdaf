"""What an arm costs, and how that was measured: a speed means nothing without its machine, batch
size and warm-up.
"""

from collections.abc import Iterator, Sequence

from pipeline.analysis.results import Ablation, ArmRow
from pipeline.analysis.wording import listed
from pipeline.core.config import FULL
from pipeline.counts import plural
from pipeline.record.record import Record, Run


def num_macs(row: ArmRow) -> int:
    """Multiply-accumulates of one picture's forward pass; 0 where it was not recorded."""
    return max((run.num_macs for run in row.complete), default=0)


def speeds(row: ArmRow) -> list[float]:
    """Training pictures a second, epoch by epoch but each run's first, over the whole epoch with
    its evaluation.
    """
    return [speed for run in row.complete for speed in run_speeds(run)]


def run_speeds(run: Run) -> list[float]:
    """The same of one run; empty where its number of pictures was not recorded."""
    return [
        run.num_train / epoch["seconds"]
        for epoch in run.epochs[1:]
        if run.num_train and epoch["seconds"] > 0
    ]


def measured(ablation: Ablation, record: Record) -> Iterator[str]:
    """How MACs and speed came about, in footnotes; nothing of what the table does not show."""
    if any(map(num_macs, ablation.rows)):
        yield (
            "params and MACs are of the whole network, counted in one way for all arms; MACs: "
            "multiply-accumulates of one picture's forward pass."
        )
    counts = sorted({len(found) for row in ablation.rows if (found := speeds(row))})
    if not counts:
        return
    epochs = (
        plural(counts[-1], "epoch")
        if len(counts) == 1
        else f"{counts[0]:,} to {counts[-1]:,} epochs"
    )
    workers = sorted({session.workers for session in record.sessions if session.workers})
    at_once = (
        f"{listed(list(map(str, workers)))} at once" if workers else "unknown how many at once"
    )
    runs = [run for row in ablation.rows for run in row.complete]
    yield (
        "images/s: training pictures a second over whole epochs with their evaluation, median of "
        f"{epochs} an arm, the first epoch of each run left out as warm-up; what else the machine "
        f"did is in it; batch size {_batch_sizes(runs)}; runs trained {at_once} on "
        f"{hardware(record)}."
    )


def hardware(record: Record) -> str:
    """Every machine that the study was on."""
    machines = [session.machine for session in record.sessions]
    names = (
        ", ".join(str(machine[key]) for key in ("name", "device") if key in machine)
        for machine in machines
    )
    return " or ".join(dict.fromkeys(filter(None, names))) or "unknown"


def _batch_sizes(runs: Sequence[Run]) -> str:
    sizes = {run.config["batch_size"] for run in runs}
    whole = ["all training pictures"] if FULL in sizes else []
    return " or ".join([*map(str, sorted(map(int, sizes - {FULL}))), *whole])
