"""The report: what it says follows from the record, and nothing a user can name breaks a format."""

import csv
import re
from html.parser import HTMLParser
from pathlib import Path
from statistics import fmean
from typing import Any
from xml.etree import ElementTree

import pytest

from pipeline.cells import inert
from pipeline.errors import MachineError, UserError, printable
from pipeline.record import events
from pipeline.record.record import Record
from pipeline.report import Report, frame_files, write_report
from pipeline.report.compose import read, texts
from pipeline.report.figures import style
from pipeline.report.formats import latex, markdown
from pipeline.report.formats.terminal import render as on_screen
from pipeline.report.sections.sentences import points
from tests.records import EFFECTS, Scribe, full_record, lines, make_study, with_arms

HOSTILE = (
    '<script>alert(1)</script> & "q" | `x` *b* _i_ $\\alpha$ 50% #1 {~^} '
    "[a](http://evil.example) @all"
)
FILES = {"report.html", "report.md", "ablation.tex", "files.txt"}
FILES |= {
    f"frames/{name}.{kind}"
    for name in ("runs", "arms", "contrasts", "curves")
    for kind in ("csv", "parquet")
}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Record, Report, Path]:
    folder = tmp_path_factory.mktemp("finished")
    record = full_record(folder / "study", num_trials=20)
    return record, write_report(record, folder / "report"), folder / "report"


def arms_only(
    folder: Path, *, without: tuple[tuple[str, int], ...] = (), replicates: int = 3, **scribe: Any
) -> Scribe:
    book = Scribe(
        folder / "study", make_study(replicates=replicates, num_trials=0, epochs=2), **scribe
    )
    book.session()
    book.arms(without=without)
    return book


def write_texts(record: Record, folder: Path) -> Report:
    """The texts alone, written into `folder`: figures take a second, and few tests look at them."""
    findings = read(record)
    folder.mkdir(parents=True)
    (folder / "frames").mkdir()
    for name, text in texts(findings, {}).items():
        (folder / name).write_text(text, encoding="utf-8")
    for name, content in frame_files.files(findings).items():
        (folder / name).write_bytes(content)
    screen = on_screen(findings, folder / "report.html")
    return Report((), findings.warnings, not findings.ablation.holes, screen)


