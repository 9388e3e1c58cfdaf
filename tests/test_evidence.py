"""Evidence on disk: what was written comes back, the same bytes each time, and damage is
noticed.
"""

import hashlib
import io
import os
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.core.finished import evidence
from pipeline.core.finished.evidence import (
    Embedding,
    Evidence,
    Judged,
    Wrong,
    evidence_path,
    read,
    write,
)
from pipeline.errors import MachineError

HOSTILE = (
    "a/<script>alert(1)</script>.jpg",
    "=cmd|' /C calc'!A0.png",
    "\x1b[2J\x00.jpg",
    "caf\udce9 \\input{x}.jpg\x00",
)


def made(num: int = 300, *, embed: bool = True) -> Evidence:
    rng = np.random.default_rng(0)
    true, pred = rng.integers(0, 5, num), rng.integers(0, 5, num)
    probs = rng.random((2, num)).astype(np.float32)
    wrong = np.flatnonzero(true != pred)[: len(HOSTILE)]
    pictures = rng.integers(0, 256, (len(wrong), 3, 32, 32)).astype(np.uint8)
    points = rng.normal(size=(min(40, num), 2)).astype(np.float32)
    found = (
        tuple(Embedding(layer, "blocks.3", points, true[:40]) for layer in ("middle", "top"))
        if embed
        else ()
    )
    return Evidence(
        "test", Judged(true, pred, *probs), Wrong(wrong, pictures, HOSTILE[: len(wrong)]), found
    )


def arrays(found: Evidence) -> list[np.ndarray[Any, Any]]:
    parts = [found.judged, found.wrong, *found.embeddings]
    return [
        value for part in parts for value in vars(part).values() if isinstance(value, np.ndarray)
    ]


def words(found: Evidence) -> list[Any]:
    return [found.split, found.wrong.files, [(e.layer, e.module) for e in found.embeddings]]


@pytest.mark.parametrize(
    "evidence", [made(), made(embed=False), made(0), made(1)], ids=["all", "bare", "none", "one"]
)
def test_what_was_written_comes_back(evidence: Evidence, tmp_path: Path) -> None:
    path = evidence_path(tmp_path / "study", "0123abcd")
    assert path == tmp_path / "study" / "evidence" / "0123abcd.npz"
    assert write(path, evidence) == hashlib.sha256(path.read_bytes()).hexdigest()
    found = read(path)
    assert found is not None
    assert words(found) == words(evidence)
    for own, given in zip(arrays(found), arrays(evidence), strict=True):
        assert own.dtype == given.dtype
        assert np.array_equal(own, given)
    assert os.listdir(path.parent) == [path.name]


def test_the_same_evidence_makes_the_same_bytes_at_any_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = write(tmp_path / "a.npz", made())
    monkeypatch.setattr(
        evidence.zipfile.time, "localtime", lambda *_: (2031, 5, 5, 5, 5, 5, 0, 0, 0)
    )
    assert write(tmp_path / "b.npz", made()) == first
    assert write(tmp_path / "a.npz", replace(made(), split="val")) != first
    assert np.load(tmp_path / "b.npz", allow_pickle=False)["true"].shape == (300,)


def test_any_damaged_byte_of_the_contents_and_any_cut_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    write(path, made(40, embed=False))
    whole = path.read_bytes()
    for length in (0, 1, 100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        assert read(path) is None
    with zipfile.ZipFile(io.BytesIO(whole)) as archive:
        places = [info.header_offset + 40 + len(info.filename) for info in archive.infolist()]
    for place in places:
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :])
        assert read(path) is None
    assert read(tmp_path / "nothing.npz") is None
    assert read(tmp_path) is None


WRONG = {
    "lengths differ": lambda e: replace(e, judged=replace(e.judged, pred=e.judged.pred[1:])),
    "a row that is not there": lambda e: replace(
        e, wrong=replace(e.wrong, rows=e.wrong.rows + 10**6)
    ),
    "names missing": lambda e: replace(e, wrong=replace(e.wrong, files=e.wrong.files[1:])),
    "large pictures": lambda e: replace(
        e, wrong=replace(e.wrong, pictures=np.zeros((4, 3, 65, 65), np.uint8))
    ),
    "an unknown split": lambda e: replace(e, split="train"),
    "an unknown layer": lambda e: replace(e, embeddings=(replace(e.embeddings[0], layer="<b>"),)),
    "points nowhere": lambda e: replace(
        e,
        embeddings=(
            replace(
                e.embeddings[0], points=np.full(e.embeddings[0].points.shape, np.nan, np.float32)
            ),
        ),
    ),
    "no probability": lambda e: replace(
        e, judged=replace(e.judged, true_prob=e.judged.true_prob + 7)
    ),
}


@pytest.mark.parametrize("change", WRONG.values(), ids=WRONG)
def test_a_whole_file_with_impossible_contents_is_no_evidence(change: Any, tmp_path: Path) -> None:
    write(tmp_path / "a.npz", change(made()))
    assert read(tmp_path / "a.npz") is None


@pytest.mark.parametrize("content", ["pickle", "claim", "words", "brackets"])
def test_a_hostile_array_is_neither_run_nor_believed(content: str, tmp_path: Path) -> None:
    """Objects would be unpickled; a header may claim more than there is."""
    path = tmp_path / "a.npz"
    write(path, made())
    with zipfile.ZipFile(path) as archive:
        members = {info.filename: archive.read(info) for info in archive.infolist()}
    bad = io.BytesIO()
    if content == "pickle":
        np.lib.format.write_array(
            bad, np.array([{"a": 1}], dtype=object), version=(1, 0), allow_pickle=True
        )
    elif content == "claim":
        shape = {"descr": "<i8", "fortran_order": False, "shape": (2**50,)}
        np.lib.format.write_array_header_1_0(bad, shape)
    elif content == "brackets":
        np.lib.format.write_array(bad, np.zeros(3, np.int64), version=(1, 0))
        bad = io.BytesIO(bad.getvalue().replace(b"}", b"{", 1))
    else:
        bad.write(b"not an array")
    with zipfile.ZipFile(path, "w") as archive:
        for name, value in (members | {"true.npy": bad.getvalue()}).items():
            archive.writestr(name, value)
    assert read(path) is None


def test_a_disk_that_refuses_is_the_machines_fault_and_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.npz"
    write(path, made())
    before = path.read_bytes()

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(MachineError, match=r"cannot write evidence .*No space left"):
            write(path, made(10))
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["a.npz"]
    (tmp_path / "file").touch()
    with pytest.raises(MachineError, match="cannot write evidence"):
        write(tmp_path / "file" / "a.npz", made(10))
