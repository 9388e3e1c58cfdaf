"""A study on two of Ray's GPUs that are none, of which number 1 loses every process: `… lost_card
FOLDER`.
"""

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

from pipeline.engine import ray_tune
from pipeline.engine.interrupts import Interrupts
from pipeline.engine.order import Order, Outcome
from pipeline.machine import Resources
from pipeline.record.ledger import FILE as LEDGER
from tests.driver import metrics, open_plan
from tests.studies import small_study

OUT = "nothing is trained on it"
MOST_SECONDS, LOOK_SECONDS = 300.0, 0.1


def work(order: Order, on_epoch: Callable[[dict[str, float]], None]) -> Outcome:
    """Nothing is trained; who was asked, where, is written down."""
    where = os.environ["CUDA_VISIBLE_DEVICES"]
    study = order.folder.parent.parent
    with (study / "asked").open("a") as asked:
        asked.write(f"{where} {os.getpid()}\n")
    if where == "1":
        error = "RuntimeError: CUDA error: an illegal memory access was encountered"
        return Outcome(status="failed", error=error, retry=True, broken=True)
    end = time.monotonic() + MOST_SECONDS  # else it would be through before the other is held
    while not (study / "held").exists() and not is_held(study) and time.monotonic() < end:
        time.sleep(LOOK_SECONDS)
    (study / "held").touch()
    for epoch in range(order.reported + 1, order.stop + 1):
        on_epoch(metrics(0.5, epoch))
    return Outcome(status="reached", best_epoch=1, num_params=1, test_acc=0.5, test_loss=1.0)


def is_held(study: Path) -> bool:
    """Whether a worker beside this one has something to do, though nothing is trained there."""
    at_work = len(list((study / "logs").glob(".*.out")))
    return at_work == 2 and OUT in (study / LEDGER).read_text(encoding="utf-8")


def stub(config: dict[str, str]) -> None:
    """In the place of `ray_tune.train_segment`."""
    ray_tune.carry_out(Order.from_json(config["order"]), work)


def main(folder: Path) -> None:
    ray_tune.train_segment = stub
    plan = open_plan(folder, small_study(num_trials=0, replicates=2, epochs=1))
    means = Resources(2, 1.0, 2)
    ray_tune.run(plan, means, folder / "cache", interrupts=Interrupts())


if __name__ == "__main__":
    from tests.lost_card import main as own  # under the name that workers find it by

    own(Path(sys.argv[1]))
