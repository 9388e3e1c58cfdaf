"""The ablation in words. Every claim follows from a verdict of `pipeline.analysis.stats`."""

from collections.abc import Mapping, Sequence

from pipeline.analysis.chance import Guess
from pipeline.analysis.fairness import refusal
from pipeline.analysis.missing_runs import last_rows
from pipeline.analysis.results import Ablation, ArmRow, spread
from pipeline.analysis.stats import ALPHA, MIN_REPLICATES, Contrast
from pipeline.analysis.wording import NONE, Points, below_margin, listed, word
from pipeline.counts import plural
from pipeline.record.record import Record
from pipeline.report.document import Bullets, Text
from pipeline.report.sections import beyond, interactions, lead
from pipeline.report.sections.families import bound, cautions, exploratory, products, setting
from pipeline.report.sections.next_steps import MOST, to_tell
from pipeline.report.sections.own_metrics import ranges
from pipeline.report.sections.tuning import hyperparameters
from pipeline.study.judged import margin_in_words
from pipeline.study.questions import SCREEN
from pipeline.study.study import is_default_margin

CHOSEN = (
    " It was chosen by the search, or by a race of its best trials, and is judged by runs of its "
    "own."
)
EARLIER = " It was chosen by an earlier race; the one that is open may name another."


def points(ablation: Ablation) -> Points:
    """The report's number of decimals, from the intervals of what it tests."""
    halves = ((c.high - c.low) / 2 for c in ablation.contrasts if c.family)
    return Points.fit(halves, ablation.judged)


def summary(ablation: Ablation, record: Record) -> tuple[Text | Bullets, ...]:
    """The question and its answer, each arm's; what was compared, and what speaks against it."""
    shown, rows = points(ablation), ablation.rows
    if not any(row.values for row in rows):
        none = (
            f"No run of the {plural(len(rows), 'arm')} of the ablation has a result: there is "
            "nothing to compare yet."
        )
        return (_together(none, *lost(ablation)),)
    less = " (less is better)" * (ablation.judged.sign < 0)
    judged = f"on {record.data['title']}, judged by {ablation.judged.long}{less}"
    study = record.study
    first = Text(lead.answer(ablation, study, shown))
    parts = [f"{plural(len(rows), 'arm')} with {_replicates(ablation)} {judged}."]
    if rows[0].values:
        has = f"The reference, {rows[0].arm}, has {_in_words(rows[0], shown)}."
        parts.append(has + _before(rows[0].arm, ablation))
    else:
        parts.append(
            f"The reference, {rows[0].arm}, has no result ({ablation.empty[rows[0].arm]})."
        )
    if ablation.unequal:
        return (first, _together(*parts, refusal(ablation.unequal), *lost(ablation)))
    order = sorted(_told(ablation), key=lambda contrast: contrast.kind == "interaction")
    answers = [
        (_interaction if contrast.kind == "interaction" else _sentence)(contrast, ablation, shown)
        + beyond.sentence(contrast, shown)
        + _before(contrast.name, ablation) * (contrast.kind == "delta" and contrast.n > 0)
        for contrast in order
    ]
    if ablation.found:
        is_open = record.race is not None and not record.race.winner
        text = _sentence(ablation.found.contrast, ablation, shown)
        fell = _before(ablation.found.row.arm, ablation)
        answers.append(text + fell + (EARLIER if is_open else CHOSEN))
    late = exploratory(_told(ablation), ablation)
    said = (_best(ablation), ranges(ablation, study), converged(ablation), late)
    what = _together(*parts, *lost(ablation), *said)
    return (first, Bullets(tuple(filter(None, answers))), what)


