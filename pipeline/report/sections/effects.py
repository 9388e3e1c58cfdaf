"""What a design asks beyond the differences of its table: families of contrasts as tables, and how
they were judged.
"""

import json
import math
from collections.abc import Iterator, Sequence

from pipeline.analysis.dimensions import dimensions
from pipeline.analysis.results import Ablation
from pipeline.analysis.stats import Contrast, by_family
from pipeline.analysis.stats.family import LARGEST
from pipeline.analysis.wording import NONE, Points, aligned, below_margin, listed, probability, word
from pipeline.counts import plural
from pipeline.report.document import Cell, Column, Table, Tone
from pipeline.report.sections import beyond, looks
from pipeline.report.sections.families import ORDER, bound, screening, setting, whole
from pipeline.report.sections.sentences import bare, points, within
from pipeline.study.questions import EFFECTS, SCREEN, SHAPLEY, STEPS
from pipeline.study.study import is_default_margin

TONES: dict[str, Tone] = {
    "better": "good",
    "worse": "bad",
    "equivalent": "even",
    "inconclusive": "open",
}
SHOWN_ALIASES = 12
P_VALUES = "p (Holm's)"
BEST = (
    "Which arm is the best is one claim more of that family, so Holm's p can be above what the "
    "tests alone would give. "
)

# of the families that a design names; those of differences are named by their reference
CAPTIONS = {
    EFFECTS: "Main effects and interactions of the factorial, from the same runs.",
    STEPS: f"Steps: every arm minus the one before it. {ORDER}",
    SHAPLEY: (
        "Shapley shares: what all factors together gain over none, shared out{}; they sum to it. A "
        "share describes; whether a factor does anything is what its main effect asks."
    ),
}
LABELS = {EFFECTS: "effects", STEPS: "steps", SHAPLEY: "shapley", SCREEN: "screening"}
WAYS = {
    "paired t": (
        "Each estimate is the mean of the differences within replicates, with Student's 95 % "
        "interval of that one comparison"
    ),
    "Welch's t": (
        "Each estimate is a difference of means, unpaired, with the 95 % interval of Welch's t of "
        "that one comparison"
    ),
    "corrected t": (
        "Each estimate is the mean of the differences within replicates, with the 95 % interval of "
        "that one comparison by Student's t, corrected for folds that share training pictures "
        "(Nadeau & Bengio 2003)"
    ),
}


def in_table(ablation: Ablation) -> dict[str, Contrast]:
    """Arm → the difference that its row of the main table shows: the first that the design asks of
    it.
    """
    found: dict[str, Contrast] = {}
    for contrast in ablation.deltas:
        found.setdefault(contrast.name, contrast)
    return found


def tables(ablation: Ablation) -> Iterator[tuple[str, Table]]:
    """(label, table) of every family that the main table does not show, then the alias table."""
    shown = in_table(ablation)
    for number, (family, contrasts) in enumerate(by_family(ablation.contrasts).items()):
        if any(shown.get(c.name) is not c for c in contrasts):
            yield LABELS.get(family, f"differences{number}"), _table(family, contrasts, ablation)
    if any(contrast.aliases for contrast in ablation.effects):
        yield "aliases", _alias_table(ablation.effects)


def differences(contrasts: Sequence[Contrast | None], shown: Points) -> list[str]:
    """Δ [low, high] with every number under its like."""
    real = [c for c in contrasts if c is not None and not math.isnan(c.low)]
    triples = [
        (shown.signed(c.delta), *shown.interval(c.low, c.high)[1:-1].split(", ")) for c in real
    ]
    texts = iter(f"{delta} [{low}, {high}]" for delta, low, high in aligned(triples))
    return [
        NONE if c is None or not c.n else bare(c, shown) if math.isnan(c.low) else next(texts)
        for c in contrasts
    ]


def p_values(contrasts: Sequence[Contrast | None]) -> list[str]:
    """p (Holm's p) of each that was tested."""
    return [
        f"{probability(c.p)} ({probability(c.p_holm)})" if c and c.family else NONE
        for c in contrasts
    ]


def order(contrast: Contrast | None) -> float | None:
    """What its cell is sorted by."""
    return None if contrast is None or math.isnan(contrast.delta) else contrast.delta


def p_cell(contrast: Contrast | None, text: str, runs: tuple[str, ...]) -> Cell:
    """Sorted by Holm's p, which the verdict follows."""
    return Cell(text, runs=runs, value=contrast.p_holm if contrast and contrast.family else None)


