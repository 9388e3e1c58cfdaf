import errno
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.errors import MachineError, UserError
from pipeline.record import events
from pipeline.record.event_form import written
from pipeline.record.ledger import FILE, Ledger, read_events
from pipeline.record.lines import seal
from pipeline.record.lock import Lock
from tests.records import Note
from tests.records import lines as json_lines

ROOT = Path(__file__).parents[1]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}


def filled(folder: Path, count: int = 5) -> list[bytes]:
    with Ledger(folder) as ledger:
        for i in range(count):
            ledger.append(Note(value={"val_acc": i / 7, "text": 'é "\n\\ ,"crc":"00000000"}'}))
    return (folder / FILE).read_bytes().splitlines(keepends=True)


def script(code: str, *arguments: object) -> list[str]:
    return [sys.executable, "-c", code, *map(str, arguments)]


def test_what_is_written_is_read_in_order(tmp_path):
    filled(tmp_path, 3)
    with Ledger(tmp_path) as ledger:
        assert [event.seq for event in ledger.events] == [0, 1, 2]
        event = ledger.append(Note(value={"nothing": None, "flag": True, "a": [1, 2.5, "x"]}))
        assert event.seq == 3
        assert event.time > 0
    told = json_lines(tmp_path)
    assert told[3] == written(event)
    assert told[1]["value"] == {"val_acc": 1 / 7, "text": 'é "\n\\ ,"crc":"00000000"}'}


def test_the_listener_hears_what_is_on_disk(tmp_path):
    heard = []

    def listen(event):
        heard.append(event)
        assert list(read_events(tmp_path))[-1] == event

    with Ledger(tmp_path, listen) as ledger:
        sent = [ledger.append(events.Finish(status=str(i))) for i in range(3)]
    assert heard == sent


def test_every_event_is_forced_to_disk_before_anybody_hears_of_it(tmp_path, monkeypatch):
    forced = []
    real = os.fsync

    def fsync(descriptor: int) -> None:
        real(descriptor)
        forced.append(os.fstat(descriptor).st_size)

    with Ledger(tmp_path, lambda event: sizes.append((event.seq, forced[-1]))) as ledger:
        sizes: list[tuple[int, int]] = []
        monkeypatch.setattr(os, "fsync", fsync)
        for seq in range(3):
            ledger.append(Note())
            assert sizes[-1] == (seq, (tmp_path / FILE).stat().st_size)
    assert len(forced) == 3


