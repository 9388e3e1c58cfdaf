"""What a worker of Ray Tune runs: a segment, or, on a GPU that nothing is trained on any more,
nothing.
"""

import functools
import time
from collections.abc import Callable
from dataclasses import replace

from pipeline.engine import (
    ray_environment,
    ray_node,  # noqa: F401  (before ray: it makes the environment that ray reads on import)
    run_log,
)
from pipeline.engine.cards import card_of, named
from pipeline.engine.interrupts import debugged
from pipeline.engine.order import Order, Outcome, Report

# isort: split
from ray import tune

LOOK_SECONDS = 0.5


def train_segment(config: dict[str, str]) -> None:
    """What a Tune worker runs: one segment. Every epoch and, last, the outcome are reported to the
    driver.
    """
    from pipeline.engine.worker import (
        work,
    )  # in the worker alone: the driver needs no training core

    ray_environment.go_home()
    with debugged(False):
        if "cargo" in config:
            from pipeline.engine.ray_ferry import carry_out_apart

            carry_out_apart(config, work, carry_out)
        else:
            carry_out(Order.from_json(config["order"]), work)


def carry_out(
    order: Order,
    work: Callable[[Order, Callable[[dict[str, float]], None]], Outcome],
    held: Callable[[], Callable[[], bool]] | None = None,
) -> None:
    """Do the order's work; every epoch and, last, the outcome are reported. `held` lets the driver
    know that a GPU is kept, and gives what tells whether it still shall be. Raises RuntimeError
    after that where the process is broken: Tune ends one that fails, and begins another.
    """
    card = card_of(order)

    def report(told: dict[str, float] | Outcome) -> None:
        run_log.bound(order.output)
        tune.report({"report": Report(order.segment, told).to_json()})

    if card in order.shunned:
        return _hold(card, report, held or functools.partial(_held, order))
    with run_log.captured(order.output):
        outcome = replace(work(order, report), card=card)
    if outcome.status != "failed" or outcome.parts:
        run_log.discard(order.output)
    report(outcome)
    if outcome.broken:
        raise RuntimeError(outcome.error)


def _hold(
    card: str, report: Callable[[Outcome], None], held: Callable[[], Callable[[], bool]]
) -> None:
    """Keep the GPU, which Ray would give to the next one, until the driver takes the file away."""
    still = held()
    report(Outcome(status="failed", error=f"{named(card)} is held", held=True, card=card))
    while still():
        time.sleep(LOOK_SECONDS)


def _held(order: Order) -> Callable[[], bool]:
    order.output.parent.mkdir(exist_ok=True)
    order.output.touch()
    return order.output.exists
