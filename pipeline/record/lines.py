"""The lines of a ledger: an event is JSON with a sequence number, a time, a type, its own fields
and, last, a checksum.

The CRC-32 is of all that stands before it. A torn or hurt last line is left out; damage anywhere
else is refused.
"""

import json
import os
import shlex
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path

from pipeline.errors import MachineError, UserError, printable
from pipeline.record.events import Event, Line, Unread
from pipeline.record.lock import open_plain

FILE = "ledger.jsonl"
FORMAT = 4
"""Of what is written, in the header; 1 where that says none. 2: the header says its format, a
repair leaves an event.

To be raised with every type of event, and every change of what one means, that former code would
take for damage or misread.
"""
_SEAL = ',"crc":"'
_TAIL = len(_SEAL) + 11  # of a line, after its body: the seal, eight digits, the closing
_MAX_RESTORED = (
    1 << 16
)  # bytes: of longer lines hurt in several places, too many would look like hurt in one


def seal(event: Line) -> bytes:
    """The line of an event; raises ValueError or TypeError where JSON has no word for a value."""
    text = json.dumps(event, separators=(",", ":"), allow_nan=False)
    return f'{text[:-1]}{_SEAL}{zlib.crc32(text.encode()):08x}"}}\n'.encode()


def unseal(line: bytes) -> Line | None:
    """The event of a line; None where its checksum does not hold. One that is sealed and no event
    has the number -1.
    """
    body, mark, crc = line.decode("utf-8", "replace").rpartition(_SEAL)
    if not mark or crc[8:] != '"}\n' or f"{zlib.crc32((body + '}').encode()):08x}" != crc[:8]:
        return None
    try:
        event = json.loads(body + "}")
    except (ValueError, RecursionError):
        event = None
    kinds = {"seq": (int,), "time": (int, float), "type": (str,)}
    sound = isinstance(event, dict) and all(
        type(event.get(key)) in kind for key, kind in kinds.items()
    )
    return event if sound else {"seq": -1, "time": 0.0, "type": ""}


def restored(line: bytes) -> Line | None:
    """The event of a line of which a single byte is not what was written; None where more of it is
    hurt.

    A checksum says where: of a line with n bytes hurt in several places, less than n in 2^25 pass
    for hurt in one, and few of these are JSON still.
    """
    body, tail = line[:-_TAIL] + b"}", line[-_TAIL:]
    if not _TAIL < len(line) <= _MAX_RESTORED or not tail.endswith(b"\n"):
        return None
    found: list[bytes] = []
    if sum(one != other for one, other in zip(_tail(body), tail, strict=True)) == 1:
        found.append(line[:-_TAIL] + _tail(body))
    try:
        wrong = zlib.crc32(body) ^ int(tail[len(_SEAL) : -3], 16)
    except ValueError:
        wrong = 0
    if wrong and tail.startswith(_SEAL.encode()):
        found += [fixed[:-1] + tail for fixed in _with_one_byte_changed(body, wrong)]
    events = [event for event in map(unseal, found) if event is not None and event["seq"] >= 0]
    return events[0] if len(events) == 1 else None


def _tail(body: bytes) -> bytes:
    return f'{_SEAL}{zlib.crc32(body):08x}"}}\n'.encode()


def _with_one_byte_changed(body: bytes, wrong: int) -> Iterator[bytes]:
    """Every text of printable characters that differs from `body` in one byte and has its checksum
    XOR `wrong`.

    A CRC is linear: the change of one byte is a step of its table, shifted by a step for each byte
    that follows. So `wrong` is shifted back, byte by byte from the end, and looked up.
    """
    steps = [zlib.crc32(bytes([byte])) ^ zlib.crc32(b"\0") for byte in range(256)]
    by_step, by_top = (
        {step: byte for byte, step in enumerate(steps)},
        {step >> 24: byte for byte, step in enumerate(steps)},
    )
    for place in reversed(range(len(body))):
        byte = body[place] ^ by_step.get(wrong, 0)
        if byte != body[place] and 32 <= byte < 127:
            yield body[:place] + bytes([byte]) + body[place + 1 :]
        top = by_top[wrong >> 24]
        wrong = ((wrong ^ steps[top]) << 8 | top) & 0xFFFFFFFF


def sound_lines(path: Path) -> Iterator[tuple[Line, bytes]]:
    """Each event with its line, as `read_events`; raises OSError where it cannot be read."""
    with open_plain(path, os.O_RDONLY) as raw, open(raw.fileno(), "rb", closefd=False) as file:
        for number, line in enumerate(file):
            event = unseal(line)
            if event is None and not line.endswith(b"\n"):
                return
            if event is None and number and not file.read(1):
                sys.stderr.write(
                    f"warning: {printable(path)}: its last line is damaged, as by a power cut, and "
                    "left out\n"
                )
                return
            if event is None or event["seq"] != number:
                raise damaged(path, number)
            if not number:
                require_format(event, path)
            yield event, line


def require_format(header: Line, path: Path) -> None:
    """Raise UserError where a version of the code wrote the ledger that knows more than this
    one.
    """
    found = header.get("format", 1)
    if type(found) is not int or not 1 <= found <= FORMAT:
        commit = printable(header.get("commit") or "", 60)
        by = "a newer version of this code" + (f" (commit {commit})" if commit else "")
        raise UserError(
            f"{printable(path)}: written by {by}, in format {printable(found, 20)}, and this one "
            f"reads up to {FORMAT}; nothing has been changed. Use the newer version to report it "
            "or to go on"
        )


def no_event(event: Event, error: Exception) -> MachineError | UserError:
    """The error for a sealed line that the study's record has no place for."""
    kind = event.line["type"] if isinstance(event, Unread) else event.kind
    what = f"line {event.seq + 1} ('{printable(kind, 40)}')"
    if isinstance(event, Unread) and event.newer:
        return UserError(
            f"the ledger's {what} was written by a newer version of this code; nothing has been "
            "changed. Use the newer version to report it or to go on"
        )
    why = printable(f"{type(error).__name__}: {error}", 100)
    return MachineError(
        f"the ledger's {what} is sealed, but no event of this study ({why}); nothing has been "
        "changed. Restore a backup, or see pipeline.repair"
    )


def damaged(path: Path, number: int) -> MachineError:
    """The error for a ledger whose line `number`, from 0, is not sound."""
    return MachineError(
        f"{printable(path)}: line {number + 1} is damaged (checksum or sequence number); nothing "
        "has been changed. Restore the file from a backup, or begin anew with --fresh, or keep "
        "what is sound of it, the damaged file beside it, by python -m pipeline.repair "
        f"{shlex.quote(printable(path.parent, 1000))}"
    )
