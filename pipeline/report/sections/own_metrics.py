"""Metrics beside the one that arms are judged by, ours and the user's own."""

from statistics import fmean, stdev

from pipeline.analysis.results import Ablation
from pipeline.analysis.stats import MIN_REPLICATES
from pipeline.analysis.wording import NONE
from pipeline.core.config import ROBUST
from pipeline.report.document import Table, table
from pipeline.study.study import Study


def own_metrics(ablation: Ablation, study: Study) -> Table:
    """Each arm's mean of its replicates, from three on with the standard deviation."""
    judged = ablation.judged
    names = study.baseline.further
    names = names if judged.is_acc else ("val_acc", "test_acc", *names)
    shown = _in_percent(study)
    rows = []
    for row in ablation.rows:
        found = [[run.metric(name) for run in row.complete] for name in names]
        scales = [100.0 if name in shown else 1.0 for name in names]
        told = zip(found, scales, strict=True)
        rows.append(
            (row.arm, *(_said([s * v for v in values if v is not None]) for values, s in told))
        )
    caption = (
        "The study's metrics, mean ± sd (n) over replicates, val of each run's best epoch by "
        f"validation {judged.noun}. "
        + (
            "Nothing is selected or tested by them."
            if judged.is_acc
            else f"Nothing is selected or tested by any but {judged.name}."
        )
        + _attack(study)
    )
    titles = ("arm", *(_title(name) + " (%)" * (name in shown) for name in names))
    return table(caption, titles, rows, aligns="l" + "r" * len(names))


def _title(name: str) -> str:
    return name.replace("_", " ", 1)


def _in_percent(study: Study) -> tuple[str, ...]:
    """Accuracies, where robust ones stand beside them."""
    if not study.baseline.attack.epsilon:
        return ()
    return tuple(f"{part}_{name}" for part in ("val", "test") for name in ("acc", ROBUST))


def _attack(study: Study) -> str:
    """What robust accuracies are of."""
    how = study.baseline.attack
    if not how.epsilon:
        return ""
    epsilon, alpha = (f"{255 * value:.3g}/255" for value in (how.epsilon, how.alpha))
    return (
        " Robust acc: the share of pictures that the model as trained answers rightly as they are "
        f"and as projected gradient descent changed them, each pixel by at most {epsilon} (steps: "
        f"{how.steps}, each of {alpha}); another attack may find more."
        + " Its steps together are shorter than that: more of them, or longer ones, may find more."
        * (how.steps * how.alpha < 0.999 * how.epsilon)
    )


def ranges(ablation: Ablation, study: Study) -> str:
    """Between which arms each of the study's metrics lies, where it is not what judges them; the
    first screen's word of them.
    """
    shown = _in_percent(study)
    found, part = [], "test" if ablation.judged.held_out else "val"
    names = [name for name in study.baseline.further if name.startswith(f"{part}_")]
    for name in names:
        means = {
            row.arm: fmean(values)
            for row in ablation.rows
            if (values := [v for run in row.complete if (v := run.metric(name)) is not None])
        }
        if len(means) > 1 and name != ablation.judged.column:
            low, high = min(means, key=means.__getitem__), max(means, key=means.__getitem__)
            ends = (
                f"{100 * means[arm]:.3g} %" if name in shown else f"{means[arm]:.3g}"
                for arm in (low, high)
            )
            least, most = ends
            found.append(f"{_title(name)} from {least} ({low}) to {most} ({high})")
    return f"Means beside it, not tested: {'; '.join(found)}." if found else ""


def _said(values: list[float]) -> str:
    if not values:
        return NONE
    if len(values) < MIN_REPLICATES:
        return ", ".join(f"{value:.4g}" for value in values)
    return f"{fmean(values):.4g} ± {stdev(values):.2g} ({len(values)})"
