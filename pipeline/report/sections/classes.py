"""What the models confuse, in words and tables; per class nothing is tested, so nothing is called
significant.
"""

import math
from collections.abc import Iterator
from dataclasses import replace

from pipeline.analysis.answers import LACKS, Answers, highest, slug
from pipeline.analysis.confusion import UNBALANCED, Classes, Floats, Ints, mean
from pipeline.analysis.results import Ablation
from pipeline.analysis.wording import NONE, Points, listed
from pipeline.core.metrics import NUM_BINS
from pipeline.counts import plural
from pipeline.report.document import (
    Block,
    Bullets,
    Cell,
    Column,
    Figure,
    Gallery,
    Heading,
    Table,
    Text,
    Tone,
)
from pipeline.report.figures.confusions import CHOSEN, COLOURED, MOST_CLASSES, PICKED
from pipeline.report.sections.gallery import gallery
from pipeline.report.sections.sentences import points, spread_text

TITLE = "What the models confuse"
MOST_ROWS = 30
SHARES = Points(1)


def blocks(answers: Answers, ablation: Ablation, *, dropped: frozenset[str]) -> Iterator[Block]:
    """The section; `dropped` holds figures that could not be drawn. Nothing where no run is
    complete.
    """
    if not answers.total:
        return
    yield Heading(TITLE)
    if not answers.arms:
        yield Text(
            f"Nothing can be said of single classes: {_complete(answers)}, none with answers. "
            f"{_left(answers)}"
        )
        return
    if not ablation.judged.is_acc:
        yield Text(
            "This section is about single answers, right or wrong, that is about accuracy; the "
            f"arms are judged by {ablation.judged.long}."
        )
    yield Text(_about(answers, ablation))
    yield arms_table(answers, ablation)
    yield Bullets(tuple(_notes(answers)), small=True)
    number = 0
    shown_arms = roles(answers, ablation)
    for arm, role in shown_arms.items():
        shown = answers.shown[arm]
        yield Heading(f"{arm}, {role}", 3)
        if f"confusion_{slug(arm, ablation)}" not in dropped:
            yield _confusion_figure(arm, answers, ablation)
        yield confusions_table(arm, answers)
        if arm == list(shown_arms)[-1]:
            yield class_table(arm, answers)
        if shown.embeddings and f"embedding_{slug(arm, ablation)}" not in dropped:
            yield _embedding_figure(arm, answers, ablation)
        if shown.wrong:
            yield gallery(arm, answers, number)
            number += len(shown.wrong)
        else:
            yield Text(f"No picture was got wrong by most replicates of {arm}.")
    lost = [arm for arm in _wanted(ablation) if arm not in answers.arms]
    if lost:
        yield Text(f"Not shown in full, as none of its runs left answers: {listed(lost)}.")


def roles(answers: Answers, ablation: Ablation) -> dict[str, str]:
    """The arms shown in full → why. The word best is for an arm that is alone in the best set."""
    return {arm: role for arm, role in _wanted(ablation).items() if arm in answers.arms}


def _wanted(ablation: Ablation) -> dict[str, str]:
    wanted, top = {ablation.reference: "the reference"}, highest(ablation)
    if top:
        alone = ablation.bold == ablation.best == {top.arm} and not ablation.apart
        role = "the best arm" if alone else f"the arm with the {ablation.judged.most} mean"
        wanted[top.arm] = f"the reference and {role}" if top.arm in wanted else role
    return wanted


def pictures(answers: Answers, ablation: Ablation) -> dict[str, bytes]:
    """Path in the report's folder → PNG of every thumbnail of the section."""
    found = (
        block
        for block in blocks(answers, ablation, dropped=frozenset())
        if isinstance(block, Gallery)
    )
    return {f"figures/{thumb.name}.png": thumb.png for block in found for thumb in block.items}


