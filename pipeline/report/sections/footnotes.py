"""What one must know to read the ablation table: the footnotes."""

from collections.abc import Iterator

from pipeline.analysis.fairness import REASON, by_design, matched_note, post_hoc
from pipeline.analysis.results import Ablation
from pipeline.analysis.stats import MIN_REPLICATES
from pipeline.analysis.wording import listed
from pipeline.counts import duration, plural
from pipeline.record.record import Record
from pipeline.report.sections import beyond, costs, effects, looks, memory
from pipeline.report.sections.tuning import hyperparameters
from pipeline.study.study import Study

UNASKED = (
    "Arms that no row compares with the {} mean take more to be put behind it, a test "
    "corrected for all such pairs: one may be bold where an arm of a {} mean is not."
)
MORE = {"highest": "higher", "lowest": "lower"}


def footnotes(ablation: Ablation, record: Record, study: Study) -> Iterator[str]:
    """What one must know to read the table."""
    baseline = study.baseline
    if baseline.split == "official":
        varied = (
            "initial weights and order of the pictures; the train/val split is the official one"
        )
    elif baseline.split == "kfold":
        varied = (
            f"which of {baseline.folds} folds validates, initial weights and order of the "
            "pictures, the same for every arm"
        )
    else:
        varied = (
            "train/val split, initial weights and order of the pictures, the same for every arm"
        )
    if study.ablation.tuning.name == "replicated":
        varied += ", and the configuration that tuning found for it"
    test = "; the test pictures are fixed" if ablation.judged.held_out else ""
    yield (
        f"n counts replicates. A replicate varies: {varied}{test}. ± is the standard deviation "
        "over replicates (ddof 1)."
    )
    yield from effects.testing(ablation)
    yield from looks.notes(ablation)
    yield from beyond.notes(ablation)
    yield from effects.detectable(ablation)
    yield bold(ablation)
    val = ablation.judged.val
    selected = (
        f"† Used for selection: each run is read at its epoch of {ablation.judged.most} {val}, so "
        f"its {val} is optimistic. "
    )
    yield (
        f"{selected}V{val[1:]} and val loss are means over runs of that same epoch. Values "
        "of trials, in the search and its race, are what ranks them."
    )
    yield (
        f"Hyperparameters: {hyperparameters(study)} {_planned(ablation, baseline.epochs)}, "
        f"{_stopping(ablation)}."
    )
    yield from filter(None, (by_design(study),))
    yield from costs.measured(ablation, record)
    num_params = {row.arm: row.num_params for row in ablation.rows}
    yield from filter(None, (matched_note(study, num_params), post_hoc(record)))
    yield from memory.notes(ablation, record)
    yield "Runs: " + _tally(ablation)
    yield f"Scope: {_scope(ablation, record)}"


def _planned(ablation: Ablation, default: int) -> str:
    """How long the runs were to train, from their own configs; `default` where none is recorded."""
    epochs = sorted({number for row in ablation.rows for number in row.planned_epochs}) or [default]
    if len(epochs) > 1:
        return f"The runs are planned for unequal epochs: {listed(list(map(str, epochs)))}"
    return f"Every run is planned for {plural(epochs[0], 'epoch')}"


def _stopping(ablation: Ablation) -> str:
    patience = sorted(
        {int(run.config.get("patience", 0)) for row in ablation.rows for run in row.runs} - {0}
    )
    early = sum(run.early for row in ablation.rows for run in row.complete)
    if not patience:
        return "without early stopping"
    after = listed([plural(epochs, "epoch") for epochs in patience])
    return (
        f"with early stopping after {after} without a better one ({plural(early, 'run')} ended so)"
    )


