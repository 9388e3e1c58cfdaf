"""The winner's curse: the number that the best trial was chosen by, beside what its configuration
does trained again.
"""

from dataclasses import replace

from pipeline.analysis.results import Ablation, ArmRow
from pipeline.analysis.search_results import Search
from pipeline.analysis.stats import MIN_REPLICATES, NAN, Winner, basis, winners_curse
from pipeline.analysis.wording import Points
from pipeline.counts import plural
from pipeline.report.sections.sentences import points
from pipeline.study.judged import Judged


def sentence(search: Search, ablation: Ablation) -> str:
    """What choosing the best of many trials added to its number, where an arm has the best trial's
    configuration.
    """
    best, top = search.best, search.num_rungs - 1
    if best is None or not best.rungs:
        return ""
    rung, value = best.value or (-1, NAN)
    row = _again(search, ablation)
    if row is None or rung < top:
        why = (
            "no arm trains its configuration again"
            if row is None
            else "it never reached the top rung"
        )
        return f"What choosing it added to this number (the winner's curse) is not measured: {why}."
    runs = [
        run for run in row.complete if run.config == best.config
    ]  # where each replicate is tuned, not all of them
    # at the last epoch, as the search reads its trials
    fresh = [search.worth(run, len(run.epochs)) for run in runs]
    test = f"test_{search.judged.name}"
    tests = [found for run in runs if (found := run.metric(test)) is not None]
    config = runs[
        0
    ].config  # val is judged on each replicate's own pictures, whatever the arms are judged on
    way = basis(config["split"], folds=config.get("folds", 5), held_out=False)
    winner = winners_curse(value, fresh, tests, way)
    return _told(
        best.number,
        row,
        winner,
        ablation,
        search.judged,
        resplit=best.config["split"] != "official",
    )


def _again(search: Search, ablation: Ablation) -> ArmRow | None:
    """The arm whose runs have the very configuration of the best trial."""
    same = [
        row
        for row in ablation.rows
        if any(search.best and run.config == search.best.config for run in row.complete)
    ]
    return same[0] if same else None


def _told(
    number: int, row: ArmRow, found: Winner, ablation: Ablation, judged: Judged, *, resplit: bool
) -> str:
    shown = points(ablation)
    shown = replace(shown, decimals=max(Points.of(judged, 2).decimals, shown.decimals))
    text = (
        f"Winner's curse: trial {number} has {judged.val} {shown.level(found.search_val)}, by "
        f"which it was chosen; trained again as the arm {row.arm} its configuration has "
        f"{shown.level(found.fresh_val)} at that epoch ({plural(found.n, 'fresh replicate')})"
    )
    if found.num_tested:
        text += (
            f" and test {judged.name} {shown.level(found.test)} ({found.num_tested}, at each "
            f"run's best epoch by {judged.val})"
        )
    if resplit:
        text += (
            ". The search read it on its one train/val split, the replicates on splits drawn "
            "anew: their difference is in it"
        )
    text += f". Chosen minus fresh: {shown.difference(found.optimism)}"
    if found.n < MIN_REPLICATES:
        return f"{text}, without an interval: fewer than {MIN_REPLICATES} replicates."
    pool = "this pool of train and val pictures, these hyperparameters"
    interval = shown.interval(found.low, found.high)
    return (
        f"{text} {interval} (95 % Student interval of the fresh mean; one interval, "
        f"uncorrected). Scope: {pool}."
    )
