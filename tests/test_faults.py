"""The real command, killed, interrupted, started twice: nothing is lost and nothing is done
twice.
"""

import os
import signal
import time
from pathlib import Path

import commands

SETS = ("--set", "model.width=4", "--set", "dataset.num_valid=1200")  # of 1,797 pictures
BUDGET = ("--epochs", 3, "--trials", 4, "--replicates", 1)
DIGITS = ("--study", "hw3", "--workers", 1, *BUDGET, *SETS)


def test_killed_twice_ends_as_if_undisturbed(tmp_path: Path) -> None:
    """And with one worker the same study twice is the same, number for number."""
    calm, killed = tmp_path / "calm", tmp_path / "killed"
    assert commands.run("search", *DIGITS, home=calm) == 0, commands.output(calm)
    for events in (12, 45):  # in the search, and in the race
        commands.kill_after("search", *DIGITS, home=killed, events=events)
    assert commands.run("search", *DIGITS, home=killed) == 0, commands.output(killed)
    assert commands.results(killed) == commands.results(calm)
    assert commands.repeated_epochs(killed) == 0
    assert len(commands.record(killed).sessions) == 3
    for home in (calm, killed):
        assert commands.mlflow_rows(home, "select distinct status from runs") == [("FINISHED",)]
        repeated = (
            "select count(*) from (select 1 from metrics group by run_uuid, key, step "
            "having count(*) > 1)"
        )
        assert commands.mlflow_rows(home, repeated) == [(0,)]
    count = "select count(*), count(distinct value) from tags where key = 'pipeline.id'"
    assert commands.mlflow_rows(killed, count) == commands.mlflow_rows(calm, count)
    sizes = "select count(*) from metrics"
    assert commands.mlflow_rows(killed, sizes) == commands.mlflow_rows(calm, sizes)


def test_a_second_command_is_turned_away_and_a_polite_kill_loses_nothing(tmp_path: Path) -> None:
    home = tmp_path / "mlruns"
    with commands.heard(signal.SIGTERM):
        first = commands.start("search", *DIGITS, home=home)
    while commands.num_lines(home) < 8:
        assert first.poll() is None, commands.output(home)
        time.sleep(0.05)
    assert commands.run("search", *DIGITS, home=home) == 4
    assert f"in use by process {first.pid}" in " ".join(commands.output(home).split())
    os.kill(first.pid, signal.SIGTERM)
    assert first.wait(commands.HANGS) == 143, commands.output(home)
    assert "run the same command again" in " ".join(commands.output(home).split())
    done = sum(len(run.epochs) for run in commands.record(home).runs.values())
    assert commands.mlflow_rows(home, "select count(*) from runs where status = 'RUNNING'") == [
        (0,)
    ]
    assert commands.run("search", *DIGITS, home=home) == 0, commands.output(home)
    assert sum(len(run.epochs) for run in commands.record(home).runs.values()) > done
    assert commands.repeated_epochs(home) == 0
