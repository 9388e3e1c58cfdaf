"""What tuning the arms took and what it chose; under every policy, what that means for the
comparison.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.analysis.range_ends import End, ends
from pipeline.analysis.wording import value
from pipeline.counts import plural
from pipeline.frozen import Scalar, flatten
from pipeline.record.record import Record, Run
from pipeline.study.around import Around
from pipeline.study.space import Space
from pipeline.study.study import Study
from pipeline.study.tuning import Fixed, Target

LOST = ("diverged", "failed")
UNTUNED = (
    "Apart from what they set, all arms have the baseline's hyperparameters: tuned arms could "
    "rank differently."
)


@dataclass(frozen=True)
class Effort:
    """What an arm's searches took: trials proposed, how many of them were trained to the end, and
    epochs and seconds of their runs (one that several arms share counts for each).

    `chosen`: the values that differ from the arm's definition, of several searches one after
    another. `edges`: those at an end of their range, in words, and `ends`. `planned` trials; 0:
    nothing of the space is the arm's to tune. `failed` trials were lost.
    """

    num_trials: int
    num_epochs: int
    seconds: float
    chosen: dict[str, Scalar]
    edges: tuple[str, ...]
    planned: int = 0
    num_complete: int = 0
    failed: int = 0
    settled: bool = False
    ends: tuple[End, ...] = ()


def efforts(record: Record, study: Study) -> dict[str, Effort]:
    """Arm → what was spent on tuning it; nothing where arms are not tuned."""
    if isinstance(study.ablation.tuning, Fixed):
        return {}
    targets, runs = study.targets(), record.arms()
    found = {}
    for arm, (_, space) in study.spaces().items():
        own = [target for target in targets if target.arm == arm]
        settled = [
            (target, run)
            for target in own
            if (run := _chosen(runs.get(arm, ()), target)) is not None
        ]
        found[arm] = (
            _effort(record, own, settled, space)
            if space
            else Effort(0, 0, 0.0, {}, (), settled=True)
        )
    return found


def untuned(record: Record, study: Study) -> dict[tuple[str, int], str]:
    """(arm, replicate) that has no configuration → why: every trial of its search was lost."""
    found: dict[tuple[str, int], str] = {}
    for target in study.targets():
        trials = record.trials(target.name)
        if len(record.searches.get(target.name, ())) >= target.num_trials and all(
            run.status in LOST for run in trials
        ):
            ways = " or ".join(sorted({run.status for run in trials}))
            why = f"no configuration: all {plural(target.num_trials, 'trial')} of its search {ways}"
            found |= {(target.arm, replicate): why for replicate in _served(target, study)}
    return found


def _effort(
    record: Record, targets: Sequence[Target], settled: Sequence[tuple[Target, Run]], space: Space
) -> Effort:
    """`settled`: the searches that are over, each with a run that was begun with what it chose."""
    runs = {run.key: run for target in targets for run in record.trials(target.name)}
    several = len(targets) > 1
    found, at = [], list[End]()
    for target, best in settled:
        own = ends(space, _point(record, target, best))
        at += own
        found += [f"replicate {target.serves}: {end.text}" if several else end.text for end in own]
    return Effort(
        num_trials=sum(len(record.searches.get(target.name, ())) for target in targets),
        num_epochs=sum(len(run.epochs) for run in runs.values()),
        seconds=sum(run.seconds for run in runs.values()),
        chosen=_differing(record, settled, space),
        edges=tuple(found),
        planned=sum(target.num_trials for target in targets),
        num_complete=sum(
            run.status == "complete" for target in targets for run in record.trials(target.name)
        ),
        failed=sum(run.status == "failed" for run in runs.values()),
        settled=bool(settled),
        ends=tuple(at),
    )


def _chosen(runs: Sequence[Run], target: Target) -> Run | None:
    """Of the arm's runs, one with the configuration that the search chose; None where nothing was
    begun with it.
    """
    return next((run for run in runs if target.serves in (0, run.replicate)), None)


def _point(record: Record, target: Target, best: Run) -> dict[str, Scalar]:
    """The knobs that the search of an arm chose, whose run `best` is; none where they cannot be
    told.
    """
    trials = [run for run in record.trials(target.name) if run.config == best.config]
    drawn = trials[0].knobs if trials else {}
    return Around(target.space, target.config).point(dict(flatten(best.config)), drawn) or {}


def _differing(
    record: Record, settled: Sequence[tuple[Target, Run]], space: Space
) -> dict[str, Scalar]:
    """Path → the chosen value, where one differs from the arm's definition; of several searches
    all, in their order.
    """
    flats = [dict(flatten(run.config)) for _, run in settled]
    points = [  # without what the chosen variant of a part has beyond the space
        _point(record, target, run) | {p: flat[p] for p in space.derived if p in flat}
        for (target, run), flat in zip(settled, flats, strict=True)
    ]
    defined = settled[0][0].config.flat() if settled else {}
    found: dict[str, Scalar] = {}
    for path in dict.fromkeys((*space.paths().values(), *space.derived)):
        values = [point.get(path) for point in points]
        if any(path in point and point[path] != defined.get(path) for point in points):
            found[path] = values[0] if len(values) == 1 else " | ".join(map(value, values))
    return found


def _served(target: Target, study: Study) -> range:
    if target.serves:
        return range(target.serves, target.serves + 1)
    return range(1, study.ablation.replicates + 1)
