"""Statistics of an ablation table: contrasts with Student intervals, Holm, equivalence, verdicts. Pure."""

from pipeline.questions import Alias, Kind, Question, factorial_questions, shapley_questions
from pipeline.stats.contrasts import NO_SPREAD, Contrast, Verdict, answer, best_set, by_family, deltas, effects, estimate
from pipeline.stats.student import (
    ALPHA,
    MIN_REPLICATES,
    NAN,
    PAIRED,
    POWER,
    Basis,
    Fit,
    Scope,
    basis,
    detectable,
    fit,
    holm,
    noncentrality,
)
from pipeline.stats.winner import Winner, winners_curse

__all__ = [
    "ALPHA",
    "MIN_REPLICATES",
    "NAN",
    "NO_SPREAD",
    "PAIRED",
    "POWER",
    "Alias",
    "Basis",
    "Contrast",
    "Fit",
    "Kind",
    "Question",
    "Scope",
    "Verdict",
    "Winner",
    "answer",
    "basis",
    "best_set",
    "by_family",
    "deltas",
    "detectable",
    "effects",
    "estimate",
    "factorial_questions",
    "fit",
    "holm",
    "noncentrality",
    "shapley_questions",
    "winners_curse",
]
