"""Parts of so few pictures that one of them is worth more than the margin: what is said of it
before anything is trained, and before anything else in a report.
"""

from collections.abc import Mapping
from typing import Any

from pipeline.data.taken import SHOWN, Taken, num_labelled
from pipeline.study.judged import Judged
from pipeline.study.study import Ablation, Study

CHOOSES = "which epoch or trial is best is mostly luck there"
JUDGES = "more runs do not make up for it"


def labelled(data: Mapping[str, Any]) -> dict[str, int]:
    """Part → its pictures with a label, of a study's `data`."""
    return {part: num_labelled(data, part) for part in SHOWN}


def listed_as(taken: Taken) -> dict[str, int]:
    """The same of what was taken, before any picture is decoded."""
    return {part: total - bare for part, (total, bare) in taken.counts.items()}


def few_pictures(num: Mapping[str, int], study: Study) -> tuple[str, ...]:
    """A warning for the part that judges, then for the one that chooses, where either is too small
    (see `too_few`).
    """
    judge = judging(num)
    found = []
    for part in dict.fromkeys((judge, "valid")):
        if too_few(num, study, part):
            count = of_part(num, study, part)
            who = "the folds have" if _in_turn(num, study, part) else f"the {SHOWN[part]} part has"
            has = f"{who} {count} picture{'s' * (count != 1)}"
            why = JUDGES if part == judge else CHOOSES
            margin = 100 * _margin(study)
            points = f"{margin:g} point{'s' * (margin != 1)}"
            worth = f"{100 / count:.2g} points, more than the margin of {points}"
            way = "add pictures" if _in_turn(num, study, part) else _way(study, part)
            found.append(f"{has}: one is worth {worth}, so {why}; {way}")
    return tuple(found)


def judging(num: Mapping[str, int]) -> str:
    """The part by which arms are judged."""
    return "test" if num.get("test") else "valid"


def too_few(num: Mapping[str, int], study: Study, part: str) -> bool:
    """Whether one picture more or less that is right moves an accuracy by more than the margin
    within which a difference is of no interest.
    """
    return 0 < of_part(num, study, part) * _margin(study) < 1 - 1e-9


def of_part(num: Mapping[str, int], study: Study, part: str) -> int:
    """Its pictures; where folds judge, one after another, all that they hold."""
    in_turn = _in_turn(num, study, part)
    return num["train"] + num["valid"] if in_turn else num.get(part, 0)


def _in_turn(num: Mapping[str, int], study: Study, part: str) -> bool:
    """Whether folds judge, one after another."""
    return study.baseline.split == "kfold" and part == judging(num) == "valid"


def _margin(study: Study) -> float:
    """A share of 1; the default one where the study's is of a metric in another unit."""
    shares = Judged.of(study.baseline).is_share
    return float(study.ablation.rope if shares else Ablation.model_fields["rope"].default)


def _way(study: Study, part: str) -> str:
    """What helps: pictures, or more of those that there are."""
    field = f"{part}_share"
    if not hasattr(study.baseline.dataset, field):
        return "add pictures"
    more = f"add pictures, or cut more of them from train (dataset.{field})"
    if part != "test" or study.baseline.split == "kfold":
        return more
    return f"{more}, or let all judge in turn (split=kfold with dataset.test_share=0)"
