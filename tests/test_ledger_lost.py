"""The ledger's file, or its lock's, is taken away, replaced, cut or written to behind the back of
who writes it.
"""

import json
import os
import shutil
import subprocess
from dataclasses import asdict
from pathlib import Path

import pytest

from pipeline.errors import MachineError
from pipeline.record import lock as locks
from pipeline.record.ledger import FILE, Ledger, read_events, set_aside
from pipeline.record.lines import seal
from pipeline.record.lock import Lock, holder
from tests.records import Note
from tests.records import lines as json_lines
from tests.test_ledger import ENVIRONMENT, HOLDER, filled, script


def holding(folder: Path, code: str = HOLDER) -> "subprocess.Popen[str]":
    """A process that holds the study in `folder`."""
    holder = subprocess.Popen(
        script(code, folder),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=ENVIRONMENT,
        text=True,
    )
    assert holder.stdout.readline() == "held\n"
    return holder


@pytest.mark.parametrize("command", [Ledger, set_aside])
def test_the_lock_holds_though_its_file_was_removed_by_hand(tmp_path, command):
    with holding(tmp_path / "study") as holder:
        (tmp_path / "study" / "lock").unlink()
        for _ in range(2):
            with pytest.raises(MachineError, match="in use by another process"):
                command(tmp_path / "study")
        holder.kill()
    if command is Ledger:
        Ledger(tmp_path / "study").close()


def test_a_writer_that_no_lock_keeps_away_ends_the_first_before_a_number_is_given_twice(tmp_path):
    """As from another machine, where the disk does not share locks."""
    with Ledger(tmp_path) as ledger:
        ledger.append(Note())
        with (tmp_path / FILE).open("ab") as second:
            second.write(seal({"seq": 1, "time": 1.0, "type": "note", "value": "second"}))
        for _ in range(2):
            with pytest.raises(MachineError, match="written to by another process"):
                ledger.append(Note(value="first"))
    assert [line["value"] for line in json_lines(tmp_path)] == [None, "second"]
    assert sorted(path.name for path in tmp_path.iterdir()) == [FILE, "lock"]


def file_gone(folder: Path) -> None:
    (folder / FILE).unlink()


@pytest.mark.parametrize("loss", [shutil.rmtree, file_gone])
@pytest.mark.parametrize("look", [lambda ledger: ledger.append(Note()), Ledger.check, Ledger.step])
def test_a_ledger_that_was_removed_is_written_anew_and_the_command_ends(tmp_path, loss, look):
    filled(tmp_path / "study", 3)
    with Ledger(tmp_path / "study") as ledger:
        ledger.append(Note(value="é"))
        lost = (tmp_path / "study" / FILE).read_bytes()
        loss(tmp_path / "study")
        for _ in range(2):  # whatever is called next says the same, and writes nothing more
            with pytest.raises(
                MachineError,
                match=r"has been removed.* 4 events of it have been written anew.*same command",
            ):
                look(ledger)
            ledger._next_look = 0.0
    assert (tmp_path / "study" / FILE).read_bytes() == lost
    with Ledger(tmp_path / "study") as ledger:
        assert ledger.append(Note()).seq == 4


def test_a_ledger_that_was_removed_before_anything_was_recorded_leaves_nothing(tmp_path):
    ledger = Ledger(tmp_path / "study")
    shutil.rmtree(tmp_path / "study")
    with pytest.raises(MachineError, match=r"has been removed.*nothing had been recorded"):
        ledger.append(Note())
    assert ledger.withdraw()
    assert list(tmp_path.iterdir()) == []


def replaced(path: Path) -> None:
    path.with_name("other").write_bytes(b"other")
    path.with_name("other").rename(path)


def truncated(path: Path) -> None:
    path.write_bytes(b"")


