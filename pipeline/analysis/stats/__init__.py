"""Statistics of an ablation table: contrasts with Student intervals, one family, equivalence,
verdicts. Pure.
"""

from pipeline.analysis.stats.contrasts import NO_SPREAD, Contrast, Verdict, estimate
from pipeline.analysis.stats.family import Family, step_down
from pipeline.analysis.stats.pictures import Bools, Marks, for_other_pictures, leads_beyond, widened
from pipeline.analysis.stats.student import (
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
    noncentrality,
    planned_df,
    upper_sd,
)
from pipeline.analysis.stats.verdicts import (
    Judgement,
    Rivals,
    answer,
    by_family,
    conclude,
    deltas,
    effects,
    judge,
)
from pipeline.analysis.stats.winner import Winner, winners_curse
from pipeline.study.questions import Alias, Kind, Question, factorial_questions, shapley_questions

__all__ = [
    "ALPHA",
    "MIN_REPLICATES",
    "NAN",
    "NO_SPREAD",
    "PAIRED",
    "POWER",
    "Alias",
    "Basis",
    "Bools",
    "Contrast",
    "Family",
    "Fit",
    "Judgement",
    "Kind",
    "Marks",
    "Question",
    "Rivals",
    "Scope",
    "Verdict",
    "Winner",
    "answer",
    "basis",
    "by_family",
    "conclude",
    "deltas",
    "detectable",
    "effects",
    "estimate",
    "factorial_questions",
    "fit",
    "for_other_pictures",
    "judge",
    "leads_beyond",
    "noncentrality",
    "planned_df",
    "shapley_questions",
    "step_down",
    "upper_sd",
    "widened",
    "winners_curse",
]
