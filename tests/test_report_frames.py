"""The tidy frames: what is in them follows from the record, in both formats, in every process the
same.
"""

import csv
import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pyarrow import parquet

from pipeline.cells import inert
from pipeline.core.config import TrainConfig
from pipeline.core.finished.evidence import Evidence, Judged, Wrong, evidence_path, write
from pipeline.core.identity import Seeds
from pipeline.record import events
from pipeline.record.record import Record
from pipeline.report import columns, frame_files, frames
from pipeline.report.compose import Findings, read
from pipeline.report.figures import curves, draw
from tests.records import Scribe, full_record, make_study, with_arms

NASTY = '=HYPERLINK(1) \x1b]0;owned\x07\r\nnext,"quoted"'


@pytest.fixture(scope="module")
def findings(tmp_path_factory: pytest.TempPathFactory) -> Findings:
    """A finished study of 24 trials and four arms; the first arm's replicate 1 left evidence."""
    folder = tmp_path_factory.mktemp("frames")
    book = Scribe(folder, make_study(num_trials=24, replicates=3))
    book.session(commit="aaaa")
    book.trials()
    book.session(commit="bbbb")
    true, pred = np.array([0, 0, 1, 2]), np.array([0, 1, 1, 2])
    judged = Judged(true, pred, np.full(4, 0.5, np.float32), np.full(4, 0.6, np.float32))
    none = Wrong(np.zeros(0, np.int64), np.zeros((0, 3, 8, 8), np.uint8), ())
    sha = write(evidence_path(folder, "arm-0-r1"), Evidence("test", judged, none, ()))
    book.arm("baseline", 1, evidence=sha, num_macs=5000, num_train=800)
    book.arms(without=(("baseline", 1),))
    book.ledger.append(events.Mlflow(uri="file:x", what="arm-0-r1", id="run-7"))
    return read(book.record(), folder)


@pytest.fixture(scope="module")
def found(findings: Findings) -> dict[str, pd.DataFrame]:
    return frames.read(findings)


def test_an_unfinished_run_is_of_the_session_that_recorded_it_whatever_the_clock(
    tmp_path: Path,
) -> None:
    book = Scribe(tmp_path, make_study(num_trials=0, replicates=3))
    book.session(commit="aaaa")
    book.arm("baseline", 1, status="running")
    book.session(commit="bbbb")
    book.arm("baseline", 2, status="running")
    record = book.record()
    first, second = record.sessions
    record.sessions[1] = replace(second, time=first.time - 1e6)  # the clock went back
    table = frames.read(read(record))["runs"].set_index("replicate")
    assert [table.commit[replicate] for replicate in (1, 2)] == ["aaaa", "bbbb"]


def hostile(folder: Path) -> Findings:
    study = with_arms(
        make_study(replicates=3, num_trials=1, epochs=2), {"plain": {}, NASTY: {"model.width": 16}}
    )
    book = Scribe(folder, study, data={"classes": [NASTY, "b"]})
    book.session()
    book.trials()
    book.arms(without=((NASTY, 3),))
    book.arm(NASTY, 3, status="diverged", error=NASTY + "\x00")
    return read(book.record(), folder)


def test_there_is_a_frame_for_everything_that_has_rows(
    found: dict[str, pd.DataFrame], findings: Findings
) -> None:
    assert list(found) == [
        "runs",
        "arms",
        "contrasts",
        "curves",
        "importance",
        "confusion",
        "per_class",
    ]
    names = {f"frames/{name}.{kind}" for name in found for kind in ("csv", "parquet")}
    assert frame_files.files(findings).keys() == names


def test_columns_have_proper_types(found: dict[str, pd.DataFrame]) -> None:
    for name, frame in found.items():
        assert {str(kind) for kind in frame.dtypes} <= {"Int64", "float64", "string", "boolean"}, (
            name
        )
        assert not frame.columns.duplicated().any()
    runs = found["runs"]
    assert runs["trial"].dtype == "Int64"
    assert runs["test_acc"].dtype == "float64"
    assert runs["config.model.name"].dtype == "string"
    assert runs["config.epochs"].dtype == "Int64"
    assert found["curves"]["epoch"].dtype == "Int64"
    assert found["arms"]["in_best_set"].dtype == "boolean"


