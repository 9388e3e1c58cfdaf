"""The table is judged by the metric that the user chose, and every word that says so names it."""

import math
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from own import MORE, folder, written

from pipeline.analysis.chance import Guess
from pipeline.analysis.pilot import due
from pipeline.analysis.preregistration import lines as lines_of
from pipeline.analysis.preregistration import outline
from pipeline.analysis.results import read_ablation
from pipeline.record import events
from pipeline.record.events import Event
from pipeline.record.mlflow_views import saved_view
from pipeline.record.record import Record
from pipeline.report import frames
from pipeline.report.compose import FIGURES, Findings, document, read, texts
from pipeline.report.figures.draw import figures
from pipeline.report.formats.terminal import render
from pipeline.report.language.catalogue import catalogue
from pipeline.report.language.translate import translated
from pipeline.report.language.translator import Translator
from pipeline.study.designs import Factorial
from pipeline.study.judged import Judged
from pipeline.study.study import Study
from tests import commands
from tests.records import Scribe, make_study
from tests.studies import small_study

__all__ = ["folder"]

SVG = b'<svg xmlns="http://www.w3.org/2000/svg" width="9pt" height="9pt" viewBox="0 0 9 9"/>'
ACCURACY = re.compile(r"\b(acc|accuracy)\b|准确率")


def other(acc: float) -> float:
    """The chosen metric of a run, which is the higher the lower its accuracy is."""
    return round(0.95 - 0.8 * acc, 6)


def told(
    home: Path,
    select: str = "macro_f1",
    *,
    tested: bool = True,
    lost: bool = False,
    value: Callable[[float], float] = other,
    **knobs: Any,
) -> Record:
    study = make_study(num_trials=14, replicates=4)
    metrics = knobs.pop("metrics", ["macro_f1"])
    study = study.override({"baseline.metrics": metrics, "baseline.select": select})
    scribe = Scribe(home, study, **knobs)
    append = scribe.ledger.append

    def also(event: Event) -> Event:
        if isinstance(event, events.Epoch):
            own = {f"val_{select}": value(event.metrics["val_acc"])}
            event = replace(event, metrics={**event.metrics, **own})
        if isinstance(event, events.Rung):
            event = replace(event, value=value(event.value))
        if isinstance(event, events.End) and event.test_acc is not None:
            own = {f"test_{select}": value(event.test_acc)}
            none = {} if tested else {"test_acc": None, "test_loss": None}
            event = replace(event, metrics=own if tested else {}, best_epoch=1, **none)
        return append(event)

    scribe.ledger.append = also  # type: ignore[method-assign, assignment]
    scribe.session()
    scribe.trials()
    scribe.arms(without=(("ResNet", 4),) if lost else ())
    if lost:
        scribe.arm("ResNet", 4, status="diverged")
    return scribe.record()


def pages(found: Findings, lang: str = "en") -> dict[str, str]:
    return texts(found, dict.fromkeys(FIGURES, SVG), lang)


def section(page: str, title: str) -> str:
    """Of a markdown page."""
    return page.split(f"\n## {title}\n")[1].split("\n## ")[0]


def table(page: str) -> str:
    """The judged tables and their captions, of a markdown page: of the first screen, and what
    follows it before the footnotes.
    """
    first = page.split("\nAblation: ")[1].split("The study's metrics")[0]
    return first + section(page, "Ablation").split("\n\n### ")[0].split("\n- n counts")[0]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Findings:
    return read(told(tmp_path_factory.mktemp("judged")))


