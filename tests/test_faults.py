"""The real command, killed, interrupted, started twice: nothing is lost and nothing is done
twice.
"""

import os
import signal
from pathlib import Path

import commands

DIGITS = (*commands.SHORT, "--trials", 3, "--race", 2)
SEARCH_EPOCHS = 5  # three trials to the first rung, one of them to its end
WORKER = (*DIGITS, "--workers", 1)


def test_what_is_killed_turned_away_and_stopped_ends_as_if_undisturbed(tmp_path: Path) -> None:
    """And with one worker the same study twice is the same, number for number, whoever trains."""
    calm, killed = tmp_path / "calm", tmp_path / "killed"
    assert commands.here("search", *DIGITS, "--debug", home=calm) == 0, commands.output(calm)
    commands.kill_after("search", *WORKER, home=killed, epochs=2)
    assert commands.record(killed).race is None
    done = _stopped_politely(killed)
    assert commands.here("search", *DIGITS, "--debug", home=killed) == 0, commands.output(killed)
    assert commands.num_epochs(killed) > done
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


def _stopped_politely(home: Path) -> int:
    """Go on into the race, be asked for a second time, which is refused, and end at SIGTERM with
    all told; returns how many epochs there are then.
    """
    with commands.heard(signal.SIGTERM):
        first = commands.start("search", *WORKER, home=home)
    commands.await_epochs(first, home, SEARCH_EPOCHS + 1)
    assert commands.here("search", *WORKER, home=home) == 4
    assert f"in use by process {first.pid}" in " ".join(commands.output(home).split())
    os.kill(first.pid, signal.SIGTERM)
    assert first.wait(commands.HANGS) == 143, commands.output(home)
    assert "run the same command again" in " ".join(commands.output(home).split())
    assert commands.record(home).race is not None
    running = "select count(*) from runs where status = 'RUNNING'"
    assert commands.mlflow_rows(home, running) == [(0,)]
    return commands.num_epochs(home)
