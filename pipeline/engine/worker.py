"""What happens in a worker process: open the pictures once, train a segment, say how it ended.
Knows nothing of Ray.
"""

import functools
import logging
import math
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pipeline.core.checkpoints import settle
from pipeline.core.config import TrainConfig
from pipeline.core.finished import evidence
from pipeline.core.finished.finish import Finished
from pipeline.core.finished.gather import gather
from pipeline.core.finished.macs import num_macs
from pipeline.core.setup import describe
from pipeline.core.train import Diverged, Inputs, evaluate_best, train, tune_process
from pipeline.data.cache import Data, open_data
from pipeline.data.splits import Split, Splits, splits
from pipeline.engine.team import following, team
from pipeline.errors import MachineError, UserError, printable
from pipeline.frozen import digest
from pipeline.record.lease import Lease, LeaseLost, held
from pipeline.record.sources import code

RETRIED = (
    OSError,
    ConnectionError,
    MemoryError,
)  # deterministic errors (a wrong shape) are not worth a second try


def work(order: dict[str, Any], on_epoch: Callable[[dict[str, float]], None]) -> dict[str, Any]:
    """Train one segment; never raises for what a configuration can cause.

    Returns the outcome: `status` reached | diverged | failed | machine (the disk refuses), and what
    goes with it.
    """
    config = TrainConfig.parse(order["config"], source="segment")
    try:
        if order.get("code") and order["code"] != digest(code(config)):
            raise UserError(
                "the code has changed since the command began; the same command names the files"
            )
        with held(Path(order["folder"]), order["segment"]) as lease:
            return _train(config, order, on_epoch, lease)
    # the segment has ended for the driver: it hears this only where the folder was taken away
    except LeaseLost as error:
        return {"status": "failed", "error": str(error), "retry": True}
    except UserError as error:
        return {"status": "failed", "error": printable(error, 500), "retry": False}
    except Diverged as error:
        return {"status": "diverged", "error": str(error)}
    except MachineError as error:
        return {"status": "machine", "error": str(error)}
    except Exception as error:
        traceback.print_exc()
        text = printable(f"{type(error).__name__}: {error}", 500)
        return {
            "status": "failed",
            "error": text,
            "retry": isinstance(error, RETRIED) or "out of memory" in text,
        }


def _train(
    config: TrainConfig,
    order: dict[str, Any],
    on_epoch: Callable[[dict[str, float]], None],
    lease: Lease,
) -> dict[str, Any]:
    def tell(epoch: dict[str, float]) -> None:
        lease.check()
        on_epoch(epoch)

    parts, inputs = _pictures(config, order)
    folder, device, seed = Path(order["folder"]), order["device"], order["seed"]
    with team(order) as group:
        result = train(
            config,
            inputs,
            seed=seed,
            folder=folder,
            stop=order["stop"],
            reported=order["reported"],
            on_epoch=tell,
            before_save=lease.check,
            device=device,
            group=group,
        )
    outcome = {
        "status": "reached",
        "best_epoch": result.best_epoch,
        "num_params": result.num_params,
    }
    if result.complete and len(result.history) < config.epochs:
        outcome["early"] = True
    if order["test"]:
        outcome |= _finish(config, parts, inputs, result.best_epoch, order, lease)
    lease.check()
    settle(folder, complete=result.complete)
    return outcome


def _pictures(config: TrainConfig, order: dict[str, Any]) -> tuple[Splits, Inputs]:
    data = _warm(order["data"])
    # A run's seed is that of its study, times a constant, plus the replicate: the rest repeats a
    # study with other splits.
    study_seed = order["seed"] - order["replicate"]
    parts = splits(data, order["replicate"], config.split, seed=study_seed, folds=config.folds)
    return parts, Inputs(
        parts.train,
        parts.val,
        len(data.classes),
        data.mean,
        data.std,
        parts.unlabeled,
        data.classes,
    )


def _finish(
    config: TrainConfig,
    parts: Splits,
    inputs: Inputs,
    best_epoch: int,
    order: dict[str, Any],
    lease: Lease,
) -> dict[str, Any]:
    """test_loss and test_acc; where the finished model is changed (compression, views), `final`:
    what that did to it; num_macs of a picture, num_train, and the SHA-256 of the evidence that is
    on disk by now."""
    wanted = (
        [("test", parts.test)]
        if config.final.is_plain
        else [("val", parts.val), ("test", parts.test)]
    )
    outcome: dict[str, Any] = {}
    final: dict[str, Any] = {}
    judged: dict[str, Finished] = {}
    for name, split in wanted:
        if split is None:
            continue
        judged[name] = _judge(config, split, inputs, order)
        facts = dict(judged[name].facts)
        if not math.isfinite(facts["loss"]):
            raise Diverged(best_epoch, 0, f"{name}_loss")
        if own := judged[name].metrics:
            found = {f"{name}_{metric}": value for metric, value in own.items()}
            outcome["metrics"] = outcome.get("metrics", {}) | found
        loss, acc = facts.pop("loss"), facts.pop("acc")
        (outcome if name == "test" else final).update({f"{name}_loss": loss, f"{name}_acc": acc})
        final |= {
            fact.replace("plain_acc", f"plain_{name}_acc"): value for fact, value in facts.items()
        }
    final.pop("plain_loss", None)
    outcome |= {"num_train": len(parts.train)} | ({"final": final} if final else {})
    return outcome | _macs(config, inputs) | _evidence(config, parts, inputs, judged, order, lease)


def _judge(config: TrainConfig, split: Split, inputs: Inputs, order: dict[str, Any]) -> Finished:
    return evaluate_best(
        config,
        split,
        inputs,
        seed=order["seed"],
        folder=Path(order["folder"]),
        device=order["device"],
    )


def _macs(config: TrainConfig, inputs: Inputs) -> dict[str, int]:
    try:
        return {"num_macs": num_macs(describe(config, inputs))}
    except (
        Exception
    ):  # a network that cannot be followed without being computed was trained all the same
        logging.warning("the network's multiplications cannot be counted", exc_info=True)
        return {}


def _evidence(
    config: TrainConfig,
    parts: Splits,
    inputs: Inputs,
    judged: dict[str, Finished],
    order: dict[str, Any],
    lease: Lease,
) -> dict[str, str]:
    """Write the run's evidence, of test where it is labelled; nothing where it cannot be had: the
    run is trained.

    Embeddings for the first replicate of an arm alone. Raises MachineError where the disk refuses.
    """
    try:
        split = "val" if parts.test is None else "test"
        finished = judged.get(split) or _judge(config, parts.val, inputs, order)
        if not math.isfinite(finished.facts["loss"]):
            return {}
        found = gather(
            finished, split=split, files=_warm(order["data"]).files, embed=order["replicate"] == 1
        )
    except Exception:
        logging.warning("no evidence of the run", exc_info=True)
        return {}
    lease.check()
    return {"evidence": evidence.write(Path(order["evidence"]), found)}


@functools.lru_cache(maxsize=1)
def _warm(path: str) -> Data:
    """The pictures, opened once per process, and the process tuned for one trial at a time."""
    tune_process()
    return open_data(Path(path))


def follow(facts: dict[str, Any]) -> None:
    """Train a run's share in a process beside the one that leads."""
    with following(facts) as (order, group):
        config = TrainConfig.parse(order["config"], source="segment")
        _, inputs = _pictures(config, order)
        folder, stop, device = Path(order["folder"]), order["stop"], order["device"]
        train(
            config, inputs, seed=order["seed"], folder=folder, stop=stop, device=device, group=group
        )
