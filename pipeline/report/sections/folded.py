"""Warnings that follow from one cause, folded into one: where arms learned nothing, each says so in
its own words.
"""

from pipeline.analysis.answers import Answers
from pipeline.analysis.results import Ablation
from pipeline.analysis.wording import listed
from pipeline.counts import plural
from pipeline.report.sections import diagnosis, provenance
from pipeline.report.sections.sentences import points


def folded(
    warnings: tuple[str, ...], ablation: Ablation, found: diagnosis.Diagnosis, answers: Answers
) -> tuple[str, ...]:
    """`warnings`, and where several arms are at chance one in the place of those that follow from
    it, with their number.

    Each of these can be read elsewhere: curves in the diagnosis, answers by class, differences in
    their table.
    """
    rows = [row.arm for row in ablation.rows if row.values]
    lost = [arm for arm in rows if arm in ablation.at_chance]
    if len(lost) < 2:
        return warnings
    every = len(lost) == len(rows)
    of_arms = (*diagnosis.not_learning(found), *answers.warnings)
    implied = {text for text in of_arms if every or text.startswith(tuple(f"{a}: " for a in lost))}
    implied |= {*provenance.level(ablation, None if every else frozenset(lost))}
    kept = tuple(warning for warning in warnings if warning not in implied)
    num = len(warnings) - len(kept)
    guess = points(ablation).level(ablation.guess.rate)
    told = (
        f"Every arm is at chance (guessing gives {guess}): what is compared here "
        "has learned nothing yet"
        if every
        else f"{len(lost)} of {len(rows)} arms are at chance (guessing gives {guess}), and have "
        f"learned nothing yet: {listed(lost)}"
    )
    follow = (
        f"; {plural(num, 'warning that follows', 'warnings that follow')} from it, of curves, "
        "answers and differences"
    )
    return (told + (f"{follow}: see there" if num else ""), *kept)
