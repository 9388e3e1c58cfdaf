"""The folder of a study's record: one for each study and set of pictures, found again by these or
by where they lie.
"""

import glob
import hashlib
import itertools
import json
import os
import re
import shlex
import unicodedata
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.data.listing import FIRST_RULES, PARTS, Listing, Reading
from pipeline.errors import MachineError, PipelineError
from pipeline.record import event_form, events
from pipeline.record.ledger import FILE
from pipeline.record.lock import open_plain
from pipeline.study.study import Study

MAX_LETTERS, MAX_BYTES = (
    64,
    150,
)  # of the pictures' name; a file system takes 255 bytes in all
SAMPLES, SAMPLE_BYTES = 16, 1 << 16  # files of a set that are looked into to know it again
HASH = "[0-9a-f]" * 6
UNREADABLE = (
    OSError,
    MachineError,
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
    RecursionError,
)


@dataclass(frozen=True)
class Known:
    """What a ledger says of its pictures, as far as they can be known again by it.

    `pictures`: the folder they were in last, '' where an earlier version did not record it;
    `command`: of the last session.
    """

    study: str = ""
    data: Mapping[str, Any] = field(default_factory=dict)
    listing: str = ""
    pictures: str = ""
    command: str = ""

    def is_in(self, folder: Path) -> bool:
        """Whether its pictures are those in `folder`, changed or not; of an older record by the
        `--data` of its command.
        """
        here = folder.resolve()
        if self.pictures:
            return self.pictures == str(here)
        try:
            words = shlex.split(self.command)
        except ValueError:
            words = []
        given = [b for a, b in itertools.pairwise(words) if a == "--data"]
        given += [word.removeprefix("--data=") for word in words if word.startswith("--data=")]
        return not given or Path(given[-1]).expanduser().resolve() == here

    def has(self, listing: Listing) -> bool:
        """Whether a set elsewhere is the same; of an older record by its classes and the numbers of
        its pictures.
        """
        if self.listing:
            return self.listing == digest(listing)
        counts, known = Counter(listing.parts), self.data
        lost = len(known.get("unreadable", ()))
        then = sum(known["counts"].values()), set(known["classes"])
        parts = all(
            counts[number] >= known["counts"].get(part, 0) for number, part in enumerate(PARTS)
        )
        return parts and then == (len(listing.files) - lost, set(listing.classes))


def study_folder(root: Path, study: Study, data: Path | None) -> Path:
    """Where a study on these pictures keeps everything: `mlruns/hw3-food-11`.

    Where that is the record of other pictures, of a folder of the same name elsewhere,
    `mlruns/hw3-food-11-3f2a1c`. A recorded study keeps its folder, when its pictures were moved
    too, and also where an earlier version named it.
    """
    usual = usual_folder(root, study, data)
    if data is None:
        return usual
    name = study.baseline.dataset.slug(data)
    former = (
        root / f"{study.name}-{re.sub(r'[^A-Za-z0-9._-]+', '-', name).strip('-.')[:64] or 'data'}"
    )
    others = sorted(root.glob(f"{glob.escape(usual.name)}-{HASH}"))
    recorded = {
        folder: _known(folder)
        for folder in dict.fromkeys((usual, former, *others))
        if (folder / FILE).exists()
    }
    own = {folder: known for folder, known in recorded.items() if known.study == study.name}
    if found := next((folder for folder, known in own.items() if known.is_in(data)), None):
        return found
    if not recorded or not data.is_dir() or not study.baseline.dataset.at_hand:
        return usual if usual in recorded else next(iter(own), usual)
    try:
        for folder, known in own.items():
            if _is_of(known, study, data):
                return folder
        taken = usual in recorded and recorded[usual].study
        return usual.with_name(f"{usual.name}-{digest(_scan(study, data))[:6]}") if taken else usual
    except PipelineError:  # no pictures there, which the command itself will say
        return usual


def usual_folder(root: Path, study: Study, data: Path | None) -> Path:
    """By the name of the pictures alone."""
    return root / f"{study.name}-{slug(study.baseline.dataset.slug(data))}"


def slug(name: str) -> str:
    """`name` as a part of a file's name: letters and digits of every script, composed (NFC),
    without leading dots.
    """
    text = unicodedata.normalize("NFC", legible(name))
    text = re.sub(
        r"\0+", "-", "".join(c if c.isalnum() or c in "._-" or _is_mark(c) else "\0" for c in text)
    )
    text = text.strip("-.")[:MAX_LETTERS]
    while len(text.encode()) > MAX_BYTES:
        text = text[:-1]
    text = text.rstrip("-.") if len(text) < MAX_LETTERS else text
    try:
        os.fsencode(text)
    except (
        UnicodeEncodeError
    ):  # no letter of this file system's encoding: the same bytes as under any other
        text = os.fsdecode(text.encode())
    return text or "data"


def legible(name: str) -> str:
    """`name` as it was meant, where the locale's encoding could not read it from the disk."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return os.fsencode(name).decode("utf-8", "replace")
    return name


def _is_mark(letter: str) -> bool:
    """Vowel signs and accents: parts of letters in many scripts."""
    return unicodedata.category(letter).startswith("M")


def digest(listing: Listing) -> str:
    """16 hex digits of names and sizes of the files, and of what is in some of them; times and
    places do not count.
    """
    files = sorted(zip(listing.files, (size for size, _ in listing.stamps), strict=True))
    found = hashlib.sha256(json.dumps(files).encode())
    root = listing.root or Path()
    for name, _ in files[:: max(1, len(files) // SAMPLES)] if listing.root else ():
        try:
            with (root / name).open("rb") as file:
                found.update(file.read(SAMPLE_BYTES))
        except OSError:  # a set whose pictures are no files of their own
            continue
    return found.hexdigest()[:16]


def _is_of(known: Known, study: Study, data: Path) -> bool:
    """Whether a record's pictures, read by its rules, are those in `data`."""
    try:
        return known.has(_scan(study, data, known.data.get("reading", {"rules": FIRST_RULES})))
    except UNREADABLE:  # damaged, or of a newer version, which whoever opens it says
        return False


def _scan(study: Study, data: Path, reading: Mapping[str, Any] | None = None) -> Listing:
    dataset = study.baseline.dataset
    return (dataset.read_by(Reading(**reading)) if reading else dataset).scan(data)


def _known(folder: Path) -> Known:
    """From the first event of its ledger and those of its sessions alone; nothing where these
    cannot be read.
    """
    known: dict[str, Any] = {}
    try:
        with (
            open_plain(folder / FILE, os.O_RDONLY) as raw,
            open(raw.fileno(), "rb", closefd=False) as file,
        ):
            for line in file:
                if b'"type":"study"' not in line and b'"type":"session"' not in line:
                    continue
                match event_form.read(json.loads(line)):
                    case events.Study() as begun:
                        known |= {"study": begun.study["name"], "data": begun.data}
                        known |= {"listing": begun.listing}
                    case events.Session() as session:
                        known |= {"command": session.command}
                        known |= {"pictures": session.place.get("pictures", "")}
    except UNREADABLE:  # torn or damaged, which the command itself will say
        pass
    return Known(**known)
