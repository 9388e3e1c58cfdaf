"""The ablation's section: tables, footnotes, figures."""

from collections.abc import Iterator

from pipeline.record import Record
from pipeline.report import effects, families
from pipeline.report.document import Block, Bullets, Cell, Column, Figure, Heading, Table, table
from pipeline.report.finished import finished_models
from pipeline.report.sentences import SHARED, points, spread_text
from pipeline.report.tables import Ablation, ArmRow, Metric
from pipeline.report.wording import NONE, Points, duration, listed, millions, plural
from pipeline.study import Study

NAMES: dict[Metric, str] = {"test_acc": "test acc", "val_acc": "val acc†"}
NOTES = {  # one run each: val acc in percent, val loss
    "baseline": ("59.11", "1.2219"),
    "ResNet": ("59.30", "1.2785"),
    "augmentation": ("51.70", "1.3631"),
    "ResNet + augmentation": ("60.36", "1.2234"),
}


def blocks(ablation: Ablation, record: Record, study: Study, *, dropped: frozenset[str]) -> Iterator[Block]:
    """The section; `dropped` holds figures that could not be drawn."""
    yield Heading("Ablation")
    yield main_table(ablation)
    yield from (found for _, found in effects.tables(ablation))
    if any(run.final for row in ablation.rows for run in row.complete):
        yield finished_models(ablation)
    yield Bullets(tuple(footnotes(ablation, record, study)), small=True)
    if record.data.get("is_food11") and {row.arm for row in ablation.rows} == set(NOTES):
        yield notes_table(ablation)
    groups = listed(list(dict.fromkeys(contrast.family_name for contrast in ablation.contrasts)))
    forest = Figure(
        "differences",
        f"What the design asks: {groups}. Mean and 95 % interval of each on its own; small dots are single replicates. The "
        f"band is the margin of ±{ablation.rope * 100:g} points within which a difference is of no practical interest. "
        f"{' '.join(filter(None, (families.cautions(ablation.contrasts), families.setting(ablation.contrasts))))}",
        "Forest plot of differences in accuracy with 95 percent intervals",
    )
    interaction = Figure(
        "interaction",
        "Mean accuracy with each factor off and on. Parallel lines: the effects add up. Small dots are single runs.",
        "Interaction plot of the factors",
    )
    yield from (figure for figure in (forest, interaction) if figure.name not in dropped)


def main_table(ablation: Ablation) -> Table:
    """Reference first; check marks of the factors; val acc and val loss of a row come from the same epochs."""
    shown, metric = points(ablation), ablation.metric
    columns = [Column(factor, "center") for factor in ablation.factors]
    columns += [Column("arm"), Column("params (M)", "right"), Column("best epoch", "right")]
    if metric == "test_acc":
        columns.append(Column("val acc† (%)", "right"))
    columns += [Column("val loss†", "right"), Column(f"{NAMES[metric]} (%), mean ± sd (n)", "right")]
    asked = effects.in_table(ablation)
    against = tuple(dict.fromkeys(contrast.against for contrast in asked.values()))
    columns += _delta_columns(against)
    answers = [asked.get(row.arm) for row in ablation.rows]
    differences = effects.differences(answers, shown)
    rows = []
    for row, contrast, difference in zip(ablation.rows, answers, differences, strict=True):
        bold = row.arm in ablation.bold
        cells = [Cell("✓" if row.levels[factor] else "") for factor in ablation.factors]
        cells += [Cell(row.arm, bold), Cell(millions(row.num_params)), Cell(_epochs(row))]
        if metric == "test_acc":
            cells.append(Cell(_mean(row, "val_acc", shown)))
        cells += [Cell(_mean(row, "val_loss", None)), Cell(spread_text(row.values, shown), bold)]
        cells += [Cell(contrast.against if contrast else NONE)] if len(against) > 1 else []
        rows.append((*cells, *((Cell(difference), effects.verdict(contrast)) if against else ())))
    caption = f"Ablation: {len(rows)} arms, reference first."
    if against:
        caption += (
            f" Differences in percent points of {NAMES[metric].rstrip('†')}. {families.setting(tuple(asked.values()))}"
        )
    sides = [contrast.against if contrast else "" for contrast in answers]
    rules = {i for i in range(2, len(sides)) if sides[i] != sides[i - 1]} if len(against) > 1 else ()
    return Table(caption, tuple(columns), tuple(rows), frozenset(rules))


def _delta_columns(against: tuple[str, ...]) -> list[Column]:
    """Of the differences: none where a design asks for none; what they are against in a column where that varies."""
    if not against:
        return []
    if len(against) > 1:
        return [Column("Δ is against"), Column("Δ [95 % CI]", "right"), Column("verdict")]
    return [Column(f"Δ vs {against[0]} [95 % CI]", "right"), Column("verdict")]


