"""What was run, on what, how to run it again, and what a reader must be warned of."""

import math
import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pipeline.analysis.fairness import mixed_code
from pipeline.analysis.identical_arms import WIRING
from pipeline.analysis.missing_runs import NOT_RUN, cause, last_rows
from pipeline.analysis.results import Ablation, ArmRow
from pipeline.analysis.search_results import STATUS, Search
from pipeline.analysis.stats import MIN_REPLICATES, Contrast
from pipeline.analysis.wording import NONE, listed, moment
from pipeline.core.config import TrainConfig
from pipeline.counts import duration, plural
from pipeline.data.taken import Taken
from pipeline.frozen import Frozen
from pipeline.own.parts import file_of, own_parts, short
from pipeline.record.events import Session
from pipeline.record.mlflow_trouble import anonymous
from pipeline.record.record import Record
from pipeline.report.document import Block, Bullets, Code, Heading, Text, table
from pipeline.report.sections.next_steps import HIDDEN
from pipeline.report.sections.sentences import fallen
from pipeline.study.around import Around
from pipeline.study.study import Study
from pipeline.study.survey import pairs

LIMIT = 20  # names in a list
UNREAD = "could not be read and"  # of the warning with which a cache is built; others lack it
GOOD_REPLICATES = 5
TAKEN = {"labels": "labels from", "files": "files from", "train": "training part"}
TAKEN |= {"validation": "validation part", "test": "test part"}


def blocks(record: Record, study: Study) -> Iterator[Block]:
    """Data, space, versions, sessions, then the command."""
    yield Heading("What was run")
    yield _facts(record)
    if unreadable := record.data.get("unreadable", []):
        items = [f"{item['file']}: {item['reason']}" for item in unreadable[:LIMIT]]
        rest = len(unreadable) - len(items)
        yield Text(f"{plural(len(unreadable), 'picture')} could not be read and took no part:")
        yield Bullets((*items, *([f"and {rest:,} more"] if rest else [])), small=True)
    yield table("Search space.", ("knob", "range"), study.space.table())
    if never := pairs(Around(study.space, study.baseline)):
        yield Text("Never drawn, as the configuration refuses it:")
        yield Bullets(tuple(map(str, never)), small=True)
    if record.sessions:
        yield _sessions(record)
    if record.revisions:
        yield from _grown(record)
    if record.repairs:
        lost = sum(max(event.missing, event.unreadable) for event in record.repairs)
        left = sum(sum(event.left_out.values()) for event in record.repairs)
        yield Text(
            f"The ledger was damaged and has been mended: {plural(lost, 'event')} lost, {left:,} "
            "left out as they built on what was lost. What is shown was recorded so; what was "
            "missing was trained again or taken from checkpoints."
        )
    yield Heading("How to reproduce")
    yield from _reproduce(record)


def warnings(record: Record, ablation: Ablation, search: Search) -> tuple[str, ...]:
    """Everything that limits what the report may be taken for, the gravest first."""
    found = [
        *_holes(ablation),
        *_lost(ablation),
        *_too_few(ablation),
        *_metric(ablation),
        *_epochs(ablation),
    ]
    found += map(_not_tested, _untested(ablation))
    found += [*_trials(search), *_data(record), *_mixed(record)]
    return tuple(found)


def level(ablation: Ablation, among: frozenset[str] | None) -> Iterator[str]:
    """The warnings of `warnings` of differences without any spread, those aside that a wiring
    mistake explains; where `among` is given, of one of these arms.
    """
    for c in _untested(ablation):
        if c.sd == 0 and WIRING not in c.reason and (among is None or {c.name, c.against} & among):
            yield _not_tested(c)


def _not_tested(contrast: Contrast) -> str:
    return f"{contrast.name} ({contrast.family_name}): not tested, {contrast.reason}"


def _facts(record: Record) -> Block:
    data, counts = record.data, record.data["counts"]
    session = record.sessions[-1] if record.sessions else Session(command="")
    machine, versions = session.machine, session.versions
    stores = sorted({anonymous(key.rpartition("|")[0]) for key in record.mlflow_ids})
    cores = plural(machine["cpus"], "core") if "cpus" in machine else ""
    rows = [
        ("data", data["title"]),
        ("data fingerprint", data["fingerprint"]),
        ("pictures", ", ".join(f"{part} {counts[part]:,}" for part in counts)),
        (f"{len(data['classes'])} classes", listed(list(map(str, data["classes"])), LIMIT)),
        *_taken(data),
        (
            "machine",
            ", ".join(str(x) for x in (machine.get("name"), machine.get("device"), cores) if x)
            or NONE,
        ),
        ("workers", session.workers or NONE),
        ("versions", ", ".join(f"{name} {version}" for name, version in versions.items()) or NONE),
        ("commit", session.commit or "unknown (not a git checkout)"),
        (
            "training time, summed over runs",
            duration(sum(run.seconds for run in record.runs.values())),
        ),
        *_own(record),
        ("begun", moment(record.header.time)),
        ("MLflow", listed(stores) or "not recorded there"),
        *record.about.rows(),
    ]
    return table("Data, machine and versions.", ("", ""), rows)