def terms(ablation: Ablation, record: Record) -> Text | None:
    """What the answers of `summary` hold for: how they were tested, by which seeds and looks; None
    where nothing is compared.
    """
    if ablation.unequal or not any(row.values for row in ablation.rows):
        return None
    told = _told(ablation)
    parts = [cautions(told)]
    if any(contrast.family for contrast in told):
        unit = " in percent points" if ablation.judged.is_share else ""
        brackets = f"Brackets are 95 % confidence intervals{unit}."
        parts += [brackets, setting(told, ablation), bound(told, ablation)]
    study = record.study
    return _together(*parts, hyperparameters(study), lead.seeds(ablation, record, study))


def _before(arm: str, ablation: Ablation) -> str:
    """That an arm's numbers are of networks that its runs lost again."""
    fell = arm in ablation.collapsing and ablation.judged.held_out
    return f" {arm} collapses later: this is at its runs' best epochs, before that." * fell


def _together(*sentences: str, small: bool = False) -> Text:
    return Text(" ".join(filter(None, sentences)), small=small)


def incomplete(ablation: Ablation) -> str:
    """What must be said wherever the table is shown and does not hold the whole plan; else
    nothing.
    """
    if not ablation.holes:
        return ""
    total = ablation.num_planned
    text = (
        f"INCOMPLETE: {len(ablation.holes)} of the {plural(total, 'planned run')} of the ablation "
        f"{'has' if len(ablation.holes) == 1 else 'have'} no result."
    )
    if rows := last_rows(ablation.holes, len(ablation.rows), ablation.longest):
        text += f" No arm was run beyond replicate {ablation.longest - rows}."
    if ablation.empty:
        text += f" Arms without any: {_with_reasons(ablation.empty)}."
    return f"{text} The table is provisional."


def converged(ablation: Ablation) -> str:
    """That arms were still improving when their runs ended, to be said wherever they are compared;
    else nothing.
    """
    if not ablation.unconverged:
        return ""
    who = (
        "every arm"
        if {row.arm for row in ablation.rows if row.complete} <= {*ablation.unconverged}
        else ""
    )
    return (
        f"After {ablation.trained}, not converged: {who or listed(ablation.unconverged)}; still "
        "improving at the end, so a longer training could change the ranking."
    )


def margin_of(ablation: Ablation) -> str:
    """`margin of 0.5 points`, `default margin of 1 point`"""
    size = margin_in_words(ablation.rope, ablation.judged)
    return f"{'default ' * is_default_margin(ablation.rope)}margin of {size}"


def within(ablation: Ablation) -> str:
    """`±0.5 points`, or `±1 point, the default margin`"""
    default = ", the default margin" if is_default_margin(ablation.rope) else ""
    return f"±{margin_in_words(ablation.rope, ablation.judged)}{default}"


def bare(contrast: Contrast, shown: Points) -> str:
    """The values alone where there are too few for an interval, else their mean; of unpaired arms
    that of their means.
    """
    if contrast.n < MIN_REPLICATES and contrast.paired:
        return ", ".join(shown.signed(value) for value in contrast.values)
    return shown.signed(contrast.delta)


def spread_text(values: Sequence[float], shown: Points) -> str:
    """mean ± sd (n), or the values alone below 3"""
    if len(values) < MIN_REPLICATES:
        return ", ".join(shown.number(value) for value in values) or NONE
    return (
        f"{shown.number(sum(values) / len(values))} ± {shown.number(spread(values))} "
        f"({len(values)})"
    )


def _told(ablation: Ablation) -> list[Contrast]:
    """What the summary says: main effects and shares of a full factorial are left to their
    tables.
    """
    kinds = ("delta", "step", "interaction")
    return [c for c in ablation.contrasts if c.kind in kinds or c.family_name == SCREEN]