def arms_table(answers: Answers, ablation: Ablation) -> Table:
    """A row an arm: rates over replicates, its worst class, calibration, the class it names
    most.
    """
    first = next(iter(answers.arms.values()))
    shown = points(ablation) if ablation.judged.is_share else SHARES
    dagger, uneven = _dagger(answers), first.imbalance > UNBALANCED
    columns = [Column("arm"), Column(f"accuracy{dagger} (%), mean ± sd (n)", "right")]
    if uneven:
        columns += [
            Column(f"balanced accuracy{dagger} (%)", "right"),
            Column(f"macro-F1{dagger} (%)", "right"),
        ]
    columns += [
        Column("worst class"),
        Column(f"its recall{dagger} (%)", "right"),
        Column(f"ECE{dagger}", "right"),
    ]
    columns += [Column("most frequent answer"), Column("its share (%)", "right")]
    rows = []
    for row in ablation.rows:
        if (classes := answers.arms.get(row.arm)) is None:
            rows.append((Cell(row.arm, runs=row.keys), *(Cell(NONE) for _ in columns[1:])))
            continue
        worst, (label, share) = classes.worst, classes.favourite
        recall, ece = float(mean(classes.recall)[worst]), float(classes.ece.mean())
        named = answers.names[label] + f" ({_replicates(classes)} collapsed)" * bool(
            classes.collapsed
        )
        rates = [
            classes.accuracy,
            *((classes.balanced_accuracy, classes.macro_f1) if uneven else ()),
        ]
        cells = [
            Cell(row.arm),
            *(Cell(spread_text(rate.tolist(), shown), value=float(rate.mean())) for rate in rates),
        ]
        cells += [
            Cell(answers.names[worst]),
            Cell(SHARES.number(recall), value=recall),
            Cell(f"{ece:.3f}", value=ece),
        ]
        tone: Tone = "bad" if classes.collapsed else ""
        cells += [Cell(named), Cell(SHARES.number(share), tone=tone, value=share)]
        rows.append(tuple(replace(cell, runs=row.keys) for cell in cells))
    if uneven:
        balance = (
            f"The largest class has {first.imbalance:.1f} times the pictures of the "
            "smallest: read accuracy beside "
        )
        balance += "balanced accuracy (mean recall) and macro-F1 (mean F1)."
    else:
        balance = "The classes are of about one size, so accuracy is about the mean recall."
    return Table(
        f"All arms by class, on the {answers.split} pictures. {balance}",
        tuple(columns),
        tuple(rows),
        key=0,
    )


def confusions_table(arm: str, answers: Answers) -> Table:
    """The five largest confusions by their number."""
    classes, n = answers.arms[arm], len(answers.arms[arm].tallies)
    columns = (
        Column("true"),
        Column("predicted"),
        Column("of the true class (%)", "right"),
        Column("answers", "right"),
        Column("in replicates", "right"),
    )
    rows = tuple(
        tuple(
            map(
                Cell,
                (
                    answers.names[c.true],
                    answers.names[c.pred],
                    SHARES.number(c.share),
                    f"{c.count:,}",
                    f"{c.replicates} of {n}",
                ),
            )
        )
        for c in classes.largest()
    )
    title = (
        f"The largest confusions of {arm} by number of answers, summed over "
        f"{plural(n, 'replicate')}."
    )
    return Table(title if rows else f"{title} There is none.", columns, rows)


def class_table(arm: str, answers: Answers) -> Table:
    """A row a class; of many classes those of lowest recall."""
    classes, dagger = answers.arms[arm], _dagger(answers)
    labels = list(range(classes.num_classes))
    cut = ""
    if len(labels) > MOST_ROWS:
        recall = mean(classes.recall)
        labels = [label for label in labels if not math.isnan(recall[label])]
        labels = sorted(labels, key=lambda label: (recall[label], label))[:MOST_ROWS]
        cut = f" Of {classes.num_classes} classes the {len(labels)} of lowest recall."
    columns = [Column("class")]
    for name, counted in (("recall", "pictures"), ("precision", "answers")):
        titles = (counted, f"{name}{dagger} (%), mean ± sd (n)", "[95 %, over pictures]")
        columns += [Column(title, "right") for title in titles]
    columns.append(Column(f"F1{dagger} (%), mean ± sd (n)", "right"))
    rows = []
    for label in labels:
        cells = [answers.names[label]]
        for rates, sizes in (
            (classes.recall, classes.support),
            (classes.precision, classes.predicted),
        ):
            cells += [
                _support(sizes[:, label]),
                _spread(rates, label),
                _interval(classes, label, rates, sizes),
            ]
        rows.append(tuple(map(Cell, (*cells, _spread(classes.f1, label)))))
    counted = " Answers: those that named the class, of which precision is a share."
    return Table(
        f"Every class of {arm}.{cut}{counted} Nothing is tested between classes.",
        tuple(columns),
        tuple(rows),
    )


