"""What goes between the driver and a worker: a segment's order, and the reports that come back.

A segment is a piece of one run, from where it stands to an epoch.
"""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from pipeline.core.config import TrainConfig
from pipeline.core.finished.evidence import evidence_path
from pipeline.core.identity import Seeds
from pipeline.engine.run_log import output_path
from pipeline.machine import Resources
from pipeline.record.events import End


@dataclass(frozen=True, kw_only=True)
class Order:
    """What a worker process is told: train `config` in `folder` up to epoch `stop`, report the
    epochs after `reported`, evaluate the finished model where `test`.

    parts: of a batch, where memory asks for more than the config's `accumulate`. share: of a GPU, 1
    and more for whole ones; shunned: GPUs not to train on (see `cards`). code: what stands for the
    code to train it by (see `sources`); "" is not compared. evidence: the file to leave for the
    report; output: that for what the worker prints; data: the folder of the decoded pictures.
    """

    segment: str
    config: TrainConfig
    seeds: Seeds
    stop: int
    reported: int = 0
    test: bool
    code: str = ""
    folder: Path
    evidence: Path
    output: Path
    data: Path
    device: str
    parts: int = 0
    num_processes: int = 1
    share: float = 1.0
    shunned: tuple[str, ...] = ()

    def to_json(self) -> str:
        config = self.config.model_dump(mode="json")
        tree = vars(self) | {"config": config, "seeds": asdict(self.seeds)}
        return json.dumps(tree, default=str)  # paths are no JSON

    @classmethod
    def from_json(cls, text: str) -> "Order":
        tree = json.loads(text)
        tree |= {name: Path(tree[name]) for name in ("folder", "evidence", "output", "data")}
        tree["config"] = TrainConfig.parse(tree["config"], source="segment")
        tree["shunned"] = tuple(tree["shunned"])
        return cls(**tree | {"seeds": Seeds(**tree["seeds"])})


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a segment ended. reached: its last epoch, or its patience's end (`early`); machine: the
    disk refuses.

    retry: another attempt may go better; blameless: the failure is not the run's; parts: memory ran
    out, go on in so many parts of a batch; infeasible: it did, and there is nothing left to cut;
    broken: its process can train nothing any more; card: what it was trained on (see `cards`);
    held: nothing was begun, its process keeps a shunned GPU from the others; apart: the node of a
    cluster whose own disk refuses, "" where that is no such one. The other facts are those of the
    run's end (see `End`).
    """

    status: Literal["reached", "diverged", "failed", "machine"]
    error: str = ""
    retry: bool = False
    blameless: bool = False
    parts: int = 0
    infeasible: bool = False
    broken: bool = False
    card: str = ""
    held: bool = False
    apart: str = ""
    best_epoch: int = 0
    num_params: int = 0
    num_macs: int = 0
    num_train: int = 0
    test_loss: float | None = None
    test_acc: float | None = None
    final: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)
    early: bool = False
    evidence: str = ""
    device: str = ""
    tf32: bool = False

    def end(self, run: str, status: Literal["complete", "diverged", "failed"]) -> End:
        """The event that ends the run with it."""
        return End(
            run=run,
            status=status,
            error=self.error,
            best_epoch=self.best_epoch,
            num_params=self.num_params,
            num_macs=self.num_macs,
            num_train=self.num_train,
            test_loss=self.test_loss,
            test_acc=self.test_acc,
            final=self.final,
            metrics=self.metrics,
            early=self.early,
            infeasible=self.infeasible,
            evidence=self.evidence,
            device=self.device,
            tf32=self.tf32,
        )


@dataclass(frozen=True)
class Report:
    """What a worker tells of its segment: the metrics of an epoch or, last, the outcome.

    It names the segment, since a worker's former thread may report into the next one.
    """

    segment: str
    told: dict[str, float] | Outcome

    def to_json(self) -> str:
        ended = isinstance(self.told, Outcome)
        told = asdict(self.told) if isinstance(self.told, Outcome) else self.told
        return json.dumps({"segment": self.segment, "outcome" if ended else "metrics": told})

    @classmethod
    def from_json(cls, text: str) -> "Report":
        tree = json.loads(text)
        told = tree["metrics"] if "metrics" in tree else Outcome(**tree["outcome"])
        return cls(tree["segment"], told)


@dataclass(frozen=True)
class Segment:
    """Work for one worker: train `config` up to epoch `stop`; epochs up to `reported` are in the
    ledger already.

    name: this segment's alone, over all sessions and ledgers; whatever a worker sends back carries
    it.
    """

    name: str
    run: str
    config: TrainConfig
    seeds: Seeds
    stop: int
    reported: int
    test: bool
    code: str = ""
    parts: int = 0

    def order(
        self, study_folder: Path, data: Path, resources: Resources, shunned: tuple[str, ...] = ()
    ) -> Order:
        """What a worker is told; `data` is the folder of the decoded pictures."""
        return Order(
            segment=self.name,
            config=self.config,
            seeds=self.seeds,
            stop=self.stop,
            reported=self.reported,
            test=self.test,
            code=self.code,
            folder=checkpoint_folder(study_folder, self.run),
            evidence=evidence_path(study_folder, self.run),
            output=output_path(study_folder, self.name),
            data=data,
            device=resources.device,
            parts=self.parts,
            num_processes=resources.processes,
            share=resources.gpus_per_trial or 1.0,
            shunned=shunned,
        )


def checkpoint_folder(study_folder: Path, key: str) -> Path:
    """Where a run keeps its checkpoints."""
    return study_folder / "checkpoints" / key
