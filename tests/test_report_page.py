"""The page: what the main table measures and how, what every number leads to, and that nothing runs
but its own script.
"""

import base64
import hashlib
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from pipeline.analysis.wording import Points, millions
from pipeline.record import events
from pipeline.record.record import Record
from pipeline.report.compose import document, read, texts
from pipeline.report.document import (
    Bullets,
    Cell,
    Column,
    Document,
    Runs,
    Table,
    Text,
    Trace,
    Trail,
)
from pipeline.report.formats import html, markdown
from pipeline.report.sections.ablation import main_table
from pipeline.report.sections.costs import speeds
from pipeline.report.sections.footnotes import footnotes
from pipeline.study.designs import Fractional, Ladder, Scheme
from pipeline.study.judged import Judged
from pipeline.study.study import Study
from tests.records import EFFECTS, Scribe, make_study, with_arms

MEASURED: dict[str, Any] = {"num_macs": 556_000_000, "num_train": 640}


class Cells(HTMLParser):
    """Links of the page: (text, place); ids; tags with their attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[list[str]] = []
        self.ids: set[str] = set()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self._open = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.tags.append((tag, found))
        self.ids |= {found["id"] or ""} if "id" in found else set()
        if tag == "a":
            self.links.append(["", found["href"] or ""])
            self._open = True

    def handle_endtag(self, tag: str) -> None:
        self._open = self._open and tag != "a"

    def handle_data(self, data: str) -> None:
        if self._open:
            self.links[-1][0] += data


def book(folder: Path, study: Study | None = None, **end: Any) -> Scribe:
    scribe = Scribe(
        folder / "study",
        study or make_study(replicates=3, num_trials=0, epochs=4),
        data={"is_food11": False},
    )
    scribe.session()
    for replicate in range(1, scribe.study.ablation.replicates + 1):
        for arm, _ in scribe.study.arms():
            noise = float(scribe.rng.normal(0, 0.004))
            scribe.arm(arm.name, replicate, EFFECTS.get(arm.name, 0.6) + noise, **end)
    return scribe


def shown(record: Record) -> tuple[Table, list[str]]:
    findings = read(record)
    return main_table(findings.ablation), list(footnotes(findings.ablation, record, findings.study))


def column(table: Table, title: str) -> list[Cell]:
    place = [column.title for column in table.columns].index(title)
    return [row[place] for row in table.rows]


def test_cost_and_speed_stand_in_the_table_with_how_they_were_measured(tmp_path: Path) -> None:
    table, notes = shown(book(tmp_path, **MEASURED).record())
    assert {cell.text for cell in column(table, "MACs (M)")} == {"556"}
    assert {cell.text for cell in column(table, "images/s")} == {"256"}, "640 pictures in 2.5 s"
    (note,) = [note for note in notes if note.startswith("images/s")]
    for words in (
        "median of 9 epochs",
        "first epoch of each run left out",
        "batch size 64",
        "2 at once",
        "workstation, cpu",
    ):
        assert words in note
    assert any("counted in one way for all arms" in note for note in notes)


def test_the_first_epoch_is_no_measurement(tmp_path: Path) -> None:
    record = book(tmp_path, **MEASURED).record()
    for run in record.runs.values():
        run.epochs[0]["seconds"] = 1000.0
        run.epochs[1]["seconds"] = 5.0
    (row, *_) = read(record).ablation.rows
    assert sorted(speeds(row)) == [128.0] * 3 + [256.0] * 6


def test_what_no_run_recorded_is_no_column_and_no_note(tmp_path: Path) -> None:
    table, notes = shown(book(tmp_path, num_params=0).record())
    titles = {column.title for column in table.columns}
    assert not titles & {"params (M)", "MACs (M)", "MACs (G)", "images/s", "tuning"}
    assert titles >= {
        "best epoch",
        "val acc† (%)",
        "val loss†",
        "test acc (%), mean ± sd (n)",
        "verdict",
    }
    assert not any("images/s" in note or "MACs" in note for note in notes)


def test_a_large_network_is_counted_in_thousands_of_millions(tmp_path: Path) -> None:
    table, _ = shown(book(tmp_path, num_macs=4_120_000_000).record())
    assert {cell.text for cell in column(table, "MACs (G)")} == {"4.12"}


def test_every_cell_of_an_arm_leads_to_its_runs_and_a_difference_to_both(tmp_path: Path) -> None:
    record = book(tmp_path, **MEASURED).record()
    table, _ = shown(record)
    runs = {arm: {run.key for run in own} for arm, own in record.arms().items()}
    for arm, row in zip(runs, table.rows, strict=True):
        assert all(set(cell.runs) >= runs[arm] for cell in row)
        assert set(row[-1].runs) == set(row[-2].runs) == runs[arm] | runs["baseline"]
    page = Cells(texts(read(record), {})["report.html"])
    places = {place for _, place in page.links if not place.startswith("#part-")}
    assert places == {"#runs", *(f"#runs-{number}" for number in (1, 2, 3, 4))}
    assert {place[1:] for place in places} <= page.ids
    difference = next(i for i, (text, _) in enumerate(page.links) if re.match("[+−][0-9.]", text))
    assert [place for _, place in page.links[difference : difference + 2]] == ["#runs-2", "#runs-1"]


def test_every_run_is_listed_once_with_its_place_in_the_store(tmp_path: Path) -> None:
    scribe = book(tmp_path)
    uris = [
        "https://mlflow.example/x",
        "sqlite:////tmp/mlflow.db",
        "javascript:alert(1)//http://e",
        "http://e/ onclick=x",
    ]
    for number, uri in enumerate(uris):
        run = f"arm-{number // 3}-r{number % 3 + 1}"
        scribe.ledger.append(events.Mlflow(uri=uri, what=run, id=f"id{number}", experiment="7"))
    source = texts(read(scribe.record()), {})["report.html"]
    links = [place for _, place in Cells(source).links if not place.startswith("#")]
    assert links == ["https://mlflow.example/x/#/experiments/7/runs/id0"]
    for number in range(4):
        assert f"#/experiments/7/runs/id{number}" in source
    for arm in range(4):
        for replicate in (1, 2, 3):
            assert source.count(f"<code>arm-{arm}-r{replicate}</code>") == 1


def test_markdown_leads_to_a_table_of_runs(tmp_path: Path) -> None:
    text = texts(read(book(tmp_path).record()), {})["report.md"]
    anchors = set(re.findall(r'<a id="(.*?)"></a>', text))
    places = set(re.findall(r"\]\(#(.*?)\)", text))
    assert anchors == places == {f"runs-{number}" for number in (1, 2, 3, 4)}
    assert text.count("arm-3-r2") == 1


def test_nothing_runs_but_the_script_of_the_page(tmp_path: Path) -> None:
    source = texts(read(book(tmp_path).record()), {})["report.html"]
    (script,) = re.findall(r"<script>(.*?)</script>", source, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = next(
        a["content"] for tag, a in Cells(source).tags if tag == "meta" and "http-equiv" in a
    )
    assert policy is not None
    assert f"script-src 'sha256-{digest}'" in policy
    assert "unsafe-inline" not in policy.split("script-src")[1].split(";")[0]


def test_numbers_sort_by_value(tmp_path: Path) -> None:
    record = book(tmp_path, **MEASURED).record()
    table, _ = shown(record)
    rows = read(record).ablation.rows
    assert [cell.value for cell in column(table, "test acc (%), mean ± sd (n)")] == [
        row.mean for row in rows
    ]
    assert [cell.value for cell in column(table, "ResNet")] == [0.0, 1.0, 0.0, 1.0]
    assert column(table, "Δ vs baseline [95 % CI]")[0].value is None
    source = texts(read(record), {})["report.html"]
    assert f'data-sort="{rows[0].mean:.6g}"' in source
    assert 'data-sort="nan"' not in source


@pytest.mark.parametrize(
    ("halves", "want"),
    [
        ((), 1),
        ((0.14,), 1),
        ((0.06,), 1),
        ((0.014, 0.06), 1),
        ((0.0098,), 2),
        ((0.0004,), 3),
        ((1e-6,), 4),
    ],
)
def test_decimals_show_two_digits_of_the_smallest_half_width(
    halves: tuple[float, ...], want: int
) -> None:
    assert Points.fit(halves, Judged()).decimals == want


@pytest.mark.parametrize(
    ("share", "signed"),
    [
        (-0.0004, "−0.04"),
        (0.0004, "+0.04"),
        (0.0, "0.0"),
        (-1e-17, "0.0"),
        (-0.186, "−18.6"),
        (-0.00049, "−0.05"),
    ],
)
def test_a_number_keeps_its_sign_and_its_size(share: float, signed: str) -> None:
    shown = Points(1)
    assert shown.signed(share) == signed
    assert shown.interval(share, 0.022) == f"[{signed.removeprefix('+')}, 2.2]"


def test_parameters_of_a_column_have_the_same_decimals() -> None:
    assert millions([79_100, 180_000, 0]) == ["0.0791", "0.1800", "–"]
    assert millions([4_100_000, 11_200_000]) == ["4.10", "11.20"]


def test_a_tiny_loss_is_written_as_one_everywhere(tmp_path: Path) -> None:
    scribe = Scribe(
        tmp_path, with_arms(make_study(num_trials=0), {"plain": {}, "wide": {"model.width": 96}})
    )
    scribe.session()
    for replicate, wobble in enumerate((0.0, 1e-4, -1e-4, 2e-4, -2e-4), 1):
        scribe.arm("plain", replicate, 0.7 + wobble / 4)
        scribe.arm("wide", replicate, 0.7 - 0.0004 - wobble / 4)
    found = texts(read(scribe.record()), {})
    for page in found.values():
        assert re.search("(−|\\$-\\$)0.040", page)
        assert "+0.0" not in page


ON = {
    "deep": {"model.name": "resnet18"},
    "flips": {"augment.strength": 1.0},
    "wide": {"model.width": 96},
}
WIDER = {**ON, "large": {"batch_size": 128}, "slow": {"optimizer.lr": 1e-4}}


def no_bold(
    folder: Path, *, replicates: int, design: Scheme | None = None, results: int = 99
) -> str:
    """The footnote on bold letters of arms that are all alike; only the first `results` runs of the
    plan exist.
    """
    study = make_study(replicates=replicates, num_trials=0, epochs=2)
    if design:
        study = study.model_copy(
            update={"ablation": study.ablation.model_copy(update={"design": design})}
        )
    scribe = Scribe(folder, study)
    scribe.session()
    plan = [
        (arm.name, replicate) for arm, _ in study.arms() for replicate in range(1, replicates + 1)
    ]
    for arm, replicate in plan[:results]:
        scribe.arm(arm, replicate, 0.6 + float(scribe.rng.normal(0, 0.01)))
    return next(note for note in shown(scribe.record())[1] if "bold" in note.lower())


@pytest.mark.parametrize(
    ("case", "why"),
    [
        ({"replicates": 3}, "nothing found here puts an arm behind another"),
        ({"replicates": 2}, "no arm has 3 results, and below that nothing is tested"),
        ({"replicates": 3, "results": 0}, "no arm has a result"),
        ({"replicates": 3, "results": 3}, "only baseline has a result"),
        (
            {"replicates": 3, "results": 7},
            "behind another, and augmentation may not lead (at chance, ",
        ),
        (
            {"replicates": 3, "design": Fractional(on=WIDER, resolution="III")},
            "a fraction of the factorial is read by its",
        ),
    ],
)
def test_why_nothing_is_bold_is_said(tmp_path: Path, case: dict[str, Any], why: str) -> None:
    note = no_bold(tmp_path / "study", **case)
    assert note.startswith("Nothing is bold: ")
    assert why in note


def test_bold_is_refused_with_the_comparison(tmp_path: Path) -> None:
    record = book(tmp_path).record()
    for run in record.arms()["ResNet"]:
        run.config = {**run.config, "epochs": 40}  # the one it has is shared among records
    notes = shown(record)[1]
    assert any(
        note.startswith("Nothing is bold: the arms cannot be compared fairly") for note in notes
    )


def test_names_in_links_and_runs_are_inert() -> None:
    bad = '"><img src=x onerror=alert(1)> [a](http://e) | \n</details>'
    runs = Runs(("replicate", "status"), (Trail(bad, bad, (Trace(bad, (bad, bad), bad, ""),)),))
    table = Table(
        bad, (Column(bad), Column(bad)), ((Cell(bad, runs=(bad,)), Cell(bad, runs=(bad,))),), key=0
    )
    content = Document(bad, bad, (bad,), (Text(bad), Bullets((bad,))), (table, runs))
    page = Cells(html.render(content, {}))
    assert not {tag for tag, _ in page.tags} & {"img"}
    assert not any(name.startswith("on") for _, attributes in page.tags for name in attributes)
    assert {place for _, place in page.links} == {"#runs-1"}
    text = markdown.render(content)
    assert "<img" not in text
    assert not re.search(r"(?<!\\)\]\(http", text)
    assert text.count("<a id=") == 1


def test_a_study_of_many_runs_stays_small(tmp_path: Path) -> None:
    factors = {
        f"factor {letter}": {"model.width": 160 + 16 * i} for i, letter in enumerate("abcdefghi")
    }
    study = make_study(replicates=50, num_trials=0, epochs=2)
    study = study.model_copy(
        update={"ablation": study.ablation.model_copy(update={"design": Ladder(on=factors)})}
    )
    source = texts(read(book(tmp_path, study, **MEASURED).record()), {})["report.html"]
    assert source.count("<code>arm-") == 500
    assert len(source.encode()) < 400 * 500, (
        "so that a thousand runs and their figures stay below 5 MB"
    )


def test_the_page_has_a_heading_for_its_runs_only_where_there_are_some(tmp_path: Path) -> None:
    scribe = Scribe(tmp_path / "study", make_study())
    assert not any(
        isinstance(block, Runs) for block in document(read(scribe.record()), frozenset()).blocks
    )
