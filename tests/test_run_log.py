"""A failed run's log: the traceback, the config and what the worker printed, however its process
ended.
"""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from pipeline.analysis.missing_runs import reasons
from pipeline.engine import ray_tune, run_log, worker
from pipeline.engine.failures import MAX_ATTEMPTS
from pipeline.engine.order import Order, Outcome, Report, Segment
from pipeline.machine import Resources
from pipeline.record.events import Fail
from pipeline.record.ledger import read_events
from pipeline.study.study import Study
from tests.driver import Worker, open_plan
from tests.studies import small_study


def arms() -> Study:
    """Arms alone, one replicate each."""
    return small_study(num_trials=0, replicates=1)


def in_process(folder: Path, body: str) -> tuple[subprocess.CompletedProcess[str], str]:
    """Run `body` in a new process while its output is captured; (what came of it, what the file
    holds).
    """
    script = (
        "import os, sys, ctypes\nfrom pathlib import Path\nfrom pipeline.engine.run_log import "
        "captured\nprint('before')\n"
    )
    path = folder / "logs" / ".s.1.out"
    body = textwrap.indent(body, "    ")
    script += f"with captured(Path({str(path)!r})):\n{body}\nprint('after')\n"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    return done, path.read_text()


def test_all_that_a_worker_prints_is_captured_and_only_while_it_works(tmp_path: Path) -> None:
    body = (
        "print('python')\nprint('error', file=sys.stderr)\nos.write(1, "
        "b'library\\n')\nos.system('echo child')"
    )
    done, captured = in_process(tmp_path, body)
    assert (done.returncode, done.stdout, done.stderr) == (0, "before\nafter\n", "")
    assert sorted(captured.split()) == ["child", "error", "library", "python"]


def test_a_worker_that_prints_for_ever_leaves_its_end_alone(tmp_path: Path) -> None:
    path = tmp_path / "logs" / ".s.out"
    with run_log.captured(path):
        for epoch in range(3):
            os.write(1, b"x" * (run_log.MAX_OUTPUT_BYTES + 1))
            run_log.bound(path)
            print("epoch", epoch)
    text = path.read_text()
    assert len(text) < 4 * run_log.MAX_BYTES
    assert text.endswith("epoch 2\n")
    assert "\0" not in text


def test_a_crash_of_the_interpreter_leaves_where_it_was(tmp_path: Path) -> None:
    done, captured = in_process(tmp_path, "print('last words', flush=True)\nctypes.string_at(0)")
    assert done.returncode < 0
    assert "last words" in captured
    assert "Segmentation fault" in captured
    assert "string_at" in captured


def order_of(segment: Segment, folder: Path) -> Order:
    return segment.order(folder, folder / "no pictures here", Resources(1, 0.0))


def test_a_failed_run_leaves_its_traceback_and_its_config(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise ValueError("no pictures here")

    reports: list[dict] = []
    monkeypatch.setattr(worker, "_pictures", broken)
    monkeypatch.setattr(ray_tune.tune, "report", reports.append)
    plan = open_plan(tmp_path, arms())
    segment = plan.next()
    ray_tune.lease.grant(order_of(segment, tmp_path).folder, segment.name)
    ray_tune.carry_out(order_of(segment, tmp_path), worker.work)
    outcome = Report.from_json(reports[-1]["report"]).told
    assert isinstance(outcome, Outcome)
    assert outcome.status == "failed"
    plan.finish(segment.name, outcome)
    text = (tmp_path / "logs" / f"{segment.run}.txt").read_text()
    assert "Traceback (most recent call last)" in text
    assert "no pictures here" in text
    assert '"width": ' in text
    assert "epochs recorded: 0" in text
    assert [path.name for path in (tmp_path / "logs").iterdir()] == [f"{segment.run}.txt"]
    (failure,) = [event for event in read_events(tmp_path) if isinstance(event, Fail)]
    assert failure.log == f"logs/{segment.run}.txt"


def test_each_attempt_has_its_entry_and_the_report_names_the_log(tmp_path: Path) -> None:
    plan = open_plan(tmp_path, arms())
    hopeless = Worker(fails=lambda config, _: config.model.dropout > 0)
    while (segment := plan.next()) is not None:
        path = run_log.output_path(tmp_path, segment.name)
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x" * 2 * run_log.MAX_BYTES + b"\xff the end\n")
        hopeless.run(plan, segment)
    failed = next(
        run for runs in plan.record.arms().values() for run in runs if run.status == "failed"
    )
    text = (tmp_path / failed.log).read_text()
    assert text.count("error: the worker process died") == MAX_ATTEMPTS
    assert text.count("\\xff the end") == MAX_ATTEMPTS
    assert len(text) < MAX_ATTEMPTS * 2 * run_log.MAX_BYTES
    assert reasons([failed]) == "failed"


def test_the_log_of_a_run_that_fails_for_ever_keeps_its_last_attempts(tmp_path: Path) -> None:
    for attempt in range(20):
        output = run_log.output_path(tmp_path, f"s-{attempt}")
        output.parent.mkdir(exist_ok=True)
        output.write_text("é" * 2**20)
        assert run_log.write(tmp_path, "r", f"s-{attempt}", {"attempt": attempt}) == "logs/r.txt"
    text = run_log.log_path(tmp_path, "r").read_text()
    assert len(text.encode()) <= run_log.MAX_LOG_BYTES + run_log.MAX_BYTES
    assert "attempt: 19" in text
    assert "attempt: 0" not in text
    assert [path.name for path in (tmp_path / "logs").iterdir()] == ["r.txt"]


def test_what_killed_workers_printed_is_cleared_and_logs_are_kept(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    run_log.output_path(tmp_path, "s.1").write_text("late")
    run_log.log_path(tmp_path, "r").write_text("kept")
    run_log.clear(tmp_path)
    assert [path.name for path in (tmp_path / "logs").iterdir()] == ["r.txt"]


def test_a_disk_that_refuses_the_log_does_not_stop_the_study(tmp_path: Path) -> None:
    (tmp_path / "logs").write_text("a file in the folder's place")
    with run_log.captured(run_log.output_path(tmp_path, "s.1")):
        pass
    assert run_log.write(tmp_path, "r", "s.1", {"error": "x"}) == ""


def test_a_library_that_prints_on_a_full_disk_does_not_end_a_run(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / ".s.1.out").symlink_to("/dev/full")
    with run_log.captured(run_log.output_path(tmp_path, "s.1")):
        print("much", flush=True)
