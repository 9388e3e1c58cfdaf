"""The numbers as tidy data frames: runs, arms, contrasts, variance, curves, importance, confusion,
per_class.

One row is one run, arm, contrast, source of variance, epoch of a run, knob and measure, pair of
classes, class. Accuracies are shares of 1. Whole numbers are Int64 and texts string, both with
missing values; other numbers are float64.
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from statistics import median

import numpy as np
import pandas as pd

from pipeline.analysis.answers import Answers
from pipeline.analysis.arm_summary import summary
from pipeline.analysis.confusion import confusion_rows, per_class_rows
from pipeline.analysis.fairness import later_changes
from pipeline.analysis.importance import Importance
from pipeline.analysis.results import Ablation, at_best
from pipeline.analysis.search_results import flat_config
from pipeline.analysis.stats import Contrast
from pipeline.analysis.tuning_effort import efforts
from pipeline.analysis.variance import variance_rows
from pipeline.analysis.wording import below_margin, word
from pipeline.core.identity import Seeds
from pipeline.record.events import Session
from pipeline.record.record import Record, Run
from pipeline.report.columns import METRICS, columns, frame
from pipeline.report.compose import Findings
from pipeline.report.sections import tuning
from pipeline.report.sections.costs import run_speeds
from pipeline.study.study import Study

NO_SPLIT = "official"  # the scheme that draws no split


def read(findings: Findings) -> dict[str, pd.DataFrame]:
    """Name → frame, for each that has a row."""
    record, study, ablation, answers = (
        findings.record,
        findings.study,
        findings.ablation,
        findings.answers,
    )
    found = {
        "runs": frame(_runs(record, study, findings.fingerprints)),
        "arms": frame(
            _arms(
                ablation,
                study,
                record.note,
                findings.diagnosis.in_cells(),
                tuning.sheet(efforts(record, study)),
            )
        ),
        "contrasts": frame(_contrasts(ablation, "; ".join(later_changes(record)))),
        "variance": frame(variance_rows(record, study, ablation)),
        "curves": _curves(record),
        "importance": frame(_importance(findings.importance, study) if findings.importance else ()),
        "confusion": frame(_of_split(answers, confusion_rows(answers.arms, answers.names))),
        "per_class": frame(_of_split(answers, per_class_rows(answers.arms, answers.names))),
    }
    return {name: frame for name, frame in found.items() if len(frame)}


def _runs(
    record: Record, study: Study, fingerprints: Mapping[str, str]
) -> Iterator[dict[str, object]]:
    """Trials and arms: where it comes from, every metric at the best epoch, how it ended, the whole
    configuration.
    """
    levels = {arm.name: arm.levels for arm in study.ablation.design.expand()}
    own = study.baseline.further
    begun = [session.seq for session in record.sessions]
    for run in record.runs.values():
        line: dict[str, object] = {
            "study": study.name,
            "run": run.key,
            "kind": run.kind,
            "search": run.search,
        }
        line |= {
            "trial": run.number if run.kind == "trial" else None,
            "arm": run.arm,
            "replicate": run.replicate,
        }
        line |= {f"factor {name}": int(on) for name, on in levels.get(run.arm, {}).items()}
        line |= {"status": run.status, **_results(run, own), "num_params": run.num_params or None}
        line |= {"num_macs": run.num_macs or None, "num_train": run.num_train or None}
        line |= {f"cost_{name}": cost for name, cost in run.costs.items()}
        line |= {"images_per_s": median(run_speeds(run) or [np.nan]), **_seeds(run, study)}
        line |= {
            "data_fingerprint": run.data or record.data["fingerprint"],
            "config_fingerprint": fingerprints[run.key],
        }
        session = _session(run, record, begun)
        line |= {
            "commit": session.commit if session else None,
            "device": session.machine.get("device") if session else None,
        }
        line |= {
            "workers": (session.workers or None) if session else None,
            "mlflow_run": run.mlflow_id,
            "evidence": run.evidence,
        }
        line |= {"failures": run.attempts, "error": run.error, "stopped_early": int(run.early)}
        line |= {f"final.{name}": value for name, value in run.final.items()}
        yield line | {f"config.{path}": scalar for path, scalar in flat_config(run).items()}


def _results(run: Run, own: Sequence[str]) -> dict[str, object]:
    metrics: Mapping[str, float] = at_best(run) or {}
    last: Mapping[str, float] = run.epochs[-1] if run.epochs else {}
    rung, value = run.value or (None, None)
    found: dict[str, object] = {
        "rung": None if rung is None else rung + 1,
        f"{run.selects}_at_rung": value,
    }
    found |= {"epochs": len(run.epochs), "best_epoch": metrics.get("epoch")} | {
        name: metrics.get(name) for name in METRICS
    }
    found |= {"test_loss": run.test_loss, "test_acc": run.test_acc}
    found |= {
        f"last_{name}": last.get(name)
        for name in dict.fromkeys(("val_loss", "val_acc", run.selects))
    }
    found |= {name: run.metric(name) for name in own}
    return found | {"seconds": round(run.seconds, 3)}


def _seeds(run: Run, study: Study) -> dict[str, object]:
    """Weights and order are streams of one seed; a split is drawn by it too, unless it is taken as
    the data has it.
    """
    seeds = Seeds(study.search.seed, run.replicate)
    drawn = seeds.drawn > 0 and run.config.get("split") != NO_SPLIT
    split = seeds.split + seeds.drawn if drawn else None
    return {"split_seed": split, "init_seed": seeds.weights, "order_seed": seeds.run}


def _session(run: Run, record: Record, seqs: Sequence[int]) -> Session | None:
    """The session that the run ended in; of an unfinished one, that of its last epoch. By their
    order in the ledger: clocks may go back.
    """
    last = run.ended_seq if run.ended_seq >= 0 else max(run.epoch_seqs, default=-1)
    place = bisect_right(seqs, last)
    return record.sessions[place - 1] if place else None


def _arms(
    ablation: Ablation,
    study: Study,
    note: str,
    diagnosis: Mapping[str, str],
    tuning: Mapping[str, Mapping[str, object]],
) -> Iterator[dict[str, object]]:
    """`diagnosis` holds what the curves of each show, `tuning` what tuning each took."""
    for row in ablation.rows:
        line: dict[str, object] = {"arm": row.arm} | {
            f"factor {name}": int(on) for name, on in row.levels.items()
        }
        line |= {
            "planned": ablation.planned_of(row.arm),
            "complete": len(row.complete),
            "diverged": len(row.diverged),
        }
        line |= {"failed": len(row.failed), "num_params": row.num_params or None}
        line |= {"num_macs": max((run.num_macs for run in row.complete), default=0) or None}
        speeds = [speed for run in row.complete for speed in run_speeds(run)]
        line |= tuning.get(row.arm, {})
        epochs = row.best_epochs
        line |= {"images_per_s": median(speeds or [np.nan]), "best_epoch_median": row.best_epoch}
        line |= {
            "best_epoch_min": min(epochs, default=None),
            "best_epoch_max": max(epochs, default=None),
        }
        for name in ("val_acc", "val_loss"):
            line |= _moments(name, row.metric(name), study)
        own = study.baseline.further
        last = f"last_{ablation.judged.selects}"
        for name in dict.fromkeys(("last_val_acc", "test_acc", "test_loss", *own, last)):
            found = [run.metric(name) for run in row.complete]
            line |= _moments(name, [number for number in found if number is not None], study)
        line |= {
            "judged_by": ablation.judged.column,
            "in_best_set": row.arm in ablation.best.difference(ablation.apart),
            "not_best_because": ablation.apart.get(row.arm, ""),
        }
        yield line | {"diagnosis": diagnosis.get(row.arm, ""), "note": note}


def _moments(name: str, values: Sequence[float], study: Study) -> dict[str, object]:
    found: dict[str, object] = dict.fromkeys(
        f"{name}_{part}" for part in ("mean", "sd", "ci95_low", "ci95_high")
    )
    found |= summary(name, values, study) if values else {}
    found.pop(f"{name}_n", None)
    return found | {
        f"{name}_min": min(values, default=None),
        f"{name}_max": max(values, default=None),
    }


def _looked(contrast: Contrast, ablation: Ablation) -> dict[str, object]:
    """Where arms have replicates until their questions are answered: the last look, the share of
    the 5 % that it may spend, and the look at which the row was settled.
    """
    if not ablation.looked:
        return {}
    settled = contrast.settled or None
    return {"look": contrast.look or None, "look_share": contrast.share, "settled_at": settled}


def _contrasts(ablation: Ablation, changed_later: str) -> Iterator[dict[str, object]]:
    """`family` and the `kind` and `name` in it tell them apart. `family_size` counts the tested."""
    for contrast in ablation.table.contrasts:
        line: dict[str, object] = {
            "kind": contrast.kind,
            "name": contrast.name,
            "family": contrast.family_name,
        }
        line |= {
            "against": contrast.against,
            "test": contrast.test,
            "scope": contrast.scope,
            "metric": ablation.judged.column,
        }
        line |= {
            "n": contrast.n,
            "dropped": contrast.dropped,
            "delta": contrast.delta,
            "sd": contrast.sd,
        }
        line |= {"se": contrast.error, "df": contrast.df}
        line |= {
            "ci95_low": contrast.low,
            "ci95_high": contrast.high,
            "p": contrast.p,
            "p_holm": contrast.p_holm,
        }
        line |= {"family_size": contrast.family, "mde80": contrast.mde, "margin": ablation.rope}
        far = contrast.beyond
        line |= {"other_pictures_se": far.error, "other_pictures_df": far.df} if far else {}
        line |= (
            {"other_pictures_ci95_low": far.low, "other_pictures_ci95_high": far.high}
            if far
            else {}
        )
        line |= (
            {"other_pictures_p_holm": far.p_holm, "other_pictures_verdict": _verdict(far)}
            if far
            else {}
        )
        line |= {"below_margin": below_margin(contrast, ablation.rope)}
        line |= {
            "verdict": _verdict(contrast),
            "reason": contrast.reason,
            "changed_later": changed_later,
        }
        yield (
            line
            | {
                "aliases": "; ".join(
                    f"{alias.interaction}: {alias.share / 2:+.4g}" for alias in contrast.aliases
                )
            }
            | _looked(contrast, ablation)
        )


def _verdict(contrast: Contrast) -> str:
    """As it was reached; an aliased one in the words that say so."""
    return word(contrast) if contrast.aliases else contrast.verdict


def _curves(record: Record) -> pd.DataFrame:
    """Column by column: there may be hundreds of thousands of epochs."""
    runs = [run for run in record.runs.values() if run.epochs]
    sizes = [len(run.epochs) for run in runs]
    epochs = list(chain.from_iterable(run.epochs for run in runs))
    known: dict[str, list[object]] = {"run": [run.key for run in runs]}
    known |= {
        name: [getattr(run, name) for run in runs]
        for name in ("kind", "search", "arm", "replicate")
    }
    known["trial"] = [run.number if run.kind == "trial" else None for run in runs]
    table = {
        name: np.repeat(np.array(values, object), sizes).tolist() for name, values in known.items()
    }
    for name in dict.fromkeys(chain.from_iterable(epochs)):
        table[name] = [epoch.get(name) for epoch in epochs]
    return columns(table)


def _importance(found: Importance, study: Study) -> Iterator[dict[str, object]]:
    """`num_trials` are those in which the knob is in force, `used` all at this rung."""
    sample = found.sample
    for knob in found.knobs:
        for measure, share in (("ped_anova", knob.ped_anova), ("fanova", knob.fanova)):
            if share is not None:
                line: dict[str, object] = {
                    "knob": knob.name,
                    "measure": measure,
                    "share": share.share,
                }
                line |= {"ci95_low": share.low, "ci95_high": share.high, "noise_floor": share.floor}
                line |= {
                    "above_noise": int(share.clear),
                    "num_trials": knob.num_trials,
                    "rung": sample.rung + 1,
                }
                line |= {
                    "first_epoch": min(sample.epochs, default=None),
                    "used": len(sample.trials),
                }
                line |= {
                    "last_epoch": max(sample.epochs, default=None),
                    "excluded": sample.total - len(sample.trials),
                    "quantile": found.quantile,
                }
                yield line | {"sampler": study.search.sampler}


def _of_split(
    answers: Answers, rows: Iterable[Mapping[str, object]]
) -> Iterator[dict[str, object]]:
    return ({"split": answers.split, **row} for row in rows)
