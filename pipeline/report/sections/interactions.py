"""What two factors do together, in words that follow the signs: overlap, synergy, one that turns
the other round.
"""

from dataclasses import dataclass
from itertools import chain

from pipeline.analysis.dimensions import dimensions, interacting
from pipeline.analysis.results import Ablation
from pipeline.analysis.stats import Contrast
from pipeline.analysis.wording import Points, is_zero, signs_of


@dataclass(frozen=True)
class Pair:
    """What factors `a` and `b` give one by one and together over neither, the more the better;
    `sign` times that is what is shown. Of factors that have levels these are levels, and `bases`
    what they are instead.
    """

    a: str
    b: str
    alone: tuple[float, float]
    together: float
    sign: int = 1
    bases: tuple[str, str] = ("", "")

    @property
    def total(self) -> float:
        """Of the two one by one."""
        return sum(self.alone)

    @property
    def extra(self) -> float:
        """The interaction: what they give together beyond their total."""
        return self.together - self.total

    @property
    def turned(self) -> bool:
        """Whether one that helps or harms alone does the opposite beside the other."""
        first, second = self.alone
        return (self.together - second) * first < 0 or (self.together - first) * second < 0

    def phrase(self, shown: Points) -> str:
        """The case of the signs, with the numbers that it follows from."""
        numbers = (
            f"together {self._signed(self.together, shown)}, {shown.number(abs(self.extra))} {{}} "
            f"the {self._signed(self.total, shown)} "
        )
        if any(map(is_zero, (*self.alone, self.together))):
            return numbers.format(self._side()) + "that they come to one by one"
        if min(self.alone) > 0:
            return self._gains(numbers + "they give one by one", shown)
        if max(self.alone) < 0:
            return self._harms(numbers + "they cost one by one")
        return f"{self._mixed()}: {numbers.format(self._side())}that they come to one by one"

    def simple(self, shown: Points) -> str:
        """Their simple effects: each without and with the other, or with its base and with it."""
        (first, second), (base, other) = self.alone, self.bases
        beside = (self.together - second, self.together - first)
        return "; ".join(
            (
                f"{self.a} {self._changes(first, beside[0], self.b, other, shown)}",
                f"{self.b} {self._changes(second, beside[1], self.a, base, shown)}",
            )
        )

    def _signed(self, worth: float, shown: Points) -> str:
        return shown.signed(self.sign * worth)

    def _side(self) -> str:
        return "above" if self.sign * self.extra > 0 else "below"

    def _gains(self, numbers: str, shown: Points) -> str:
        if self.extra > 0:
            return f"the two gains reinforce each other: {numbers.format('more than')}"
        if self.together < 0:
            return f"each helps alone, together they harm: {numbers.format(self._side())}"
        overlap = f"the two gains overlap: {numbers.format('less than')}"
        best, name = max(zip(self.alone, (self.a, self.b), strict=True))
        return (
            f"{overlap}, and less than the {self._signed(best, shown)} of {name} alone"
            if self.together < best
            else overlap
        )

    def _harms(self, numbers: str) -> str:
        if self.extra < 0:
            return f"the two harms reinforce each other: {numbers.format('worse than')}"
        if self.together > 0:
            return f"each harms alone, together they help: {numbers.format(self._side())}"
        return f"the two harms overlap: {numbers.format('less than')}"

    def _changes(self, without: float, beside: float, other: str, base: str, shown: Points) -> str:
        """costs 6.4 without X and gives 3.8 with it, or costs 6.4 with base B and gives 3.8 with X;
        of what less is better of, raises and lowers.
        """
        verbs = ("costs", "gives") if self.sign > 0 else ("raises it by", "lowers it by")
        first, second = (verbs[effect >= 0] for effect in (without, beside))
        again = f"{second} " * (second != first)
        here, there = (f"with {base}", f"with {other}") if base else (f"without {other}", "with it")
        return (
            f"{first} {shown.number(abs(without))} {here} and "
            f"{again}{shown.number(abs(beside))} {there}"
        )

    def _mixed(self) -> str:
        """One helps alone, the other harms."""
        (_, harms), (_, helps) = sorted(zip(self.alone, (self.a, self.b), strict=True))
        if self.extra > 0:
            return (
                f"{harms} harms alone and helps beside {helps}"
                if self.turned
                else f"{helps} softens the harm of {harms}"
            )
        return (
            f"{helps} helps alone and harms beside {harms}"
            if self.turned
            else f"{harms} takes from the gain of {helps}"
        )


def sentence(contrast: Contrast, ablation: Ablation, shown: Points) -> str:
    """An interaction that was found, then the simple effects of its factors; the others averaged,
    where there are more.
    """
    pair = pair_of(contrast, ablation)
    size = (
        f"interaction {shown.difference(contrast.delta)} "
        f"{shown.interval(contrast.low, contrast.high)}"
    )
    sign = signs_of(contrast)[contrast.verdict]
    hedge = "" if _found(pair, ablation) else "by the estimates, "
    if len(dimensions(ablation)) > 2:
        hedge = "by the averages over the other factors, "
    return (
        f"{contrast.name}: {hedge}{pair.phrase(shown)} ({size}, {sign}). Simple effects, as "
        f"estimated: {pair.simple(shown)}."
    )


def pair_of(contrast: Contrast, ablation: Ablation) -> Pair:
    """The two factors of an interaction, with what they give over neither in the replicates that
    the contrast is of.
    """
    (first, a), (second, b) = interacting(contrast.name, dimensions(ablation))
    cells = {
        (one, other): [
            row.arm
            for row in ablation.designed
            if first.at(one, row.levels) and second.at(other, row.levels)
        ]
        for one in (first.base, a)
        for other in (second.base, b)
    }
    scores = ablation.scores[[*chain(*cells.values())]].iloc[: contrast.look or None]
    sign = ablation.judged.sign
    means = sign * (scores.dropna() if contrast.paired else scores).mean()
    levels = {cell: float(means[arms].mean()) for cell, arms in cells.items()}
    neither = levels[first.base, second.base]
    alone = (levels[a, second.base] - neither, levels[first.base, b] - neither)
    bases = (first.base.name, second.base.name) if first.named else ("", "")
    return Pair(a.column, b.column, alone, levels[a, b] - neither, sign, bases)


def _found(pair: Pair, ablation: Ablation) -> bool:
    """Whether the signs that the words speak of are verdicts of the table; none is where one turns
    the other round.
    """
    first, second = pair.alone
    told = [{pair.a}, {pair.b}]
    if pair.together * pair.total < 0:
        told.append({pair.a, pair.b})
    elif first * second < 0 and pair.turned:
        return False
    arms = {
        row.arm
        for row in ablation.rows
        if {factor for factor, on in row.levels.items() if on} in told
    }
    return all(
        contrast.verdict in ("better", "worse")
        for contrast in ablation.deltas
        if contrast.name in arms
    )
