"""Which run of a study is the one to hand on: validation chooses, by what the study selects by,
test never does.
"""

import math
from dataclasses import dataclass, replace
from statistics import fmean

from pipeline.analysis.to_come import rows
from pipeline.counts import plural
from pipeline.errors import UserError, choices, printable
from pipeline.record.record import Record, Run
from pipeline.study.judged import Judged

MIN_MEMBERS = 2  # of one nothing is averaged


@dataclass(frozen=True)
class Selection:
    """`why` in words; `peers`: the complete replicates of the run's arm, itself among them, none of
    a trial's; `asked`: the option that named an arm or a replicate, whose test numbers may have
    been seen ('' = validation chose)."""

    run: Run
    why: str
    peers: tuple[Run, ...] = ()
    asked: str = ""

    @property
    def title(self) -> str:
        """The run in a few words."""
        if self.run.kind == "trial":
            return f"trial {self.run.number} of the search"
        return f"arm '{printable(self.run.arm, 80)}', replicate {self.run.replicate}"


@dataclass(frozen=True)
class Members:
    """Complete replicates of an arm that are averaged, in order of their numbers; `why` these in
    words; `asked`: as of `Selection`."""

    arm: str
    runs: tuple[Run, ...]
    why: str
    asked: str = ""


def select(
    record: Record,
    *,
    arm: str | None = None,
    replicate: int | None = None,
    trial: str | None = None,
) -> Selection:
    """The run that was asked for.

    Without wishes: of the arms with as many complete replicates as any (or with all that they were
    to have, where that differs by arm), the one of the best mean on val, and of that the replicate
    of the best; where no arm has one, the best trial.
    Ties go to the first in the design's order. Raises UserError where there is no such run.
    """
    if trial is not None:
        return _trial(record, trial)
    chosen = _arm(record, arm)
    if chosen is None:
        return _best_trial(record)
    name, runs, why = chosen
    found = _replicate(name, runs, replicate, why=why)
    if arm is None:
        return found
    return replace(found, asked="--arm" if replicate is None else "--arm and --replicate")


def members(record: Record, *, arm: str | None = None, num: int = 0) -> Members:
    """The first `num` complete replicates of the arm (0: all); the arm as `select` chooses it.

    Raises UserError where there are not so many, or fewer than two.
    """
    name, runs, why = _arm(record, arm) or ("", (), "")
    if len(runs) < MIN_MEMBERS:
        of = f"'{printable(name)}' has {len(runs)}" if name else "no arm has one"
        raise UserError(
            f"--ensemble: averages complete replicates of an arm, {MIN_MEMBERS} at least; {of}: go "
            "on with the study first"
        )
    if num and not MIN_MEMBERS <= num <= len(runs):
        raise UserError(
            f"--ensemble: got {num}; allowed: {MIN_MEMBERS} to {len(runs)}, the complete "
            f"replicates of arm '{printable(name)}', or no number for all of them"
        )
    which = f"the first {num} by number of" if num else "all"
    asked = ["--arm"] * (arm is not None) + [f"--ensemble {num}"] * bool(num)
    return Members(
        name,
        runs[: num or None],
        f"{why}; {which} its {plural(len(runs), 'complete replicate')}",
        " and ".join(asked),
    )


def _arm(record: Record, arm: str | None) -> tuple[str, tuple[Run, ...], str] | None:
    """(an arm, its complete replicates, why it): the one asked for, else the best; None where no
    arm has one.
    """
    complete = {
        name: tuple(r for r in runs if r.status == "complete" and r.best)
        for name, runs in record.arms().items()
    }
    if arm is not None:
        if arm not in complete:
            raise UserError(f"--arm: no such arm; {choices(arm, complete)}")
        return arm, complete[arm], f"the arm '{printable(arm, 80)}' was asked for"
    most = max(map(len, complete.values()), default=0)
    if most == 0:
        return None
    full = {name: runs for name, runs in complete.items() if len(runs) == most}
    among = f"of {plural(len(full), 'arm')} with {plural(most, 'complete replicate')} each"
    if record.study.ablation.until_answered:
        due = rows(record, record.study).now
        whole = {name: runs for name, runs in complete.items() if len(runs) >= due[name] > 0}
        full = whole or full
        among = f"of {plural(len(full), 'arm')} with all the replicates that they were to have"
    means = {name: fmean(map(_chosen_by, full[name])) for name in full}
    best = max(means, key=means.__getitem__)
    why = (
        f"{among} this one has the {most_of(full[best][0])} mean validation {noun(full[best][0])}"
        f"{_shared(list(means.values()))}"
    )
    return best, full[best], why


def _replicate(arm: str, runs: tuple[Run, ...], number: int | None, *, why: str) -> Selection:
    if not runs:
        raise UserError(
            f"--arm: '{printable(arm)}' has no complete replicate yet; go on with the study first"
        )
    if number is None:
        run = max(runs, key=_chosen_by)
        chosen = (
            f"of its {len(runs)} replicates this one has the {most_of(run)} validation "
            f"{noun(run)}{_shared(list(map(_chosen_by, runs)))}"
        )
        return Selection(run, f"{why}; {chosen if len(runs) > 1 else 'it has one replicate'}", runs)
    found = next((run for run in runs if run.replicate == number), None)
    if found is None:
        raise UserError(
            f"--replicate: not complete; {choices(number, (run.replicate for run in runs))}"
        )
    return Selection(found, f"{why}, and of it replicate {number}", runs)


def _trial(record: Record, wanted: str) -> Selection:
    if wanted == "best":
        return _best_trial(record)
    runs = {run.key: run for run in record.trials()}
    numbers = range(len(record.trial_keys))
    if (
        not wanted.isdecimal()
        or not wanted.isascii()
        or len(wanted) > 9
        or int(wanted) not in numbers
    ):
        allowed = f"best, 0 to {len(numbers) - 1}" if numbers else "(no trial is recorded)"
        raise UserError(
            f"--trial: no such trial; got {printable(repr(wanted))}; allowed: {allowed}"
        )
    run = runs[record.trial_keys[int(wanted)]]
    if run.status in ("diverged", "failed") or not run.rungs or not run.best:
        state = run.status if run.status in ("diverged", "failed") else "not at its first rung yet"
        raise UserError(f"--trial: trial {wanted} has no result to hand on: it is {state}")
    return Selection(run, f"trial {wanted} was asked for")


def _best_trial(record: Record) -> Selection:
    run = record.best_trial()
    if run is None or not run.best:
        raise UserError(
            "nothing to export: neither an arm is complete nor has a trial a result; run the study "
            "first"
        )
    return Selection(
        run,
        f"it is the trial with the {most_of(run)} validation {noun(run)} of those that were "
        "trained furthest",
    )


def _shared(values: list[float]) -> str:
    """What is said of the best of `values` where it is not alone."""
    equal = sum(math.isclose(value, max(values), rel_tol=1e-9) for value in values)
    return f" (as {equal - 1} more; it is the first of them)" if equal > 1 else ""


def noun(run: Run) -> str:
    """What chooses: `accuracy`."""
    return Judged.of(run.config).noun


def most_of(run: Run) -> str:
    """`highest`, or `lowest` where less is better."""
    return Judged.of(run.config).most


def _chosen_by(run: Run) -> float:
    """The higher the better."""
    value = run.metric(run.selects)
    return -math.inf if value is None else run.sign * value