def test_runs_say_where_they_come_from(found: dict[str, pd.DataFrame], findings: Findings) -> None:
    rows = found["runs"].set_index("run")
    arm, trial = rows.loc["arm-0-r1"], rows.loc["trial-0"]
    assert (arm["study"], arm["kind"], arm["arm"], arm["replicate"]) == (
        "demo",
        "arm",
        "baseline",
        1,
    )
    assert (trial["commit"], arm["commit"]) == ("aaaa", "bbbb")
    assert arm["mlflow_run"] == "run-7"
    assert (
        arm["split_seed"]
        == arm["init_seed"]
        == arm["order_seed"]
        == Seeds(findings.study.search.seed, 1).run
    )
    assert trial["split_seed"] is pd.NA, "a trial takes the split as it is"
    assert (arm["num_macs"], arm["num_train"], arm["images_per_s"]) == (
        5000,
        800,
        pytest.approx(800 / 2.5),
    )
    assert arm["data_fingerprint"] == findings.record.data["fingerprint"]
    run = findings.record.runs["arm-0-r1"]
    assert arm["config_fingerprint"] == TrainConfig.parse(run.config, source="ledger").fingerprint()
    assert arm["evidence"] == run.evidence
    assert len(rows["config_fingerprint"].unique()) > 4
    assert arm["last_val_acc"] == run.epochs[-1]["val_acc"]
    assert arm["val_acc"] == run.epochs[run.best_epoch - 1]["val_acc"]
    assert rows.loc["arm-3-r1", ["factor ResNet", "factor augmentation"]].tolist() == [1, 1]


def test_curves_are_every_epoch_of_every_run(
    found: dict[str, pd.DataFrame], findings: Findings
) -> None:
    curve = found["curves"]
    assert len(curve) == sum(len(run.epochs) for run in findings.record.runs.values())
    for key in ("arm-2-r3", "trial-7"):
        run = findings.record.runs[key]
        rows = curve[curve["run"] == key]
        assert rows["epoch"].tolist() == [epoch["epoch"] for epoch in run.epochs]
        for name in ("train_loss", "train_acc", "val_loss", "val_acc", "lr", "seconds"):
            assert rows[name].tolist() == [epoch[name] for epoch in run.epochs]
        assert set(rows["arm"]) == {run.arm}
    assert curve["trial"].isna().sum() == 4 * 3 * 9


def test_confusion_counts_the_answers(found: dict[str, pd.DataFrame]) -> None:
    rows = (
        found["confusion"][["arm", "replicate", "split", "true", "pred", "count"]]
        .to_numpy()
        .tolist()
    )
    expected = [("bread", "bread"), ("bread", "dairy"), ("dairy", "dairy"), ("dessert", "dessert")]
    assert rows == [["baseline", 1, "test", *pair, 1] for pair in expected]
    per_class = found["per_class"].set_index("class")
    assert per_class.loc["bread", ["support", "recall", "precision"]].tolist() == [2, 0.5, 1.0]
    assert np.isnan(per_class.loc["egg", "recall"])


def test_both_formats_hold_the_same_numbers(
    found: dict[str, pd.DataFrame], findings: Findings
) -> None:
    files = frame_files.files(findings)
    for name, frame in found.items():
        packed = pd.read_parquet(io.BytesIO(files[f"frames/{name}.parquet"]))
        pd.testing.assert_frame_equal(packed, frame, check_dtype=True)
        read_back = pd.read_csv(
            io.BytesIO(files[f"frames/{name}.csv"]), keep_default_na=False, na_values=[""]
        )
        assert list(read_back.columns) == [inert(column) for column in frame.columns]
        for column in frame.columns[frame.dtypes == "float64"]:
            np.testing.assert_allclose(read_back[column].to_numpy(float), frame[column], rtol=1e-15)


def test_a_parquet_file_says_nothing_of_when_it_was_made(findings: Findings) -> None:
    first, second = (frame_files.packed(frames.read(findings)["runs"]) for _ in range(2))
    assert first == second
    kept = parquet.read_schema(io.BytesIO(first)).metadata
    assert set(kept) == {b"pandas"}
    assert not {"time", "date"} & set(json.loads(kept[b"pandas"]))


