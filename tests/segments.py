"""Segments as the driver hands them out: with the lease of the run's folder."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from pipeline.core.config import TrainConfig
from pipeline.core.finished.evidence import evidence_path
from pipeline.core.identity import Seeds
from pipeline.engine import worker
from pipeline.engine.order import Order, Outcome
from pipeline.record import lease


def order_of(config: TrainConfig, root: Path, data: Path, **changes: Any) -> Order:
    """An arm's first replicate of study seed 0, through all its epochs and the test; the run's
    checkpoints lie in `root`/run.
    """
    order = Order(
        segment="feed.1",
        config=config,
        seeds=Seeds(0, 1),
        stop=config.epochs,
        test=True,
        folder=root / "run",
        evidence=evidence_path(root, "run"),
        output=root / "output",
        data=data,
        device="cpu",
    )
    return replace(order, **changes)


def work(order: Order, on_epoch: Callable[[dict[str, float]], None]) -> Outcome:
    """What the worker makes of the order once the run's folder is given to it."""
    lease.grant(order.folder, order.segment)
    return worker.work(order, on_epoch)
