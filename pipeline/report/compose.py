"""From a Record to the texts of the report: read, judge, put in order, render."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from pipeline.analysis.answers import Answers, read_answers
from pipeline.analysis.augmented import Kept, kept, sheets_path
from pipeline.analysis.diagnosis import collapsing, unconverged
from pipeline.analysis.fairness import mismatched, post_hoc, refusal
from pipeline.analysis.few_pictures import few_pictures, labelled
from pipeline.analysis.front import Front, read_front
from pipeline.analysis.importance import Importance, measure
from pipeline.analysis.results import Ablation, read_ablation
from pipeline.analysis.rung_sample import Sample, choose
from pipeline.analysis.search_results import Search, read_search
from pipeline.analysis.tuning_curve import Tuning, read_tuning
from pipeline.analysis.tuning_effort import efforts as tuning_efforts
from pipeline.analysis.wording import moment
from pipeline.counts import plural
from pipeline.errors import UserError
from pipeline.frozen import digest
from pipeline.record.published import published
from pipeline.record.record import Record
from pipeline.report.document import Block, Bullets, Document, Figure, Heading, Table, Text
from pipeline.report.figures.curves import what_is_drawn
from pipeline.report.formats import html, latex, markdown
from pipeline.report.language import translate
from pipeline.report.language.catalogue import catalogue
from pipeline.report.language.translator import Translator
from pipeline.report.sections import ablation as ablation_text
from pipeline.report.sections import (
    augmented,
    data_share,
    effects,
    expense,
    front,
    lead,
    next_steps,
    optimism,
    preregistration,
    provenance,
    race,
    sentences,
    variance,
    winners_curse,
)
from pipeline.report.sections import classes as classes_text
from pipeline.report.sections import diagnosis as diagnosis_text
from pipeline.report.sections import importance as importance_text
from pipeline.report.sections import search as search_text
from pipeline.report.sections import tuning as tuning_text
from pipeline.report.sections.beyond import with_other_pictures
from pipeline.report.sections.folded import folded
from pipeline.report.sections.footnotes import footnotes
from pipeline.report.sections.run_list import runs
from pipeline.study.study import Study

FIGURES = frozenset(
    {"curves", "differences", "interaction", "search", "importance", "slices", "parallel", "tuning"}
)
FIGURES |= {"front"}
FIGURES |= {
    f"{kind}_{arm}" for kind in ("confusion", "embedding") for arm in ("reference", "highest")
}


@dataclass(frozen=True)
class Findings:
    """What the report is about."""

    record: Record
    study: Study
    ablation: Ablation
    search: Search
    sample: Sample  # the trials of one rung
    tuning: Tuning | None  # None: not a random search
    diagnosis: diagnosis_text.Diagnosis
    answers: Answers  # of the arms, picture by picture
    warnings: tuple[str, ...]
    fingerprints: Mapping[str, str]  # run → that of its config as it was recorded
    front: Front | None  # None: the search has one objective
    augmented: Kept

    @cached_property
    def importance(self) -> Importance | None:
        """Of the knobs, from `sample`; None: too few trials. Measured when it is first asked for:
        it takes a second or two, and not all that is made of findings shows it.
        """
        return measure(self.sample) if self.sample.enough else None


def read(record: Record, home: Path | None = None) -> Findings:
    """Everything the report says follows from this; `home` is the study's folder, with the evidence
    of its runs.

    A report is handed on: it is of the record as that may be published.

    Raises UserError where nothing is recorded.
    """
    if record.begun is None:
        raise UserError(
            "report: nothing has been recorded for this study yet; run the search or the ablation "
            "first"
        )
    fingerprints = {key: digest(run.config) for key, run in record.runs.items()}
    record = published(record)
    study = record.study
    ablation, search = read_ablation(record, study), read_search(record, study)
    sample = choose(search.trials, study)
    found = diagnosis_text.read_diagnosis(record, study)
    ablation = replace(
        ablation, unconverged=unconverged(found.arms), collapsing=collapsing(found.arms)
    )
    answers = read_answers(record, ablation, study, home)
    ablation = with_other_pictures(ablation, answers, study)
    params = {row.arm: row.num_params for row in ablation.designed}
    warnings = (*provenance.warnings(record, ablation, search), *mismatched(study, params))
    warnings = (*warnings, *diagnosis_text.warnings(found, ablation))
    said = (
        diagnosis_text.idle(found, ablation),
        optimism.warning(ablation, record),
        post_hoc(record),
    )
    tuning = (
        *tuning_text.warnings(tuning_efforts(record, study)),
        *tuning_text.unpromoted(record, study),
    )
    warnings = folded(
        (*warnings, *filter(None, said), *answers.warnings, *tuning), ablation, found, answers
    )
    warnings = (*few_pictures(labelled(record.data), study), *warnings)
    read = read_tuning(search, study)
    return Findings(
        record,
        study,
        ablation,
        search,
        sample,
        read,
        found,
        answers,
        warnings,
        fingerprints,
        read_front(record, study),
        kept(sheets_path(home), study) if home is not None else Kept(),
    )


def document(findings: Findings, drawn: frozenset[str]) -> Document:
    """The report as blocks; `drawn` names the figures there are."""
    record, study, ablation = findings.record, findings.study, findings.ablation
    banners = [record.note] if record.note else []
    banners += [
        text for text in (refusal(ablation.unequal), sentences.incomplete(ablation)) if text
    ]
    title = f"{study.title}, on {record.data['title']}" if record.note else study.title
    newest = max(
        (run.epochs[-1]["time"] for run in record.runs.values() if run.epochs),
        default=record.header.time,
    )
    count = (
        f"{plural(len(findings.warnings), 'warning')} below" if findings.warnings else "no warnings"
    )
    subtitle = (
        f"Study {study.name} · {record.data['title']} · results up to {moment(newest)} · {count}"
    )
    summary = sentences.summary(ablation, record)
    return Document(
        title, subtitle, tuple(banners), summary, tuple(_blocks(findings, FIGURES - drawn))
    )


def texts(findings: Findings, svgs: Mapping[str, bytes], lang: str = "en") -> dict[str, str]:
    """File name → text, for every page; `svgs` holds the drawn figures by name."""
    content = document(findings, frozenset(svgs))
    say = Translator(catalogue(lang), _names(findings)) if lang != "en" else None
    if say:
        content = translate.translated(content, say, title=findings.study.title)
    return {
        "report.md": markdown.render(content),
        "ablation.tex": _tex(findings, say),
        "report.html": html.render(content, svgs),
    }


def _blocks(findings: Findings, dropped: frozenset[str]) -> Iterator[Block]:
    study, warnings = findings.study, findings.warnings
    record, ablation = findings.record, findings.ablation
    yield from ablation_text.first(ablation, record, study, forest="differences" not in dropped)
    if text := front.said(findings.front):
        yield Text(text)
    yield from next_steps.blocks(ablation, record, sentences.points(ablation))
    yield Heading("Details")
    yield Text("How the answer came about, what it holds for, and all else that was seen.")
    yield from ablation_text.blocks(ablation, record, study, dropped=dropped)
    for section in (data_share, variance):
        yield from section.blocks(record, study, ablation, sentences.points(ablation))
    if warnings:
        yield Heading("Warnings")
        yield Bullets(warnings)
    if "curves" not in dropped:
        yield Heading("Learning curves")
        yield Figure(
            "curves",
            f"{what_is_drawn(findings.ablation.rows)} Train values are measured on a fixed part of "
            "the training pictures, without augmentation and dropout, so train and val are "
            "comparable. Loss panels end where nearly all epochs do: a single spike may leave them "
            "at the top.",
            "Learning curves of every arm: accuracy and loss on train and val against epoch",
        )
    yield from diagnosis_text.blocks(findings.diagnosis, findings.ablation)
    yield from augmented.blocks(findings.augmented)
    yield from classes_text.blocks(findings.answers, findings.ablation, dropped=dropped)
    raced = tuple(race.blocks(findings.record, findings.ablation))
    again = "" if raced else winners_curse.sentence(findings.search, findings.ablation)
    yield from search_text.blocks(findings.search, study, again=again, dropped=dropped)
    yield from raced
    yield from front.blocks(findings.front, dropped=dropped)
    yield from importance_text.blocks(
        findings.sample, findings.importance, findings.tuning, study, dropped=dropped
    )
    yield from preregistration.blocks(findings.record, findings.ablation)
    yield from expense.blocks(findings.record)
    yield from provenance.blocks(findings.record, study)
    if (found := runs(findings.ablation, findings.record)).trails:
        yield Heading("Runs")
        yield Text("Every number of the tables above leads to the runs of its arm.", small=True)
        yield found


def _names(findings: Findings) -> list[str]:
    return [row.arm for row in findings.ablation.rows]


def _tex(findings: Findings, say: Translator | None) -> str:
    tables, labels = [main_table_of(findings)], ["ablation"]
    for label, found in effects.tables(findings.ablation):
        tables.append(found)
        labels.append(label)
    notes = table_notes(findings)
    if say:
        tables, notes = (
            [translate.table(found, say) for found in tables],
            list(map(say.text, notes)),
        )
    return latex.render(tables, labels, notes, say.catalogue.lang if say else "en")


def main_table_of(findings: Findings) -> Table:
    """The table of the arms, with what tuning each of them took."""
    efforts = tuning_text.column(tuning_efforts(findings.record, findings.study))
    return ablation_text.main_table(findings.ablation, efforts)


def table_notes(findings: Findings) -> list[str]:
    """What must be read with the table of the arms."""
    ablation, record = findings.ablation, findings.record
    notes = [
        text
        for text in (record.note, refusal(ablation.unequal), sentences.incomplete(ablation))
        if text
    ]
    first = ""
    if any(row.values for row in ablation.rows):
        first = lead.answer(ablation, findings.study, sentences.points(ablation))
    beside = (
        first,
        *sentences.lost(ablation),
        sentences.converged(ablation),
        optimism.warning(ablation, record),
    )
    return [*notes, *filter(None, beside), *footnotes(ablation, record, findings.study)]
