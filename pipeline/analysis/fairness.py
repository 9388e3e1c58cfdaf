"""What makes a comparison of the arms void or less sure: conditions that are not the same for all,
plans changed later.
"""

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from pipeline.analysis.missing_runs import has_numbers
from pipeline.analysis.stats import Basis, Contrast
from pipeline.analysis.wording import listed
from pipeline.core.identity import as_today
from pipeline.counts import plural
from pipeline.frozen import Scalar, flatten
from pipeline.record.record import Record, Run
from pipeline.record.sources import changed
from pipeline.study.designs import Scheme
from pipeline.study.judged import Judged
from pipeline.study.questions import Question
from pipeline.study.study import BY_DESIGN, Study

REPLICATES, LOOKS = "ablation.replicates", "ablation.until_answered"
REASON = "the arms cannot be compared fairly"
OTHERWISE = "it was trained otherwise than the arms, as for other epochs"
CHOOSERS = "the val pictures that judge here chose it"
SHOWN_ARMS = 6
SHOWN_FILES = 20
FAR = 0.1
"""A matched arm whose parameters differ by more than this share of the reference's is warned of."""


def unequal(record: Record, study: Study) -> tuple[str, ...]:
    """What differs between the arms beyond their own definitions, a sentence each; not empty: they
    are not compared.

    The study refuses such arms before anything is trained, and a record is not gone on with under
    other settings. What is left are records of earlier versions, arms whose tuning chose what must
    be equal, and results cut short.
    """
    definitions = {arm.name: arm.overrides for arm in study.ablation.design.expand()}
    runs = {arm: own for arm, own in record.arms().items() if arm in definitions and own}
    configs = {arm: [dict(flatten(run.config)) for run in own] for arm, own in runs.items()}
    found = [*_settings(configs, definitions), *_circumstances(runs), _code(record, runs)]
    free = {arm: flats for arm, flats in configs.items() if "patience" not in definitions[arm]}
    found += _differing(
        "patience",
        {arm: [flat.get("patience", 0) for flat in flats] for arm, flats in free.items()},
    )
    found += [_short(arm, own) for arm, own in runs.items() if any(map(_cut_short, own))]
    return tuple(text for text in found if text)


def mixed_code(record: Record, runs: Iterable[Run]) -> str:
    """The files of the code that these runs were trained by different versions of; nothing where it
    is one, or unknown.
    """
    used = [
        record.code[name]
        for name in dict.fromkeys(name for run in runs for name in run.code)
        if name in record.code
    ]
    files = set[str]().union(
        *(changed(one, other) for one, other in itertools.combinations(used, 2))
    )
    return listed(sorted(files), SHOWN_FILES)


def chosen_by_the_judge(record: Record, study: Study) -> tuple[str, ...]:
    """What the val pictures chose of the results that they are to judge, a sentence each; without
    test labels alone.
    """
    names = {arm.name for arm in study.ablation.design.expand()}
    runs = [
        run for arm, own in record.arms().items() if arm in names for run in own if has_numbers(run)
    ]
    found = []
    if any(int(run.config.get("patience", 0)) for run in runs):
        found.append(
            "early stopping: the val pictures judge here, and they also chose where runs ended "
            "(set patience to 0 or label test pictures)"
        )
    if any(run.final for run in runs):
        found.append(
            "final evaluation: the val pictures judge here, and they also chose the epoch at which "
            "compression and views were measured (label test pictures)"
        )
    return tuple(found)


def not_compared(
    questions: Sequence[Question], basis: Basis, why: str = REASON
) -> tuple[Contrast, ...]:
    """The questions without an answer, as arms that were not treated alike leave them."""
    bare = Contrast(
        "", "delta", (), 0, float("nan"), reason=why, test=basis.test, scope=basis.scope
    )
    return tuple(
        replace(
            bare,
            name=q.name,
            kind=q.kind,
            family_name=q.family,
            against=q.against,
            aliases=q.aliases,
        )
        for q in questions
    )


def refusal(found: Sequence[str]) -> str:
    """What must be said wherever the table is shown; nothing where the arms were treated alike."""
    if not found:
        return ""
    return (
        f"NOT COMPARED: {REASON}, so no difference is given, tested or marked. "
        f"{'. '.join(map(_sentence, found))}."
    )


