"""What the arms' runs answered, picture by picture, from the evidence files beside the ledger: read
once, folded at once.
"""

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.analysis.confusion import Classes, Tally, tally
from pipeline.analysis.results import Ablation, ArmRow
from pipeline.analysis.stats import Bools, Marks
from pipeline.core.finished.evidence import Embedding, Evidence, Ints, evidence_path, read
from pipeline.counts import plural
from pipeline.record.record import Record, Run
from pipeline.study.study import Study

NUM_WRONG = 12
LACKS = {
    "none": "recorded none",
    "gone": "the file is missing or damaged",
    "other": "the file is not the one that was recorded",
    "unfit": "the file does not fit the recorded classes or the split of the others",
}


@dataclass(frozen=True)
class Wrong:
    """A picture that an arm got wrong in `wrong` of its replicates; `pred` is what it was most
    often taken for.
    """

    file: str
    pixels: np.ndarray[Any, np.dtype[np.uint8]]  # [3, S, S]
    true: int
    pred: int
    true_prob: float  # mean over the replicates counted
    wrong: int


@dataclass(frozen=True)
class Shown:
    """What is kept of an arm that is shown in full."""

    replicates: int
    wrong: tuple[Wrong, ...] = ()
    embeddings: tuple[Embedding, ...] = ()
    embedded: int = 0  # the replicate of the embeddings


@dataclass(frozen=True)
class Answers:
    """The arms whose runs left evidence. `lacking` counts the complete runs left out, by the reason
    in LACKS.
    """

    names: tuple[str, ...]
    split: str = ""  # "test" | "val", empty without evidence
    same_pictures: bool = True  # whether all replicates are judged on the same pictures
    arms: Mapping[str, Classes] = field(default_factory=dict)
    shown: Mapping[str, Shown] = field(
        default_factory=dict
    )  # the reference, then the arm of the highest mean
    lacking: Mapping[str, int] = field(default_factory=dict)
    total: int = 0  # complete runs
    marks: Mapping[str, Marks] = field(
        default_factory=dict
    )  # of the arms whose runs all judged the same test pictures
    no_marks: str = ""  # why there are none
    grouped: bool = False  # whether several of the pictures show one subject

    @property
    def warnings(self) -> Iterator[str]:
        """Arms with runs that answer little else than one class."""
        for arm, classes in self.arms.items():
            if found := classes.collapsed:
                texts = [
                    f"replicate {r} ({100 * share:.0f} % to {self.names[label]})"
                    for r, label, share in found
                ]
                more = f" and {len(texts) - 4} more" if len(texts) > 4 else ""
                yield (
                    f"{arm}: nearly all answers go to one class, a sign of collapse: "
                    f"{', '.join(texts[:4])}{more}"
                )


def read_answers(record: Record, ablation: Ablation, study: Study, home: Path | None) -> Answers:
    """Everything the section needs, from the files under `home`, the study's folder; None where
    there is none.
    """
    names = tuple(map(str, record.data["classes"]))
    in_full = {row.arm for row in (ablation.rows[0], highest(ablation)) if row}
    folder = _Folder(home, len(names))
    arms: dict[str, Classes] = {}
    marks: dict[str, Marks] = {}
    shown: dict[str, Shown] = {}
    for row in ablation.rows:
        tallies: list[Tally] = []
        kept: list[tuple[int, Evidence]] = []
        right: list[Bools] = []
        for run in row.complete:
            if (found := folder.read(run)) is None:
                continue
            tallies.append(found[0])
            right.append(found[1].judged.true == found[1].judged.pred)
            if row.arm in in_full:
                kept.append((run.replicate, found[1]))
        if tallies:
            arms[row.arm] = Classes(len(names), tuple(tallies))
        if len(right) > 1 and not folder.differ:
            marks[row.arm] = Marks.of(np.stack(right))
        if kept:
            shown[row.arm] = _shown(
                kept, folder.split == "test" or study.baseline.split == "official"
            )
    same = folder.split == "test" or study.baseline.split == "official"
    total = sum(len(row.complete) for row in ablation.rows)
    why = _no_marks(record, ablation, folder, total)
    return Answers(
        names,
        folder.split,
        same,
        arms,
        shown,
        dict(folder.lacking),
        total,
        {} if why else marks,
        why,
        _grouped(record),
    )


def _grouped(record: Record) -> bool:
    return bool(record.data.get("taken", {}).get("groups"))


def _no_marks(record: Record, ablation: Ablation, folder: "_Folder", total: int) -> str:
    if not ablation.judged.is_acc:
        return "it is known for accuracy alone"
    if not ablation.judged.held_out:
        return "it takes labelled test pictures, the same for all runs"
    if _grouped(record):
        return "several of the pictures show one subject, and it takes them as independent"
    if lacking := folder.lacking.total():
        return f"{lacking:,} of {plural(total, 'complete run')} left no answers picture by picture"
    return "the runs did not all judge the same pictures" if folder.differ else ""


