"""What the runs of a study say of pictures that they did not learn from, by the weights that they
left.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pipeline.core.config import TrainConfig
from pipeline.data.cache import Data
from pipeline.data.splits import Split, Splits
from pipeline.errors import UserError
from pipeline.export.files import Handover
from pipeline.export.selection import Selection
from pipeline.record.record import Record, Run


@dataclass(frozen=True)
class OutOfSample:
    """probs: float32 [N, K] of every picture of the data, the mean over the runs that validated or
    tested on it and learned from no copy (0 where none did); runs: int64 [N], how many these are;
    asked: runs that answered; lacking: why others did not, a line a run.
    """

    probs: npt.NDArray[np.float32]
    runs: npt.NDArray[np.int64]
    asked: int
    lacking: tuple[str, ...]


def answers(
    record: Record,
    runs: Sequence[Run],
    data: Data,
    folder: Path,
    *,
    same: npt.NDArray[np.int64],
    device: str,
) -> OutOfSample:
    """Each run's model as it was judged, on its own validation pictures and the labelled test
    pictures, whose labels are not looked at. One model is in memory at a time.

    A run that learned from a teacher's answers is left out: the teacher may have learned from
    what the run validates on. same: int64 [N], equal for pictures that are copies of each other.
    """
    probs = np.zeros((len(data.labels), len(data.classes)), np.float32)
    counts = np.zeros(len(data.labels), np.int64)
    lacking: list[str] = []
    for run in runs:
        try:
            model = Handover(record, Selection(run, ""), folder)
            if model.config.distill.teacher:
                raise UserError(f"{model.selection.title}: learned from a teacher")
            parts = model.splits(data)
            rows = parts.val.index
            if parts.test is not None:
                rows = np.union1d(rows, parts.test.index)
            rows = rows[~np.isin(same[rows], same[_learned(model.config, parts)])]
            if len(rows):
                split = Split(data.images, data.labels, rows)
                probs[rows] += model.classify(data, split, device)[1]
                counts[rows] += 1
        except UserError as error:
            lacking.append(str(error))
    probs /= np.maximum(counts, 1)[:, None]
    return OutOfSample(probs, counts, len(runs) - len(lacking), tuple(lacking))


def _learned(config: TrainConfig, parts: Splits) -> npt.NDArray[np.int64]:
    """Rows that a run may have learned from, by their own label or by one that it gave them."""
    if parts.unlabeled is None or not config.pseudo.threshold:
        return parts.train.index
    return np.union1d(parts.train.index, parts.unlabeled.index)
