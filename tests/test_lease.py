"""Two writers in one run's folder: impossible, whatever the driver believes and however a worker
ends.
"""

import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from pipeline.errors import MachineError
from pipeline.record import lease
from pipeline.record.lease import LeaseLost, grant, held
from pipeline.record.ledger import Ledger, set_aside

HOLD = """
import sys
from pathlib import Path
from pipeline.record.lease import grant, held
folder = Path(sys.argv[1])
grant(folder, "old")
with held(folder, "old"):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "PATIENCE_SECONDS", 0.2)


def waiting(folder: Path, segment: str) -> tuple[threading.Thread, list[str]]:
    """A worker's thread that takes the lease as soon as it can, and what became of it."""
    found: list[str] = []

    def wait() -> None:
        try:
            with held(folder, segment):
                found.append("held")
        except LeaseLost:
            found.append("lost")

    thread = threading.Thread(target=wait)
    thread.start()
    return thread, found


def test_the_segment_that_was_handed_out_last_has_the_folder(tmp_path: Path) -> None:
    grant(tmp_path / "run", "a.1")
    with held(tmp_path / "run", "a.1") as own:
        own.check()
        grant(tmp_path / "run", "a.11")
        with pytest.raises(LeaseLost, match="no longer this worker's"):
            own.check()
        grant(tmp_path / "run", "a.1")
        own.check()
    with pytest.raises(LeaseLost), held(tmp_path / "run", "a.11"):
        pass


def test_without_a_lease_nobody_writes(tmp_path: Path) -> None:
    with pytest.raises(LeaseLost, match="taken away"), held(tmp_path / "run", "a.1"):
        pass
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("again", [False, True])
def test_a_folder_that_is_taken_away_is_lost_even_where_it_is_made_again(
    tmp_path: Path, again: bool
) -> None:
    """A worker of a study that was moved aside must not take the new study's folder for its own."""
    grant(tmp_path / "run", "a.1")
    with held(tmp_path / "run", "a.1") as own:
        shutil.move(tmp_path / "run", tmp_path / "aside")
        if again:
            grant(tmp_path / "run", "a.1")
        with pytest.raises(LeaseLost):
            own.check()


def test_the_next_one_begins_after_the_last_one_has_let_go(tmp_path: Path) -> None:
    """Within one process too: a worker's former thread is another holder."""
    grant(tmp_path, "old")
    with held(tmp_path, "old"):
        grant(tmp_path, "new")
        thread, found = waiting(tmp_path, "new")
        thread.join(0.3)
        assert found == []
    thread.join(10)
    assert found == ["held"]


def test_one_that_waits_stops_waiting_when_the_run_is_handed_on(tmp_path: Path) -> None:
    grant(tmp_path, "old")
    with held(tmp_path, "old"):
        grant(tmp_path, "late")
        thread, found = waiting(tmp_path, "late")
        grant(tmp_path, "new")
        thread.join(10)
        assert found == ["lost"]


@pytest.mark.usefixtures("impatient")
def test_a_worker_that_hangs_is_not_waited_for_for_ever(tmp_path: Path) -> None:
    grant(tmp_path, "old")
    with held(tmp_path, "old"):
        grant(tmp_path, "new")
        with (
            pytest.raises(TimeoutError, match="another process still writes in"),
            held(tmp_path, "new"),
        ):
            pass


@pytest.mark.usefixtures("impatient")
def test_a_process_that_is_killed_lets_go(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as worker:
        assert worker.stdout is not None
        assert worker.stdout.readline() == "held\n"
        grant(tmp_path, "new")
        with pytest.raises(TimeoutError), held(tmp_path, "new"):
            pass
        worker.send_signal(signal.SIGKILL)
        worker.wait()
        with held(tmp_path, "new") as own:
            own.check()


def test_a_disk_that_refuses_the_lease_is_the_machines_fault(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(MachineError, match="cannot be used: Not a directory"):
        grant(tmp_path / "file" / "run", "a.1")


def test_a_study_is_moved_aside_when_its_workers_have_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study, run = tmp_path / "study", tmp_path / "study" / "checkpoints" / "run"
    Ledger(study).close()
    grant(run, "a.1")
    with monkeypatch.context() as soon, held(run, "a.1") as own:
        soon.setattr(lease, "PATIENCE_SECONDS", 0.2)
        with pytest.raises(MachineError, match="another process still writes in"):
            set_aside(study)
        assert run.exists()
        with pytest.raises(LeaseLost):
            own.check()
    assert set_aside(study) == tmp_path / "study.old1"
    assert (tmp_path / "study.old1" / "checkpoints" / "run").exists()