def _about(answers: Answers, ablation: Ablation) -> str:
    counted = sum(len(classes.tallies) for classes in answers.arms.values())
    what = (
        "the test pictures"
        if answers.split == "test"
        else "the val pictures, as there are no labelled test pictures"
    )
    runs = (
        f"all {_complete(answers)}"
        if counted == answers.total
        else f"{counted:,} of {_complete(answers)}"
    )
    text = f"What the judged model of each run answered on {what}: {runs}."
    if answers.split != "test":
        text += (
            " † Used for selection: these pictures also chose each run's epoch, so every rate "
            "here is optimistic."
        )
    names = [f"{arm} ({role})" for arm, role in roles(answers, ablation).items()]
    return " ".join(
        filter(
            None, (text, _left(answers), f"Shown in full: {' and '.join(names)}." if names else "")
        )
    )


def _left(answers: Answers) -> str:
    """The complete runs that are not counted, and why."""
    reasons = [f"{count} ({LACKS[reason]})" for reason, count in answers.lacking.items() if count]
    return f"Left out for want of evidence: {', '.join(reasons)}." if reasons else ""


def _notes(answers: Answers) -> Iterator[str]:
    """How to read the numbers."""
    yield (
        "± is the standard deviation over replicates (ddof 1). The intervals of a class are of "
        "another kind: 95 % Wilson intervals of its mean rate for the pictures of one replicate "
        "(the fewest of any), that is, for another draw of pictures; training again is not in "
        "them. Replicates judge "
        + ("the same pictures" if answers.same_pictures else "overlapping pictures")
        + ", so their answers are not added up to more pictures."
    )
    if answers.grouped:
        yield (
            "Several of the pictures show one subject: the intervals of the classes take them as "
            "independent and are too narrow for other subjects."
        )
    yield (
        f"{NONE} stands for a rate of nothing: precision where no answer named the class. Its F1 "
        "is then 0. ECE: expected calibration error, the mean distance of confidence from "
        f"accuracy over {NUM_BINS} equal bins of confidence, mean over replicates; it comes out "
        "larger where pictures are few. Differences between classes or arms in this section are "
        "not tested: with so many of them some look large by chance."
    )


def _confusion_figure(arm: str, answers: Answers, ablation: Ablation) -> Figure:
    classes = answers.arms[arm]
    many = classes.num_classes > MOST_CLASSES
    title = (
        f"Confusion of {arm}: answers summed over {plural(len(classes.tallies), 'replicate')}, "
        "in percent of the true class."
    )
    if many:
        title += (
            f" Of {classes.num_classes} classes the {CHOSEN} of the largest confusions; rows "
            "need not sum to 100."
        )
    text = f"{title} Blue: right. Orange: confused; the stronger, the larger the share."
    return Figure(
        f"confusion_{slug(arm, ablation)}",
        text,
        f"Confusion matrix of {arm}, true class by predicted class",
    )


def _embedding_figure(arm: str, answers: Answers, ablation: Ablation) -> Figure:
    shown = answers.shown[arm]
    count = max(len(panel.true) for panel in shown.embeddings)
    text = (
        f"t-SNE of what two layers of {arm} make of {count:,} {answers.split} pictures, replicate "
        f"{shown.embedded} alone. Perplexity 30 or less. Only who is near whom is meant: distances "
        "between clusters, their sizes and the axes mean little, and another perplexity or start "
        "draws another picture."
    )
    if len(answers.names) > COLOURED:
        text += f" Coloured: the {PICKED} classes of the largest confusions."
    alt = f"Scatter plots of the activations of {arm}, coloured by class"
    return Figure(f"embedding_{slug(arm, ablation)}", text, alt)


def _dagger(answers: Answers) -> str:
    return "" if answers.split == "test" else "†"


def _complete(answers: Answers) -> str:
    return plural(answers.total, "complete run")


def _replicates(classes: Classes) -> str:
    return f"{len(classes.collapsed)} of {plural(len(classes.tallies), 'replicate')}"


def _support(sizes: Ints) -> str:
    low, high = int(sizes.min()), int(sizes.max())
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def _spread(rates: Floats, label: int) -> str:
    return spread_text([rate for rate in rates[:, label].tolist() if not math.isnan(rate)], SHARES)


def _interval(classes: Classes, label: int, rates: Floats, sizes: Ints) -> str:
    low, high = classes.interval(label, rates, sizes)
    return NONE if math.isnan(low) else SHARES.interval(low, high)
