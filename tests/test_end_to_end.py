"""The real command on real pictures: search, arms, report; going on and extending; three records
that must agree. One command is a process of its own, with Ray and workers; those that need none
are run in this one.
"""

import json
from pathlib import Path

import commands
import pytest
from pictures import hw3_folder

SMALL = (
    "--epochs",
    3,
    "--set",
    "dataset.size=16",
    "--set",
    "model.width=4",
    "--set",
    "search.num_rungs=2",
    "--set",
    "search.portfolio=[]",
)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, tuple[object, ...]]:
    """A finished study of small photos: (its mlruns folder, the flags that made it)."""
    home = tmp_path_factory.mktemp("photos") / "mlruns"
    data = hw3_folder(home.with_name("tiny-food"), counts=(12, 5, 6))
    flags = ("--study", "hw3", "--data", data, *SMALL)
    code = commands.run("search", *flags, "--trials", 6, "--replicates", 3, home=home)
    assert code == 0, commands.output(home)
    return home, flags


def test_ledger_mlflow_and_report_agree(photos: tuple[Path, tuple[object, ...]]) -> None:
    home, _ = photos
    record = commands.record(home)
    assert len(record.trials()) == 6
    assert {run.status for run in record.trials()} == {"complete", "stopped"}
    assert {arm: len(runs) for arm, runs in record.arms().items()} == {
        "baseline": 3,
        "ResNet": 3,
        "augmentation": 3,
        "ResNet + augmentation": 3,
    }
    rows = {row["run"]: row for row in commands.table(home, "runs.csv")}
    assert rows.keys() == record.runs.keys()
    query = "select run_uuid, key, value from latest_metrics"
    logged = {(run, key): value for run, key, value in commands.mlflow_rows(home, query)}
    for key, run in record.runs.items():
        assert run.best is not None
        for name in ("val_acc", "val_loss", "train_acc", "train_loss"):
            assert float(rows[key][name]) == run.best[name]
            assert logged[run.mlflow_id, name] == run.epochs[-1][name]
        assert rows[key]["mlflow_run"] == run.mlflow_id
        if run.kind == "arm":
            assert run.test_acc is not None
            assert float(rows[key]["test_acc"]) == run.test_acc == logged[run.mlflow_id, "test_acc"]
    for row in commands.table(home, "arms.csv"):
        accs = [run.test_acc for run in record.arms()[row["arm"]] if run.test_acc is not None]
        mean = sum(accs) / len(accs)
        arm = record.mlflow_ids[f"sqlite:///{home / 'mlflow.db'}|arm:{row['arm']}"]
        assert float(row["test_acc_mean"]) == pytest.approx(mean, abs=1e-12)
        assert logged[arm, "test_acc_mean"] == pytest.approx(mean, abs=1e-12)
        assert logged[arm, "test_acc_n"] == len(accs) == 3


def test_mlflow_holds_every_point_once_under_nested_runs(
    photos: tuple[Path, tuple[object, ...]],
) -> None:
    home, _ = photos
    record = commands.record(home)
    points = commands.mlflow_rows(
        home, "select run_uuid, key, step, count(*) from metrics group by 1, 2, 3"
    )
    assert {count for *_, count in points} == {1}
    steps = {(run, step) for run, key, step, _ in points if key == "val_acc"}
    assert steps == {
        (run.mlflow_id, epoch["epoch"]) for run in record.runs.values() for epoch in run.epochs
    }
    tags = commands.mlflow_rows(home, "select run_uuid, key, value from tags")
    tag = {(run, key): value for run, key, value in tags}
    study = next(run for (run, key), value in tag.items() if (key, value) == ("kind", "study"))
    for run in record.runs.values():
        parent = tag[run.mlflow_id, "mlflow.parentRunId"]
        assert tag[run.mlflow_id, "dataset.fingerprint"] == record.data["fingerprint"]
        if run.kind == "arm":
            assert tag[parent, "kind"] == "arm"
            parent = tag[parent, "mlflow.parentRunId"]
        assert parent == study
        assert tag[run.mlflow_id, "status"] == ("pruned" if run.status == "stopped" else run.status)
    assert commands.mlflow_rows(home, "select distinct status from runs") == [("FINISHED",)]
    reported = {path.name for path in (home / "artifacts").rglob("report/**/*")}
    assert {"report.html", "report.md", "ablation.tex", "arms.csv"} <= reported
    assert "augmented-01.png" in reported


