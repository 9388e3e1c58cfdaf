"""What an ablation asks of its arms: weighted sums of arms, grouped into families that are tested
together. Pure.
"""

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

Kind = Literal["delta", "step", "main", "interaction", "shapley"]
Levels = Mapping[str, Mapping[str, bool]]  # arm → factor → on
Cells = Mapping[str, Sequence[str]]  # arm → its level of each factor

EFFECTS = "main effects and interactions"
SHAPLEY = "Shapley shares"
STEPS = "steps"
SCREEN = "main effects of the fraction"
FOUND = "best of the search"


@dataclass(frozen=True)
class Alias:
    """A two-way interaction that a fraction of a factorial cannot tell from a main effect.

    `share` is the mean product of the three columns of signs: ±1 where they are the same column,
    ±1/3 and the like in a Plackett–Burman design. The estimated main effect holds `share / 2` times
    the interaction (as `factorial_questions` defines it).
    """

    factor: str
    interaction: str
    share: float


@dataclass(frozen=True)
class Question:
    """A contrast to estimate: the weighted sum of arms. Those of one `family` are corrected
    together.

    `against` is the arm that a delta or a step is measured from. `aliases` is what a main effect of
    a fraction may be instead.
    """

    name: str
    kind: Kind
    weights: Mapping[str, float]
    family: str = ""
    against: str = ""
    aliases: tuple[Alias, ...] = ()


def differences(arms: Iterable[str], reference: str) -> tuple[Question, ...]:
    """Every other arm minus the reference."""
    family = f"differences from {reference}"
    others = [arm for arm in arms if arm != reference]
    return tuple(
        Question(arm, "delta", {arm: 1.0, reference: -1.0}, family, reference) for arm in others
    )


def steps(arms: Sequence[str], factors: Sequence[str]) -> tuple[Question, ...]:
    """Every arm of an ordered sequence minus the one before it; `factors` names what each step
    adds.
    """
    moves = zip(factors, itertools.pairwise(arms), strict=True)
    return tuple(
        Question(f"adding {factor}", "step", {arm: 1.0, last: -1.0}, STEPS, last)
        for factor, (last, arm) in moves
    )


def is_factorial(levels: Levels) -> bool:
    """Whether the arms are all 2^k combinations of k factors, each once."""
    factors = tuple(next(iter(levels.values()), {}))
    cells = {tuple(on.get(factor) for factor in factors) for on in levels.values()}
    return len(levels) == 2 ** len(factors) and cells == set(
        itertools.product((False, True), repeat=len(factors))
    )


def factorial_questions(levels: Levels) -> tuple[Question, ...]:
    """Main effects and two-way interactions of a full 2^k factorial, k >= 2; of anything else
    nothing.

    A main effect is the mean of the factor's effect over all settings of the others. An interaction
    is how much more the second factor gives where the first is on than where it is off (for k = 2:
    both - A - B + neither).
    """
    factors = tuple(next(iter(levels.values()), {}))
    k = len(factors)
    if k < 2 or not is_factorial(levels):
        return ()
    questions = [
        Question(factor, "main", _on_minus_off(levels, factor), EFFECTS) for factor in factors
    ]
    for a, b in itertools.combinations(factors, 2):
        weights = {
            arm: (1.0 if on[a] == on[b] else -1.0) / 2 ** (k - 2) for arm, on in levels.items()
        }
        questions.append(Question(f"{a} × {b}", "interaction", weights, EFFECTS))
    return tuple(questions)


def crossed_questions(factors: Sequence[Sequence[str]], cells: Cells) -> tuple[Question, ...]:
    """Main effects and two-way interactions of all combinations of two factors or more; of a single
    one nothing.

    `factors` are the levels of each, the first its base; `cells` the arms, each combination once. A
    main effect is how much more a level gives than its base, the mean over all settings of the
    other factors; an interaction how much more one level gives beside another than beside that
    one's base, the mean over all settings of the rest. Of two levels each: `factorial_questions`.
    """
    if len(factors) < 2:
        return ()
    questions = []
    for i, (base, *levels) in enumerate(factors):
        share = len(factors[i]) / len(cells)
        for level in levels:
            signs = {base: -share, level: share}
            weights = {arm: signs[cell[i]] for arm, cell in cells.items() if cell[i] in signs}
            questions.append(Question(level, "main", weights, EFFECTS))
    for (i, (base, *levels)), (j, (other, *others)) in itertools.combinations(
        enumerate(factors), 2
    ):
        share = len(factors[i]) * len(factors[j]) / len(cells)
        for a, b in itertools.product(levels, others):
            corners = {(base, other): share, (a, b): share, (a, other): -share, (base, b): -share}
            pairs = {arm: (cell[i], cell[j]) for arm, cell in cells.items()}
            weights = {arm: corners[pair] for arm, pair in pairs.items() if pair in corners}
            questions.append(Question(f"{a} × {b}", "interaction", weights, EFFECTS))
    return tuple(questions)


def shapley_questions(levels: Levels) -> tuple[Question, ...]:
    """How a full factorial's total gain, all on minus all off, is shared out over k >= 3 factors
    (Shapley 1953).

    A factor's share is what it adds, averaged over all orders in which the factors can be switched
    on; the shares sum to the total gain. For k = 2 they are the main effects, so nothing is asked
    there.
    """
    factors = tuple(next(iter(levels.values()), {}))
    k = len(factors)
    if k < 3 or not is_factorial(levels):
        return ()
    questions = []
    for factor in factors:
        weights = {}
        for arm, on in levels.items():
            others = sum(on.values()) - on[factor]
            share = math.factorial(others) * math.factorial(k - 1 - others) / math.factorial(k)
            weights[arm] = share if on[factor] else -share
        questions.append(Question(factor, "shapley", weights, SHAPLEY))
    return tuple(questions)


def screening_questions(levels: Levels) -> tuple[Question, ...]:
    """The main effects of an orthogonal fraction, each with what it cannot be told from;
    interactions are never asked.
    """
    factors = tuple(next(iter(levels.values()), {}))
    table = aliases(levels)
    return tuple(
        Question(
            factor,
            "main",
            _on_minus_off(levels, factor),
            SCREEN,
            aliases=tuple(alias for alias in table if alias.factor == factor),
        )
        for factor in factors
    )


def aliases(levels: Levels) -> tuple[Alias, ...]:
    """The alias table of an orthogonal two-level design: main effects against the two-way
    interactions of other factors.
    """
    factors = tuple(next(iter(levels.values()), {}))
    signs = {factor: [1 if on[factor] else -1 for on in levels.values()] for factor in factors}
    found = []
    for factor in factors:
        for a, b in itertools.combinations([other for other in factors if other != factor], 2):
            total = sum(
                x * y * z for x, y, z in zip(signs[factor], signs[a], signs[b], strict=True)
            )
            if total:
                found.append(Alias(factor, f"{a} × {b}", total / len(levels)))
    return tuple(found)


def _on_minus_off(levels: Levels, factor: str) -> dict[str, float]:
    """The mean of the arms with the factor minus the mean of those without it."""
    num_on = sum(on[factor] for on in levels.values())
    return {
        arm: 1.0 / num_on if on[factor] else -1.0 / (len(levels) - num_on)
        for arm, on in levels.items()
    }