def bold(ablation: Ablation) -> str:
    """What bold letters mean in this table, or why there are none."""
    if ablation.bold:
        text = "Bold: arms that are not found behind any other."
        if ablation.found:
            text = "Bold: arms of the design that are not found behind any other of it."
        if ablation.apart:
            text += (
                " Not bold, as at chance, with lost runs, not compared or below an arm that no "
                f"question compares it with: {listed(list(ablation.apart))}."
            )
        most = ablation.judged.most
        return f"{text} {UNASKED.format(most, MORE[most])}" if _unasked(ablation) else text
    return f"Nothing is bold: {_why_none(ablation)}."


def _unasked(ablation: Ablation) -> bool:
    """Whether arms were held against one of those in bold letters without a row that says so."""
    rows = [row for row in ablation.rows if row.n >= MIN_REPLICATES]
    top = max((row for row in rows if row.arm in ablation.bold), key=ablation.worth, default=None)
    if top is None or len(ablation.bold) == 1:
        return False
    asked = {frozenset((contrast.name, contrast.against)) for contrast in ablation.deltas}
    return any(row is not top and frozenset((row.arm, top.arm)) not in asked for row in rows)


def _why_none(ablation: Ablation) -> str:
    """The one cause for which no arm is in bold letters."""
    valued = [row for row in ablation.rows if row.values]
    if ablation.unequal:
        return REASON
    if not valued:
        return "no arm has a result"
    if not ablation.deltas:
        return "a fraction of the factorial is read by its main effects, its arms are not compared"
    if len(valued) == 1:
        return f"only {valued[0].arm} has a result"
    if not any(row.n >= MIN_REPLICATES for row in valued):
        return f"no arm has {MIN_REPLICATES} results, and below that nothing is tested"
    if not any(contrast.family for contrast in ablation.deltas):
        return "no difference could be tested"
    if not ablation.best:
        return "every arm is at chance, has lost runs or fewer results than others"
    text = "nothing found here puts an arm behind another"
    apart = [arm for arm in ablation.apart if arm not in ablation.empty]
    return (
        f"{text}, and {listed(apart)} may not lead (at chance, with lost runs or not compared)"
        if apart
        else text
    )


def _tally(ablation: Ablation) -> str:
    rows = ablation.rows
    done, diverged = sum(len(row.complete) for row in rows), sum(len(row.diverged) for row in rows)
    failed, pairs = (
        sum(len(row.failed) for row in rows),
        sum(c.dropped for c in ablation.deltas if c.n),
    )
    planned = ablation.num_planned
    ends = ("diverged", "failed")
    unfinished = sum(not hole.why.startswith(ends) for hole in ablation.holes)
    text = (
        f"{done} complete of {planned} planned, {diverged} diverged, {failed} failed, "
        f"{unfinished} not run to their end"
    )
    if pairs:
        text += (
            f"; {plural(pairs, 'pair')} left out of the differences because a run of it has no "
            "result"
        )
    if not ablation.deltas and (lost := max((c.dropped for c in ablation.effects), default=0)):
        text += (
            f"; {plural(lost, 'replicate')} left out of the effects because a run of it has no "
            "result"
        )
    seconds = sum(
        run.seconds for row in rows for run in (*row.complete, *row.diverged, *row.failed)
    )
    return f"{text}. Training time of the arms, summed: {duration(seconds)}."


def _scope(ablation: Ablation, record: Record) -> str:
    images = "this pool of train and val pictures"
    if ablation.judged.held_out:
        num, worth = plural(ablation.num_tested, "test picture"), _worth(ablation.num_tested)
        images = f"{'this' if ablation.num_tested == 1 else 'these'} {num}"
        images += f", of which one is worth {worth} points" if ablation.judged.is_acc else ""
    commit = record.sessions[-1].commit if record.sessions else ""
    text = commit.removesuffix("+")[:12] + " with uncommitted changes" * commit.endswith("+")
    where = f"Hardware: {costs.hardware(record)}; commit {text or 'unknown'}."
    return f"{ablation.basis.scope}, {ablation.budget}; here: {images}. {where}"


def _worth(num_pictures: int) -> str:
    return f"{100 / num_pictures:.2g}" if num_pictures else "unknown"