def _sentence(contrast: Contrast, ablation: Ablation, shown: Points) -> str:
    name = contrast.name
    if contrast.kind == "delta" and contrast.against != ablation.reference:
        name = f"{name} against {contrast.against}"
    if not contrast.n:
        why = ablation.empty.get(contrast.name) or contrast.reason
        if (
            contrast.against in ablation.empty and contrast.name not in ablation.empty
        ):  # the arm itself did not fail
            why = f"{contrast.against} has no result: {ablation.empty[contrast.against]}"
        return f"{name}: not compared ({why})."
    if contrast.verdict == "not tested":
        return f"{name}: {bare(contrast, shown)}{shown.points}, not tested ({contrast.reason})."
    size = f"{shown.difference(contrast.delta)} {shown.interval(contrast.low, contrast.high)}"
    head = f"{name}: {size}, {word(contrast)}"
    if contrast.verdict == "inconclusive":
        if contrast.low > 0 or contrast.high < 0:
            head += " once corrected for several comparisons"
        return f"{head}: {_open(contrast, ablation, shown)}."
    if contrast.verdict == "equivalent":
        if contrast.look:
            at = f"settled at {plural(contrast.settled, 'replicate')}"
            return f"{head} within {within(ablation)} ({at})."
        half = float(contrast.fit.half(1 - 2 * ALPHA))
        inner = shown.interval(contrast.delta - half, contrast.delta + half)
        return f"{head} within {within(ablation)} (90 % interval {inner})."
    small = (
        f", though by less than the {margin_of(ablation)}"
        if below_margin(contrast, ablation.rope)
        else ""
    )
    product = products(ablation.effects).get(name) if contrast.aliases else None
    return f"{head}{small}." + (
        f" It may be {product} alone, as both factors of that are found too." if product else ""
    )


def _open(contrast: Contrast, ablation: Ablation, shown: Points) -> str:
    """What it would take to tell it."""
    size, number = to_tell(contrast, ablation)
    now = (
        f"{plural(contrast.n, 'replicate')} find {shown.findable(contrast.mde)} in 80 % of studies"
    )
    enough = f"takes about {number}" if number else f"takes more than {MOST}"
    return now if size >= contrast.mde else f"{now}, one of {shown.number(size)} {enough}"


def _interaction(contrast: Contrast, ablation: Ablation, shown: Points) -> str:
    if not contrast.family:
        return ""
    interval = shown.interval(contrast.low, contrast.high)
    if contrast.verdict in ("better", "worse"):
        return interactions.sentence(contrast, ablation, shown)
    if contrast.verdict == "equivalent":
        return (
            f"{contrast.name}: their effects add up within the {margin_of(ablation)} "
            f"({shown.difference(contrast.delta)} {interval})."
        )
    corrected = (
        " once corrected for several comparisons" if contrast.low > 0 or contrast.high < 0 else ""
    )
    size = f"{shown.difference(contrast.delta)} {interval}"
    return f"{contrast.name}: whether they interact is open{corrected} ({size})."


def _best(ablation: Ablation) -> str:
    """Of the arms that may lead the best, else those that nothing puts behind another; then those
    that may not.
    """
    apart = ablation.apart
    rows = [row for row in ablation.rows if row.arm in ablation.bold]
    first = max(rows, key=ablation.worth, default=None)
    of = (
        " of the arms that may lead"
        if first and any(ablation.worth(row) > ablation.worth(first) for row in ablation.rows)
        else ""
    )
    if first and len(rows) > 1:
        others = [row.arm for row in rows if row is not first]
        text = (
            f"{ablation.judged.most.title()} mean{of}: {first.arm}; not found behind it "
            f"after correction: {listed(others, len(others))}."
        )
    elif first and ablation.best.difference(ablation.uncompared) == {first.arm}:
        others_word = (
            "Each of the other arms compared" if ablation.uncompared else "Every other arm"
        )
        best, of_it = ("Best of the design", " of it") if ablation.found else ("Best", "")
        text = f"{best}: {first.arm}. {others_word}{of_it} is found behind it, after correction."
        text += " For other pictures of this kind that is open." * (first.arm in ablation.best_here)
    elif len(ablation.best) > 1 or any(contrast.family for contrast in ablation.deltas):
        text = "No arm can be singled out as the best."
    else:
        return ""
    return f"{text} Neither bold nor best: {_with_reasons(apart)}." if apart else text


