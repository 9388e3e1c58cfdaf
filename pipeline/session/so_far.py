"""How much of a study is recorded, and what is left of it: said by a dry run, and by a command that
goes on.
"""

from collections.abc import Set

from pipeline.analysis.preregistration import expected, raced
from pipeline.analysis.to_come import rows
from pipeline.counts import plural
from pipeline.engine.race import outstanding
from pipeline.engine.variance import works
from pipeline.record.record import Record
from pipeline.session.resume import as_grown, taken_over
from pipeline.study.study import Study

OVER = ("complete", "stopped", "diverged", "failed")


def so_far(record: Record, study: Study, *, with_search: bool) -> str:
    """In words; '' where nothing is recorded. `with_search`: whether the command searches."""
    if not record.begun:
        return ""
    grown = taken_over(record := as_grown(record, study), study)
    done, most = arms_done(record, study)
    at_most = "at most " * study.ablation.until_answered
    left, said, beside = epochs_left(record, study, grown, with_search=with_search), "", list[str]()
    search = study.search
    if with_search and search.num_trials:
        begun = trials_begun(record, study, grown)
        said = f"{begun:,} of {plural(search.num_trials, 'trial')} begun, "
        over = begun == search.num_trials and trials_over(record)
        beside += [] if over else ["what trials already begun may go on for"]
        to_race = raced(study)
        beside += ["the race"] if to_race and (not over or outstanding(record, to_race)) else []
    more = f"about {plural(left, 'epoch')} {'is' if left == 1 else 'are'} left" if left else ""
    also = ", and ".join(beside)
    text = f"{more}, beside {also}" if more and also else more or (f"{also} left" if also else "")
    arms = f"{done:,} of {at_most}{plural(most, 'run')} of arms done"
    return f"{said}{arms}; {text or 'nothing is left to train'}"


def epochs_left(
    record: Record, study: Study, grown: Set[str] = frozenset(), *, with_search: bool
) -> int:
    """About how many, but for what trials already begun, and the race, may take; `grown`: trials of
    a search that goes on in this one.
    """
    left: int = expected(study, record, 1)["epochs_left"]
    left += sum(work.epochs for work in works(record, study))
    if with_search:
        more = study.search.num_trials - trials_begun(record, study, grown)
        left += round(more * study.search.ladder.expected(study.baseline.epochs))
    return left


def trials_begun(record: Record, study: Study, grown: Set[str] = frozenset()) -> int:
    """Of those that are planned."""
    return min(len({run.key for run in record.trials()} | grown), study.search.num_trials)


def arms_done(record: Record, study: Study) -> tuple[int, int]:
    """(replicates of arms that have ended, all that there are to be, at most)."""
    most = rows(record, study).most  # an arm may have more than its questions took
    runs = [run for own in record.arms().values() for run in own if not run.unfinished]
    return sum(run.replicate <= most.get(run.arm, 0) for run in runs), sum(most.values())


def trials_over(record: Record) -> bool:
    """Whether no trial that was begun may go on."""
    return all(run.status in OVER for run in record.trials())
