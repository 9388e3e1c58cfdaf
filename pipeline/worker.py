"""What happens in a worker process: open the pictures once, train a segment, say how it ended. Knows nothing of Ray."""

import functools
import logging
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pipeline.config import TrainConfig
from pipeline.core.checkpoints import settle
from pipeline.core.train import Diverged, Inputs, evaluate_best, train, tune_process
from pipeline.data.cache import Data, open_data
from pipeline.data.splits import splits
from pipeline.errors import MachineError, printable

RETRIED = (OSError, ConnectionError, MemoryError)  # deterministic errors (a wrong shape) are not worth a second try


def work(order: dict[str, Any], on_epoch: Callable[[dict[str, float]], None]) -> dict[str, Any]:
    """Train one segment; never raises for what a configuration can cause.

    Returns the outcome: `status` reached | diverged | failed | machine (the disk refuses), and what goes with it.
    """
    config = TrainConfig.parse(order["config"], source="segment")
    try:
        return _train(config, order, on_epoch)
    except Diverged as error:
        return {"status": "diverged", "error": str(error)}
    except MachineError as error:
        return {"status": "machine", "error": str(error)}
    except Exception as error:
        logging.exception("segment failed")
        text = printable(f"{type(error).__name__}: {error}", 500)
        return {"status": "failed", "error": text, "retry": isinstance(error, RETRIED) or "out of memory" in text}


def _train(config: TrainConfig, order: dict[str, Any], on_epoch: Callable[[dict[str, float]], None]) -> dict[str, Any]:
    data = _warm(order["data"])
    # A run's seed is that of its study, times a constant, plus the replicate: the rest repeats a study with other splits.
    parts = splits(data, order["replicate"], config.split, seed=order["seed"] - order["replicate"])
    inputs = Inputs(parts.train, parts.val, len(data.classes), data.mean, data.std)
    folder, device = Path(order["folder"]), order["device"]
    result = train(
        config,
        inputs,
        seed=order["seed"],
        folder=folder,
        stop=order["stop"],
        reported=order["reported"],
        on_epoch=on_epoch,
        device=device,
    )
    outcome = {"status": "reached", "best_epoch": result.best_epoch, "num_params": result.num_params}
    if order["test"] and parts.test is not None:
        loss, acc = evaluate_best(config, parts.test, inputs, seed=order["seed"], folder=folder, device=device)
        if not math.isfinite(loss):
            raise Diverged(result.best_epoch, 0, "test_loss")
        outcome |= {"test_loss": loss, "test_acc": acc}
    settle(folder, complete=len(result.history) == config.epochs)
    return outcome


@functools.lru_cache(maxsize=1)
def _warm(path: str) -> Data:
    """The pictures, opened once per process, and the process tuned for one trial at a time."""
    tune_process()
    return open_data(Path(path))
