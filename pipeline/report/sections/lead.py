"""The report's first sentence: the study's question, and what the verdicts answer."""

from collections.abc import Iterator, Mapping, Sequence

from pipeline.analysis.dimensions import dimensions
from pipeline.analysis.results import Ablation
from pipeline.analysis.stats import Contrast
from pipeline.analysis.wording import Points, listed, signs_of
from pipeline.core.identity import Seeds
from pipeline.counts import plural
from pipeline.record.record import Record
from pipeline.study.questions import SCREEN
from pipeline.study.study import Study

VERDICTS = ("better", "worse", "equivalent", "inconclusive", "not tested")
PLAIN = {"inconclusive": "cannot be told yet"}


def answer(ablation: Ablation, study: Study, shown: Points) -> str:
    """The question as the study asks it, where it does, and every arm by its verdict."""
    asked = _asked(ablation)
    if ablation.unequal or not asked:
        return study.question
    lost = ["the reference is at chance"] if ablation.reference in ablation.at_chance else []
    found = "; ".join([*lost, *_groups(asked, shown)])
    told = f"{study.question} After {ablation.trained}, {_tuned(study)}, {found}.".strip()
    beside = (
        _pairs(ablation, asked, shown),
        _together(ablation, shown),
        _searched(ablation, shown),
    )
    return " ".join(filter(None, (told, *beside)))


def seeds(ablation: Ablation, record: Record, study: Study) -> str:
    """By which seeds the arms were trained, and how often the test set was looked at."""
    begun = (run.replicate for row in ablation.rows for run in row.runs)
    last_one = max(begun, default=ablation.longest)
    first, last = (Seeds(study.search.seed, number).run for number in (1, last_one))
    which = f"Seeds {first} to {last}" if first != last else f"Seed {first}"
    count = sum(run.test_acc is not None for run in record.runs.values())
    seen = (
        f"{plural(count, 'look')} at the test set, one by every finished run"
        if count
        else "no look at a test set"
    )
    return f"{which}; {seen}."


def _asked(ablation: Ablation) -> list[Contrast]:
    """What answers: differences from the reference, else steps, else the main effects of a
    fraction.
    """
    deltas = [contrast for contrast in ablation.deltas if contrast.against == ablation.reference]
    steps = [contrast for contrast in ablation.contrasts if contrast.kind == "step"]
    return (
        deltas
        or steps
        or [c for c in ablation.contrasts if c.family_name == SCREEN]
        or list(ablation.deltas)
    )


def _together(ablation: Ablation, shown: Points) -> str:
    """That no factor alone is told apart where all of them together are; else nothing."""
    levels = {row.arm: row.levels for row in ablation.designed}
    num_factors = len(dimensions(ablation))
    alone, whole = [], []
    for contrast in ablation.contrasts:
        pair = (levels.get(contrast.name, {}), levels.get(contrast.against, {}))
        apart = sum(pair[0][factor] != pair[1].get(factor) for factor in pair[0])
        if contrast.kind == "step" or (contrast.kind == "delta" and apart == 1):
            alone.append(contrast)
        elif contrast.kind == "delta" and apart == num_factors > 1:
            whole.append(contrast)
    told = [c for c in whole if c.verdict in ("better", "worse")]
    if len(alone) < 2 or not told or any(c.verdict != "inconclusive" for c in alone):
        return ""
    sizes = listed([f"{c.name} ({_size(c, shown)})" for c in told])
    head = "No change alone is told apart, all of them together are"
    if ablation.crossing:
        head = "No level alone is told apart, levels of all factors together are"
    return f"{head}: {sizes}. Each is too small to tell alone, or another stands in for it."


def _pairs(ablation: Ablation, asked: list[Contrast], shown: Points) -> str:
    """What the design asks of other pairs than those with the reference, by verdict."""
    others = [c for c in ablation.deltas if c not in asked]
    found = []
    for verdict in VERDICTS:
        names = [
            f"{c.name} against {c.against} ({_size(c, shown)})"
            for c in others
            if c.verdict == verdict
        ]
        found += [f"{PLAIN.get(verdict, verdict)}: {listed(names)}"] if names else []
    return f"Of the other pairs, {'; '.join(found)}." if found else ""


def _searched(ablation: Ablation, shown: Points) -> str:
    """What was found of the search's best, where it was tested."""
    if ablation.found is None or not ablation.found.contrast.family:
        return ""
    contrast, guessed = ablation.found.contrast, {*ablation.at_chance}
    if guessed & {contrast.name, contrast.against}:
        return ""
    to = {"better": "better than", "worse": "worse than", "equivalent": "equivalent to"}
    titles = {verdict: f"{word} {contrast.against}" for verdict, word in to.items()}
    (told,) = _clauses([contrast], shown, titles)
    return f"By a test of its own, {told}."


def _groups(asked: list[Contrast], shown: Points) -> list[str]:
    """What was found of which arms, a clause each verdict."""
    against = {contrast.against for contrast in asked}
    signs = {} if all(against) else signs_of(asked[0])
    than = next(iter(against)) if len(against) == 1 else "the step before"
    best = f"better than {than}" if all(against) else signs["better"]
    compared = [
        contrast for contrast in asked if contrast.n
    ]  # where none is, nothing was looked for
    groups = (
        [f"none is found {best}"]
        if any(c.family for c in compared) and not any(c.verdict == "better" for c in compared)
        else []
    )
    titles = signs | {"better": best}
    titles |= {"equivalent": f"equivalent to {than}"} if all(against) else {}
    return groups + list(_clauses(asked, shown, titles))


def _clauses(asked: Sequence[Contrast], shown: Points, titles: Mapping[str, str]) -> Iterator[str]:
    """A clause each verdict: what was asked, by how much, and the verdict, called by its title."""
    for verdict in VERDICTS:
        names = [f"{c.name} ({_size(c, shown)})" for c in asked if c.verdict == verdict]
        is_what = f"{'is' if len(names) == 1 else 'are'} {titles.get(verdict, verdict)}"
        if names:
            yield f"{listed(names)} {PLAIN.get(verdict, is_what)}"


def _size(contrast: Contrast, shown: Points) -> str:
    return (
        shown.signed(contrast.delta) + ", aliased" * bool(contrast.aliases)
        if contrast.n
        else "not compared"
    )


def _tuned(study: Study) -> str:
    """Whose learning rate the arms have, and whether it was tuned for them."""
    if study.ablation.tuning.name == "per_arm":
        return "each arm tuned by a search of its own"
    if study.ablation.tuning.name == "replicated":
        return "each replicate of each arm tuned by a search of its own"
    rates = {config.optimizer.lr for _, config in study.arms()}
    if len(rates) > 1:
        return "at the learning rates that the arms set, tuned for no arm"
    return f"at learning rate {rates.pop():g}, tuned for no arm"
