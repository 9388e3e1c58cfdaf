"""How much each source of chance contributes to the spread of an arm's replicates."""

import json
import math
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pandas as pd

from pipeline.analysis.collapse import collapsed
from pipeline.analysis.missing_runs import has_numbers
from pipeline.analysis.results import Ablation
from pipeline.analysis.scores import score
from pipeline.analysis.stats.components import components
from pipeline.record.levels import Level, levels
from pipeline.record.record import Record
from pipeline.study.study import LEAST_LEVELS, Study
from pipeline.study.variance import Layout

LOST = ("diverged", "failed")


@dataclass(frozen=True)
class Part:
    """A source's sd with its 95 % interval, in shares of 1; `estimate`: of the variance, unbiased,
    and so perhaps below 0; `share`: of the sum of the estimates above 0.
    """

    source: str
    estimate: float
    low: float
    high: float
    share: float

    @property
    def sd(self) -> float:
        return math.sqrt(max(self.estimate, 0.0))

    @property
    def is_told(self) -> bool:
        """Whether it is told apart from 0."""
        return self.low > 0


@dataclass(frozen=True)
class Variance:
    """`parts`: the outermost source first; none where fewer than `LEAST_LEVELS` levels are whole,
    `unequal`: their runs are not comparable, or `at_chance`: they learned nothing. `num_open`,
    `num_lost`: levels that are not whole yet, and never will be as a run of them has no result.
    `num_collapsed`: runs far below the rest.
    """

    layout: Layout
    num_runs: int
    num_added: int
    num_levels: int
    num_open: int
    num_lost: int
    num_collapsed: int
    unequal: bool
    at_chance: bool
    parts: tuple[Part, ...] = ()
    total: Part | None = None


def read_variance(record: Record, study: Study, ablation: Ablation) -> Variance | None:
    """None where the study does not ask for it."""
    layout = Layout.of(study)
    if not layout.num_levels:
        return None
    tree = study.arms()[0][1].model_dump(mode="json")
    found = tuple(levels(record, layout, tree))
    whole = [level for level in found if all(run and has_numbers(run) for run in level)]
    lost = sum(any(run and run.status in LOST for run in level) for level in found)
    known = [run for level in found for run in level if run and has_numbers(run)]
    values = _values(whole, ablation)
    code: dict[str, set[str]] = defaultdict(set)  # of each configuration: tuned ones differ
    for run in known:
        code[json.dumps(run.config)] |= {*run.code}
    unequal = bool(ablation.unequal) or any(len(ids) > 1 for ids in code.values())
    parts: tuple[Part, ...] = ()
    total: Part | None = None
    at_chance = layout.arm in ablation.at_chance
    if len(whole) >= LEAST_LEVELS and not unequal and not at_chance:
        *inner, total = _parts(values, layout)
        parts = tuple(inner[::-1])
    fallen = collapsed(pd.DataFrame({layout.arm: values.ravel()}), ablation.guess)
    return Variance(
        layout,
        len(known),
        sum(run.kind == "source" for run in known),
        len(whole),
        len(found) - len(whole) - lost,
        lost,
        len(fallen.get(layout.arm, ())),
        unequal,
        at_chance,
        parts,
        total,
    )


def variance_rows(record: Record, study: Study, ablation: Ablation) -> Iterator[dict[str, object]]:
    """A row for each source, and one for all together; none where nothing is estimated."""
    found = read_variance(record, study, ablation)
    if found is None or found.total is None:
        return
    for part in (*found.parts, found.total):
        row = {"study": study.name, "arm": found.layout.arm, "metric": ablation.judged.column}
        sds = {"sd": part.sd, "sd_low": part.low, "sd_high": part.high}
        about = {"share": part.share, "levels": found.num_levels}
        yield row | {"source": part.source, "variance": part.estimate} | sds | about


def _values(whole: list[Level], ablation: Ablation) -> npt.NDArray[np.float64]:
    """What the runs are judged by, higher is better: [levels, runs of a level]."""
    sign, column = ablation.judged.sign, ablation.judged.column
    rows = [[sign * score(run, column) for run in level if run] for level in whole]
    return np.array(rows, float)


def _parts(values: npt.NDArray[np.float64], layout: Layout) -> list[Part]:
    """The innermost first, then all together."""
    found, names = components(values), (*layout.sources, "all together")
    total = float(found.estimate[:-1].clip(min=0).sum())
    parts = [
        Part(
            name,
            float(estimate),
            math.sqrt(low),
            math.sqrt(high),
            max(float(estimate), 0.0) / total if total > 0 else math.nan,
        )
        for name, estimate, low, high in zip(
            names, found.estimate, found.low, found.high, strict=True
        )
    ]
    return [*parts[:-1], replace(parts[-1], share=1.0)]