def test_an_event_that_the_disk_does_not_confirm_is_taken_back(tmp_path, monkeypatch):
    def fsync(_: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    heard = []
    with Ledger(tmp_path, heard.append) as ledger:
        ledger.append(Note())
        with monkeypatch.context() as broken:
            broken.setattr(os, "fsync", fsync)
            with pytest.raises(MachineError, match="cannot write: Input/output error"):
                ledger.append(Note())
        ledger.append(events.Finish(status="complete"))
    assert [(line["seq"], line["type"]) for line in json_lines(tmp_path)] == [
        (0, "note"),
        (1, "finish"),
    ]
    assert len(heard) == 2


def test_a_value_that_json_does_not_know_is_refused_and_leaves_nothing(tmp_path):
    with Ledger(tmp_path) as ledger:
        ledger.append(Note(value=1.0))
        for bad in (float("nan"), float("inf"), object()):
            with pytest.raises((ValueError, TypeError)):
                ledger.append(Note(value=bad))
        ledger.append(Note(value=2.0))
    assert [event["value"] for event in json_lines(tmp_path)] == [1.0, 2.0]


def test_a_torn_tail_is_cut_at_every_byte(tmp_path):
    lines = filled(tmp_path, 3)
    whole = b"".join(lines[:2])
    for cut in range(len(lines[2])):
        (tmp_path / FILE).write_bytes(whole + lines[2][:cut])
        assert len(list(read_events(tmp_path))) == 2
        with Ledger(tmp_path) as ledger:
            assert len(ledger.events) == 2
            assert ledger.append(events.Finish(status="x")).seq == 2
        assert (tmp_path / FILE).read_bytes().startswith(whole)
        assert [line["type"] for line in json_lines(tmp_path)] == ["note", "note", "finish"]


@pytest.mark.parametrize("tail", [b"\0" * 4096, b"\xff\xfe", b"{", b'{"seq":2,"crc":"'])
def test_rubbish_without_an_end_is_a_torn_tail(tmp_path, tail):
    lines = filled(tmp_path, 2)
    (tmp_path / FILE).write_bytes(b"".join(lines) + tail)
    with Ledger(tmp_path) as ledger:
        assert len(ledger.events) == 2
    assert (tmp_path / FILE).read_bytes() == b"".join(lines)


def test_a_first_line_that_is_torn_is_no_ledger_yet(tmp_path):
    lines = filled(tmp_path, 1)
    (tmp_path / FILE).write_bytes(lines[0][:-1])
    with Ledger(tmp_path) as ledger:
        assert ledger.events == []
        assert ledger.append(Note()).seq == 0


def test_any_changed_byte_before_the_end_is_refused_and_nothing_is_touched(tmp_path):
    lines = filled(tmp_path, 4)
    good = b"".join(lines)
    start = len(lines[0])
    for at in range(start, start + len(lines[1]) - 1):
        bad = bytearray(good)
        bad[at] ^= 1
        (tmp_path / FILE).write_bytes(bad)
        with pytest.raises(MachineError, match="line 2 is damaged"):
            list(read_events(tmp_path))
    bad = bytes(bad) + b"torn"
    (tmp_path / FILE).write_bytes(bad)
    with pytest.raises(MachineError, match=r"line 2 is damaged.*nothing has been changed.*--fresh"):
        Ledger(tmp_path)
    assert (tmp_path / FILE).read_bytes() == bad


def hurt_tails(last: bytes) -> dict[str, bytes]:
    flipped = bytearray(last)
    flipped[len(last) // 2] ^= 4
    return {
        "flipped": bytes(flipped),
        "zeros": b"\0" * 300 + b"\n",
        "half": last[: len(last) // 2] + b"\n",
        "empty": b"\n",
    }


@pytest.mark.parametrize("kind", ["flipped", "zeros", "half", "empty"])
def test_a_hurt_last_line_is_as_harmless_as_a_torn_one_and_kept_beside(tmp_path, kind, capsys):
    *lines, last = filled(tmp_path, 3)
    tail = hurt_tails(last)[kind]
    for number in (1, 2):
        (tmp_path / FILE).write_bytes(b"".join(lines) + tail)
        assert len(list(read_events(tmp_path))) == 2
        assert (tmp_path / FILE).read_bytes().endswith(tail)  # reading changes nothing
        with Ledger(tmp_path) as ledger:
            assert len(ledger.events) == 2
        assert "warning: " in capsys.readouterr().err
        assert (tmp_path / FILE).read_bytes() == b"".join(lines)
        assert (tmp_path / f"{FILE}.cut{number}").read_bytes() == tail


def test_a_torn_tail_of_any_size_is_cut_where_it_begins(tmp_path):
    lines = filled(tmp_path, 2)
    with (tmp_path / FILE).open("ab") as file:
        file.write(b"x")
        file.truncate((1 << 24) + (1 << 20))
    Ledger(tmp_path).close()
    assert (tmp_path / FILE).read_bytes() == b"".join(lines)
    assert (tmp_path / f"{FILE}.cut1").stat().st_size == (1 << 24) + (1 << 20) - len(
        b"".join(lines)
    )


NESTED = "[" * 100_000 + "]" * 100_000 + "}"
NONSENSE = ['{"a":1}', NESTED, '{"seq":1}', '{"seq":true,"time":1,"type":"x"}', '["seq"]}', "{{}"]


@pytest.mark.parametrize("text", NONSENSE, ids=range(len(NONSENSE)))
@pytest.mark.parametrize("last", [False, True])
def test_a_line_that_is_sealed_and_no_event_is_refused_like_damage(tmp_path, text, last):
    first, _, third = filled(tmp_path, 3)
    line = f'{text[:-1]},"crc":"{zlib.crc32(text.encode()):08x}"}}\n'.encode()
    before = first + line + (b"" if last else third)
    (tmp_path / FILE).write_bytes(before)
    for read in (lambda: list(read_events(tmp_path)), lambda: Ledger(tmp_path)):
        with pytest.raises(MachineError, match=r"line 2 is damaged.*python -m pipeline\.repair"):
            read()
    assert (tmp_path / FILE).read_bytes() == before


@pytest.mark.parametrize("damage", ["missing", "twice", "swapped", "joined", "blank"])
def test_a_ledger_with_other_lines_is_refused(tmp_path, damage):
    a, b, c, d = filled(tmp_path, 4)
    lines = {
        "missing": [a, c, d],
        "twice": [a, a, b, c, d],
        "swapped": [a, c, b, d],
        "joined": [a, b[:-1], c, d],
        "blank": [a, b"\n", b, c, d],
    }[damage]
    (tmp_path / FILE).write_bytes(b"".join(lines))
    with pytest.raises(MachineError, match="line 2 is damaged"):
        Ledger(tmp_path)
    Lock(tmp_path).close()  # a refused ledger is not left locked


HOLDER = """
import sys
from pathlib import Path
from pipeline.record.events import Finish
from pipeline.record.ledger import Ledger
ledger = Ledger(Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
"""


def test_a_study_in_use_by_another_process_is_refused(tmp_path):
    with subprocess.Popen(
        script(HOLDER, tmp_path),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=ENVIRONMENT,
        text=True,
    ) as holder:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(MachineError, match=f"in use by process {holder.pid} on ") as caught:
            Ledger(tmp_path)
        assert caught.value.exit_code == 4
        assert list(read_events(tmp_path)) == []  # reading needs no lock
        holder.kill()
    with Ledger(tmp_path) as ledger:  # the kernel dropped the lock of the killed process
        ledger.append(Note())


def test_two_ledgers_of_one_process_exclude_each_other(tmp_path):
    with Ledger(tmp_path), pytest.raises(MachineError, match="in use"):
        Ledger(tmp_path)
    Ledger(tmp_path).close()


@pytest.mark.parametrize(
    ("header", "words"),
    [
        ({}, ""),
        ({"format": 1}, ""),
        (
            {"format": 5, "commit": "abc123"},
            r"by a newer version of this code \(commit abc123\), in format 5.*nothing",
        ),
        ({"format": "x"}, "in format x"),
        ({"format": True}, "in format True"),
    ],
    ids=str,
)
def test_a_newer_format_is_refused_in_words_and_an_older_one_is_read(tmp_path, header, words):
    before = seal({"seq": 0, "time": 1.0, "type": "study", **header})
    (tmp_path / FILE).write_bytes(before)
    for read in (lambda: list(read_events(tmp_path)), lambda: Ledger(tmp_path).close()):
        if words:
            with pytest.raises(UserError, match=words):
                read()
        else:
            read()
        assert (tmp_path / FILE).read_bytes() == before


@pytest.mark.parametrize("place", ["file", "file/study"])
def test_a_folder_that_cannot_be_made_is_the_surroundings_fault(tmp_path, place):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(MachineError, match="file"):
        Ledger(tmp_path / place)


WRITER = """
import sys
from pathlib import Path
from pipeline.record.events import Finish
from pipeline.record.ledger import Ledger
ledger = Ledger(Path(sys.argv[1]))
while True:
    print(ledger.append(Finish(status="x" * 3000)).seq, flush=True)
"""


def acknowledged(writer: subprocess.Popen, count: int) -> Iterator[int]:
    for _ in range(count):
        yield int(writer.stdout.readline())


def test_kill_9_loses_nothing_that_was_acknowledged(tmp_path):
    heard = -1
    for count in (3, 17, 31):
        with subprocess.Popen(
            script(WRITER, tmp_path), stdout=subprocess.PIPE, env=ENVIRONMENT, text=True
        ) as writer:
            first, *_, heard = acknowledged(writer, count)
            writer.send_signal(signal.SIGKILL)
            rest = writer.stdout.read().splitlines()
            heard = max([heard, *(int(line) for line in rest if line.isdigit())])
            writer.wait()
        assert writer.returncode == -signal.SIGKILL
        told = json_lines(tmp_path)
        assert first < heard < len(told)
        assert [line["seq"] for line in told] == list(range(len(told)))
        assert all(line["status"] == "x" * 3000 for line in told)
    with Ledger(tmp_path) as ledger:
        assert ledger.append(Note()).seq > heard


FULL = """
import resource, signal, sys
from pathlib import Path
from pipeline.errors import MachineError, UserError
from pipeline.record.events import Finish
from pipeline.record.ledger import Ledger
folder = Path(sys.argv[1])
ledger = Ledger(folder)
ledger.append(Finish(status="a" * 100))
size = (folder / "ledger.jsonl").stat().st_size
_, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
for room in (0, 1, 50, 50):
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + room, hard))
    try:
        ledger.append(Finish(status="b" * 100))
        sys.exit("accepted on a full disk")
    except MachineError as error:
        print(error)
    assert (folder / "ledger.jsonl").stat().st_size == size, room
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
print(ledger.append(Finish(status="c" * 100)).seq)
"""


def test_a_disk_that_fills_up_in_the_middle_of_a_line_leaves_the_ledger_whole(tmp_path):
    found = subprocess.run(
        script(FULL, tmp_path), env=ENVIRONMENT, capture_output=True, text=True, check=False
    )
    assert found.returncode == 0, found.stderr
    *messages, seq = found.stdout.splitlines()
    assert len(messages) == 4
    assert all("cannot write" in message for message in messages)
    assert seq == "1"
    assert [line["status"][0] for line in json_lines(tmp_path)] == ["a", "c"]


def test_threads_append_and_the_listener_hears_them_in_order(tmp_path):
    heard = []
    moods = random.Random(1)

    def listen(event):
        time.sleep(moods.random() / 2000)
        heard.append(event.seq)

    with Ledger(tmp_path, listen) as ledger:

        def write(name: str) -> None:
            for i in range(100):
                ledger.append(Note(value=[name, i]))

        threads = [threading.Thread(target=write, args=(name,)) for name in "ab"]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert heard == list(range(200))
    told = [line["value"] for line in json_lines(tmp_path)]
    for name in "ab":
        assert [i for own, i in told if own == name] == list(range(100))


def test_a_line_is_json_that_any_tool_reads(tmp_path):
    for number, line in enumerate(filled(tmp_path, 3)):
        tree = json.loads(line)
        assert tree["seq"] == number
        assert list(tree)[:3] == ["seq", "time", "type"]
        assert list(tree)[-1] == "crc"