def later_changes(record: Record) -> tuple[str, ...]:
    """Changes of the plan after results of the arms existed, seen from the sessions' budgets; a
    sentence each. Where the arms are looked at as they come, their maximum may change.
    """
    first = min((run.ended_seq for run in _judged(record)), default=None)
    if first is None:
        return ()
    found = []
    for key, name, unit in (
        (REPLICATES, "replicates were", 1),
        ("ablation.rope", "the margin was", Judged.of(record.study.baseline).scale),
    ):
        fixed = [s for s in record.sessions if key != REPLICATES or not s.budget.get(LOOKS)]
        budgets = [(session.seq, session.budget.get(key)) for session in fixed]
        known = [(seq, value) for seq, value in budgets if value is not None]
        before = [value for seq, value in known if seq < first][-1:]
        steps = before + [value for seq, value in known if seq > first]
        steps = [value for i, value in enumerate(steps) if i == 0 or value != steps[i - 1]]
        for old, new in itertools.pairwise(steps):
            how = "raised" if new > old else "lowered"
            points = "" if unit == 1 else " points"
            found.append(
                f"{name} {how} from {old * unit:g} to {new * unit:g}{points} after results existed"
            )
    for last, session in itertools.pairwise(record.sessions):
        if session.seq > first and session.budget.get(LOOKS) and not last.budget.get(LOOKS):
            found.append("looks on the way were begun after results existed")
    return tuple(dict.fromkeys((*found, *_grown(record, first))))


def _grown(record: Record, first: int) -> Iterator[str]:
    """How the study was revised after the event `first`, where that concerns its arms."""
    trees = [record.header.study, *(revision.study for revision in record.revisions)]
    studies = [as_today(Study, tree) for tree in trees]
    for revision, (old, new) in zip(record.revisions, itertools.pairwise(studies), strict=True):
        if revision.seq < first:
            continue
        yield from _redesigned(old.ablation.design, new.ablation.design)
        if old.space != new.space and new.ablation.tuning.name != "fixed":
            yield "the space that arms are tuned in was changed after results existed"
        before, after = old.baseline.epochs, new.baseline.epochs
        if before != after:
            yield f"runs went from {before} to {plural(after, 'epoch')} after results existed"


def _redesigned(old: Scheme, new: Scheme) -> Iterator[str]:
    """What another design changes of the plan, whatever its arms are called."""
    before, after = (_asked(design) for design in (old, new))
    if before.keys() != after.keys():
        yield "the arms were changed after results existed"
    elif before != after:
        yield "what the arms are measured against was changed after results existed"


def _asked(design: Scheme) -> dict[str, set[tuple[str, ...]]]:
    """Arm, by what it sets → what is asked of it: the other arms of each question, likewise."""
    arms = {arm.name: repr(sorted(flatten(arm.overrides))) for arm in design.expand()}
    found: dict[str, set[tuple[str, ...]]] = {made: set() for made in arms.values()}
    for question in design.questions():
        for arm in question.weights:
            others = sorted(f"{w:g} {arms[other]}" for other, w in question.weights.items())
            found[arms[arm]].add((question.kind, *others))
    return found


def post_hoc(record: Record) -> str:
    """`later_changes` as a footnote, with what they mean for the tests."""
    found = later_changes(record)
    if not found:
        return ""
    text = "; ".join(found)
    return (
        f"Changed later: {text}. Where results led to such a change, the stated error rates no "
        "longer hold: read the verdicts as exploratory."
    )


def matched_note(study: Study, num_params: Mapping[str, int]) -> str:
    """The footnote of parameter-matched arms; `num_params`: arm → parameters, the reference first,
    0 where not known.
    """
    if not study.ablation.match:
        return ""
    numbers = study.ablation.matched
    known = {arm: count for arm, count in num_params.items() if count}
    shown = [
        f"{arm} {count:,}" + (f" (at {numbers[arm]:,})" if arm in numbers else "")
        for arm, count in known.items()
    ]
    reference = next(iter(num_params))
    return (
        f"Parameter-matched: every other arm has the {study.ablation.match} that brings its number "
        f"of parameters nearest to that of {reference}. Parameters: "
        f"{listed(shown, 16) or 'not known yet'}."
    )


