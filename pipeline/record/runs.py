"""A run as recorded: a trial of a search, one replicate of an arm, or one that tells sources of
variance apart.
"""

import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from pipeline.core.config import TrainConfig
from pipeline.core.history import best_epoch
from pipeline.core.identity import as_today
from pipeline.core.metrics import sign_of

Status = Literal["new", "running", "paused", "stopped", "complete", "diverged", "failed"]


def todays(config: Mapping[str, Any]) -> dict[str, Any]:
    """A run's config with all fields of today's classes, so that runs of several versions can be
    compared.
    """
    return _todays(json.dumps(config))


@functools.lru_cache(maxsize=1024)
def _todays(config: str) -> dict[str, Any]:
    return as_today(TrainConfig, json.loads(config)).model_dump(mode="json")


@dataclass
class Run:
    """One training run: a trial of a search, one replicate of an arm, or a variation of a replicate
    ("source"). The trials of an arm's search name the arm too.
    """

    key: str
    kind: Literal["trial", "arm", "source"]
    config: dict[str, Any]
    number: int = -1  # trials count from 0, the baseline; arms have -1
    knobs: dict[str, Any] = field(default_factory=dict)
    asked: int | None = None  # the rung whose sampler proposed the trial
    search: str = ""  # the search that a trial was begun for; "" is the study's own
    arm: str = ""  # of a replicate "" where the study, which has grown, has no such arm any more
    defined: str = ""  # what its arm was when the study last changed (see `revision`)
    replicate: int = 0  # arms use replicates 1 … n, trials 0 or one above (see `identity`)
    status: Status = "new"
    rung: int = -1  # the rung it was last sent to
    epochs: list[dict[str, float]] = field(default_factory=list)  # epochs[i]["epoch"] == i + 1
    epoch_seqs: list[int] = field(default_factory=list)  # the numbers of their events
    rungs: dict[int, float] = field(default_factory=dict)  # rung → what ranks it there, of val
    best_epoch: int = 0
    num_params: int = 0
    num_macs: int = 0  # multiply-accumulates of one picture's forward pass; 0: not recorded
    num_train: int = 0  # training pictures; 0: not recorded
    costs: dict[str, int] = field(default_factory=dict)  # a trial's, of the search's objectives
    test_loss: float | None = None
    test_acc: float | None = None
    final: dict[str, Any] = field(
        default_factory=dict
    )  # of a finished model that was compressed or averaged over views
    metrics: dict[str, float] = field(default_factory=dict)  # of the user's own, beside test_acc
    early: bool = False  # its patience ran out
    parts: int = 0  # of a batch, where memory asked for more than `accumulate`
    device: str = ""  # the GPU that trained its end; "": not recorded, or a CPU
    infeasible: bool = False  # it has failed, as it does not fit its device's memory
    attempts: int = 0  # failures so far
    error: str = ""
    log: str = ""  # what a failure left, relative to the study's folder
    evidence: str = ""  # SHA-256 of the file that it left for the report (see `evidence`)
    ended_seq: int = -1
    mlflow_id: str = ""
    data: str = ""  # fingerprint of the pictures it was trained on; '' and 0: not recorded
    core_version: int = 0
    code: list[str] = field(
        default_factory=list
    )  # what it was trained by, of `Record.code`; empty: not recorded

    @property
    def seconds(self) -> float:
        return sum(epoch["seconds"] for epoch in self.epochs)

    @property
    def spent(self) -> int:
        """Epochs that it no longer takes: all of them once it has ended for good, however early."""
        ended = self.early or (
            self.kind != "trial" and self.status in ("complete", "diverged", "failed")
        )
        return int(self.config["epochs"]) if ended else len(self.epochs)

    @property
    def selects(self) -> str:
        """What of an epoch it is selected by: `val_acc`."""
        return f"val_{self.config.get('select', 'acc')}"

    @property
    def sign(self) -> int:
        """-1 where less of what selects is better (see `metrics.sign_of`)."""
        return sign_of(self.config)

    @property
    def best(self) -> dict[str, float] | None:
        """The metrics of the best epoch (see `core.history`)."""
        if not self.epochs:
            return None
        return self.epochs[best_epoch(self.epochs, self.selects, self.sign) - 1]

    @property
    def value(self) -> tuple[int, float] | None:
        """What a trial is worth, wherever that is said: its highest rung and what ranks it
        there: its level at the last epoch (its best where it had stopped early).
        """
        return (max(self.rungs), self.rungs[max(self.rungs)]) if self.rungs else None

    @property
    def worst(self) -> bool:
        """Whether searches take it for worse than any value: it diverged, or is infeasible."""
        return self.status == "diverged" or self.infeasible

    @property
    def given_up(self) -> bool:
        """Whether it has ended for good without a result: what a search was told stays."""
        return self.status == "diverged" or (self.infeasible and self.kind == "trial")

    @property
    def unfinished(self) -> bool:
        """Whether a new session takes it up: interrupted, failed (the cause may be mended) and not
        given up, or a trial that has reached the top rung but was killed before that was written.
        """
        at_top = self.status == "paused" and (
            self.early or len(self.epochs) >= self.config["epochs"]
        )
        return (self.status in ("new", "running", "failed") and not self.given_up) or at_top

    def metric(self, name: str) -> float | None:
        """A result under the common vocabulary: test_* as recorded, last_* at the last epoch, the
        rest at the best; None where missing.

        Of a model that was changed after training, val_* at the best epoch are those of the model
        as changed.
        """
        if name.startswith("last_"):
            return self.epochs[-1][name.removeprefix("last_")] if self.epochs else None
        if name == "test_loss":
            return self.test_loss
        if name == "test_acc":
            return self.test_acc
        for found in (self.final, self.metrics):
            if name in found:
                return float(found[name])
        return self.best.get(name) if self.best else None