def highest(ablation: Ablation) -> ArmRow | None:
    """The arm with the best mean of what the arms are judged by; the first of equals."""
    return max((row for row in ablation.rows if row.values), key=ablation.worth, default=None)


def slug(arm: str, ablation: Ablation) -> str:
    """What the figures of an arm that is shown in full are called after."""
    return "reference" if arm == ablation.reference else "highest"


class _Folder:
    """Reads evidence and counts what is lacking; the first file read settles the split."""

    def __init__(self, home: Path | None, num_classes: int) -> None:
        self.home, self.num_classes, self.split = home, num_classes, ""
        self.true: Ints | None = None
        self.differ = (
            False  # whether two runs judged different pictures, as far as their labels tell
        )
        self.lacking: Counter[str] = Counter()

    def read(self, run: Run) -> tuple[Tally, Evidence] | None:
        found = self._read(run)
        if isinstance(found, str):
            self.lacking[found] += 1
            return None
        return found

    def _read(self, run: Run) -> tuple[Tally, Evidence] | str:
        if self.home is None or not run.evidence:
            return "none"
        path = evidence_path(self.home, run.key)
        try:
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
        except OSError:
            return "gone"
        evidence = read(path) if digest == run.evidence else None
        if evidence is None:
            return "gone" if digest == run.evidence else "other"
        if self.split not in ("", evidence.split):
            return "unfit"
        try:
            counted = tally(evidence.judged, self.num_classes, run.replicate)
        except ValueError:
            return "unfit"
        self.split = evidence.split
        self.true = evidence.judged.true if self.true is None else self.true
        self.differ = self.differ or not np.array_equal(self.true, evidence.judged.true)
        return counted, evidence


def _shown(kept: Sequence[tuple[int, Evidence]], same_pictures: bool) -> Shown:
    sizes = {len(evidence.judged.true) for _, evidence in kept}
    wrong = _by_row(kept) if same_pictures and len(sizes) == 1 else _by_file(kept)
    embedded = next(((replicate, e.embeddings) for replicate, e in kept if e.embeddings), (0, ()))
    return Shown(len(kept), wrong[:NUM_WRONG], embedded[1], embedded[0])


def _by_row(kept: Sequence[tuple[int, Evidence]]) -> tuple[Wrong, ...]:
    """Of pictures that every replicate judged: those that most replicates got wrong, the least true
    probability first.
    """
    true = kept[0][1].judged.true
    preds = np.stack([evidence.judged.pred for _, evidence in kept])
    probs = np.stack([evidence.judged.true_prob for _, evidence in kept]).mean(0, dtype=np.float64)
    counts = (preds != true).sum(0)
    found: dict[int, Wrong] = {}
    for _, evidence in kept:
        for row, pixels, file in zip(
            evidence.wrong.rows.tolist(), evidence.wrong.pictures, evidence.wrong.files, strict=True
        ):
            if row not in found and 2 * counts[row] > len(kept):
                taken = _most_often(preds[preds[:, row] != true[row], row])
                found[row] = Wrong(
                    file, pixels, int(true[row]), taken, float(probs[row]), int(counts[row])
                )
    return tuple(found[row] for row in sorted(found, key=lambda row: (found[row].true_prob, row)))


def _by_file(kept: Sequence[tuple[int, Evidence]]) -> tuple[Wrong, ...]:
    """Where replicates judge different pictures: those among the most wrong of most replicates,
    known by their files.
    """
    found: dict[str, list[tuple[Evidence, int, int]]] = {}
    for _, evidence in kept:
        for place, (row, file) in enumerate(
            zip(evidence.wrong.rows.tolist(), evidence.wrong.files, strict=True)
        ):
            found.setdefault(file, []).append((evidence, place, row))
    wrong = []
    for file, seen in found.items():
        first, place, row = seen[0]
        taken = _most_often(np.array([evidence.judged.pred[at] for evidence, _, at in seen]))
        prob = float(np.mean([evidence.judged.true_prob[at] for evidence, _, at in seen]))
        wrong.append(
            Wrong(
                file,
                first.wrong.pictures[place],
                int(first.judged.true[row]),
                taken,
                prob,
                len(seen),
            )
        )
    return tuple(sorted(wrong, key=lambda one: (-one.wrong, one.true_prob, one.file)))


def _most_often(labels: np.ndarray[Any, np.dtype[np.int64]]) -> int:
    return int(np.bincount(labels).argmax())
