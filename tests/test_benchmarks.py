import argparse
import json
import os

import numpy as np
import pytest
import torch

from benchmarks.utilisation import Side, study_of
from pipeline.errors import UserError
from pipeline.study.load import load_study


def flags(**given):
    return argparse.Namespace(**({"data": None, "trials": 4, "sets": []} | given))


def test_utilisation_is_one_where_epochs_follow_each_other_on_every_worker():
    side = Side([(101, 1), (102, 2), (103, 2), (103, 1)], num_trials=2, workers=2, whole=6, load=0)
    assert side.steady == 3
    assert side.utilisation(side.steady) == 1
    assert side.idle() == 0
    assert side.utilisation(side.whole) == 0.5


def test_utilisation_counts_start_gaps_and_the_tail_as_idle():
    # one worker trains 100-102 and 105-108, the other 101-104; reports may come in any order
    side = Side([(108, 3), (102, 2), (104, 3)], num_trials=4, workers=2, whole=20, load=0)
    assert side.steady == 8
    assert side.utilisation(side.steady) == pytest.approx(8 / 16)
    assert side.utilisation(side.whole) == pytest.approx(8 / 40)
    assert side.idle() == pytest.approx(2)


def test_both_sides_search_the_space_of_hw3(tmp_path, monkeypatch):
    monkeypatch.setenv("FOOD11", str(tmp_path))  # must not turn the default into somebody's photos
    study, data = study_of(flags(sets=["epochs=9", "search.reduction=2"]), tmp_path)
    assert data is None
    assert study.baseline.dataset.name == "digits"
    assert study.space.model_dump(mode="json") == load_study("hw3").fallback.overrides["space"]
    assert (study.search.num_trials, study.search.reduction, study.baseline.epochs) == (4, 2, 9)
    assert [config.model.width for _, config in study.arms()] == [4, 5]
    assert load_study(str(tmp_path / "study.json")) == study


def test_a_folder_keeps_the_settings_of_the_study(tmp_path):
    study, data = study_of(flags(data=str(tmp_path)), tmp_path)
    assert data == tmp_path
    assert study.baseline == load_study("hw3").baseline


def test_augmentation_is_compared_on_equal_terms(tmp_path, capsys):
    pytest.importorskip("kornia")
    from benchmarks.augment import decoded, measured, num_distinct, report, split_difference, ways
    from benchmarks.loop import photos

    paths = photos(tmp_path, 6)
    compared = ways(paths, 32, 4)
    batches = {name: epoch() for name, epoch in compared.items()}
    for found in batches.values():
        assert [tuple(batch.shape) for batch in found] == [(4, 3, 32, 32), (2, 3, 32, 32)]
    means = [
        torch.cat(batches[name]).mean().item() for name in ("notebook", "kornia", "ours, notes")
    ]
    assert (
        max(means) - min(means) < 0.15
    )  # the same pictures, normalised alike, with little of the border in black
    images = decoded(paths, 32)
    assert num_distinct(images[:1]) == 64
    assert split_difference(images) == 0
    report(
        measured(compared, 6, 1)
        | {"notebook": [1.0, 2.0], "kornia": [2.0, 2.0], "ours, notes": [8.0, 12.0]}
    )
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:4] for line in lines[-2:]] == [
        ["ours", "/", "notebook", "7.00"],
        ["ours", "/", "kornia", "5.00"],
    ]


@pytest.mark.skipif(not hasattr(os, "posix_fadvise"), reason="this system takes no advice")
def test_cold_reads_are_compared_on_equal_terms(tmp_path, capsys):
    from benchmarks import memmap

    num_rows = memmap.write(tmp_path / "images.u8", 1)
    assert num_rows == memmap.BATCH * sum(memmap.NUM.values())
    assert (tmp_path / "images.u8").stat().st_size == num_rows * 3 * 128 * 128
    images = np.memmap(
        tmp_path / "images.u8", dtype=np.uint8, mode="r", shape=(num_rows, *memmap.SHAPE)
    )
    rows = np.random.default_rng(0).permutation(num_rows)[:200]
    for ours, plain in zip(memmap.ours(images, rows), memmap.plain(images, rows), strict=True):
        assert torch.equal(ours, plain)
    assert memmap.cached(tmp_path / "images.u8") > 0.02
    assert all(memmap.measure(way, tmp_path / "images.u8", num_rows, 1) > 0 for way in memmap.NUM)
    memmap.report({"ours": [10.0, 12.0, 30.0], "plain": [2.0, 2.0, 3.0]})
    assert capsys.readouterr().out.splitlines()[-1].split() == ["ratio", "6.0", "5.0", "…", "10.0"]