def test_again_trains_nothing_and_a_larger_budget_only_what_is_missing(
    photos: tuple[Path, tuple[object, ...]],
) -> None:
    home, flags = photos
    before = commands.results(home)
    page = (commands.folder(home) / "report" / "frames" / "arms.csv").read_bytes()
    assert commands.here("search", *flags, "--trials", 6, "--replicates", 3, home=home) == 0
    assert commands.results(home) == before
    assert (commands.folder(home) / "report" / "frames" / "arms.csv").read_bytes() == page
    more = ("--trials", 8, "--replicates", 4, "--debug")  # by the other executor
    assert commands.here("search", *flags, *more, home=home) == 0, commands.output(home)
    after = commands.results(home)
    assert len(after) == len(before) + 2 + 4
    arms = {key for key, result in before.items() if result[0] == "arm"}
    assert {key: after[key] for key in arms} == {key: before[key] for key in arms}
    assert commands.repeated_epochs(home) == 0
    assert commands.here("search", *flags, "--quiet", home=home) == 0
    assert commands.results(home) == after, "budgets that are left out stay as they were"
    said = [session.command for session in commands.record(home).sessions]
    assert said[-1].endswith("--trials 8 --replicates 4"), "and make the study anywhere"
    assert said[-2].count("--trials") == 1
    end = commands.output(home).rsplit("complete after", 2)[-2]
    assert "mean ± sd (n)" in end
    assert "rung 1/" not in end, "--quiet leaves the end alone"
    study = ("--study", "hw3", "--data", flags[3])
    assert commands.here("report", *study, "--check", home=home) == 0, (
        "the command's own report is that of its ledger"
    )
    assert commands.here("report", *study, home=home) == 0


@pytest.mark.usefixtures("unmeasured")
def test_a_study_that_has_grown_uses_again_what_it_has(
    photos: tuple[Path, tuple[object, ...]],
) -> None:
    """An arm is renamed, two are taken out, one is new, the space is cut."""
    home, flags = photos
    before, file = commands.record(home), home.with_name("grown.json")
    tree = json.loads((commands.folder(home) / "study.json").read_text())
    arms = {"baseline": {}, "deep": {"model.name": "resnet18"}, "wide": {"model.width": 6}}
    tree["ablation"]["design"] = {"name": "arms", "arms": arms}
    tree["space"]["knobs"]["model.dropout"]["high"] = 0.2
    file.write_text(json.dumps(tree))
    grown = ("--study", file, *flags[2:4])
    assert commands.here("search", *grown, "--dry-run", home=home) == 0, commands.output(home)
    assert "the study has grown" in commands.output(home)
    assert commands.record(home).revisions == []

    assert commands.here("search", *grown, "--debug", home=home) == 0, commands.output(home)
    record = commands.record(home)
    assert [run.key for run in record.arms()["deep"]] == [r.key for r in before.arms()["ResNet"]]
    assert {run.status for run in record.arms()["wide"]} == {"complete"}
    assert len(record.arms()["wide"]) == record.study.ablation.replicates
    inside = [run.key for run in before.trials() if run.config["model"]["dropout"] <= 0.2]
    assert {run.key for run in record.trials()} & before.runs.keys() == {*inside}
    assert len(record.trials()) == len(before.trials())
    for key, run in before.runs.items():  # some trials go on
        assert record.runs[key].epochs[: len(run.epochs)] == run.epochs
    query = "select run_uuid, value from tags where key = '{}'"
    arm, parent = (
        dict(commands.mlflow_rows(home, query.format(key))) for key in ("arm", "mlflow.parentRunId")
    )
    renamed, former = record.arms()["deep"][0], before.arms()["augmentation"][0]
    uri = f"sqlite:///{home / 'mlflow.db'}"
    assert (arm[renamed.mlflow_id], arm[former.mlflow_id]) == ("deep", "")
    assert parent[renamed.mlflow_id] == record.mlflow_ids[f"{uri}|arm:deep"]
    page = (commands.folder(home) / "report" / "report.md").read_text()
    assert "The study has grown since it was begun" in page
    assert "the arms were changed after results existed" in page

    num = ("--trials", len(before.trials()), "--replicates", before.study.ablation.replicates)
    assert commands.here("search", *flags, *num, "--debug", home=home) == 0, commands.output(home)
    back = commands.record(home)
    assert {arm: len(runs) for arm, runs in back.arms().items()} == {
        arm: len(runs) for arm, runs in before.arms().items()
    }
    assert back.runs.keys() == record.runs.keys()


def test_other_settings_are_refused_and_fresh_moves_the_record_aside(
    photos: tuple[Path, tuple[object, ...]],
) -> None:
    home, flags = photos
    assert commands.here("search", *flags, "--set", "batch_size=16", home=home) == 2
    assert "baseline.batch_size: recorded 64, now 16" in commands.output(home)
    kept = commands.folder(home)
    anew = ("--set", "batch_size=16", "--replicates", 1, "--fresh", "--debug")
    code = commands.here("ablate", *flags, *anew, home=home)
    assert code == 0, commands.output(home)
    assert (kept.with_name(f"{kept.name}.old1") / "ledger.jsonl").exists()