def test_the_report_names_the_right_epochs_and_arms(found: Findings, tmp_path: Path) -> None:
    plain = make_study(num_trials=14, replicates=4)
    scribe = Scribe(tmp_path, plain)
    scribe.session()
    scribe.trials()
    scribe.arms()
    by_acc = read(scribe.record())
    best = {name: max(f.ablation.rows, key=lambda row: row.mean).arm
            for name, f in (("acc", by_acc), ("f1", found))}  # fmt: skip
    assert best == {"acc": "ResNet", "f1": "augmentation"}
    assert "Best: augmentation. Every other arm is found behind it" in pages(found)["report.md"]
    assert found.ablation.judged == Judged("macro_f1", held_out=True)
    for row in found.ablation.rows:
        assert row.values == tuple(run.metrics["test_macro_f1"] for run in row.complete)
        for run in row.complete:
            assert run.best
            assert run.best["val_macro_f1"] == max(e["val_macro_f1"] for e in run.epochs)
            assert run.best["val_acc"] < max(e["val_acc"] for e in run.epochs)
    top = [run for run in found.search.trials if 2 in run.rungs]
    assert found.search.best == max(top, key=lambda run: run.rungs[2])


def test_no_format_calls_it_accuracy_where_it_judges(found: Findings) -> None:
    english, chinese = pages(found), pages(found, "zh")
    md = english["report.md"]
    assert not ACCURACY.search(table(md))
    assert "judged by test macro-F1" in md
    assert "test macro\\_f1 (%), mean ± sd (n)" in md
    assert "read at its epoch of highest val macro\\_f1" in md
    assert "differences in macro-F1 with 95 percent intervals" in md
    assert not ACCURACY.search(english["ablation.tex"].replace("known for accuracy alone", ""))
    assert "test macro\\_f1" in english["ablation.tex"]
    assert "test macro_f1 (%)" in english["report.html"]
    assert not ACCURACY.search(section(md, "Search"))
    assert "val macro\\_f1" in section(md, "Search")
    shown = render(found, Path("report.md"))
    first, _, beside = shown.split("Warnings")[0].partition("The study's metrics")
    assert "val acc" in beside, "it stands beside, in a table of its own"
    assert not ACCURACY.search(first + beside.split("Main effects")[1])
    assert "以测试宏平均 F1 评判" in chinese["report.md"]
    assert "差异以测试宏平均 F1 的百分点计" in chinese["report.md"]
    own = chinese["report.md"].split("\n## 消融实验\n")[1].split("\n- ")[0]
    assert "主效应" in own
    assert not ACCURACY.search(own)
    assert not ACCURACY.search(chinese["ablation.tex"].replace("它只对准确率已知", ""))
    say = Translator(catalogue("zh"), [row.arm for row in found.ablation.rows])
    translated(document(found, FIGURES), say, title=found.study.title)
    assert not say.missed


def test_accuracy_is_shown_beside_and_nothing_of_it_is_claimed_for_another(
    found: Findings,
) -> None:
    md = pages(found)["report.md"]
    assert "| arm | val acc | test acc | val macro\\_f1 | test macro\\_f1 |" in md
    assert "Nothing is selected or tested by any but macro\\_f1." in md
    assert "No interval for other pictures of this kind is given: it is known for accuracy" in md
    assert "is worth" not in md
    assert "chance" not in table(md)
    assert "this section is that of the highest val acc, while runs are selected by val" in md
    drawn = dict(figures(found))
    labels = {name: figure.axes[0].get_ylabel() for name, figure in drawn.items()}
    assert labels["interaction"] == "test macro-F1 (%)"
    assert labels["search"] == "val macro-F1 (%) at its rung"
    assert labels["curves"] == "accuracy (%)"
    assert (
        drawn["differences"].axes[0].get_xlabel() == "difference in test macro-F1 (percent points)"
    )


def test_frames_have_its_name(found: Findings) -> None:
    made = frames.read(found)
    runs, arms = made["runs"], made["arms"]
    assert "val_acc_at_rung" not in runs
    assert {"val_macro_f1_at_rung", "test_macro_f1", "last_val_macro_f1", "val_acc"} <= {*runs}
    assert set(arms["judged_by"]) == {"test_macro_f1"}
    assert set(made["contrasts"]["metric"]) == {"test_macro_f1"}
    means = [row.mean for row in found.ablation.rows]
    assert arms["test_macro_f1_mean"].tolist() == pytest.approx(means)
    assert {"last_val_macro_f1_mean", "test_acc_mean"} <= {*arms}


