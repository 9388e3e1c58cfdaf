"""What must be said wherever a family of contrasts is shown: how it was tested, what it speaks about, what it depends on."""

from collections.abc import Sequence

from pipeline.questions import SCREEN
from pipeline.report.wording import listed, plural
from pipeline.stats import Contrast, by_family

ORDER = "What a step gives depends on its place in the order: another order can give other numbers."
ALIASED = (
    "Each estimate is aliased: it is the main effect plus the shares of two-way interactions in the alias table, and these "
    "runs cannot tell them apart."
)
HIGHER = (
    "Each estimate is aliased: no two-way interaction is mixed into it, but interactions of three or more factors are, and "
    "these runs cannot tell them apart."
)


def setting(contrasts: Sequence[Contrast], budget: str) -> str:
    """What must stand with every block of intervals: test, family, scope; `budget` is how long the arms were trained."""
    tested = [contrast for contrast in contrasts if contrast.family]
    if not tested:
        return "Nothing is tested."
    families = [f"{name} ({plural(group[0].family, 'test')})" for name, group in by_family(tested).items()]
    noun = "Family" if len(families) == 1 else "Families, each corrected by itself"
    tests = listed(list(dict.fromkeys(contrast.test for contrast in tested)))
    scopes = "; ".join(dict.fromkeys(contrast.scope for contrast in tested))
    return f"95 % intervals by {tests}. {noun}: {'; '.join(families)}; Holm. Scope: {scopes}, {budget}."


def cautions(contrasts: Sequence[Contrast]) -> str:
    """What the estimates depend on: the order of steps, the aliases of a fraction; nothing of other designs."""
    steps = any(contrast.kind == "step" for contrast in contrasts)
    return " ".join(filter(None, (ORDER if steps else "", screening(contrasts))))


def screening(effects: Sequence[Contrast]) -> str:
    """What the main effects of a fraction cannot be told from; nothing where there are none."""
    screened = [contrast for contrast in effects if contrast.family_name == SCREEN]
    return "" if not screened else ALIASED if any(contrast.aliases for contrast in screened) else HIGHER