def mismatched(study: Study, num_params: Mapping[str, int]) -> Iterator[str]:
    """The arms that no number brings near the reference's parameters, a warning each."""
    reference, goal = next(iter(num_params.items()))
    for arm, count in num_params.items() if study.ablation.match and goal else ():
        if count and abs(count - goal) > FAR * goal:
            yield (
                f"{arm}: even the nearest {study.ablation.match} leaves it with "
                f"{count / goal - 1:+.0%} parameters against {reference} ({count:,} against "
                f"{goal:,}): the arms are not matched"
            )


def by_design(study: Study) -> str:
    """What arms differ in that is otherwise the same for all, as that is what they are; nothing
    where there is none.
    """
    arms = study.arms()
    found = []
    for path in (*BY_DESIGN, "input_size", "members"):
        values = [config.flat()[path] or config.dataset.size for _, config in arms]
        if len({*values}) > 1:
            named = [f"{arm.name} {v}" for (arm, _), v in zip(arms, values, strict=True)]
            found.append(f"{path} ({listed(named, SHOWN_ARMS)})")
    return f"Unequal by design: {'; '.join(found)}." if found else ""


def _settings(
    configs: Mapping[str, Sequence[Mapping[str, Scalar]]],
    definitions: Mapping[str, Mapping[str, Any]],
) -> Iterator[str]:
    """What the configs of all runs must have in common, but where it is what an arm is."""

    def column(path: str) -> dict[str, list[Scalar]]:
        return {arm: [flat.get(path) for flat in flats] for arm, flats in configs.items()}

    for path in ("epochs", "split", "precision", "select"):
        yield from _differing(
            path,
            {
                arm: values
                for arm, values in column(path).items()
                if path not in BY_DESIGN or path not in definitions[arm]
            },
        )
    if all(flat.get("split") == "kfold" for flats in configs.values() for flat in flats):
        yield from _differing("folds", column("folds"))
    names = {
        path: None
        for flats in configs.values()
        for flat in flats
        for path in flat
        if path.startswith("dataset.")
    }
    for path in names:
        yield from _differing(f"pictures ({path})", column(path))


def _circumstances(runs: Mapping[str, Sequence[Run]]) -> Iterator[str]:
    """What the runs themselves record of their pictures, the code that trained them, and how they
    were judged.
    """
    for name, field in (("pictures (fingerprint)", "data"), ("training core", "core_version")):
        known = {
            arm: [getattr(run, field) for run in own if getattr(run, field)]
            for arm, own in runs.items()
        }
        yield from _differing(name, {arm: values for arm, values in known.items() if values})
    judged = {arm: [run for run in own if has_numbers(run)] for arm, own in runs.items()}
    on = {
        arm: ["val" if run.test_acc is None else "test" for run in own]
        for arm, own in judged.items()
        if own
    }
    yield from _differing("judged on", on)


def _code(record: Record, runs: Mapping[str, Sequence[Run]]) -> str:
    files = mixed_code(record, filter(has_numbers, itertools.chain(*runs.values())))
    return f"code: runs were trained by different versions of {files}" if files else ""


def _differing(what: str, values: Mapping[str, Sequence[Scalar]]) -> Iterator[str]:
    """`epochs: baseline 10, ResNet 20` where not all are the same."""
    distinct = {arm: " or ".join(dict.fromkeys(map(str, own))) for arm, own in values.items()}
    groups = {
        value: [arm for arm in distinct if distinct[arm] == value] for value in distinct.values()
    }
    if len({str(value) for own in values.values() for value in own}) < 2:
        return
    if len(distinct) <= SHOWN_ARMS:
        yield f"{what}: {', '.join(f'{arm} {value}' for arm, value in distinct.items())}"
    else:
        named = (f"{value} ({listed(arms, SHOWN_ARMS)})" for value, arms in groups.items())
        yield f"{what}: {'; '.join(named)}"


def _cut_short(run: Run) -> bool:
    return has_numbers(run) and len(run.epochs) < int(run.config["epochs"]) and not run.early


def _short(arm: str, runs: Sequence[Run]) -> str:
    cut = [run for run in runs if _cut_short(run)]
    longest = max(len(run.epochs) for run in cut)
    planned = plural(int(cut[0].config["epochs"]), "planned epoch")
    ended = f"{plural(len(cut), 'run')} cut short after at most {longest:,} of {planned}"
    return f"epochs trained: {arm} has {ended}"


def _judged(record: Record) -> list[Run]:
    """The replicates with results, of arms that are no part of the study any more, too."""
    return [run for run in record.runs.values() if run.kind == "arm" and has_numbers(run)]


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]
