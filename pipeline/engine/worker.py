"""What happens in a worker process: open the pictures once, train a segment, say how it ended.
Knows nothing of Ray.
"""

import functools
import logging
import math
import traceback
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from pipeline.core.checkpoints import settle
from pipeline.core.config import ROBUST, TrainConfig
from pipeline.core.finished import evidence
from pipeline.core.finished.finish import Finished
from pipeline.core.finished.gather import gather
from pipeline.core.finished.macs import num_macs
from pipeline.core.loop import finer
from pipeline.core.memory import DoesNotFit, crowded, forget, free, out_of_memory
from pipeline.core.mixed_precision import has_tf32
from pipeline.core.parts import parts_of
from pipeline.core.setup import describe
from pipeline.core.train import (
    Diverged,
    Inputs,
    evaluate_best,
    robust_acc_of_best,
    train,
    tune_process,
    tune_thread,
)
from pipeline.data.cache import Data, open_data
from pipeline.data.splits import Split, Splits
from pipeline.engine.order import Order, Outcome
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
# what a GPU could not compute, or lost: all that its process asks of it from there on fails as well
BROKEN = ("CUDA error: ", "HIP error: ", "_STATUS_EXECUTION_FAILED", "_STATUS_INTERNAL_ERROR")


def work(order: Order, on_epoch: Callable[[dict[str, float]], None]) -> Outcome:
    """Train one segment; never raises for what a configuration can cause. Where memory ran out,
    nothing of the attempt is left.
    """
    forget()
    outcome = _worked(order, on_epoch)
    if outcome.parts or outcome.infeasible:
        free()
    return outcome


def _worked(order: Order, on_epoch: Callable[[dict[str, float]], None]) -> Outcome:
    try:
        if order.code and order.code != digest(code(order.config)):
            raise UserError(
                "the code has changed since the command began; the same command names the files"
            )
        with held(order.folder, order.segment) as lease:
            return _train(order, on_epoch, lease)
    # the segment has ended for the driver: it hears this only where the folder was taken away
    except LeaseLost as error:
        return Outcome(status="failed", error=str(error), retry=True)
    except UserError as error:
        return Outcome(status="failed", error=printable(error, 500))
    except Diverged as error:
        return Outcome(status="diverged", error=str(error), broken=_stuck(order))
    except MachineError as error:
        return Outcome(status="machine", error=str(error))
    except Exception as error:
        traceback.print_exc()
        return _failed(order, error)


def _failed(order: Order, error: Exception) -> Outcome:
    text = printable(f"{type(error).__name__}: {error}", 500)
    if isinstance(error, DoesNotFit) or out_of_memory(error):
        return replace(_too_large(order, error, text), broken=_stuck(order))
    broken = isinstance(error, RuntimeError) and any(words in str(error) for words in BROKEN)
    retry = broken or isinstance(error, RETRIED)
    return Outcome(status="failed", error=text, retry=retry, broken=broken or _stuck(order))


def _stuck(order: Order) -> bool:
    """Whether this process, which led others on GPUs, still is in a group with them (see
    `joined`)."""
    return order.num_processes > 1 and order.device.startswith("cuda")


def _too_large(order: Order, error: Exception, text: str) -> Outcome:
    """The device's memory is too small: the same batch in more parts may fit, a picture alone that
    could not be judged never does. What others hold of a GPU is no fault of the configuration's.
    """
    if isinstance(error, DoesNotFit):
        least, parts = "one picture at a time", 0
    else:
        least, parts = (
            "in parts of 2 pictures",
            finer(order.config, order.parts, order.num_processes),
        )
    if parts:
        return Outcome(status="failed", error=text, parts=parts)
    if others := crowded(order.device, order.share):
        return Outcome(status="failed", error=f"{others}: {text}", retry=True)
    said = f"does not fit this device's memory even {least}: {text}"
    return Outcome(status="failed", error=said, infeasible=True)


def _train(order: Order, on_epoch: Callable[[dict[str, float]], None], lease: Lease) -> Outcome:
    def tell(epoch: dict[str, float]) -> None:
        lease.check()
        on_epoch(epoch)

    parts, inputs = _pictures(order)
    with team(order, functools.partial(_failed, order)) as group:
        result = train(
            order.config,
            inputs,
            seed=order.seeds.run,
            init=order.seeds.weights,
            folder=order.folder,
            stop=order.stop,
            parts=order.parts,
            reported=order.reported,
            on_epoch=tell,
            before_save=lease.check,
            device=order.device,
            group=group,
        )
    outcome = Outcome(
        status="reached",
        best_epoch=result.best_epoch,
        num_params=result.num_params,
        early=result.complete and len(result.history) < order.config.epochs,
        **_trained_on(torch.device(order.device)),
    )
    if order.test:
        outcome = _finished(outcome, order, parts, inputs, lease)
    lease.check()
    settle(order.folder, complete=result.complete)
    return outcome