def verdict(contrast: Contrast | None, rope: float, runs: tuple[str, ...] = ()) -> Cell:
    """`runs` are those it rests on, `rope` is the margin."""
    if contrast is None:
        return Cell("reference", runs=runs)
    tone = "open" if contrast.aliases and contrast.family else TONES.get(contrast.verdict, "")
    small = f" (below the {'default ' * is_default_margin(rope)}margin)" * (
        below_margin(contrast, rope) and not contrast.aliases
    )
    here = " (these pictures)" * contrast.only_here
    return Cell(word(contrast) + small + here, tone=tone, runs=runs)


def testing(ablation: Ablation) -> Iterator[str]:
    """How intervals and verdicts come about, in a footnote."""
    size = max((contrast.family for contrast in ablation.contrasts), default=0)
    if size:
        test = ablation.basis.test
        best = (
            BEST
            if any(contrast.family and contrast.against for contrast in ablation.contrasts)
            else ""
        )
        yield (
            f"{WAYS[test]}. The design calls for this test: {ablation.basis.why}. better / worse"
            f"{' (positive / negative)' * ablation.judged.is_share}: {test} at 5 % after Holm's "
            f"correction over all {plural(size, 'test')} of {whole(ablation)} as one family "
            f"({_members(ablation, size)}), {_counting(ablation, size)}. "
            f"{best}{bound(ablation.contrasts, ablation)} "
            f"{_even(ablation)}. inconclusive: neither, which "
            "is not evidence of no effect. p is that of one comparison alone, Holm's p in brackets "
            "is the one that the verdict follows."
        )
        yield from _trained_alike(ablation)


def _counting(ablation: Ablation, size: int) -> str:
    """What the correction counts after a finding; of many tests it goes through no sets of them."""
    asked = sum(contrast.family > 0 for contrast in ablation.contrasts)
    if min(asked, size) > LARGEST:
        return "counting after each finding all that are left"
    return "counting after each finding as many as can be nothing at once (Shaffer 1986)"


def _trained_alike(ablation: Ablation) -> Iterator[str]:
    """Where the unpaired test's reason does not hold: arms of the same training, whose runs of a
    replicate differ in what was done to the finished model alone.
    """
    if ablation.basis.test != "Welch's t":
        return
    groups: dict[str, list[str]] = {}
    for row in ablation.rows:
        if row.complete:
            trained = {**row.complete[0].config, "final": None}
            groups.setdefault(json.dumps(trained, sort_keys=True), []).append(row.arm)
    for arms in groups.values():
        if len(arms) > 1:
            yield (
                f"Trained alike: {listed(arms)}. They differ in what is done to the finished model "
                "alone, and a replicate trains the same network for all of them, so that their "
                "results rise and fall together. This test takes them for independent: among them "
                "it errs towards inconclusive. What was done to a model costs it the distance of "
                "the two accuracies in the table of finished models."
            )


def _even(ablation: Ablation) -> str:
    """When arms are equivalent."""
    if looks.by_looks(ablation):
        tests = "two one-sided tests, at the look's share of 5 %, corrected for no other comparison"
        return f"equivalent: at a look the interval lies inside {within(ablation)} ({tests})"
    tests = "two one-sided tests, uncorrected"
    return f"equivalent: the 90 % interval lies inside {within(ablation)} ({tests})"


def detectable(ablation: Ablation) -> Iterator[str]:
    """What would have been found, and how to read a main effect beside interactions."""
    shown = points(ablation)
    tests = [contrast for contrast in ablation.contrasts if contrast.family]
    sizes = [f"{_long_name(contrast, ablation)} {shown.number(contrast.mde)}" for contrast in tests]
    if sizes:
        level = "at this spread and the Bonferroni level of the family"
        yield (
            f"Smallest true difference found with 80 % power {level}"
            f"{', in points' * ablation.judged.is_share}: "
            f"{listed(sizes, 16)}."
        )
    if any(c.kind == "interaction" and c.verdict != "equivalent" for c in tests):
        yield (
            "A main effect is an average over unlike cases where its factor interacts: read it "
            "with the differences above."
        )


