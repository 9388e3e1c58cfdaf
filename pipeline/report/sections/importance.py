"""What mattered in the search, in words: the importance of its knobs at one rung, and all that
limits what it says.
"""

import math
from collections.abc import Iterator

from pipeline.analysis.importance import (
    MAX_RESAMPLED,
    NUM_RESAMPLES,
    Importance,
    KnobImportance,
    Share,
)
from pipeline.analysis.rung_sample import MIN_TRIALS, Sample
from pipeline.analysis.tuning_curve import Tuning
from pipeline.analysis.wording import NONE
from pipeline.counts import plural
from pipeline.report.document import Block, Bullets, Cell, Column, Figure, Heading, Table, Text
from pipeline.report.figures.tuning_curve import caption
from pipeline.study.judged import Judged
from pipeline.study.samplers import LEARNING
from pipeline.study.study import Study

NOISE = "not distinguishable from noise"
ADVISED, ADVISED_PER_KNOB = 50, 10


def blocks(
    sample: Sample,
    importance: Importance | None,
    tuning: Tuning | None,
    study: Study,
    *,
    dropped: frozenset[str],
) -> Iterator[Block]:
    """The section; `dropped` holds figures that could not be drawn. Nothing where no trial was
    recorded.
    """
    if not sample.total:
        return
    judged = Judged.of(study.baseline)
    yield Heading("What mattered in the search")
    if importance is None:
        yield Text(refusal(sample))
    else:
        yield Text(overview(sample, judged))
        if "importance" not in dropped:
            yield Figure("importance", *_BARS)
        yield importance_table(importance)
        yield Bullets(tuple(footnotes(importance, study)), small=True)
        for name, words in (("slices", _SLICES), ("parallel", _PARALLEL)):
            if name not in dropped:
                yield Figure(name, *(text.format(judged=judged) for text in words))
    if tuning and "tuning" not in dropped:
        yield Figure(
            "tuning",
            caption(tuning, judged),
            f"Expected best validation {judged.noun} against the number of random trials",
        )


def refusal(sample: Sample) -> str:
    """Why there is no importance, and what it takes."""
    most = (
        f"the most there are at one rung is {len(sample.trials)} ({place(sample)})"
        if sample.trials
        else "there are none"
    )
    return (
        f"No importance of the knobs is given: it needs at least {MIN_TRIALS} trials with a value "
        f"at one and the same rung, and {most}."
    )


def place(sample: Sample) -> str:
    """The rung and the epoch it stands for."""
    first, last = (min(sample.epochs), max(sample.epochs)) if sample.epochs else (0, 0)
    after = (
        f"after epoch {last}"
        if first == last
        else f"after epochs {first} to {last}, by the length of the trial"
    )
    if sample.num_rungs == 1:
        return f"the end of training, {after}"
    return f"rung {sample.rung + 1} of {sample.num_rungs}, {after}"


def overview(sample: Sample, judged: Judged) -> str:
    """What the numbers are about, and what they are not."""
    return (
        f"How much each knob mattered in this space, at {place(sample)}, among the "
        f"{len(sample.trials)} of {plural(sample.total, 'trial')} with a value there. This says "
        f"what separates the {judged.val}† of these trials. It does not say which setting helps, "
        "nor what would matter in another space or after more epochs, and it is no evidence for "
        "any row of the ablation table."
    )


def importance_table(importance: Importance) -> Table:
    """A row a knob: both shares with interval and floor, in percent of all knobs together."""
    columns = (
        Column("knob"),
        Column("trials", "right"),
        Column("PED-ANOVA share (%) [95 % interval]", "right"),
        Column("its noise floor", "right"),
        Column("fANOVA share (%) [95 % interval]", "right"),
        Column("its noise floor", "right"),
        Column("above noise?"),
    )
    rows = []
    for knob in importance.knobs:
        numbers = (*_share(knob.ped_anova), *_share(knob.fanova))
        cells = (knob.name, str(knob.num_trials), *numbers)
        rows.append((*map(Cell, cells), Cell(verdict(knob), tone="" if knob.clear else "open")))
    title = (
        f"Importance of the knobs at {place(importance.sample)}; trials: those in which the knob "
        f"is in force. Knobs above noise come first; below them the order says nothing."
    )
    return Table(title, columns, tuple(rows))


def verdict(knob: KnobImportance) -> str:
    """By which measures the knob is above the noise floor."""
    shares = [share for share in (knob.ped_anova, knob.fanova) if share is not None]
    if all(math.isnan(share.share) for share in shares):
        return "no signal"
    return f"yes: {' and '.join(knob.clear)}" if knob.clear else NOISE