def _trained_on(device: torch.device) -> dict[str, Any]:
    """What an outcome says of the GPU; nothing of a CPU, which the session names."""
    if device.type != "cuda":
        return {}
    return {"device": torch.cuda.get_device_name(device), "tf32": has_tf32(device)}


def _pictures(order: Order) -> tuple[Splits, Inputs]:
    data = _warm(order.data)
    tune_thread()
    parts = parts_of(order.config, data, order.seeds)
    return parts, Inputs.of(data, parts)


def _finished(
    outcome: Outcome, order: Order, parts: Splits, inputs: Inputs, lease: Lease
) -> Outcome:
    """The outcome with what the finished model is worth on test; where that is changed
    (compression, views), `final`: what that did to it; with num_macs of a picture, num_train, and
    the evidence that is on disk by now.
    """
    plain = order.config.final.is_plain
    wanted = [("test", parts.test)] if plain else [("val", parts.val), ("test", parts.test)]
    final: dict[str, Any] = {}
    judged: dict[str, Finished] = {}
    for name, split in wanted:
        if split is None:
            continue
        judged[name] = _judge(order, split, inputs)
        facts = dict(judged[name].facts)
        if not math.isfinite(facts["loss"]):
            raise Diverged(outcome.best_epoch, 0, f"{name}_loss")
        own = {f"{name}_{metric}": value for metric, value in judged[name].metrics.items()}
        outcome = replace(outcome, metrics=outcome.metrics | own)
        loss, acc = facts.pop("loss"), facts.pop("acc")
        if name == "test":
            outcome = replace(outcome, test_loss=loss, test_acc=acc)
        else:
            final |= {f"{name}_loss": loss, f"{name}_acc": acc}
        final |= {
            fact.replace("plain_acc", f"plain_{name}_acc"): value for fact, value in facts.items()
        }
    final.pop("plain_loss", None)
    robust = _robust(order, parts, inputs)
    return replace(
        outcome,
        final=final,
        metrics=outcome.metrics | robust,
        num_train=len(parts.train),
        num_macs=_macs(order.config, inputs),
        evidence=_evidence(order, parts, inputs, judged, lease),
    )


def _judge(order: Order, split: Split, inputs: Inputs) -> Finished:
    seed, folder, device = order.seeds.run, order.folder, order.device
    return evaluate_best(order.config, split, inputs, seed=seed, folder=folder, device=device)


def _robust(order: Order, parts: Splits, inputs: Inputs) -> dict[str, float]:
    """Accuracies under the config's attack, where it has one."""
    if not order.config.attack.epsilon:
        return {}
    seed, folder, device = order.seeds.run, order.folder, order.device
    return {
        f"{name}_{ROBUST}": robust_acc_of_best(
            order.config, split, inputs, seed=seed, folder=folder, device=device
        )
        for name, split in (("val", parts.val), ("test", parts.test))
        if split is not None
    }


def _macs(config: TrainConfig, inputs: Inputs) -> int:
    """0 where they cannot be counted."""
    try:
        return num_macs(describe(config, inputs))
    except (
        Exception
    ):  # a network that cannot be followed without being computed was trained all the same
        logging.warning("the network's multiplications cannot be counted", exc_info=True)
        return 0


def _evidence(
    order: Order, parts: Splits, inputs: Inputs, judged: dict[str, Finished], lease: Lease
) -> str:
    """Write the run's evidence, of test where it is labelled; returns its SHA-256, '' where it
    cannot be had: the run is trained.

    Embeddings for the first replicate of an arm alone. Raises MachineError where the disk refuses.
    """
    try:
        split = "val" if parts.test is None else "test"
        finished = judged.get(split) or _judge(order, parts.val, inputs)
        if not math.isfinite(finished.facts["loss"]):
            return ""
        files, embed = _warm(order.data).files, order.seeds.replicate == 1
        found = gather(finished, split=split, files=files, embed=embed)
    except Exception:
        logging.warning("no evidence of the run", exc_info=True)
        return ""
    lease.check()
    return evidence.write(order.evidence, found)


@functools.lru_cache(maxsize=1)
def _warm(path: Path) -> Data:
    """The pictures, opened once per process, and the process tuned for one trial at a time."""
    tune_process()
    return open_data(path)


def follow(text: str, rank: str, meeting: str) -> None:
    """Train a run's share in a process beside the one that leads."""
    with following(Order.from_json(text), int(rank), Path(meeting)) as (order, group):
        _, inputs = _pictures(order)
        train(
            order.config,
            inputs,
            seed=order.seeds.run,
            init=order.seeds.weights,
            folder=order.folder,
            stop=order.stop,
            parts=order.parts,
            device=order.device,
            group=group,
        )
