"""What must be said wherever contrasts are shown: how they were tested, what they speak about, what
they depend on.
"""

import itertools
import math
from collections.abc import Sequence

from pipeline.analysis.results import Ablation
from pipeline.analysis.stats import Contrast
from pipeline.analysis.wording import listed
from pipeline.counts import plural
from pipeline.study.questions import SCREEN

ORDER = "What a step gives depends on its place in the order: another order can give other numbers."
ALIASED = (
    "Each estimate is aliased: it is the main effect plus the shares of two-way interactions in "
    "the alias table, and these runs cannot tell them apart."
)
HIGHER = (
    "Each estimate is aliased: no two-way interaction is mixed into it, but interactions of three "
    "or more factors are, and these runs cannot tell them apart."
)


def whole(ablation: Ablation) -> str:
    """What the one family is all tests of: what the search found is tested beside it."""
    beside = ablation.found is not None and ablation.found.contrast.family
    return "the design" if beside else "this report"


def setting(contrasts: Sequence[Contrast], ablation: Ablation) -> str:
    """What must stand with every block of intervals: test, family, scope, how long the arms were
    trained.
    """
    known = [contrast for contrast in contrasts if not math.isnan(contrast.error)]
    if not known:
        return "Nothing is tested."
    tests = listed(list(dict.fromkeys(contrast.test for contrast in known)))
    size = max(contrast.family for contrast in known)
    names = "; ".join(dict.fromkeys(contrast.family_name for contrast in known if contrast.family))
    family = (
        f"Family: all {plural(size, 'test')} of {whole(ablation)} (here: {names}), Holm."
        if size
        else "None of them is tested."
    )
    scopes = "; ".join(dict.fromkeys(contrast.scope for contrast in known))
    intervals = f"{'Repeated ' * any(c.look for c in known)}95 % intervals by {tests}"
    return f"{intervals}, each on its own. {family} Scope: {scopes}, {ablation.budget}."


def cautions(contrasts: Sequence[Contrast]) -> str:
    """What the estimates depend on: the order of steps, the aliases of a fraction; nothing of other
    designs.
    """
    steps = any(contrast.kind == "step" for contrast in contrasts)
    return " ".join(filter(None, (ORDER if steps else "", screening(contrasts))))


def screening(effects: Sequence[Contrast]) -> str:
    """What the main effects of a fraction cannot be told from; nothing where there are none."""
    screened = [contrast for contrast in effects if contrast.family_name == SCREEN]
    return (
        ""
        if not screened
        else ALIASED
        if any(contrast.aliases for contrast in screened)
        else HIGHER
    )


def bound(contrasts: Sequence[Contrast], ablation: Ablation) -> str:
    """How often a whole report of this kind is wrong; nothing where nothing is tested."""
    if not any(contrast.family for contrast in contrasts):
        return ""
    named = (
        "a difference, an effect or a best arm"
        if any(contrast.against for contrast in contrasts)
        else "an effect"
    )
    beside = whole(ablation) == "the design"
    found = "; the test of what the search found is one more 5 %" * beside
    if ablation.changed:
        would = "the design's tests would name" if beside else "one would name"
        return (
            f"Had all of it been planned before any result, in at most 5 % of reports like this "
            f"{would} {named} where there is none{found}."
        )
    if beside:
        return (
            f"In at most 5 % of reports like this the design's tests name {named} where there is "
            f"none{found}."
        )
    return f"At most 5 % of reports like this name {named} where there is none."


def exploratory(contrasts: Sequence[Contrast], ablation: Ablation) -> str:
    """That answers came from a plan that was changed after results existed; nothing where it was
    not, or nothing is tested.
    """
    if not ablation.changed or not any(contrast.family for contrast in contrasts):
        return ""
    return f"Exploratory, where results led to the change: {'; '.join(ablation.changed)}."


def products(effects: Sequence[Contrast]) -> dict[str, str]:
    """Aliased effect that was found → an interaction it may be, as both factors of that were found
    too.
    """
    found = [
        contrast
        for contrast in effects
        if contrast.kind == "main" and contrast.verdict in ("better", "worse")
    ]
    pairs = {f"{a.name} × {b.name}" for a, b in itertools.combinations(found, 2)}
    likely = {
        c.name: next((alias.interaction for alias in c.aliases if alias.interaction in pairs), "")
        for c in found
    }
    return {name: interaction for name, interaction in likely.items() if interaction}