def _with_reasons(arms: Mapping[str, str]) -> str:
    return listed([f"{arm} ({why})" for arm, why in arms.items()])


def lost(ablation: Ablation) -> list[str]:
    """Arms whose scores guessing explains, and the runs that count against their arm: a sentence
    each, to stand wherever its numbers stand.
    """
    shown = points(ablation)
    texts = _guessed(ablation)
    for row in ablation.rows:
        texts += [fallen(row, ablation)] if row.arm in ablation.collapsed else []
        if row.diverged or row.failed:
            texts.append(f"{row.arm}: {_counted(row, ablation.guess, shown)}.")
    return texts


def _guessed(ablation: Ablation) -> list[str]:
    """The arms whose scores guessing explains, those apart that learned all the same."""
    guess = points(ablation).level(ablation.guess.rate)
    arms = [row.arm for row in ablation.rows if row.arm in ablation.untold]
    low = [arm for arm in arms if arm in ablation.at_chance]
    rest = [arm for arm in arms if arm not in low]
    texts = [f"At chance (guessing gives {guess}): {listed(low, len(low))}."] if low else []
    if rest:
        judges = plural(ablation.guess.num_pictures, "picture")
        texts.append(
            f"Not told from guessing ({guess}) on {judges}, though training accuracy shows that "
            f"they learned: {listed(rest, len(rest))}."
        )
    return texts


def _counted(row: ArmRow, guess: Guess, shown: Points) -> str:
    """The runs that diverged or failed, and the arm's mean were each of them worth a guess, where
    it is known what that is.
    """
    total = len(row.complete) + len(row.diverged) + len(row.failed)
    ends = ((len(row.diverged), "diverged"), (len(row.failed), "failed"))
    first, *more = [f"{count} of {plural(total, 'run')} {how}" for count, how in ends if count]
    text = " and ".join((first, *more))
    if not row.n:
        return f"{text}, none is complete"
    if not guess.known:
        return f"{text}, not in its numbers"
    mean = (sum(row.values) + (total - row.n) * guess.rate) / total
    return (
        f"{text}, not in its numbers; counted as chance ({shown.level(guess.rate)}) it has "
        f"{shown.level(mean)}"
    )


def fallen(row: ArmRow, ablation: Ablation) -> str:
    """Which replicates of an arm collapsed, beside those that did not."""
    shown, low = points(ablation), ablation.collapsed[row.arm]
    column = ablation.scores[row.arm].dropna()
    which = ", ".join(f"{replicate} ({shown.level(column[replicate])})" for replicate in low)
    rest = sorted(value for replicate, value in column.items() if replicate not in low)
    others = "its other run has" if len(column) == len(low) + 1 else "its other runs have"
    least, most = shown.number(rest[0]), shown.level(rest[-1])
    others += f" {most}" if shown.level(rest[0]) == most else f" {least} to {most}"
    known = ablation.guess.known
    guess = f"; guessing gives {shown.level(ablation.guess.rate)}" if known else ""
    return f"{row.arm}: replicate{'s' * (len(low) > 1)} {which} collapsed, {others}{guess}."


def _replicates(ablation: Ablation) -> str:
    sizes = sorted({len(row.values) for row in ablation.rows})
    least, most = sizes[0], plural(sizes[-1], "replicate")
    if len(sizes) == 1:
        return f"{most} each"
    return f"{least} to {most}" if least else f"up to {most}"


def _in_words(row: ArmRow, shown: Points) -> str:
    each, mean = f"{spread_text(row.values, shown)}{shown.percent}", shown.level(row.mean)
    return f"{mean} (sd {shown.number(row.sd)})" if row.n >= MIN_REPLICATES else each