def edited(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(40)
        file.write(b"x")
    os.utime(path, (1, 1))


@pytest.mark.parametrize("loss", [replaced, truncated, edited])
def test_a_ledger_that_was_replaced_cut_or_edited_is_left_so_and_what_it_held_is_written_beside(
    tmp_path, loss
):
    lines = filled(tmp_path, 3)
    with Ledger(tmp_path) as ledger:
        loss(tmp_path / FILE)
        found = (tmp_path / FILE).read_bytes()
        with pytest.raises(
            MachineError,
            match=r"(replaced|edited) while this command ran.*rescued1; to go on from them",
        ):
            ledger.append(Note())
    assert (tmp_path / FILE).read_bytes() == found
    assert (tmp_path / f"{FILE}.rescued1").read_bytes() == b"".join(lines)


def test_a_ledger_that_was_moved_away_is_whole_there_and_nothing_is_written_anew(tmp_path):
    filled(tmp_path / "study", 3)
    with Ledger(tmp_path / "study") as ledger:
        (tmp_path / "study").rename(tmp_path / "elsewhere")
        with pytest.raises(
            MachineError, match="has been moved, or its disk unmounted, while this command ran"
        ):
            ledger.append(Note())
    assert [path.name for path in tmp_path.iterdir()] == ["elsewhere"]
    assert len(list(read_events(tmp_path / "elsewhere"))) == 3


def test_a_ledger_that_was_only_touched_goes_on(tmp_path):
    with Ledger(tmp_path) as ledger:
        ledger.append(Note())
        os.utime(tmp_path / FILE, (1, 1))
        ledger.check()
        ledger.append(Note())
    assert len(list(read_events(tmp_path))) == 2


@pytest.mark.parametrize("name", [FILE, "lock"])
@pytest.mark.parametrize("kind", ["link", "dangling link", "pipe", "folder"])
def test_what_is_no_plain_file_is_refused_in_words_and_left_alone(tmp_path, name, kind):
    place, target = tmp_path / "study" / name, tmp_path / "target"
    place.parent.mkdir()
    target.write_text("of somebody else")
    makers = {
        "link": lambda: place.symlink_to(target),
        "dangling link": lambda: place.symlink_to(tmp_path / "nothing"),
    }
    makers |= {"pipe": lambda: os.mkfifo(place), "folder": place.mkdir}
    makers[kind]()
    with pytest.raises(
        MachineError, match=rf"{name}: is a (symbolic link|pipe|folder) and no file"
    ):
        Ledger(tmp_path / "study")
    if name == FILE:
        with pytest.raises(MachineError, match="and no file"):
            list(read_events(tmp_path / "study"))
    assert target.read_text() == "of somebody else"
    assert not (tmp_path / "nothing").exists()


ELSEWHERE = """
import fcntl, sys
from dataclasses import asdict
from pathlib import Path
from pipeline.record import lock
lock.BEAT_SECONDS = 0.05
lock._boot = lambda: "of another machine"
held = lock.Lock(Path(sys.argv[1]))
fcntl.flock(held._file, fcntl.LOCK_UN)  # a disk whose locks no other machine sees
print("held", flush=True)
sys.stdin.read()
"""


def test_a_machine_that_shares_the_disk_but_not_its_locks_is_believed_while_it_lives(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(locks, "WATCH_SECONDS", 3600.0)
    with holding(tmp_path, ELSEWHERE) as other:
        named = rf"in use by process {other.pid} on .* does not share locks.*remove {tmp_path}/lock"
        with pytest.raises(MachineError, match=named):
            Ledger(tmp_path)
        other.kill()
    monkeypatch.setattr(locks, "WATCH_SECONDS", 0.1)
    with Ledger(tmp_path) as ledger:
        ledger.append(Note())
    assert f"process {other.pid} on " in capsys.readouterr().err


def write_on(ledger: Ledger) -> None:
    while True:
        ledger.append(Note())


def test_whoever_was_taken_over_from_another_machine_ends(tmp_path, monkeypatch):
    monkeypatch.setattr(locks, "BEAT_SECONDS", 0.02)
    with Ledger(tmp_path) as ledger:
        ledger.append(Note())
        owner = json.loads((tmp_path / "lock").read_text())
        (tmp_path / "lock").write_text(
            json.dumps({**owner, "boot": "another", "host": "elsewhere"})
        )
        with pytest.raises(MachineError, match=r"taken over by process .* on elsewhere"):
            write_on(ledger)
    assert "elsewhere" in (tmp_path / "lock").read_text()


def test_a_name_that_a_killed_process_left_keeps_nobody_waiting(tmp_path, capsys):
    """Nor does its number where another process has it by now, a name in words of an earlier
    version, or any rubbish.
    """
    with holding(tmp_path) as holder:
        holder.kill()
    left = json.loads((tmp_path / "lock").read_text())
    assert left["pid"] == holder.pid
    Ledger(tmp_path).close()
    assert (tmp_path / "lock").read_text() == ""
    for text in (
        json.dumps(left | {"pid": os.getppid()}),
        "process 1 on host since 2026-01-01",
        "[" * 5000,
        '{"pid":"x"}',
    ):
        (tmp_path / "lock").write_text(text)
        Ledger(tmp_path).close()
    assert capsys.readouterr().err == ""


@pytest.mark.skipif(
    not Path("/proc/self/stat").exists(), reason="when a process began is read there"
)
def test_a_living_process_is_believed_though_the_disk_takes_every_lock(tmp_path):
    with holding(tmp_path / "study") as holder:
        shutil.copytree(tmp_path / "study", tmp_path / "copy")
        Ledger(tmp_path / "copy").close()  # whoever works in the original
        left = json.loads((tmp_path / "study" / "lock").read_text())
        lock = tmp_path / "copy" / "lock"
        lock.write_text(json.dumps(left | {"inode": lock.stat().st_ino}))
        with pytest.raises(MachineError, match=f"in use by process {holder.pid} on"):
            Ledger(tmp_path / "copy")
        holder.kill()
    Ledger(tmp_path / "copy").close()


@pytest.mark.parametrize("foreign", [False, True])
def test_a_ledger_without_an_event_is_taken_back_and_what_others_put_there_stays(tmp_path, foreign):
    ledger = Ledger(tmp_path / "study")
    if foreign:
        (tmp_path / "study" / ".DS_Store").write_text("x")
    assert ledger.withdraw() is not foreign
    assert [path.name for path in (tmp_path / "study").glob("*")] == (
        [".DS_Store"] if foreign else []
    )
    filled(tmp_path / "study", 1)
    assert not Ledger(tmp_path / "study").withdraw()
    assert len(list(read_events(tmp_path / "study"))) == 1


def test_a_holder_in_another_container_is_known_by_its_pulse(tmp_path: Path) -> None:
    """Its number says nothing here; a killed one's pulse has stopped."""
    with Lock(tmp_path):
        mine = holder(tmp_path)
        assert mine is not None
        file = tmp_path / "lock"
        file.write_text(json.dumps({**asdict(mine), "space": "pid:[1]", "pid": 1}))
        other = holder(tmp_path)
        assert other is not None
        assert other.pid == 1
    file.write_text(json.dumps({**asdict(mine), "space": "pid:[1]", "pid": 1}))
    os.utime(file, (1, 1))
    assert holder(tmp_path) is None
