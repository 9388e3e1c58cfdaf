"""A study on GPUs that are none: `… placement FOLDER GPUS SHARE RUNS`. Which each run is given is
written down once so many are at work at the same time.
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
from tests.driver import metrics, open_plan
from tests.studies import small_study

MOST_SECONDS, LOOK_SECONDS = 300.0, 0.05


def work(order: Order, on_epoch: Callable[[dict[str, float]], None]) -> Outcome:
    """Nothing is trained."""
    together = order.folder.parent.parent / "together"
    together.mkdir(exist_ok=True)
    mine = together / str(os.getpid())
    new = not mine.exists()
    mine.write_text(os.environ["CUDA_VISIBLE_DEVICES"])
    end = time.monotonic() + MOST_SECONDS
    while new and len(list(together.iterdir())) < num_runs() and time.monotonic() < end:
        time.sleep(LOOK_SECONDS)
    for epoch in range(order.reported + 1, order.stop + 1):
        on_epoch(metrics(0.5, epoch))
    return Outcome(status="reached", best_epoch=1, num_params=1, test_acc=0.5, test_loss=1.0)


def num_runs() -> int:
    return int(os.environ["TESTED_RUNS"])


def stub(config: dict[str, str]) -> None:
    """In the place of `ray_tune.train_segment`."""
    ray_tune.carry_out(Order.from_json(config["order"]), work)


def main(folder: Path, num_gpus: int, share: float, runs: int) -> None:
    os.environ["TESTED_RUNS"] = str(runs)
    ray_tune.train_segment = stub
    plan = open_plan(folder, small_study(num_trials=0, replicates=2, epochs=1))
    means = Resources(runs, share, num_gpus)
    ray_tune.run(plan, means, folder / "cache", interrupts=Interrupts())


if __name__ == "__main__":
    from tests.placement import main as own  # under the name that workers find it by

    own(Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4]))
