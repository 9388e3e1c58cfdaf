"""A segment: a piece of one run, from where it stands to an epoch, for one worker. And where the
worker finds its run.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.core.config import TrainConfig
from pipeline.core.finished.evidence import evidence_path
from pipeline.engine.run_log import output_path
from pipeline.machine import Resources


@dataclass(frozen=True)
class Segment:
    """Work for one worker: train `config` up to epoch `stop`; epochs up to `reported` are in the
    ledger already.

    code: what stands for the code to train it by (see `sources`); "" is not compared. name: this
    segment's alone, over all sessions and ledgers; whatever a worker sends back carries it.
    """

    name: str
    run: str
    config: TrainConfig
    replicate: int
    seed: int
    stop: int
    reported: int
    test: bool
    code: str = ""

    def order(self, study_folder: Path, data: Path, resources: Resources) -> dict[str, Any]:
        """What a worker process is told, as plain data; `data` is the folder of the decoded
        pictures.
        """
        return {
            "segment": self.name,
            "code": self.code,
            "config": self.config.model_dump(mode="json"),
            "replicate": self.replicate,
            "seed": self.seed,
            "stop": self.stop,
            "reported": self.reported,
            "test": self.test,
            "folder": str(checkpoint_folder(study_folder, self.run)),
            "evidence": str(evidence_path(study_folder, self.run)),
            "output": str(output_path(study_folder, self.name)),
            "data": str(data),
            "device": resources.device,
            "num_processes": resources.processes,
        }


def checkpoint_folder(study_folder: Path, key: str) -> Path:
    """Where a run keeps its checkpoints."""
    return study_folder / "checkpoints" / key