def test_the_intervals_that_ship_are_simulated_and_a_wrong_test_is_seen(capsys):
    from benchmarks.coverage.__main__ import main
    from benchmarks.coverage.intervals import Condition, measure, normal
    from pipeline.analysis.stats import PAIRED, basis

    folds = Condition("folds", normal, replicates_share=0.2)
    naive = measure(folds, PAIRED, 5, 3000, np.random.default_rng(0))
    assert not naive.good  # overlapping folds taken for independent replicates
    assert naive.figures["cover: delta"][0] < 0.9
    assert measure(
        folds, basis("kfold", folds=5, held_out=False), 5, 3000, np.random.default_rng(0)
    ).good
    assert main(["--tables", "1000", "--only", "intervals"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == "goal met"
    assert len(lines) == 5 + 3 * 16


def test_a_made_up_study_is_reported_stage_by_stage(tmp_path, capsys):
    from benchmarks.report import STAGES, Scribe, Timed, measure, report
    from pipeline.record.ledger import read_events
    from pipeline.record.record import Record

    Scribe(tmp_path, 40, 4).write()
    record = Record.of(read_events(tmp_path))
    assert len(record.trials()) == 12
    assert {arm: len(runs) for arm, runs in record.arms().items()} == dict.fromkeys(
        record.arm_names, 7
    )
    assert {len(run.epochs) for run in record.runs.values()} == {30}
    timed = measure(tmp_path, 1)
    assert timed.stages.keys() == {"ledger", "disk", *STAGES}
    assert all(seconds > 0 for seconds in timed.stages.values())
    assert timed.page == (tmp_path / "report" / "report.html").stat().st_size
    assert (tmp_path / "report" / "frames" / "confusion.parquet").exists()
    assert report(
        {1000: Timed({"judge": 9.0}, 8.0, 10**6), 10_000: Timed({"judge": 99.0}, 80.0, 10**6)}
    )
    assert not report(
        {1000: Timed({"judge": 9.0}, 8.0, 10**6), 10_000: Timed({"judge": 99.0}, 99.0, 10**6)}
    )
    assert not report({1000: Timed({"judge": 11.0}, 8.0, 10**6)})
    assert not report({1000: Timed({"judge": 9.0}, 8.0, 6 * 10**6)})
    told = [line[:9] for line in capsys.readouterr().out.splitlines() if line.startswith("goal")]
    assert told == ["goal met:", *["goal MISS"] * 3]


def test_the_ceiling_of_a_driver_is_measured_with_a_whole_command(monkeypatch, capsys):
    from benchmarks.ceiling import Found, main, summary
    from benchmarks.meter import COLUMNS, Reading, Stretch

    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert main(["--trials", "9", "--workers", "4", "--every", "5"]) == 0
    head, *lines, whole, takes, driver, mlflow = capsys.readouterr().out.splitlines()
    assert head == "".join(f"{title:>{width}}" for title, width in COLUMNS)
    rows = [[float(value.replace(",", "")) for value in line.split()] for line in lines]
    assert [len(row) for row in rows] == [len(COLUMNS)] * len(rows)
    assert [row[0] for row in rows][:2] == [5, 9]
    # 9 trials to rung 1 at least, three of them raced, three arms
    assert sum(row[1] for row in rows) >= 9 * 3 + 3 * 27
    assert "after the last result (report" in whole
    assert takes.startswith("the driver takes ")
    for line in (driver, mlflow):
        assert [word for word in line.split() if word.startswith(("1-", "10-", "60-"))] == [
            "1-second",
            "10-second",
            "60-second",
        ]
    begun = Reading(wall=5.0)
    ended = Reading(trials=10, results=70, events=100, delivered=50, wall=7.0, cpu=0.14, disk=0.7)
    found = Found((Stretch(begun, ended, 50, 1.0, 10**8),), 9.0, 2.0, 1.0, late=False)
    assert (found.stretches[0].rate, found.stretches[0].mlflow_rate) == (35, 17.5)
    assert "up to 35 workers of 1-second epochs, 350 workers of 10-" in summary(found, ray=False)


def test_a_search_is_played_on_recorded_curves():
    """The same seed gives the same regrets; the more is trained, the better, over a few seeds."""
    from benchmarks.curves.searchers import METHODS
    from benchmarks.curves.sets import CurveSet, names
    from benchmarks.search_efficiency import BUDGETS, on_ours

    assert len(names()) >= 4
    assert {"ours", "random"} <= {*METHODS}
    first, again = (on_ours("digits-lenet", ("ours",), 2, 2)["ours"] for _ in range(2))
    assert first.shape == (2, len(BUDGETS))
    assert (first == again).all()
    assert first[:, -1].mean() < first[:, 0].mean() < 1
    curves = CurveSet("digits-lenet")
    best, median, cost = curves.reference
    assert 0 <= median < best <= 1
    assert cost > 0
    assert (curves.regret(best), curves.regret(median)) == (0, 1)


def test_curves_are_those_that_were_recorded():
    """Every set has 160 configurations of 27 epochs, each fourth of them with a second seed."""
    import pandas as pd

    from benchmarks.curves.sets import HERE, names

    for name in names():
        frame = pd.read_parquet(HERE / f"{name}.parquet")
        assert frame.groupby("seed").size().to_dict() == {0: 160, 1: 40}, name
        whole = frame[frame["status"] == "complete"]
        assert set(whole["val_acc"].map(len)) == {27}, name
        assert whole["val_acc"].map(min).min() >= 0
        assert whole["val_acc"].map(max).max() <= 1
        assert whole["seconds"].map(min).min() > 0


@pytest.fixture
def _own_process():
    """The checks of a GPU set their process up as a worker does; other tests keep theirs."""
    threads, benchmark = torch.get_num_threads(), torch.backends.cudnn.benchmark
    yield
    torch.set_num_threads(threads)
    torch.set_flush_denormal(False)
    torch.backends.cudnn.benchmark = benchmark


@pytest.mark.usefixtures("_own_process")
def test_a_gpus_checks_say_a_line_each_and_keep_their_numbers(tmp_path, monkeypatch, capsys):
    from benchmarks.gpu.__main__ import main

    monkeypatch.setenv("OUT", str(tmp_path))
    assert main(["--device", "cpu", "--only", "oom,resume, syncs"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in lines] == [
        ["INFO", "machine"],
        ["PASS", "resume"],
        ["SKIP", "syncs"],
        ["SKIP", "oom"],
        ["OK:", "3"],
    ]
    assert (
        f"device=cpu name={json.loads((tmp_path / 'gpu_check.json').read_text())[0]['name']}"
        in (lines[0])
    )
    assert f"torch={torch.__version__}" in lines[0]
    assert lines[1].endswith("difference=0")
    assert lines[2].endswith("reason=needs a GPU, cpu has 0")
    assert lines[4].endswith("0 failed, 2 skipped")
    machine, *found = json.loads((tmp_path / "gpu_check.json").read_text())
    assert machine["torch"] == torch.__version__
    assert [(one["state"], one["check"]) for one in found] == [
        ("PASS", "resume"),
        ("SKIP", "syncs"),
        ("SKIP", "oom"),
    ]
    assert found[0]["difference"] == 0
    assert found[0]["seconds"] > 0


def test_a_gpus_check_that_fails_keeps_no_other_from_being_made(tmp_path, capsys):
    from benchmarks.gpu.__main__ import CHECKS, run
    from benchmarks.gpu.bench import Bench, Notes, Wrong

    def wrong(_):
        raise Wrong("the numbers\nare others")

    def right(_):
        return {"half": 0.5}

    notes = Notes(tmp_path / "found.json")
    assert run(Bench("cpu", notes=notes), (wrong, right)) == 1
    told = capsys.readouterr()
    first, second, last = told.out.splitlines()
    assert first.startswith("FAIL wrong (")
    assert first.endswith("error=Wrong: the numbers\\nare others")
    assert second.startswith("PASS right (")
    assert second.endswith("half=0.5")
    assert last.startswith("FAILED: 2 checks in ")
    assert "in wrong" in told.err, "the traceback"
    assert json.loads(notes.out.read_text()) == notes.found
    assert run(Bench("cpu", deadline=0), CHECKS) == 0
    late = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in late[:-1]] == [["SKIP", c.__name__] for c in CHECKS]
    assert all("out of time" in line for line in late[:-1])


def test_a_gpus_checks_take_the_members_of_unions_from_these():
    from benchmarks.gpu.runs import SMALL, variants
    from benchmarks.gpu.training import cases_of
    from pipeline.core.augmentation.config import AUGMENTS
    from pipeline.core.finished.final import COMPRESSIONS
    from pipeline.core.losses import LOSSES
    from pipeline.core.optimizers import OPTIMIZERS
    from pipeline.core.schedules import SCHEDULES

    cases = dict(cases_of("teacher.safetensors"))
    configs = {name: SMALL.override(knobs) for name, knobs in cases.items()}
    unions = {
        "loss": LOSSES,
        "augment": AUGMENTS,
        "optimizer": OPTIMIZERS,
        "schedule": SCHEDULES,
    }
    for part, members in unions.items():
        assert {*members} <= {type(getattr(config, part)) for config in configs.values()}
    ways = [name for member in COMPRESSIONS for name, _ in variants("final.compress", member)]
    assert {"none", "half", "half fp16"} <= {*ways}
    assert len(ways) == len(COMPRESSIONS) + 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--only", "resume,packin"], "'packin'; allowed: curves, resume, "),
        (["--only", "resume,packin"], "; did you mean 'packing'?"),
        (["--minutes", "-1"], "--minutes: expected minutes above 0, got '-1'"),
        (["--device", "gpu"], "--device: invalid choice: 'gpu'"),
        (["--onyl", "resume"], "did you mean '--only'?"),
    ],
)
def test_a_gpus_checks_refuse_a_wrong_flag(words, said, capsys):
    from benchmarks.gpu.__main__ import main

    with pytest.raises(SystemExit) as end:
        main(words)
    assert end.value.code == 2
    told = capsys.readouterr()
    assert said in " ".join(told.err.split())
    assert not told.out


def test_a_gpus_checks_refuse_what_this_machine_lacks(tmp_path, capsys):
    from benchmarks.gpu.__main__ import main

    with pytest.raises(UserError, match=r"--out: got .*; allowed: a file in a folder"):
        main(["--device", "cpu", "--out", str(tmp_path / "nowhere" / "found.json")])
    if not torch.cuda.is_available():
        with pytest.raises(UserError, match="--device: got 'cuda'"):
            main(["--device", "cuda"])
    assert not capsys.readouterr().out