def footnotes(importance: Importance, study: Study) -> Iterator[str]:
    """Measures, uncertainty, whom it leaves out, what biases it."""
    sample, num_knobs = (
        importance.sample,
        sum(knob.ped_anova is not None for knob in importance.knobs),
    )
    advised = max(ADVISED, ADVISED_PER_KNOB * num_knobs)
    yield (
        f"PED-ANOVA: how far the best {100 * importance.quantile:.0f} % of these trials differ "
        "from all of them in the knob (conditional knobs: in the trials that have it). fANOVA: "
        f"the variance of the values that the knob alone explains, interactions left out; {NONE} "
        "where some trials do not have the knob, and what all variants of a part have enters by "
        "its place in each one's own range. Log ranges enter as log10. Shares are of all knobs of "
        "the measure together."
    )
    fewer = f", of {MAX_RESAMPLED} trials each" if len(sample.trials) > MAX_RESAMPLED else ""
    yield (
        f"Intervals: bootstrap over trials ({NUM_RESAMPLES} resamples{fewer}). Noise floor: the "
        "95th percentile of the share of a random knob that took part, in force in the same "
        "trials. A knob is above noise where its whole interval is above its floor; a knob that is "
        "not may still matter: these trials cannot tell."
    )
    gone = ", ".join(f"{count} {reason}" for reason, count in sample.excluded.items())
    yield f"{len(sample.trials)} of {plural(sample.total, 'trial')} used; " + (
        f"left out: {gone}." if gone else "none left out."
    )
    yield from _selection(sample, study)
    if len(sample.trials) < advised:
        yield (
            f"{plural(len(sample.trials), 'trial is', 'trials are')} few for "
            f"{plural(num_knobs, 'knob')}: {advised} or more are advised."
        )


def _selection(sample: Sample, study: Study) -> Iterator[str]:
    """How the trials came to be here."""
    if any("below it" in reason for reason in sample.excluded):
        yield (
            "The scheduler chose who reached this rung: what the rungs below already decided shows "
            "less here than it would among all trials."
        )
    if sample.agreement:
        yield (
            "Rank correlation (Spearman) with the values of the same {1} trials at the rung "
            "below: {0:.2f}."
        ).format(*sample.agreement)
    if sample.ahead:
        yield (
            "Rank correlation (Spearman) with the values of the same {1} trials at the rung above, "
            "where the best were sent: {0:.2f}."
        ).format(*sample.ahead)
    elif sample.rung + 1 < sample.num_rungs:
        yield (
            "Too few of these trials reached the rung above to say whether this importance holds "
            "on longer training."
        )
    if study.search.sampler in LEARNING:
        yield (
            f"Sampler {study.search.sampler.upper()}: it crowds where values were good, so the "
            "trials do not cover the space "
            "evenly, and both measures are biased by that. Read this as importance during this "
            "search."
        )
    early = sum(trial.run.early for trial in sample.trials)
    if early:
        yield (
            f"{plural(early, 'trial')} ran out of patience: a value here may belong to an "
            "earlier epoch."
        )


def _share(share: Share | None) -> tuple[str, str]:
    if share is None or math.isnan(share.share):
        return NONE, NONE
    text = f"{100 * share.share:.0f} [{100 * share.low:.0f}, {100 * share.high:.0f}]"
    return text, f"{100 * share.floor:.0f}"


_BARS = (
    "Share of each knob with its 95 % bootstrap interval; the short stroke is the noise floor, "
    "what a random knob reaches. Pale: not distinguishable from noise.",
    "Importance of the knobs: a bar for each measure with its interval and its noise floor",
)
_SLICES = (
    "Each dot is a trial at this one rung, pale to dark from the first to the last third of the "
    "search. Lines: the best trial of each part of the range, over all other knobs (isolation); "
    "the small numbers count its trials, and a part with more trials has a "
    "{judged.flattered}er best by luck alone. The most important knobs first, 12 at most; at most "
    "300 dots a panel.",
    "Validation {judged.noun} against the value of each knob, with the best trial of each part of "
    "the range",
)
_PARALLEL = (
    "Each line is a trial at this one rung, at its place in the range of each knob (log ranges in "
    "decades; absent: the knob belongs to another branch). Blue: the best trials by {judged.val}, "
    "those PED-ANOVA sets apart. At most 300 lines.",
    "Parallel coordinates: the knobs of every trial and its validation {judged.noun}",
)