def _own(record: Record) -> Iterator[tuple[str, str]]:
    """Parts that are not the product's, with their files."""
    found = dict.fromkeys(
        f"{path.split('.')[0]} {short(type(part).model_fields['name'].default)} ({file_of(part)})"
        for path, part in _own_parts(record)
    )
    if found:
        yield "parts of the study's own", listed(list(found), LIMIT)


def _own_parts(record: Record) -> Iterator[tuple[str, Frozen]]:
    for run in record.runs.values():
        yield from own_parts(TrainConfig.parse(run.config, source="run"))


def _taken(data: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """By what rule the pictures were taken, and what was left out; nothing for records that do not
    say it.
    """
    if "taken" in data:
        taken = Taken.parse(data["taken"])
        yield "pictures of a class", taken.sizes()
        yield from ((TAKEN.get(what, what), said) for what, said in taken.lines()[1:])


def _sessions(record: Record) -> Block:
    rows = []
    for session in record.sessions[-LIMIT:]:
        budget = ", ".join(f"{key} {number}" for key, number in session.budget.items())
        rows.append((moment(session.time), session.command, budget, _short(session.commit) or NONE))
    left = len(record.sessions) - len(rows)
    caption = "Sessions: the study is one record, however often it was stopped and continued."
    return table(
        caption
        + (f" {plural(left, 'earlier one is', 'earlier ones are')} not shown." if left else ""),
        ("begun", "command", "budget", "commit"),
        rows,
    )


def _grown(record: Record) -> Iterator[Block]:
    yield Text("The study has grown since it was begun:")
    yield Code(
        tuple(
            f"{moment(revision.time)}  {line}"
            for revision in record.revisions[-LIMIT:]
            for line in revision.changed[:LIMIT]
        )
    )
    if apart := len(record.apart()):
        yield Text(
            f"{plural(apart, 'recorded run is', 'recorded runs are')} no part of it now: kept, "
            "and in no mean, contrast or ranking."
        )


def _reproduce(record: Record) -> Iterator[Block]:
    if not record.sessions:
        yield Text("No session was recorded, so the command is not known.")
        return
    session = next(filter(_searches, reversed(record.sessions)), record.sessions[-1])
    commit = session.commit
    sha = commit.removesuffix("+")
    yield Text(
        "The recorded command, and the version of the product's own code that it ran:"
        if sha
        else "The recorded command:"
    )
    yield Code(((f"git checkout {shlex.quote(sha)}",) if sha else ()) + (session.command,))
    if commit != sha:
        yield Text(
            "Uncommitted changes came on top of this commit. They are not recorded: the checkout "
            "lacks them."
        )
    if own := dict.fromkeys(file_of(part) for _, part in _own_parts(record)):
        yield Text(
            "Beside the code of the product it needs that of the study's own parts: "
            f"{listed(list(own), LIMIT)}. The record holds their digests, not their text: keep "
            "them with it."
        )
    begun = [run for run in record.runs.values() if run.epochs]
    if unknown := [run for run in begun if not run.code]:
        yield Text(
            f"Of {len(unknown):,} of {plural(len(begun), 'run')} the code was not recorded: a "
            "change cannot be seen."
        )
    yield Text(
        "The numbers are the same only for the same pictures (fingerprint "
        f"{record.data['fingerprint']}), versions and kind of machine; on other hardware expect "
        "differences of the size of the spread over replicates."
        + f" {HIDDEN}"
        * ("…/" in session.command),
        small=True,
    )


def _searches(session: Session) -> bool:
    """Whether the session's command is that of the whole study: search, then arms."""
    return session.command.split()[1:3] == ["-m", "pipeline.search"]


def _short(commit: str) -> str:
    return commit.removesuffix("+")[:12] + "+" * commit.endswith("+")


def _holes(ablation: Ablation) -> Iterator[str]:
    if ablation.holes:
        arms, planned = len(ablation.rows), ablation.longest
        whole = planned - last_rows(ablation.holes, arms, planned)
        names = [
            f"{hole.arm}, replicate {hole.replicate} ({hole.why})"
            for hole in ablation.holes
            if hole.replicate <= whole
        ]
        if whole < planned:
            names.append(f"every arm beyond replicate {whole} ({NOT_RUN})")
        yield (
            f"The ablation table is INCOMPLETE, {len(ablation.holes)} of "
            f"{plural(ablation.num_planned, 'planned run')} "
            f"without a result: {listed(names)}"
        )


def _lost(ablation: Ablation) -> Iterator[str]:
    for row in ablation.rows:
        if row.arm in ablation.collapsed:
            yield (
                f"{fallen(row, ablation)[:-1]}: the mean describes neither kind of run, look at "
                "its curve"
            )
        if row.diverged:
            runs = [f"replicate {run.replicate} ({run.error})" for run in row.diverged]
            lost = f"{row.arm}: {plural(len(runs), 'run')} diverged: {listed(runs)}"
            yield (
                f"{lost}; its numbers are about the runs that did not"
                if row.complete
                else f"{lost}; it has no numbers"
            )


def _too_few(ablation: Ablation) -> Iterator[str]:
    rows = ablation.rows
    few = [row for row in rows if row.n < MIN_REPLICATES]
    some = [row for row in rows if MIN_REPLICATES <= row.n < GOOD_REPLICATES]
    some = [] if ablation.looked else some  # those that stopped there were found
    if few:
        yield (
            f"{_sizes(few, len(rows))}: below {MIN_REPLICATES} replicates values are "
            "shown, nothing is tested"
        )
    if some:
        yield (
            f"{_sizes(some, len(rows))}: with fewer than {GOOD_REPLICATES} only very "
            "large effects are found"
        )


def _sizes(rows: Sequence[ArmRow], num_arms: int) -> str:
    """a has only 1 result; b, c have only 2 results; or: all arms have only 3 results"""
    texts = []
    for n in sorted({row.n for row in rows}):
        names = [row.arm for row in rows if row.n == n]
        number = f"only {plural(n, 'result')}" if n else "no result"
        if len(names) == num_arms > 1:
            return f"all arms have {number}"
        texts.append(f"{listed(names)} {'has' if len(names) == 1 else 'have'} {number}")
    return "; ".join(texts)


def _metric(ablation: Ablation) -> Iterator[str]:
    if not ablation.judged.held_out:
        yield (
            f"There are no test labels: arms are judged by {ablation.judged.long}, "
            "as the best epoch was chosen by these very pictures; what was tuned on them, by a "
            "search or by hand, is still flattered by them"
        )


def _epochs(ablation: Ablation) -> Iterator[str]:
    yield from (f"The arms are not compared: {difference}" for difference in ablation.unequal)


def _untested(ablation: Ablation) -> Iterator[Contrast]:
    yield from (
        c
        for c in ablation.contrasts
        if c.reason and c.n >= MIN_REPLICATES and not math.isnan(c.delta)
    )


def _trials(search: Search) -> Iterator[str]:
    counts = search.counts
    if 0 < search.proposed < search.planned:  # none at all: the arms were asked for alone
        yield f"The search has {search.proposed} of {plural(search.planned, 'planned trial')}"
    for status in ("failed", "diverged", "unfinished"):
        if counts[status]:
            runs = [run for run in search.trials if STATUS[run.status] == status]
            numbers = [
                f"number {run.number}" + (f" ({cause(run)})" if run.error else "") for run in runs
            ]
            yield f"{plural(len(runs), 'trial')} {status}: {listed(numbers, 4)}"
    for edge in search.edges:
        yield (
            f"The best trial lies at the end of a range, {edge}: a wider range may hold a better "
            "one"
        )


def _data(record: Record) -> Iterator[str]:
    unreadable, said = record.data.get("unreadable", []), record.data.get("warnings", [])
    if unreadable and not any(UNREAD in str(warning) for warning in said):
        names = listed([picture["file"] for picture in unreadable], 3)
        yield f"{plural(len(unreadable), 'picture')} could not be read and took no part: {names}"
    yield from map(str, said)


def _mixed(record: Record) -> Iterator[str]:
    kinds = {"commit": "code versions", "versions": "library versions", "machine": "machines"}
    for key, words in kinds.items():
        if (num := len({repr(getattr(session, key)) for session in record.sessions})) > 1:
            yield f"The sessions used {num} different {words}: runs may differ for that reason"
    if len(gpus := sorted({run.device for run in record.runs.values() if run.device})) > 1:
        yield f"Runs ended on different GPUs, {listed(gpus)}: they may differ for that reason"
    trials = [run for run in record.runs.values() if run.kind == "trial" and run.epochs]
    if files := mixed_code(record, trials):
        yield f"Trials were trained by different versions of {files}: their values do not compare"