def sheet(folder: Path, name: str) -> list[dict[str, str]]:
    with (folder / "frames" / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def visible(text: str) -> str:
    return re.sub(r"\s+", " ", text)


class Page(HTMLParser):
    """Tags with their attributes, and the text outside style."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self._inside = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._inside = tag

    def handle_data(self, data: str) -> None:
        if self._inside not in ("style", "script"):
            self.words.append(data)

    @property
    def text(self) -> str:
        return visible(" ".join(self.words))


def test_everything_is_written_and_nothing_is_left_over(
    finished: tuple[Record, Report, Path],
) -> None:
    _, report, folder = finished
    drawn = {
        f"figures/{name}.{kind}"
        for name in ("curves", "differences", "interaction", "search")
        for kind in ("svg", "png")
    }
    found = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert found == FILES | drawn == {str(path.relative_to(folder)) for path in report.paths}
    assert report.complete


def test_the_same_record_gives_the_same_bytes(
    finished: tuple[Record, Report, Path], tmp_path: Path
) -> None:
    record, report, folder = finished
    write_report(record, tmp_path)
    for path in report.paths:
        name = path.relative_to(folder)
        assert (tmp_path / name).read_bytes() == path.read_bytes(), name


def test_summary_states_the_verdicts_of_the_contrasts(
    finished: tuple[Record, Report, Path],
) -> None:
    record, report, folder = finished
    shown, text = points(read(record).ablation), (folder / "report.md").read_text()
    for row in sheet(folder, "contrasts.csv"):
        if row["kind"] == "delta":
            number = shown.number(abs(float(row["delta"])))
            assert re.search(
                rf"{re.escape(row['name'])}: [+−]{number} points \\\[.*?\\\], {row['verdict']}",
                text,
            )
    assert "none was tuned for an arm" in text
    assert (
        "Holm's correction over all 6 tests of this report as one family (3 differences from "
        "baseline, "
    ) in text
    assert "on average too high" in report.text


def test_arms_cssreads_all_metrics_of_a_run_at_one_epoch(
    finished: tuple[Record, Report, Path],
) -> None:
    record, _, folder = finished
    for row in sheet(folder, "arms.csv"):
        runs = record.arms()[row["arm"]]
        at_best = [run.epochs[run.best_epoch - 1] for run in runs]
        for name in ("val_acc", "val_loss"):
            assert float(row[f"{name}_mean"]) == pytest.approx(
                sum(e[name] for e in at_best) / len(runs)
            )
        tests = [run.test_acc for run in runs if run.test_acc is not None]
        assert float(row["test_acc_mean"]) == pytest.approx(sum(tests) / 5)
        assert (row["complete"], row["diverged"], row["judged_by"]) == ("5", "0", "test_acc")


def test_runs_csv_has_every_run_with_its_configuration(
    finished: tuple[Record, Report, Path],
) -> None:
    record, _, folder = finished
    rows = {row["run"]: row for row in sheet(folder, "runs.csv")}
    assert rows.keys() == record.runs.keys()
    run = record.runs["trial-3"]
    assert rows["trial-3"]["config.optimizer.lr"] == str(run.config["optimizer"]["lr"])
    assert rows["trial-5"]["status"] == "diverged"
    assert "inf at step 3" in rows["trial-5"]["error"]
    assert rows["arm-0-r1"]["trial"] == ""


def test_the_best_configuration_stands_beside_the_baseline(
    finished: tuple[Record, Report, Path],
) -> None:
    record, report, folder = finished
    best = record.best_trial()
    assert best is not None
    assert f"trial {best.number}, val acc" in report.text
    page = Page((folder / "report.html").read_text()).text
    assert f"best (trial {best.number})" in page
    assert "selected by this very number" in page


def test_the_page_needs_nothing_else_and_runs_nothing(
    finished: tuple[Record, Report, Path],
) -> None:
    page = Page((finished[2] / "report.html").read_text())
    assert not {tag for tag, _ in page.tags} & {
        "link",
        "img",
        "iframe",
        "object",
        "embed",
        "base",
        "form",
    }
    assert [attributes for tag, attributes in page.tags if tag == "script"] == [{}], (
        "the page's own, inline"
    )
    for tag, attributes in page.tags:
        for name, value in attributes.items():
            assert not name.startswith("on"), (tag, name)
            if name.endswith(("href", "src")):
                assert value is not None
                assert value.startswith("#"), (tag, name, value)
    policy = next(
        a["content"]
        for tag, a in page.tags
        if tag == "meta" and a.get("http-equiv") == "Content-Security-Policy"
    )
    assert policy is not None
    assert policy.startswith("default-src 'none'")
    ids = [a["id"] for _, a in page.tags if "id" in a]
    assert len(ids) == len(set(ids))


def test_every_reference_inside_the_page_resolves(finished: tuple[Record, Report, Path]) -> None:
    text = (finished[2] / "report.html").read_text()
    ids = {a["id"] for _, a in Page(text).tags if "id" in a}
    used = set(re.findall(r'href="#([^"]+)"|url\(#([^)]+)\)', text))
    assert used
    assert {a or b for a, b in used} <= ids


def test_every_colour_of_the_figures_has_a_dark_twin(finished: tuple[Record, Report, Path]) -> None:
    text = (finished[2] / "report.html").read_text()
    css, body = text.split("</style>", 1)
    inline = set(re.findall(r"(?:fill|stroke): (#[0-9a-f]{6})", body))
    assert inline == set()
    for colour in style.COLOURS:
        assert len(re.findall(rf"--f{colour[1:]}: #", css)) == 3, colour  # light, dark, print


def test_the_figures_are_whole_pictures(finished: tuple[Record, Report, Path]) -> None:
    _, report, _ = finished
    for path in report.paths:
        if path.suffix == ".svg":
            assert ElementTree.parse(path).getroot().tag.endswith("svg")
        if path.suffix == ".png":
            assert path.read_bytes().startswith(b"\x89PNG")


def test_a_hole_makes_the_report_incomplete_everywhere(tmp_path: Path) -> None:
    record = arms_only(tmp_path, without=(("ResNet", 2),)).record()
    report = write_texts(record, tmp_path / "r")
    assert not report.complete
    assert any("INCOMPLETE" in w and "ResNet, replicate 2 (not run)" in w for w in report.warnings)
    for name in ("report.md", "report.html", "ablation.tex"):
        assert "INCOMPLETE" in (tmp_path / "r" / name).read_text()
    assert report.text.startswith("!! INCOMPLETE")
    row = next(row for row in sheet(tmp_path / "r", "contrasts.csv") if row["name"] == "ResNet")
    assert (row["n"], row["dropped"], row["verdict"]) == ("2", "0", "not tested")


def test_replicates_that_no_arm_has_are_said_in_one(tmp_path: Path) -> None:
    arms = ("baseline", "ResNet", "augmentation", "ResNet + augmentation")
    whole = arms_only(tmp_path / "whole").record()
    last = max(run.replicate for run in whole.runs.values())
    record = arms_only(tmp_path / "cut", without=tuple((arm, last) for arm in arms)).record()
    report = write_texts(record, tmp_path / "r")
    said = f"without a result: every arm beyond replicate {last - 1} (not run)"
    assert any(said in warning for warning in report.warnings)
    assert f"No arm was run beyond replicate {last - 1}." in (tmp_path / "r/report.md").read_text()


@pytest.mark.parametrize(
    ("status", "complete", "words"),
    [
        ("diverged", True, "ResNet: 1 run diverged: replicate 2 (train_loss is NaN at step 17)"),
        ("failed", False, "failed: worker died"),
        ("running", False, "ResNet, replicate 2 (not finished)"),
        ("stopped", False, "ResNet, replicate 2 (stopped early)"),
    ],
)
def test_runs_without_a_result_are_left_out_and_named(
    tmp_path: Path, status: str, complete: bool, words: str
) -> None:
    book = arms_only(tmp_path, without=(("ResNet", 2),), replicates=4)
    book.arm("ResNet", 2, 0.9, status=status)
    report = write_texts(book.record(), tmp_path / "r")
    assert report.complete == complete
    assert any(words in warning for warning in report.warnings)
    rows = {
        row["name"]: row for row in sheet(tmp_path / "r", "contrasts.csv") if row["kind"] == "delta"
    }
    assert (rows["ResNet"]["n"], rows["ResNet"]["dropped"]) == ("3", "0"), (
        "unpaired: the other arm's run stays"
    )
    assert (rows["augmentation"]["n"], rows["augmentation"]["dropped"]) == ("4", "0")
    assert "left out of the differences" not in (tmp_path / "r/report.md").read_text()


def test_where_val_judges_a_lost_run_leaves_its_pair_out(tmp_path: Path) -> None:
    book = Scribe(tmp_path / "study", make_study(replicates=4, num_trials=0, epochs=2))
    book.session()
    for replicate in range(1, 5):
        for arm, _ in book.study.arms():
            if (arm.name, replicate) != ("ResNet", 2):
                book.arm(arm.name, replicate, test_acc=None, test_loss=None)
    report = write_texts(book.record(), tmp_path / "r")
    rows = {
        row["name"]: row for row in sheet(tmp_path / "r", "contrasts.csv") if row["kind"] == "delta"
    }
    assert (rows["ResNet"]["n"], rows["ResNet"]["dropped"], rows["ResNet"]["test"]) == (
        "3",
        "1",
        "paired t",
    )
    assert (rows["augmentation"]["n"], rows["augmentation"]["dropped"]) == ("4", "0")
    assert "left out of the differences" in (tmp_path / "r/report.md").read_text()
    assert not report.complete


@pytest.mark.parametrize("replicates", [1, 2])
def test_below_three_replicates_only_values_are_shown(tmp_path: Path, replicates: int) -> None:
    report = write_texts(arms_only(tmp_path, replicates=replicates).record(), tmp_path / "r")
    assert report.complete
    assert any("nothing is tested" in warning for warning in report.warnings)
    table = report.text[report.text.index("Δ vs") : report.text.index("Warnings")]
    assert "±" not in table
    assert "[" not in table.split("\n", 1)[1]
    assert " *" not in table
    assert all(
        row["verdict"] == "not tested" and not row["p"]
        for row in sheet(tmp_path / "r", "contrasts.csv")
    )
    assert "**" not in re.sub(
        r"\*\*(INCOMPLETE|best)", "", (tmp_path / "r/report.md").read_text().split("## Warnings")[0]
    )


@pytest.mark.parametrize("lost", ["ResNet", "baseline"])
def test_an_arm_that_always_diverged_is_a_hole_and_not_beaten(tmp_path: Path, lost: str) -> None:
    book = arms_only(tmp_path, without=tuple((lost, r) for r in (1, 2, 3)))
    for replicate in (1, 2, 3):
        book.arm(lost, replicate, status="diverged")
    report = write_report(book.record(), tmp_path / "r")
    assert not report.complete
    assert (
        "INCOMPLETE: 3 of the 12 planned runs of the ablation have no result. Arms without any: "
        f"{lost} (diverged)."
    ) in (visible(report.text.split("\n\n")[0].replace("!! ", "")))
    assert any(
        f"INCOMPLETE, 3 of 12 planned runs without a result: {lost}, replicate 1 (diverged)" in w
        for w in report.warnings
    )
    assert any(
        w.startswith(f"{lost}: 3 runs diverged") and w.endswith("it has no numbers")
        for w in report.warnings
    )
    text = visible(report.text)
    assert "Every other arm is found behind it" not in text
    assert f"Neither bold nor best: {lost} (diverged)." in text
    why = (
        "diverged" if lost == "ResNet" else "baseline has no result: diverged"
    )  # whose fault it is
    assert f"ResNet: not compared ({why})." in text
    assert f"{lost}: 3 of 3 runs diverged, none is complete." in text
    notes = (tmp_path / "r/report.md").read_text()
    assert "9 complete of 12 planned, 3 diverged, 0 failed, 0 not run to their end" in notes
    assert f"Arms without any: {lost} (diverged)." in (tmp_path / "r/ablation.tex").read_text()


@pytest.mark.parametrize("count", [0, 1, 2, 3])
def test_the_best_arm_is_the_best_of_those_compared(tmp_path: Path, count: int) -> None:
    """Far above all others; ResNet has `count` results, and is compared from 3 on."""
    levels = {"baseline": 0.5, "ResNet": 0.51, "augmentation": 0.4, "ResNet + augmentation": 0.8}
    book = arms_only(tmp_path, without=tuple((arm, r) for arm in levels for r in (1, 2, 3)))
    for replicate in (1, 2, 3):
        for i, (arm, level) in enumerate(levels.items()):
            if arm != "ResNet" or replicate <= count:
                book.arm(arm, replicate, level + 0.001 * replicate * i)
    text = visible(write_texts(book.record(), tmp_path / "r").text)
    best = "Best: ResNet + augmentation. "
    if count == 3:
        assert f"{best}Every other arm is found behind it, after correction. " in text
        assert "Neither bold nor best" not in text
        return
    why = {0: "not run", 1: "2 of 3 runs missing", 2: "1 of 3 runs missing"}[count]
    others = "Each of the other arms compared is found behind it, after correction."
    assert f"{best}{others} Neither bold nor best: ResNet ({why})." in text


def test_few_results_are_blamed_on_the_arms_that_have_few(tmp_path: Path) -> None:
    lost = (
        *(("ResNet", r) for r in (1, 2, 3)),
        ("baseline", 3),
        ("baseline", 4),
        ("augmentation", 1),
    )
    report = write_texts(arms_only(tmp_path, without=lost, replicates=5).record(), tmp_path / "r")
    few = "ResNet has only 2 results: below 3 replicates values are shown, nothing is tested"
    some = (
        "baseline has only 3 results; augmentation has only 4 results: with fewer than 5 only "
        "very large effects are found"
    )
    assert [warning for warning in report.warnings if "has only" in warning] == [few, some]


def test_hyperparameters_are_shared_but_for_what_an_arm_changes(tmp_path: Path) -> None:
    arms = {"baseline": {}, "fast": {"optimizer.lr": 0.01}}
    book = Scribe(tmp_path / "s", with_arms(make_study(replicates=1, num_trials=0, epochs=2), arms))
    book.session()
    book.arms()
    report = write_texts(book.record(), tmp_path / "r")
    notes = (tmp_path / "r/report.md").read_text()
    for text in (visible(report.text), notes):
        assert re.search("part from what an arm itself changes .* none was tuned for an arm", text)
        assert not re.search("(?<!changes [(]its definition[)], )all arms use", text, re.IGNORECASE)
    assert "Every run is planned for 2 epochs, without early stopping" in notes
    assert not any("unequal" in warning for warning in report.warnings)


@pytest.mark.parametrize("status", ["complete", "running"])
def test_unequal_epochs_of_an_old_record_are_said(tmp_path: Path, status: str) -> None:
    book = arms_only(tmp_path, without=tuple(("ResNet", r) for r in (1, 2, 3)))
    for replicate in (1, 2, 3):
        book.arm("ResNet", replicate, epochs=4, status=status)
    report = write_texts(book.record(), tmp_path / "r")
    stated = "baseline 2, ResNet 4, augmentation 2, ResNet + augmentation 2"
    assert any(warning.endswith(f"epochs: {stated}") for warning in report.warnings)
    assert f"Epochs: {stated}" in visible(report.text)
    notes = (tmp_path / "r/report.md").read_text()
    assert "The runs are planned for unequal epochs: 2, 4, without early stopping" in notes
    assert "Every run is planned" not in notes
    assert not any("cut short" in warning for warning in report.warnings)


SHA = "0123456789abcdef0123456789abcdef01234567"


@pytest.mark.parametrize("dirty", [False, True])
def test_the_recorded_command_and_commit(tmp_path: Path, dirty: bool) -> None:
    book = arms_only(tmp_path, replicates=1)  # its own session is the search's too, but older
    search = "python -m pipeline.search --study demo --trials 60"
    book.session(search, commit=SHA + "+" * dirty)
    book.session("python -m pipeline.ablate --study demo", commit="f" * 40)
    write_texts(book.record(), tmp_path / "r")
    text = (tmp_path / "r/report.md").read_text()
    told = text[text.index("How to reproduce") :]
    assert f"that it ran:\n\n```sh\ngit checkout {SHA}\n{search}\n```" in told
    assert ("Uncommitted changes came on top" in told) == dirty
    assert f"{SHA[:12]}{'+' * dirty} |" in text.replace("\\+", "+")


def test_without_a_search_the_newest_command_is_shown(tmp_path: Path) -> None:
    book = Scribe(tmp_path / "study", make_study(replicates=1, num_trials=0, epochs=2))
    for number in (1, 2):
        book.session(f"python -m pipeline.ablate --study demo --workers {number}", commit="")
    book.arms()
    write_texts(book.record(), tmp_path / "r")
    assert (
        "```sh\npython -m pipeline.ablate --study demo --workers 2\n```"
        in (tmp_path / "r/report.md").read_text()
    )


def test_identical_arms_are_not_tested_and_the_reason_is_said(tmp_path: Path) -> None:
    book = arms_only(tmp_path, without=tuple((arm, r) for arm in EFFECTS for r in (1, 2, 3)))
    for replicate in (1, 2, 3):
        for arm in EFFECTS:
            book.arm(arm, replicate, 0.5 + replicate / 100)
    report = write_texts(book.record(), tmp_path / "r")
    assert any("every difference is exactly 0" in warning for warning in report.warnings)
    assert "equivalent within" not in report.text


def test_without_test_labels_the_last_epoch_judges(tmp_path: Path) -> None:
    book = arms_only(tmp_path, without=tuple((arm, r) for arm in EFFECTS for r in (1, 2, 3)))
    for replicate in (1, 2, 3):
        for arm in EFFECTS:
            book.arm(arm, replicate, test_acc=None, test_loss=None)
    record = book.record()
    report = write_texts(record, tmp_path / "r")
    assert any("no test labels" in warning for warning in report.warnings)
    assert "validation accuracy at each run's last epoch" in visible(report.text)
    last = {
        arm: fmean([run.epochs[-1]["val_acc"] for run in runs])
        for arm, runs in record.arms().items()
    }
    deltas = {
        row["name"]: row for row in sheet(tmp_path / "r", "contrasts.csv") if row["kind"] == "delta"
    }
    assert float(deltas["ResNet"]["delta"]) == pytest.approx(last["ResNet"] - last["baseline"])
    arms = {row["arm"]: row for row in sheet(tmp_path / "r", "arms.csv")}
    assert float(arms["ResNet"]["last_val_acc_mean"]) == pytest.approx(last["ResNet"])
    assert arms["ResNet"]["judged_by"] == "last_val_acc"
    assert "test acc" not in (tmp_path / "r/ablation.tex").read_text()
    assert {row["metric"] for row in sheet(tmp_path / "r", "contrasts.csv")} == {"last_val_acc"}


def test_the_notes_stand_beside_ours_only_on_their_data_and_arms(tmp_path: Path) -> None:
    def text(name: str, book: Scribe) -> str:
        write_texts(book.record(), tmp_path / name)
        return (tmp_path / name / "report.md").read_text()

    food = text("a", arms_only(tmp_path / "1", replicates=1))
    assert "59.11" in food
    assert "one run each" in food
    assert "59.11" not in text(
        "b", arms_only(tmp_path / "2", replicates=1, data={"is_food11": False})
    )
    others = with_arms(
        make_study(replicates=1, num_trials=0, epochs=2),
        {"baseline": {}, "big": {"model.width": 128}},
    )
    book = Scribe(tmp_path / "3", others)
    book.session()
    book.arms()
    assert "59.11" not in text("c", book)


def test_the_embedded_default_is_said_at_the_top_of_every_text(tmp_path: Path) -> None:
    note = "Food-11 was not found: these are the results of the embedded default."
    data = {"title": "scikit-learn digits", "is_food11": False}
    report = write_texts(
        arms_only(tmp_path, replicates=1, note=note, data=data).record(), tmp_path / "r"
    )
    assert report.text.startswith(f"!! {note}")
    page = Page((tmp_path / "r/report.html").read_text())
    assert "on scikit-learn digits" in page.text[: page.text.index("Study demo")]
    assert page.text.index(note) < page.text.index("4 arms")
    head = (tmp_path / "r/report.md").read_text().split("\n\n")
    assert head[0].endswith("on scikit-learn digits")
    assert note in head[1]
    assert note in (tmp_path / "r/ablation.tex").read_text()
    assert all(row["note"] == note for row in sheet(tmp_path / "r", "arms.csv"))


def test_a_study_without_any_result_still_has_a_report(tmp_path: Path) -> None:
    book = Scribe(tmp_path / "study", make_study())
    report = write_report(book.record(), tmp_path / "r")
    assert not report.complete
    assert "there is nothing to compare yet" in visible(report.text)
    assert not (tmp_path / "r/figures").exists()
    assert not any("planned trials" in warning for warning in report.warnings), (
        "nobody asked for a search"
    )
    assert any("planned runs without a result" in warning for warning in report.warnings)
    assert "Best configuration" not in report.text


def test_an_empty_record_is_the_users_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nothing has been recorded"):
        write_report(Record(), tmp_path)


def test_search_warnings(tmp_path: Path) -> None:
    book = Scribe(tmp_path / "study", make_study(num_trials=3))
    book.session()
    book.trials(1)
    knobs = {
        "model.dropout": 0.2,
        "batch_size": 64,
        "optimizer.name": "adam",
        "optimizer.lr": 0.0099,
    }
    config = book.study.baseline.override(knobs).model_dump(mode="json")
    book.ledger.append(events.Trial(run="t", trial=1, config=config, knobs=knobs, asked=0))
    book.ledger.append(events.Start(run="t", rung=0))
    book.ledger.append(events.Rung(run="t", rung=2, value=0.99))
    book.ledger.append(events.End(run="t", status="complete"))
    warnings = "\n".join(write_texts(book.record(), tmp_path / "r").warnings)
    assert "optimizer.adam.lr = 0.0099 at the upper end of 1e-05 … 0.01 (log)" in warnings
    assert "model.dropout" not in warnings
    assert "The search has 2 of 3 planned trials" in warnings


@pytest.mark.parametrize("gpus", [("",), ("Tesla T4",), ("Tesla T4", "NVIDIA A100-SXM4-40GB")])
def test_runs_of_different_gpus_are_told(gpus: tuple[str, ...], tmp_path: Path) -> None:
    book = Scribe(tmp_path / "study", make_study(replicates=2, num_trials=0))
    book.session()
    for number, gpu in enumerate(("", *gpus)):  # what was not recorded is no other GPU
        book.arm("baseline", number + 1, 0.6, device=gpu, tf32="A100" in gpu)
    said = [text for text in write_texts(book.record(), tmp_path / "r").warnings if "GPU" in text]
    told = "Runs ended on different GPUs, NVIDIA A100-SXM4-40GB, Tesla T4"
    assert said == ([f"{told}: they may differ for that reason"] if len(gpus) > 1 else [])
    ends = [line for line in lines(tmp_path / "study") if line["type"] == "end"]
    assert [line.get("device", "") for line in ends] == ["", *gpus]
    assert [line.get("tf32", False) for line in ends] == ["A100" in gpu for gpu in ("", *gpus)]


def test_top_trials_are_ranked_within_rungs(finished: tuple[Record, Report, Path]) -> None:
    record, _, folder = finished
    text = (folder / "report.md").read_text()
    table = text[text.index("Best trials, the highest rung first") : text.index("## What was run")]
    rows = [
        [cell.strip() for cell in line.split("|")[1:5]]
        for line in table.splitlines()
        if line.startswith("| ")
    ][1:]
    places = [(int(row[1].split()[0]), float(row[3])) for row in rows]
    assert places == sorted(places, reverse=True)
    assert len(rows) == min(10, sum(bool(run.rungs) for run in record.trials()))
    assert len({rung for rung, _ in places}) > 1


def test_data_warnings_unreadable_pictures_and_stores(tmp_path: Path) -> None:
    data = {
        "unreadable": [{"file": f"bad{i}<b>.jpg", "reason": "truncated"} for i in range(25)],
        "warnings": ["class sizes differ 9:1"],
    }
    book = arms_only(tmp_path, replicates=1, data=data)
    book.ledger.append(
        events.Mlflow(uri="https://user:hunter2@mlflow.example", what="study", id="1")
    )
    book.session(commit="ffff00001111")
    report = write_texts(book.record(), tmp_path / "r")
    warnings = "\n".join(report.warnings)
    assert "25 pictures could not be read" in warnings
    assert "class sizes differ 9:1" in warnings
    assert "2 different code versions" in warnings
    page = Page((tmp_path / "r/report.html").read_text()).text
    assert "bad19<b>.jpg: truncated" in page
    assert "and 5 more" in page
    assert "mlflow.example" in page
    assert "hunter2" not in page


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("63.15", "63.15"),
        ("a|b", r"a\|b"),
        ("<b>&", "&lt;b&gt;&amp;"),
        ("*x* _y_ `z`", r"\*x\* \_y\_ \`z\`"),
        ("- item", r"\- item"),
        ("12. item", r"12\. item"),
        ("[a](http://e)", r"\[a\](http&#58;//e)"),
        ("ResNet + aug", "ResNet + aug"),
    ],
)
def test_markdown_escape(text: str, want: str) -> None:
    assert markdown.escape(text) == want


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("50% & more_x #1 {}", r"50\% \& more\_x \#1 \{\}"),
        (r"\input{/etc/passwd}", r"\textbackslash{}input\{/etc/passwd\}"),
        ("$x^2~", r"\$x\textasciicircum{}2\textasciitilde{}"),
        ("✓ ± − Δ †", r"$\checkmark$ $\pm$ $-$ $\Delta$ \textdagger{}"),
        ("é ü", "é ü"),
        ("中", "{[}U+4E2D{]}"),
        ("ﬁ", "fi"),
        ("*a -- b's", "{*}a -{}- b's"),
    ],
)
def test_latex_escape(text: str, want: str) -> None:
    assert latex.escape(text) == want


def test_latex_is_balanced_and_every_row_is_full(finished: tuple[Record, Report, Path]) -> None:
    text = (finished[2] / "ablation.tex").read_text()
    for body in re.findall(r"\\begin\{tabular\}(.*?)\\end\{tabular\}", text, re.DOTALL):
        columns = len(re.match(r"\{@\{\}([lrc]+)@\{\}\}", body)[1])  # type: ignore[index]
        rows = [line for line in body.splitlines() if line.endswith(r"\\")]
        assert rows
        assert all(len(re.findall(r"(?<!\\)&", row)) == columns - 1 for row in rows)
    bare = re.sub(r"\\[{}\\$&%]", "", text)
    assert bare.count("{") == bare.count("}")
    assert bare.count("$") % 2 == 0
    letters = {letter for letter in text if ord(letter) > 0x17F}
    assert letters == set()


@pytest.mark.parametrize("text", ["=1+1", "+x", "-x", "@x", "\tx", "  =x", "|x"])
def test_csv_formulas_are_defused(text: str) -> None:
    assert inert(text) == f"'{printable(text)}"
    assert [inert(number) for number in ("-1.5", "-3", "plain")] == ["-1.5", "-3", "plain"]


def test_a_failure_keeps_the_last_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record = arms_only(tmp_path, replicates=1).record()
    report = write_report(record, tmp_path / "r")
    before = {path: path.read_bytes() for path in report.paths}
    record.runs.popitem()

    def refuse(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", refuse)
    with pytest.raises(MachineError, match="No space left"):
        write_report(record, tmp_path / "r")
    assert {path: path.read_bytes() for path in report.paths} == before
    assert {path for path in (tmp_path / "r").rglob("*") if path.is_file()} == set(before)


def test_a_factorial_of_three_has_all_pairs(tmp_path: Path) -> None:
    study = make_study(replicates=3, num_trials=0, epochs=2)
    factors = {**study.ablation.design.on, "wide": {"model.width": 128}}  # type: ignore[union-attr]
    design = study.ablation.design.model_copy(update={"on": factors})
    book = Scribe(
        tmp_path / "s",
        study.model_copy(update={"ablation": study.ablation.model_copy(update={"design": design})}),
    )
    book.session()
    book.arms()
    report = write_report(book.record(), tmp_path / "r")
    kinds = [row["kind"] for row in sheet(tmp_path / "r", "contrasts.csv")]
    assert (kinds.count("delta"), kinds.count("main"), kinds.count("interaction")) == (7, 3, 3)
    assert report.complete


def test_a_search_that_changed_nothing_has_no_table_of_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The baseline outside of the space was the best trial: the table had a head and no row."""
    scribe = Scribe(tmp_path / "study", make_study(num_trials=1))
    monkeypatch.setattr(scribe, "_knobs", lambda _: {})
    scribe.session()
    scribe.trials(1)
    scribe.arms()
    write_report(scribe.record(), tmp_path / "report")
    text = (tmp_path / "report/report.md").read_text()
    assert "The best trial is number 0, the baseline itself" in text
    assert "bold: differs from the baseline" not in text


def test_the_end_of_a_command_fits_a_terminal(finished: tuple[Record, Report, Path]) -> None:
    lines = finished[1].text.splitlines()
    assert max(len(line) for line in lines if not line.startswith("Report: ")) <= 80
    rows = [line for line in lines if "better" in line or "inconclusive" in line]
    assert any(
        re.search(r"\d ± \d.*\(5\)", line) for line in rows
    )  # a number stays with its spread and n
    assert not any(line.rstrip().endswith("±") or line.lstrip().startswith("%") for line in lines)