def _table(family: str, contrasts: Sequence[Contrast], ablation: Ablation) -> Table:
    columns = (
        Column("difference" if contrasts[0].against else "effect"),
        Column("against" if contrasts[0].against else "what it is"),
        Column("n", "right"),
        Column(f"{'points' if ablation.judged.is_share else 'Δ'} [95 % CI]", "right"),
        *([beyond.COLUMN] if any(contrast.beyond for contrast in contrasts) else []),
        Column(P_VALUES, "right"),
        Column("verdict"),
        *([looks.COLUMN] if any(contrast.look for contrast in contrasts) else []),
    )
    others = beyond.cells(
        contrasts, [_runs(contrast, ablation) for contrast in contrasts], points(ablation)
    )
    texts = zip(differences(contrasts, points(ablation)), p_values(contrasts), strict=True)
    settled = looks.cells(contrasts, [_runs(contrast, ablation) for contrast in contrasts])
    rows = tuple(
        (*_row(c, *pair, ablation, others[i : i + 1]), *settled[i : i + 1])
        for i, (c, pair) in enumerate(zip(contrasts, texts, strict=True))
    )
    kinds = [contrast.kind for contrast in contrasts]
    rule = frozenset({kinds.index("interaction")} if "interaction" in kinds else ())
    if family == SCREEN:
        title = (
            "Main effects of the fraction: means of the arms with a factor minus those "
            f"without. {screening(contrasts)}"
        )
    else:
        unit = " in percent points" if ablation.judged.is_share else ""
        captions = {**CAPTIONS, SHAPLEY: CAPTIONS[SHAPLEY].format(unit)}
        title = captions.get(family, f"{family[:1].upper()}{family[1:]}.")
    return Table(f"{title} {setting(contrasts, ablation)}", columns, rows, rule, key=0)


def _runs(contrast: Contrast, ablation: Ablation) -> tuple[str, ...]:
    """A difference leads to the runs of its two arms, an effect of the whole design to all."""
    return ablation.keys(*((contrast.name, contrast.against) if contrast.against else ()))


def _row(
    contrast: Contrast, text: str, p: str, ablation: Ablation, others: Sequence[Cell]
) -> tuple[Cell, ...]:
    arms = (contrast.name, contrast.against) if contrast.against else ()
    runs = _runs(contrast, ablation)
    return (
        Cell(contrast.name, runs=ablation.keys(*arms[:1])),
        Cell(_what(contrast, ablation), runs=ablation.keys(*arms[1:])),
        Cell(str(contrast.n), runs=runs, value=contrast.n),
        Cell(text, runs=runs, value=order(contrast)),
        *others,
        p_cell(contrast, p, runs),
        verdict(contrast, ablation.rope, runs),
    )


def _what(contrast: Contrast, ablation: Ablation) -> str:
    if contrast.against:
        return contrast.against
    if contrast.family_name == SCREEN:
        count = plural(len(contrast.aliases), "two-way interaction")
        return (
            f"main effect, aliased with {count}"
            if contrast.aliases
            else "main effect, free of two-way interactions"
        )
    found, main = dimensions(ablation), "main effect (mean over the others off and on)"
    if ablation.crossing:
        bases = {one.column: factor.base.name for factor in found for one in factor.others}
        main = f"main effect against {bases.get(contrast.name)} (mean over the others' levels)"
    kinds = {
        "main": main,
        "interaction": (
            f"interaction (more together than alone{', mean over the others' * (len(found) > 2)})"
        ),
        "shapley": "share of the whole gain (mean over all orders)",
    }
    return kinds[contrast.kind]


def _alias_table(effects: Sequence[Contrast]) -> Table:
    rows = []
    for contrast in effects:
        shares = [
            f"{'+' if a.share > 0 else '−'}{abs(a.share) / 2:.3g} of {a.interaction}"
            for a in contrast.aliases
        ]
        rows.append((Cell(contrast.name), Cell(listed(shares, SHOWN_ALIASES) or NONE)))
    caption = (
        "Alias table: what the estimate of each main effect holds besides it, as shares of "
        "two-way interactions"
    )
    columns = (Column("estimate of"), Column("also holds"))
    return Table(f"{caption} (all of them: frames/contrasts.csv).", columns, tuple(rows))


def _members(ablation: Ablation, size: int) -> str:
    """The groups that the family is made of; what two of them ask alike is one test."""
    groups = by_family([contrast for contrast in ablation.contrasts if contrast.family])
    nouns = {EFFECTS: "main effects and interactions", STEPS: "steps"}
    parts = []
    for name, group in groups.items():
        if group[0].kind == "delta":
            parts.append(f"{plural(len(group), 'difference')} from {group[0].against}")
        else:
            parts.append(f"{len(group):,} {nouns.get(name, name)}")
    return ", ".join(parts) + (
        "; what is asked twice counts once" if sum(map(len, groups.values())) > size else ""
    )


def _long_name(contrast: Contrast, ablation: Ablation) -> str:
    """A name that stands alone: a factor may be an arm, a main effect and a share."""
    if contrast.kind == "delta" and contrast.against != ablation.reference:
        return f"{contrast.name} (against {contrast.against})"
    kinds = {"main": "main effect ", "shapley": "share of "}
    return kinds.get(contrast.kind, "") + contrast.name
