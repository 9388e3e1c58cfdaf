"""A table judged look by look, as its arms get replicates until their questions are answered. Pure.

At a look of n replicates a contrast is tested by its arms' first n alone, whatever else there is by
then. Its p-value is the smallest so far of those of its looks, each divided by the look's share of
the error (`study.looks`): under the null it is below a in at most a share a of all tables, whatever
stops or goes on and however the looks hang together. So these p-values take the place of p in the
family, and the intervals, each at the level of its look, hold at all looks together (C. Jennison,
B. Turnbull, "Repeated confidence intervals for group sequential clinical trials", Controlled
Clinical Trials 5, 1984).
"""

import math
from collections.abc import Collection, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from typing import Self

import pandas as pd

from pipeline.analysis.stats.contrasts import Contrast, estimate
from pipeline.analysis.stats.student import ALPHA, MIN_REPLICATES, PAIRED, Basis
from pipeline.analysis.stats.verdicts import Judgement, conclude, judge_by
from pipeline.study.looks import Rows, last_look, looks
from pipeline.study.questions import Question

SETTLED = ("better", "worse", "equivalent")


@dataclass
class Walk:
    """A table from look to look, each at the arms that were still needed then.

    `scores` as in `stats.contrasts`, a row each for the replicates 1, 2, …. `rows`: how many
    replicates each arm is to have; `settled`: of each question the look from which on it is
    settled, 0 while it is open. `scores` are what the more is the better, `sign` times what is
    shown.
    """

    scores: pd.DataFrame
    questions: Sequence[Question]
    rope: float
    basis: Basis = PAIRED
    sign: int = 1
    rows: Rows = field(default_factory=lambda: Rows({}, {}))
    settled: list[int] = field(default_factory=list)
    seen: list[tuple[int, Set[str]]] = field(default_factory=list)  # look, its arms
    _was: dict[int, str] = field(default_factory=dict)  # question → its verdict at the last look
    _known: dict[tuple[object, ...], Contrast] = field(default_factory=dict)

    def to(self, over: Mapping[str, int], most: int) -> Self:
        """As far as the replicates go that are over; `most` is the maximum, `over` has the arms and
        how many of each one's first replicates are over.

        Which arms go on follows from what a look saw, and from nothing that came later. An arm
        without any result keeps no question open.
        """
        needed, now = set(over), dict.fromkeys(over, 0 if looks(most) else most)
        self.settled = [0] * len(self.questions)
        for look in looks(most):
            now |= dict.fromkeys(needed, look)
            if any(over[arm] < look for arm in needed):
                break
            self.seen.append((look, frozenset(needed)))
            needed = self._open(look)
        last = last_look(most)
        self.rows = Rows(now, {arm: last if arm in needed else n for arm, n in now.items()})
        return self

    def at(self, look: int, question: Question) -> Contrast:
        """The contrast at one look, with the interval of its level."""
        found = replace(estimate(self.scores.iloc[:look], question, self.basis), look=look)
        if math.isnan(found.p):
            return found
        half = float(found.fit.half(1 - ALPHA * found.share))
        even = bool(found.fit.within(self.rope, ALPHA * found.share))
        return replace(found, low=found.delta - half, high=found.delta + half, even=even)

    def ask(self, question: Question) -> Contrast:
        """The contrast as of its last look, with the p-value of all its looks."""
        arms = question.weights.keys()
        found = [self._at(look, question) for look, there in self.seen if arms <= there]
        if not found:  # too few to be tested
            return estimate(self.scores.iloc[: MIN_REPLICATES - 1], question, self.basis)
        now, tested = found[-1], [one for one in found if not math.isnan(one.p)]
        if not tested:
            return now
        # what an earlier look found counts while the estimate has not gone over to the other side
        alike = [one.p / one.share for one in tested if (one.delta > 0) == (now.delta > 0)]
        even = any(one.even for one in tested) and abs(now.delta) < self.rope
        return replace(now, p=min(1.0, *alike), even=even)

    def judged(self, barred: Collection[str] = ()) -> Judgement:
        """As `judge`, by all looks."""
        last = {arm: look for look, there in self.seen for arm in sorted(there)}
        known = pd.DataFrame(
            {arm: self.scores[arm].iloc[: last.get(str(arm), 0)] for arm in self.scores}
        ).reindex(columns=self.scores.columns)
        found = judge_by(self.ask, known, self.questions, self.rope, barred)
        contrasts = zip(found.contrasts, self.settled, strict=True)
        looked = replace(
            found,
            contrasts=tuple(
                replace(one, settled=(since or one.look) * (one.verdict in SETTLED))
                for one, since in contrasts
            ),
        )
        return looked.turned(self.sign)

    def _open(self, look: int) -> set[str]:
        """The arms of the questions that a look leaves open."""
        some = self.scores.iloc[:look].notna().to_numpy().any(axis=0)
        known = {str(arm) for arm, there in zip(self.scores, some, strict=True) if there}
        raw = [self.ask(question) for question in self.questions]
        answers = conclude(raw, self.questions, self.rope, sorted(known)).contrasts
        found = set[str]()
        for i, (question, answer) in enumerate(zip(self.questions, answers, strict=True)):
            is_open = answer.verdict not in SETTLED
            # a better arm may have been equivalent before: it is settled since it is called so
            since = self.settled[i] if self._was.get(i) == answer.verdict else 0
            self._was[i] = answer.verdict
            self.settled[i] = 0 if is_open else since or look
            if is_open and question.kind != "shapley" and known >= question.weights.keys():
                found |= question.weights.keys()
        return found

    def _at(self, look: int, question: Question) -> Contrast:
        key = (look, question.name, question.kind, *question.weights.items())
        if key not in self._known:
            self._known[key] = self.at(look, question)
        return self._known[key]
