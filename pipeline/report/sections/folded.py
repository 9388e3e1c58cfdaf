"""Warnings that follow from one cause, folded into one: where no arm learned anything, each says so
in its own words.
"""

from pipeline.analysis.answers import Answers
from pipeline.analysis.results import Ablation
from pipeline.counts import plural
from pipeline.report.sections import diagnosis, provenance
from pipeline.report.sections.sentences import points


def at_chance(ablation: Ablation) -> bool:
    """Whether every arm that has a result is at chance, and there are several."""
    rows = [row for row in ablation.rows if row.values]
    return len(rows) > 1 and all(row.arm in ablation.at_chance for row in rows)


def folded(
    warnings: tuple[str, ...], ablation: Ablation, found: diagnosis.Diagnosis, answers: Answers
) -> tuple[str, ...]:
    """`warnings`, and where all arms are at chance one in the place of those that follow from it,
    with their number.

    Each of these can be read elsewhere: curves in the diagnosis, answers by class, differences in
    their table.
    """
    if not at_chance(ablation):
        return warnings
    implied = {*diagnosis.not_learning(found), *provenance.level(ablation), *answers.warnings}
    kept = tuple(warning for warning in warnings if warning not in implied)
    num = len(warnings) - len(kept)
    guess = points(ablation).level(ablation.guess.rate)
    told = (
        f"Every arm is at chance (guessing gives {guess}): what is compared here "
        "has learned nothing yet"
    )
    follow = (
        f"; {plural(num, 'warning that follows', 'warnings that follow')} from it, of curves, "
        "answers and differences"
    )
    return (told + (f"{follow}: see there" if num else ""), *kept)
