"""Segments as the driver hands them out: with the lease of the run's folder."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from pipeline.engine import worker
from pipeline.record import lease


def work(order: dict[str, Any], on_epoch: Callable[[dict[str, float]], None]) -> dict[str, Any]:
    """What the worker makes of the order once the run's folder is given to it."""
    named = {"segment": "feed.1", **order}
    lease.grant(Path(order["folder"]), named["segment"])
    return worker.work(named, on_epoch)
