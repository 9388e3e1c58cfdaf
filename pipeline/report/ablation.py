"""The ablation's section: tables, footnotes, figures."""

from collections.abc import Iterator

from pipeline.record import Record
from pipeline.report.document import Block, Bullets, Cell, Column, Figure, Heading, Table, Tone, table
from pipeline.report.finished import finished_models
from pipeline.report.sentences import SHARED, bare, points, spread_text
from pipeline.report.tables import Ablation, ArmRow, Metric
from pipeline.report.wording import NONE, Points, aligned, duration, listed, millions, plural
from pipeline.stats import Contrast
from pipeline.study import Study

NAMES: dict[Metric, str] = {"test_acc": "test acc", "val_acc": "val acc†"}
TONES: dict[str, Tone] = {"better": "good", "worse": "bad", "equivalent": "even", "inconclusive": "open"}
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
    if ablation.effects:
        yield effects_table(ablation)
    if any(run.final for row in ablation.rows for run in row.complete):
        yield finished_models(ablation)
    yield Bullets(tuple(footnotes(ablation, record, study)), small=True)
    if record.data.get("is_food11") and {row.arm for row in ablation.rows} == set(NOTES):
        yield notes_table(ablation)
    rope = f"{ablation.rope * 100:g}"
    effects = ", and the effects of the factorial" if ablation.effects else ""
    forest = Figure(
        "differences",
        f"Differences from {ablation.reference}{effects}: mean and 95 % interval of each on its own; small dots are single "
        f"replicates. The band is the margin of ±{rope} points within which a difference is of no practical interest.",
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
    columns += [Column(f"Δ vs {ablation.reference} [95 % CI]", "right"), Column("verdict")]
    answers = [ablation.deltas.get(row.arm) for row in ablation.rows]
    differences = _differences(answers, shown)
    rows = []
    for row, contrast, difference in zip(ablation.rows, answers, differences, strict=True):
        bold = row.arm in ablation.bold
        cells = [Cell("✓" if row.levels[factor] else "") for factor in ablation.factors]
        cells += [Cell(row.arm, bold), Cell(millions(row.num_params)), Cell(_epochs(row))]
        if metric == "test_acc":
            cells.append(Cell(_mean(row, "val_acc", shown)))
        cells += [Cell(_mean(row, "val_loss", None)), Cell(spread_text(row.values, shown), bold), Cell(difference)]
        rows.append((*cells, _verdict(contrast)))
    caption = f"Ablation: {len(rows)} arms, reference first. Differences in percent points of {NAMES[metric].rstrip('†')}."
    return Table(caption, tuple(columns), tuple(rows))


def effects_table(ablation: Ablation) -> Table:
    """Main effects and two-way interactions of the factorial, from the same runs."""
    shown = points(ablation)
    kinds = {
        "main": "main effect (mean over the others off and on)",
        "interaction": "interaction (more together than alone)",
    }
    columns = (
        Column("effect"),
        Column("what it is"),
        Column("n", "right"),
        Column("points [95 % CI]", "right"),
        Column("verdict"),
    )
    differences = _differences(list(ablation.effects), shown)
    rows = tuple(
        (Cell(c.name), Cell(kinds[c.kind]), Cell(str(c.n)), Cell(text), _verdict(c))
        for c, text in zip(ablation.effects, differences, strict=True)
    )
    kinds_in_order = [c.kind for c in ablation.effects]
    rule = frozenset({kinds_in_order.index("interaction")} if "interaction" in kinds_in_order else ())
    return Table("Main effects and interactions of the factorial, from the same runs.", columns, rows, rule)


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
    yield from _testing(ablation)
    yield from _mde(ablation)
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
        text = "Bold: every arm that cannot be told from the highest mean (paired t, Holm over the other arms, 5 %)"
        apart = [arm for arm in ablation.uncompared if arm in ablation.bold]
        return f"{text}, of which {listed(apart)} could not be compared with it." if apart else f"{text}."
    return "Nothing is bold: no arm can be told from the highest mean, or there are too few replicates."


def _testing(ablation: Ablation) -> Iterator[str]:
    first = max((c.family for c in ablation.deltas.values()), default=0)
    if not first:
        return
    second = max((c.family for c in ablation.effects), default=0)
    also = f"; the {plural(second, 'effect')} of the factorial are a family of their own" if second else ""
    yield (
        f"Δ is the mean of the differences within replicates, with Student's 95 % interval of that one comparison. "
        f"better / worse: paired t-test at 5 % after Holm's correction over the {plural(first, 'difference')} from "
        f"{ablation.reference}{also}. equivalent: the 90 % interval lies inside ±{ablation.rope * 100:g} points (two "
        f"one-sided tests, uncorrected). inconclusive: neither, which is not evidence of no effect."
    )


def _mde(ablation: Ablation) -> Iterator[str]:
    shown = points(ablation)
    kinds = {"delta": "", "main": "main effect ", "interaction": ""}
    tests = [c for c in (*ablation.deltas.values(), *ablation.effects) if c.family]
    sizes = [f"{kinds[c.kind]}{c.name} {shown.percent(c.mde)}" for c in tests]
    if sizes:
        yield f"Smallest true difference found with 80 % power at this spread, in points: {listed(sizes, 16)}."
    if any(c.kind == "interaction" and c.verdict != "equivalent" for c in ablation.effects if c.family):
        yield "A main effect is an average over unlike cases where its factor interacts: read it with the differences above."


def _tally(ablation: Ablation) -> str:
    rows = ablation.rows
    done, diverged = sum(len(row.complete) for row in rows), sum(len(row.diverged) for row in rows)
    failed, pairs = sum(len(row.failed) for row in rows), sum(c.dropped for c in ablation.deltas.values())
    planned = len(rows) * ablation.planned
    ends = ("diverged", "failed")
    unfinished = sum(not hole.why.startswith(ends) for hole in ablation.holes)
    text = f"{done} complete of {planned} planned, {diverged} diverged, {failed} failed, {unfinished} not run to their end"
    if pairs:
        text += f"; {plural(pairs, 'pair')} left out of the differences because a run of it has no result"
    seconds = sum(run.seconds for row in rows for run in (*row.complete, *row.diverged, *row.failed))
    return f"{text}. Training time of the arms, summed: {duration(seconds)}."


def _scope(ablation: Ablation, record: Record) -> str:
    tests = record.data["counts"].get("test", 0)
    images = f"these {tests:,} test pictures" if ablation.metric == "test_acc" else "this pool of train and val pictures"
    machine = record.sessions[-1]["machine"] if record.sessions else {}
    commit = (record.sessions[-1]["commit"] if record.sessions else "") or "unknown"
    hardware = ", ".join(str(machine[key]) for key in ("name", "device") if key in machine) or "unknown"
    return f"{images}, these hyperparameters, this data pool. Hardware: {hardware}; commit {commit}."


def _differences(contrasts: list[Contrast | None], shown: Points) -> list[str]:
    """Δ [low, high] with every number under its like."""
    real = [c for c in contrasts if c is not None and c.family]
    triples = [(shown.signed(c.delta), *shown.interval(c.low, c.high)[1:-1].split(", ")) for c in real]
    texts = iter(f"{delta} [{low}, {high}]" for delta, low, high in aligned(triples))
    return [NONE if c is None or not c.n else next(texts) if c.family else bare(c, shown) for c in contrasts]


def _verdict(contrast: Contrast | None) -> Cell:
    if contrast is None:
        return Cell("reference")
    words = {"better": "positive", "worse": "negative"} if contrast.kind == "interaction" else {}
    return Cell(words.get(contrast.verdict, contrast.verdict), tone=TONES.get(contrast.verdict, ""))


def _epochs(row: ArmRow) -> str:
    epochs = row.best_epochs
    return f"{row.best_epoch:g} [{min(epochs)}–{max(epochs)}]" if epochs else NONE


def _mean(row: ArmRow, name: str, shown: Points | None) -> str:
    values = row.metric(name)
    if not values:
        return NONE
    mean = sum(values) / len(values)
    return shown.percent(mean) if shown else f"{mean:.3f}"