def test_lost_runs_are_counted_as_a_guess_only_where_one_is_known(tmp_path: Path) -> None:
    lost = read(told(tmp_path, lost=True))
    md = pages(lost)["report.md"]
    assert "ResNet: 1 of 4 runs diverged, not in its numbers." in md
    assert "guess" not in md.split("Rules of thumb")[0].split("## Ablation")[0]
    say = Translator(catalogue("zh"), [row.arm for row in lost.ablation.rows])
    translated(document(lost, FIGURES), say, title=lost.study.title)
    assert not say.missed


def test_without_test_labels_it_is_of_the_last_epoch(tmp_path: Path) -> None:
    counts = {"train": 800, "valid": 200}
    found = read(told(tmp_path, tested=False, data={"counts": counts}))
    assert found.ablation.judged == Judged("macro_f1", held_out=False)
    row = found.ablation.rows[0]
    assert row.values == tuple(run.epochs[-1]["val_macro_f1"] for run in row.complete)
    md = pages(found)["report.md"]
    assert "judged by validation macro-F1 at each run's last epoch" in md
    assert "last val macro\\_f1 (%), mean ± sd (n)" in md
    assert not ACCURACY.search(table(md))


def test_what_is_chance_is_known_of_accuracy_and_of_mean_recall_alone(tmp_path: Path) -> None:
    data = {"classes": list("abcde"), "counts": {"test": 400}, "most_frequent": {"test": 0.5}}
    acc, recall = Guess.of(data, "test"), Guess.of(data, "test", "balanced_acc")
    assert (acc.rate, recall.rate) == (0.5, 0.2)
    assert recall.known
    assert recall.limit() == Guess(0.2, 400).limit() > 0.2
    for name in ("macro_f1", "auroc", "top_3", "my_recall"):
        none = Guess.of(data, "test", name)
        assert (none.known, none.limit()) == (False, -math.inf)
    low = told(tmp_path / "f1", value=lambda acc: round(acc / 100, 6))
    assert not read_ablation(low, low.study).barred
    assert "at chance" not in pages(read(low))["report.md"].split("## Warnings")[0]
    bal = {"metrics": ["balanced_acc"], "value": lambda acc: round(acc / 100, 6)}
    barred = told(tmp_path / "recall", "balanced_acc", **bal)
    assert set(read_ablation(barred, barred.study).barred.values()) >= {"not told from guessing"}


@pytest.mark.usefixtures("folder")
def test_a_metric_of_ones_own_and_top_k_have_their_names(folder: Path, tmp_path: Path) -> None:
    written(folder, "my_more.py", MORE)
    for number, (name, metrics, noun) in enumerate((
        ("my_recall", ["my_more:my_recall"], "my_recall"),
        ("top_3", [{"name": "top_k", "k": 3}], "top-3 accuracy"),
        ("auroc", ["auroc"], "AUROC"),
        ("balanced_acc", ["balanced_acc"], "balanced accuracy"),
    )):  # fmt: skip
        found = read(told(tmp_path / str(number), name, metrics=metrics))
        md = pages(found)["report.md"].replace("\\_", "_")
        assert f"judged by test {noun}." in md
        assert f"test {name} (%), mean ± sd (n)" in md
        assert " acc" not in table(md)
        say = Translator(catalogue("zh"), [row.arm for row in found.ablation.rows])
        translated(document(found, FIGURES), say, title=found.study.title)
        assert not say.missed


LEVELS = re.compile(r"(?<!\d)(?:5|80|90|95|100) ?%|\\d %")
SHARES = re.compile(r"\d ?%|\bpoints?\b|个百分点")


def loss(acc: float) -> float:
    return round(2.5 * (1 - acc), 6)


