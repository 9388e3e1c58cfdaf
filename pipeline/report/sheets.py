"""The numbers as CSV: arms, contrasts, runs, importance. Accuracies are shares of 1; missing numbers are empty."""

import math
from collections.abc import Mapping, Sequence
from statistics import fmean

import pandas as pd

from pipeline.importance import Importance
from pipeline.record import Record, Run
from pipeline.report.tables import Ablation, at_best, flat_config, spread, top_value

METRICS = ("train_loss", "train_acc", "val_loss", "val_acc", "lr")
RISKY = ("=", "+", "-", "@", "\t", "\r", "\n", "|", "%")


def safe(value: object) -> object:
    """A text that a spreadsheet would run as a formula gets a leading apostrophe; numbers stay numbers."""
    if not isinstance(value, str):
        return value
    text = value.replace("\x00", "")
    return f"'{text}" if text.lstrip(" ").startswith(RISKY) else text


def arms(ablation: Ablation, note: str) -> str:
    """One row an arm."""
    rows = []
    for row in ablation.rows:
        line: dict[str, object] = {"arm": row.arm} | {f"factor {name}": int(on) for name, on in row.levels.items()}
        line |= {"planned": ablation.planned, "complete": len(row.complete), "diverged": len(row.diverged)}
        line |= {"failed": len(row.failed), "num_params": row.num_params or None}
        epochs = row.best_epochs
        line |= {"best_epoch_median": row.best_epoch, "best_epoch_min": min(epochs, default=None)}
        line |= {"best_epoch_max": max(epochs, default=None)}
        for name in ("val_acc", "val_loss"):
            line |= _moments(name, row.metric(name))
        for name in ("test_acc", "test_loss"):
            found = [getattr(run, name) for run in row.complete]
            line |= _moments(name, [number for number in found if number is not None])
        line |= {"judged_by": ablation.metric, "in_best_set": row.arm in ablation.best, "note": note}
        rows.append(line)
    return _csv(rows)


def contrasts(ablation: Ablation) -> str:
    """One row a contrast; `family` and the `kind` and `name` in it tell them apart. `family_size` counts the tested."""
    rows = [
        {
            "kind": contrast.kind,
            "name": contrast.name,
            "family": contrast.family_name,
            "against": contrast.against,
            "test": contrast.test,
            "scope": contrast.scope,
            "metric": ablation.metric,
            "n": contrast.n,
            "dropped": contrast.dropped,
            "delta": contrast.delta,
            "sd": contrast.sd,
            "ci95_low": contrast.low,
            "ci95_high": contrast.high,
            "p": contrast.p,
            "p_holm": contrast.p_holm,
            "family_size": contrast.family,
            "mde80": contrast.mde,
            "margin": ablation.rope,
            "verdict": contrast.verdict,
            "reason": contrast.reason,
            "aliases": "; ".join(f"{alias.interaction}: {alias.share / 2:+.4g}" for alias in contrast.aliases),
        }
        for contrast in ablation.contrasts
    ]
    return _csv(rows)


def runs(record: Record) -> str:
    """One row a run, trials and arms: every metric at the best epoch, how it ended, the whole configuration."""
    return _csv([_run(run) for run in record.runs.values()])


def importance(found: Importance) -> str:
    """One row a knob and measure; `num_trials` are those in which the knob is in force, `used` all at this rung."""
    sample = found.sample
    rows = []
    for knob in found.knobs:
        for measure, share in (("ped_anova", knob.ped_anova), ("fanova", knob.fanova)):
            if share is not None:
                line: dict[str, object] = {"knob": knob.name, "measure": measure, "share": share.share}
                line |= {"ci95_low": share.low, "ci95_high": share.high, "noise_floor": share.floor}
                line |= {"above_noise": int(share.clear), "num_trials": knob.num_trials, "rung": sample.rung + 1}
                line |= {"first_epoch": min(sample.epochs), "last_epoch": max(sample.epochs), "used": len(sample.trials)}
                rows.append(line | {"excluded": sample.total - len(sample.trials), "quantile": found.quantile})
    return _csv(rows)


def _run(run: Run) -> dict[str, object]:
    metrics: Mapping[str, float] = at_best(run) or {}
    rung, value = top_value(run) or (None, None)
    line: dict[str, object] = {"run": run.key, "kind": run.kind, "trial": run.number if run.kind == "trial" else None}
    line |= {"arm": run.arm, "replicate": run.replicate, "status": run.status}
    line |= {"rung": None if rung is None else rung + 1, "val_acc_at_rung": value, "epochs": len(run.epochs)}
    line |= {"best_epoch": metrics.get("epoch")} | {name: metrics.get(name) for name in METRICS}
    line |= {"test_loss": run.test_loss, "test_acc": run.test_acc, "seconds": round(run.seconds, 3)}
    line |= {"num_params": run.num_params or None, "failures": run.attempts, "error": run.error, "mlflow_run": run.mlflow_id}
    line |= {"stopped_early": int(run.early)} | {f"final.{name}": value for name, value in run.final.items()}
    return line | {f"config.{path}": scalar for path, scalar in flat_config(run).items()}


def _moments(name: str, values: list[float]) -> dict[str, object]:
    return {f"{name}_mean": fmean(values) if values else None, f"{name}_sd": spread(values)}


def _csv(rows: Sequence[Mapping[str, object]]) -> str:
    """pandas turns whole numbers beside gaps into floats; here each cell keeps its own kind."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    cells = [[safe(_blank(row.get(name))) for name in names] for row in rows]
    text: str = pd.DataFrame(cells, columns=[safe(name) for name in names], dtype=object).to_csv(
        index=False, lineterminator="\n"
    )
    return text


def _blank(value: object) -> object:
    if isinstance(value, float):
        return None if math.isnan(value) else int(value) if value.is_integer() and abs(value) > 1 else value
    return value
