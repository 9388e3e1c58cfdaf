"""Expense: what the recorded training took of cores and GPUs, and what that cost at a price.

Counted is what the ledger holds: every epoch's seconds, with its validation. What it does not hold
is not counted: how long workers took to start and stood idle, the evaluation of finished models,
epochs that were lost with a worker.
"""

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal

from pipeline.record.events import Session
from pipeline.record.record import Record
from pipeline.record.runs import Run
from pipeline.study.tuning import RACE

HOUR = 3600.0
SEARCH, TUNING, RACED, SOURCES, APART = (
    "the search",
    "the arms' own searches",
    "the race",
    "what takes the ± apart",
    "runs that are no part of the study any more",
)
ALL = "all"
OTHERS = (SEARCH, TUNING, RACED, SOURCES, APART, ALL)
LEAST = 1e-4  # below it digits are of no use


@dataclass(frozen=True)
class Expense:
    """Hours of CPU cores, one a run, and of GPUs, by the share that a run had. money: at the
    study's price, None where it has none. guessed: some hours count a whole GPU, as earlier
    versions recorded no share.
    """

    num_runs: int = 0
    core_hours: float = 0.0
    gpu_hours: float = 0.0
    money: float | None = None
    guessed: bool = False


def price_of(record: Record) -> float | None:
    """Of an hour of a core or a GPU, as it was given last; None where it was not, or is 0."""
    given = [session.price for session in record.sessions if session.price is not None]
    return given[-1] or None if given else None


def expense(record: Record, runs: Iterable[Run]) -> Expense:
    """Of these runs; an epoch is on what the session trained on in which it was recorded."""
    begins = [session.seq for session in record.sessions]  # clocks may go back
    held = tuple(map(_held, record.sessions))
    cores = gpus = 0.0
    guessed, num_runs = False, 0
    for run in runs:
        num_runs += bool(run.epochs)
        for epoch, seq in zip(run.epochs, run.epoch_seqs, strict=True):
            at = bisect_right(begins, seq) - 1
            share, known = held[max(at, 0)] if held else (0.0, True)
            cores += epoch["seconds"] * (share == 0)
            gpus += epoch["seconds"] * share
            guessed = guessed or not known
    price = price_of(record)
    money = None if price is None else price * (cores + gpus) / HOUR
    return Expense(num_runs, cores / HOUR, gpus / HOUR, money, guessed)


def parts(record: Record) -> list[tuple[str, list[Run]]]:
    """(what runs of the study were for, those); each run once, arms first, in the order of the
    table. An arm that is called as another part or as the sum is `'the search'`.
    """
    apart = {run.key for run in record.apart()}
    arms: dict[str, list[Run]] = {name: [] for name in record.arms()}
    others: dict[str, list[Run]] = {}
    for run in record.runs.values():
        if run.kind == "arm" and run.key not in apart:
            arms.setdefault(run.arm, []).append(run)
        else:
            others.setdefault(APART if run.key in apart else _of(run), []).append(run)
    named = [(f"'{name}'" if name in OTHERS else name, runs) for name, runs in arms.items()]
    return [(name, runs) for name, runs in (*named, *others.items()) if runs]


def _of(run: Run) -> str:
    if run.kind == "source":
        return SOURCES
    return {"": SEARCH, RACE: RACED}.get(run.search, TUNING)


def _held(session: Session) -> tuple[float, bool]:
    """(GPUs of a run, 0: it has a core; whether that was recorded)."""
    if session.gpus is not None:
        return session.gpus, True
    return (1.0, False) if session.machine.get("device") == "cuda" else (0.0, True)


def hours(one: Expense) -> str:
    """`3.25 core hours`, `12 GPU hours`, or both; two digits that count at least."""
    found = [
        f"{digits(value)} {name} hours"
        for value, name in ((one.core_hours, "core"), (one.gpu_hours, "GPU"))
        if value
    ]
    return " and ".join(found) or "0 core hours"


def digits(value: float) -> str:
    """`1,234`, `12.30`, `0.0012`, `<0.0001`."""
    if 0 < value < LEAST:
        return "<0.0001"
    return f"{value:,.0f}" if value >= 100 else f"{value:.2f}" if value >= 0.1 else f"{value:.2g}"


def amount(value: float) -> str:
    """A price as it was given: `12345.67`, `50`, `0.00001`."""
    return f"{Decimal(repr(value)):f}".removesuffix(".0")
