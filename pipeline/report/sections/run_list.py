"""The runs that the cells of the tables lead to, arm by arm, with their places in the MLflow
store.
"""

import re

from pipeline.analysis.results import Ablation, ArmRow, at_best
from pipeline.analysis.search_results import STATUS
from pipeline.analysis.wording import NONE, Points
from pipeline.counts import plural
from pipeline.record.record import Record, Run
from pipeline.report.document import Runs, Trace, Trail
from pipeline.report.sections.sentences import points
from pipeline.study.judged import Judged

TITLES = ("replicate", "status", "best epoch")


def runs(ablation: Ablation, record: Record) -> Runs:
    """Every run of every arm that has one."""
    uris = {}
    for place in record.mlflow_ids:
        uri, _, what = place.rpartition("|")
        uris[what] = uri  # where a study was sent to two stores, the newer one
    shown, judged = points(ablation), ablation.judged
    trails = [
        Trail(
            row.arm,
            _about(row),
            tuple(_trace(run, shown, judged, uris.get(run.key, ""), record) for run in row.runs),
        )
        for row in ablation.rows
        if row.runs
    ]
    return Runs(
        (*TITLES, *(f"{title}{judged.unit}" for title in (f"{judged.val}†", judged.short))),
        tuple(trails),
    )


def _about(row: ArmRow) -> str:
    others = {"diverged": row.diverged, "failed": row.failed}
    ends = [
        f"{len(row.complete)} complete",
        *(f"{len(found)} {word}" for word, found in others.items() if found),
    ]
    return f"{plural(len(row.runs), 'run')}, {', '.join(ends)}"


def _trace(run: Run, shown: Points, judged: Judged, uri: str, record: Record) -> Trace:
    metrics = at_best(run)
    cells = (
        str(run.replicate),
        STATUS[run.status],
        f"{metrics['epoch']:g}" if metrics else NONE,
        shown.number(metrics[judged.selects] if metrics else None),
        shown.number(run.metric(judged.column)),
    )
    experiment = record.mlflow_experiments.get(uri, "")
    view = f"#/experiments/{experiment}/runs/{run.mlflow_id}" if experiment else ""
    served = re.match(r"https?://[^\s@]+$", uri) and view
    return Trace(
        run.key, cells, view or run.mlflow_id, f"{uri.rstrip('/')}/{view}" if served else ""
    )
