"""Metrics beside the one that arms are judged by, ours and the user's own."""

import math
from statistics import fmean, stdev

from pipeline.analysis.results import Ablation, ArmRow
from pipeline.analysis.stats import MIN_REPLICATES
from pipeline.analysis.wording import NONE, Points
from pipeline.core.config import ROBUST
from pipeline.report.document import Table, table
from pipeline.study.study import Study

PERCENT = Points()
MOST_DECIMALS = 5
TINY = 1e-12  # what varies less varies by rounding alone


def own_metrics(ablation: Ablation, study: Study) -> Table:
    """Each arm's mean of its replicates, from three on with the standard deviation."""
    judged = ablation.judged
    names = study.baseline.further
    names = names if judged.is_acc else ("val_acc", "test_acc", *names)
    shown, rows = _in_percent(study), []
    forms = {name: PERCENT if name in shown else _form(ablation, name) for name in names}
    for row in ablation.rows:
        rows.append((row.arm, *(_said(_values(row, name), forms[name]) for name in names)))
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
        means = {row.arm: fmean(values) for row in ablation.rows if (values := _values(row, name))}
        if len(means) > 1 and name != ablation.judged.column:
            low, high = min(means, key=means.__getitem__), max(means, key=means.__getitem__)
            ends = (
                PERCENT.level(means[arm]) if name in shown else f"{means[arm]:.3g}"
                for arm in (low, high)
            )
            least, most = ends
            found.append(f"{_title(name)} from {least} ({low}) to {most} ({high})")
    return f"Means beside it, not tested: {'; '.join(found)}." if found else ""


def _values(row: ArmRow, name: str) -> list[float]:
    return [value for run in row.complete if (value := run.metric(name)) is not None]


def _form(ablation: Ablation, name: str) -> Points | None:
    """Two digits of the smallest standard deviation, so that a column has one number of decimals;
    None where no arm has one: four digits of each value.
    """
    known = [_values(row, name) for row in ablation.rows]
    spreads = [sd for own in known if len(own) >= MIN_REPLICATES and (sd := stdev(own)) > TINY]
    if not spreads:
        return None
    return Points(min(max(1 - math.floor(math.log10(min(spreads))), 0), MOST_DECIMALS), scale=1)


def _said(values: list[float], form: Points | None) -> str:
    if not values:
        return NONE
    if len(values) < MIN_REPLICATES:
        return ", ".join(form.number(value) if form else f"{value:.4g}" for value in values)
    mean, sd = fmean(values), stdev(values)
    if form is None:
        return f"{mean:.4g} ± {sd:.2g} ({len(values)})"
    return f"{form.number(mean)} ± {form.number(sd)} ({len(values)})"