def test_hostile_text_is_inert_in_csv_and_exact_in_parquet(tmp_path: Path) -> None:
    files = frame_files.files(hostile(tmp_path))
    for name, content in files.items():
        if name.endswith(".csv"):
            assert not set(content.decode()) & {
                chr(i) for i in (*range(10), *range(11, 32), 127)
            }, name
            rows = list(csv.reader(io.StringIO(content.decode())))
            assert len({len(row) for row in rows}) == 1
            assert not any(cell.startswith(("=", "+", "@")) for row in rows for cell in row), name
    arms = pd.read_parquet(io.BytesIO(files["frames/arms.parquet"]))
    assert arms["arm"].tolist() == ["plain", NASTY]
    runs = pd.read_parquet(io.BytesIO(files["frames/runs.parquet"]))
    assert NASTY + "\x00" in set(runs["error"])


def test_columns_of_many_kinds_become_text() -> None:
    frame = columns.frame(
        [
            {"config.a": 1, "config.b": 2**70, "config.c": None},
            {"config.a": "x", "config.b": 1, "d": "\udcff"},
        ]
    )
    assert frame["config.a"].tolist() == ["1", "x"]
    assert frame["config.b"].tolist() == [str(2**70), "1"]
    assert frame["config.c"].isna().all()
    assert frame["d"].tolist() == [pd.NA, "?"]
    assert pd.read_parquet(io.BytesIO(frame_files.packed(frame))).equals(frame)


def test_a_frame_without_rows_is_left_out(tmp_path: Path) -> None:
    book = Scribe(tmp_path, make_study(replicates=1, num_trials=0, epochs=2))
    book.session()
    assert frames.read(read(book.record(), tmp_path)).keys() == {"arms", "contrasts"}


@pytest.mark.parametrize(
    ("num", "most", "places"), [(3, 5, [0, 1, 2]), (9, 3, [0, 4, 8]), (9, 1, [0]), (0, 4, [])]
)
def test_few_are_chosen_evenly_of_many(num: int, most: int, places: list[int]) -> None:
    assert curves.evenly(num, most) == places


def test_the_caption_of_the_curves_says_what_was_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record: Record = full_record(tmp_path, num_trials=1)
    rows = read(record, tmp_path).ablation.rows
    assert curves.what_is_drawn(rows).startswith(
        "Thin: every run; thick: the mean of all complete runs"
    )
    monkeypatch.setattr(curves, "NUM_LINES", 6)
    monkeypatch.setattr(curves, "NUM_PANELS", 3)
    told = curves.what_is_drawn(rows)
    assert "Thin: 6 of 15 runs, evenly chosen" in told
    assert told.endswith("Drawn are the first 3 of 4 arms.")
    figure = curves.learning_curves(rows)
    axes = [axis for axis in figure.axes if axis.get_visible()]
    assert len(axes) == 6
    assert all(len(axis.collections[0].get_segments()) == 2 for axis in axes)
    assert len({axis.get_xlim() for axis in axes}) == 1
    assert len({axis.get_ylim() for axis in axes}) == 2, "one scale for accuracies, one for losses"


def test_a_spike_of_the_loss_leaves_no_room_below_the_curves(tmp_path: Path) -> None:
    """The margin below was a share of the spike, which is cut: panels reached down to -1."""
    rows = read(full_record(tmp_path, num_trials=1), tmp_path).ablation.rows
    low, high = curves._limits(rows, "loss")
    rows[0].complete[0].epochs[0]["val_loss"] = 60.0
    cut_low, cut_high = curves._limits(rows, "loss")
    assert cut_high < 10
    assert cut_low == pytest.approx(low, abs=0.1 * (high - low))


def test_a_heading_of_the_differences_is_whole(tmp_path: Path) -> None:
    """It ended in "vs augmentation + falling rate + lab…"."""
    name = "augmentation + falling rate + label smoothing + a warm start"
    study = with_arms(make_study(num_trials=0, epochs=2), {name: {}, "b": {"ema": 0.9}})
    book = Scribe(tmp_path, study)
    book.session()
    for replicate in (1, 2, 3):
        for arm in (name, "b"):
            book.arm(arm, replicate, 0.6 + 0.01 * replicate)
    (axis,) = draw.differences(read(book.record()).ablation).axes
    first, *_ = [label.get_text() for label in axis.get_yticklabels()]
    assert first.replace("\n", " ") == f"vs {name}"
    assert "\n" in first
