"""From a Record to the texts of the report: read, judge, put in order, render."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from pipeline.errors import UserError
from pipeline.fidelity import Sample, choose
from pipeline.importance import Importance, measure
from pipeline.record import Record
from pipeline.report import ablation as ablation_text
from pipeline.report import effects, html, latex, markdown, provenance, sentences, sheets, winner
from pipeline.report import importance as importance_text
from pipeline.report import search as search_text
from pipeline.report.document import Block, Bullets, Cell, Document, Figure, Heading, Table
from pipeline.report.tables import Ablation, Search, read_ablation, read_search
from pipeline.report.tuning import Tuning, read_tuning
from pipeline.report.wording import moment, plural
from pipeline.study import Study

FIGURES = frozenset({"curves", "differences", "interaction", "search", "importance", "slices", "parallel", "tuning"})


@dataclass(frozen=True)
class Findings:
    """What the report is about."""

    record: Record
    study: Study
    ablation: Ablation
    search: Search
    sample: Sample  # the trials of one rung
    importance: Importance | None  # None: too few of them
    tuning: Tuning | None  # None: not a random search
    warnings: tuple[str, ...]


def read(record: Record) -> Findings:
    """Everything the report says follows from this; raises UserError where nothing is recorded."""
    if not record.header:
        raise UserError("report: nothing has been recorded for this study yet; run the search or the ablation first")
    study = record.study
    ablation, search = read_ablation(record, study), read_search(record, study)
    sample = choose(search.trials, study)
    importance = measure(sample) if sample.enough else None
    warnings = provenance.warnings(record, ablation, search)
    return Findings(record, study, ablation, search, sample, importance, read_tuning(search, study), warnings)


def document(findings: Findings, drawn: frozenset[str]) -> Document:
    """The report as blocks; `drawn` names the figures there are."""
    record, study, ablation = findings.record, findings.study, findings.ablation
    banners = [record.note] if record.note else []
    banners += [text] if (text := sentences.incomplete(ablation)) else []
    title = f"{study.title}, on {record.data['title']}" if record.note else study.title
    newest = max((run.epochs[-1]["time"] for run in record.runs.values() if run.epochs), default=record.header["time"])
    count = f"{plural(len(findings.warnings), 'warning')} below" if findings.warnings else "no warnings"
    subtitle = f"Study {study.name} · {record.data['title']} · results up to {moment(newest)} · {count}"
    summary = sentences.summary(ablation, record)
    return Document(title, subtitle, tuple(banners), summary, tuple(_blocks(findings, FIGURES - drawn)))


def texts(findings: Findings, svgs: Mapping[str, bytes]) -> dict[str, str]:
    """File name → text, for every file but the figures; `svgs` holds the drawn figures by name."""
    content = document(findings, frozenset(svgs))
    measured = {"importance.csv": sheets.importance(findings.importance)} if findings.importance else {}
    return measured | {
        "report.md": markdown.render(content),
        "ablation.tex": _tex(findings),
        "ablation.csv": sheets.arms(findings.ablation, findings.record.note),
        "contrasts.csv": sheets.contrasts(findings.ablation),
        "runs.csv": sheets.runs(findings.record),
        "report.html": html.render(content, svgs),
    }


def _blocks(findings: Findings, dropped: frozenset[str]) -> Iterator[Block]:
    study, warnings = findings.study, findings.warnings
    yield from ablation_text.blocks(findings.ablation, findings.record, study, dropped=dropped)
    if warnings:
        yield Heading("Warnings")
        yield Bullets(warnings)
    if "curves" not in dropped:
        yield Heading("Learning curves")
        yield Figure(
            "curves",
            "Thin: every run; thick: their mean. Train values are measured on a fixed part of the training pictures, "
            "without augmentation and dropout, so train and val are comparable. Loss panels end where nearly all epochs do: "
            "a single spike may leave them at the top.",
            "Learning curves of every arm: accuracy and loss on train and val against epoch",
        )
    again = winner.sentence(findings.search, findings.ablation)
    yield from search_text.blocks(findings.search, study, again=again, dropped=dropped)
    yield from importance_text.blocks(findings.sample, findings.importance, findings.tuning, study, dropped=dropped)
    yield from provenance.blocks(findings.record, study)


def _tex(findings: Findings) -> str:
    ablation, record = findings.ablation, findings.record
    tables, labels = [ablation_text.main_table(ablation)], ["ablation"]
    if ablation.factors and len({contrast.against for contrast in ablation.deltas}) < 2:
        tables = [_without(tables[0], len(ablation.factors))]  # the check marks say what the arm's name would
    for label, found in effects.tables(ablation):
        tables.append(found)
        labels.append(label)
    notes = [text for text in (record.note, sentences.incomplete(ablation)) if text]
    notes += [*ablation_text.footnotes(ablation, record, findings.study)]
    return latex.render(tables, labels, notes)


def _without(table: Table, column: int) -> Table:
    def cut(row: tuple[Cell, ...]) -> tuple[Cell, ...]:
        return row[:column] + row[column + 1 :]

    columns = table.columns[:column] + table.columns[column + 1 :]
    return Table(table.caption, columns, tuple(cut(row) for row in table.rows), table.rules)