@pytest.mark.parametrize(
    ("name", "metric", "noun"),
    [("log_loss", "log_loss", "log loss"), ("ece", "ece", "ECE"), ("my_errors", None, "my_errors")],
)
def test_what_less_is_better_of_is_shown_in_its_own_unit(
    folder: Path, tmp_path: Path, name: str, metric: str | None, noun: str
) -> None:
    said = "def my_errors(logits, labels):\n    return 1.0\n\n\nmy_errors.lower_is_better = True\n"
    written(folder, "my_less.py", said)
    record = told(tmp_path / "a", name, metrics=[metric or "my_less:my_errors"], value=loss)
    found = read(record)
    by_acc = read(told(tmp_path / "b", "macro_f1", value=lambda acc: acc))
    assert found.ablation.judged == Judged(name, held_out=True, sign=-1)
    same, ours = by_acc.ablation, found.ablation
    assert (same.best, same.bold) == (ours.best, ours.bold)
    for one, turned in zip(same.contrasts, ours.contrasts, strict=True):
        assert one.verdict == turned.verdict
        assert turned.delta == pytest.approx(-2.5 * one.delta, abs=1e-5)
    assert found.search.best
    assert by_acc.search.best
    assert found.search.best.number == by_acc.search.best.number
    english, chinese = pages(found), pages(found, "zh")
    md = english["report.md"].replace("\\_", "_")
    assert f"| test {name}, mean ± sd (n) |" in md
    assert f"Differences in test {name}, of which less is better." in md
    assert f"read at its epoch of lowest val {name}" in md
    assert f"lowest val {name}† there |" in md
    assert f"judged by test {noun} (less is better)." in md
    assert "Brackets are 95 % confidence intervals." in md
    screen = render(found, Path("report.md")).split("Warnings")[0]
    for page in (md, chinese["report.md"], screen):
        for text in page.split("\n## ")[0:2]:
            shown = LEVELS.sub("", text)
            assert not SHARES.search(shown), SHARES.search(shown)
    searched = LEVELS.sub("", section(md, "Search"))
    assert not SHARES.search(searched), searched
    assert not SHARES.search(LEVELS.sub("", table(md)))
    assert not SHARES.search(LEVELS.sub("", english["ablation.tex"].replace("\\%", "%")))
    say = Translator(catalogue("zh"), [row.arm for row in found.ablation.rows])
    translated(document(found, FIGURES), say, title=found.study.title)
    assert not say.missed
    drawn = dict(figures(found))
    labels = {one: figure.axes[0].get_ylabel() for one, figure in drawn.items()}
    assert labels["search"] == f"val {noun} at its rung"
    assert labels["interaction"] == f"test {noun}"
    forest = drawn["differences"].axes[0]
    assert forest.get_xlabel() == f"difference in test {noun}, less is better"
    made = frames.read(found)
    assert set(made["contrasts"]["metric"]) == {f"test_{name}"}
    first = made["contrasts"].iloc[0]
    assert (first["delta"] < 0) == (first["verdict"] == "better")


def test_the_plan_the_pilot_and_the_saved_view_name_it(found: Findings) -> None:
    record, study = found.record, found.study
    plan = outline(study, record.data)
    assert (plan["selects"], plan["reports"]) == (
        "val_macro_f1, of the epoch of each run",
        "test_macro_f1",
    )
    said = dict(lines_of(outline(study)))
    assert said["reports"] == (
        "test_macro_f1 where the test pictures are labelled, else val_macro_f1 of each run's last "
        "epoch"
    )
    written_down = events.Plan(plan=plan, expected={}, changed=[], after_results=False)
    begun = replace(record, pilot=None, plans=[written_down])
    pilot = due(study, begun, lambda: {"epochs_left": 0, "hours": 0.0})
    assert pilot
    assert pilot.metric == "test_macro_f1"
    values = [run.metrics["test_macro_f1"] for run in found.ablation.rows[0].complete[:3]]
    assert min(values) < max(values)
    view = saved_view(found.ablation.judged)
    assert "metrics.`test_macro_f1`" in view
    assert "best_val_macro_f1" in view
    assert "acc" not in view
    assert "metrics.`test_acc`" in saved_view(Judged())