def footnotes(ablation: Ablation, record: Record, study: Study) -> Iterator[str]:
    """What one must know to read the table."""
    baseline = study.baseline
    if baseline.split == "official":
        varied = "initial weights and order of the pictures; the train/val split is the official one"
    elif baseline.split == "kfold":
        varied = (
            f"which of {baseline.folds} folds validates, initial weights and order of the pictures, the same for every arm"
        )
    else:
        varied = "train/val split, initial weights and order of the pictures, the same for every arm"
    test = "; the test pictures are fixed" if ablation.metric == "test_acc" else ""
    yield f"n counts replicates. A replicate varies: {varied}{test}. ± is the standard deviation over replicates (ddof 1)."
    yield from effects.testing(ablation)
    yield from effects.detectable(ablation)
    yield _bold(ablation)
    selected = "† Used for selection: each run is read at its epoch of highest val acc, so its val acc is optimistic. "
    yield selected + "Val acc and val loss are means over runs of that same epoch."
    yield (
        f"Hyperparameters: {SHARED}; none was tuned for an arm. Tuned arms could rank differently. "
        f"{_planned(ablation, baseline.epochs)}, {_stopping(ablation)}."
    )
    yield "Runs: " + _tally(ablation)
    yield f"Scope: {_scope(ablation, record)}"


def notes_table(ablation: Ablation) -> Table:
    """The reader's notes beside our val columns; only where arms and data are the same."""
    shown, rows = points(ablation), []
    for row in ablation.rows:
        acc, loss = NOTES[row.arm]
        losses = row.metric("val_loss")
        rows.append(
            (row.arm, acc, loss, spread_text(row.metric("val_acc"), shown), _mean(row, "val_loss", None) if losses else NONE)
        )
    caption = (
        "Beside a course reader's notes on Food-11. Theirs are one run each, without spread, so their differences cannot be "
        "told from noise; both sides are validation numbers at the selected epoch."
    )
    titles = ("arm", "notes: val acc (%), one run", "notes: val loss, one run", "here: val acc† (%)", "here: val loss†")
    return table(caption, titles, rows, aligns="lrrrr")


def _planned(ablation: Ablation, default: int) -> str:
    """How long the runs were to train, from their own configs; `default` where none is recorded."""
    if ablation.unequal_epochs:
        return f"Planned for unequal epochs: {ablation.unequal_epochs}"
    epochs = next((row.planned_epochs[0] for row in ablation.rows if row.planned_epochs), default)
    return f"Every run is planned for {plural(epochs, 'epoch')}"


def _stopping(ablation: Ablation) -> str:
    patience = sorted({int(run.config.get("patience", 0)) for row in ablation.rows for run in row.runs} - {0})
    early = sum(run.early for row in ablation.rows for run in row.complete)
    if not patience:
        return "without early stopping"
    after = listed([plural(epochs, "epoch") for epochs in patience])
    return f"with early stopping after {after} without a better one ({plural(early, 'run')} ended so)"


def _bold(ablation: Ablation) -> str:
    if ablation.bold:
        text = "Bold: every arm that cannot be told from the highest mean "
        text += f"({ablation.basis.test}, Holm over the other arms, 5 %)"
        apart = [arm for arm in ablation.uncompared if arm in ablation.bold]
        return f"{text}, of which {listed(apart)} could not be compared with it." if apart else f"{text}."
    if not ablation.deltas:
        return "Nothing is bold: a fraction of the factorial is read by its main effects, its arms are not compared."
    return "Nothing is bold: no arm can be told from the highest mean, or there are too few replicates."


def _tally(ablation: Ablation) -> str:
    rows = ablation.rows
    done, diverged = sum(len(row.complete) for row in rows), sum(len(row.diverged) for row in rows)
    failed, pairs = sum(len(row.failed) for row in rows), sum(c.dropped for c in ablation.deltas)
    planned = len(rows) * ablation.planned
    ends = ("diverged", "failed")
    unfinished = sum(not hole.why.startswith(ends) for hole in ablation.holes)
    text = f"{done} complete of {planned} planned, {diverged} diverged, {failed} failed, {unfinished} not run to their end"
    if pairs:
        text += f"; {plural(pairs, 'pair')} left out of the differences because a run of it has no result"
    if not ablation.deltas and (lost := max((c.dropped for c in ablation.effects), default=0)):
        text += f"; {plural(lost, 'replicate')} left out of the effects because a run of it has no result"
    seconds = sum(run.seconds for row in rows for run in (*row.complete, *row.diverged, *row.failed))
    return f"{text}. Training time of the arms, summed: {duration(seconds)}."


def _scope(ablation: Ablation, record: Record) -> str:
    tests = record.data["counts"].get("test", 0)
    images = f"these {tests:,} test pictures" if ablation.metric == "test_acc" else "this pool of train and val pictures"
    machine = record.sessions[-1]["machine"] if record.sessions else {}
    commit = (record.sessions[-1]["commit"] if record.sessions else "") or "unknown"
    hardware = ", ".join(str(machine[key]) for key in ("name", "device") if key in machine) or "unknown"
    return f"{ablation.basis.scope}; here: {images}, this data pool. Hardware: {hardware}; commit {commit}."


def _epochs(row: ArmRow) -> str:
    epochs = row.best_epochs
    return f"{row.best_epoch:g} [{min(epochs)}–{max(epochs)}]" if epochs else NONE


def _mean(row: ArmRow, name: str, shown: Points | None) -> str:
    values = row.metric(name)
    if not values:
        return NONE
    mean = sum(values) / len(values)
    return shown.percent(mean) if shown else f"{mean:.3f}"