def chosen_study(path: Path) -> Study:
    study = small_study(num_trials=3, replicates=3, race=2, epochs=3)
    study = study.override(
        {
            "baseline.metrics": ["macro_f1", "balanced_acc"],
            "baseline.select": "macro_f1",
            "baseline.dataset.num_train": 480,
            "baseline.dataset.num_valid": 1200,  # few are left to test on and to draw planes of
            "baseline.precision": "fp32",
            "search.race": 2,
        }
    )
    design = Factorial(on={"dropout": {"model.dropout": 0.25}})
    ablation = study.ablation.model_copy(update={"design": design})
    study = study.model_copy(update={"ablation": ablation})
    path.write_text(study.model_dump_json())
    return study


def test_a_real_study_is_selected_judged_reported_and_exported_by_it(tmp_path: Path) -> None:
    """In the command's own process."""
    home, file = tmp_path / "mlruns", tmp_path / "study.json"
    chosen_study(file)
    status = commands.here("search", "--study", file, "--debug", "-v", home=home)
    output = commands.output(home)
    assert status == 0, output
    assert re.search(r"val_macro_f1 0\.\d{4}  val_loss", output)
    assert re.search(r"done  val_macro_f1 0\.\d+ \(epoch \d\)  test_macro_f1 0\.\d+", output)
    assert "val_acc" not in output.split("plan.md")[-1].split("Ablation:")[0]
    record, place = commands.record(home), commands.folder(home)
    for runs in record.arms().values():
        for run in runs:
            top = max(run.epochs, key=lambda e: (e["val_macro_f1"], -e["val_loss"], -e["epoch"]))
            assert run.best_epoch == top["epoch"]
            assert {"test_macro_f1", "test_balanced_acc"} <= run.metrics.keys()
    assert "val_macro_f1, of the epoch" in (place / "plan.md").read_text()
    report = place / "report"
    md = (report / "report.md").read_text()
    assert not ACCURACY.search(table(md))
    assert "judged by test macro-F1" in md
    assert not ACCURACY.search(
        (report / "ablation.tex").read_text().replace("known for accuracy alone", "")
    )
    assert "test macro_f1 (%)" in (report / "report.html").read_text()
    assert commands.table(home, "arms.csv")[0]["judged_by"] == "test_macro_f1"
    names = {name for (name,) in commands.mlflow_rows(home, "select distinct key from metrics")}
    assert {"search_val_macro_f1", "best_val_macro_f1", "test_macro_f1_mean"} <= names
    assert "search_val_acc" not in names
    assert commands.here("report", "--study", file, "--lang", "zh", home=home) == 0
    chinese = (place / "report-zh" / "report.md").read_text()
    assert "以测试宏平均 F1 评判" in chinese
    assert commands.here("export", "--study", file, "--no-onnx", home=home) == 0
    card = (place / "export" / "README.md").read_text()
    assert "Test macro-F1 had no part in the choice." in card
    assert "highest mean validation macro-F1" in card or "validation macro-F1" in card
    assert not re.search(r"(chosen by|validation|no) \w*accuracy", card)
    assert "| test_macro_f1 |" in card


def test_words_of_accuracy_are_what_they_were() -> None:
    held, last = Judged(), Judged(held_out=False)
    assert (held.column, held.short, held.long) == ("test_acc", "test acc", "test accuracy")
    assert (last.column, last.short) == ("last_val_acc", "last val acc")
    assert last.long == "validation accuracy at each run's last epoch"
    assert (held.val, held.selects, held.drawn) == ("val acc", "val_acc", "test accuracy")
    assert (last.drawn, held.is_acc) == ("val accuracy", True)
