"""Caches: what was only touched is not decoded twice; what no study uses can be removed, and
nothing else.
"""

import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from pictures import hw3_folder, save

from pipeline import caches
from pipeline.data.cache import prepare
from pipeline.data.datasets import Folder
from pipeline.data.datasets.csv import Csv
from pipeline.data.datasets.npz import Npz
from pipeline.data.shelf import IMAGES, LOCK, UNFINISHED, locked, parcels
from pipeline.errors import MachineError, UserError
from pipeline.record import events
from pipeline.record.ledger import FILE, Ledger

SMALL = Folder(size=8, max_unreadable=0.1)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return hw3_folder(tmp_path / "set")


@pytest.fixture
def mlruns(tmp_path: Path) -> Path:
    (tmp_path / "mlruns").mkdir()
    return tmp_path / "mlruns"


def decoded(dataset, root, cache):
    """(the data, how many pictures were decoded for it)."""
    seen = [0]
    data = prepare(dataset, root, cache, lambda done, _: seen.append(done))
    return data, seen[-1]


def touch(root: Path, seconds: int = 1) -> None:
    for path in root.rglob("*.*"):
        os.utime(path, (seconds, seconds))


def recorded(mlruns: Path, name: str, fingerprint: str) -> None:
    ledger = Ledger(mlruns / name)
    ledger.append(events.Study(study={}, data={"fingerprint": fingerprint}, note=""))
    ledger.close()


def said(capsys: pytest.CaptureFixture[str], mlruns: Path, *flags: str) -> str:
    assert caches.main(["--mlruns", str(mlruns), *flags]) == 0
    return " ".join(capsys.readouterr().out.split())


def test_touched_pictures_are_not_decoded_again(root, mlruns):
    (root / "training" / "1_99.jpg").write_bytes(b"broken")
    first, num = decoded(SMALL, root, mlruns / "cache")
    assert num == 37
    touch(root)
    second, num = decoded(SMALL, root, mlruns / "cache")
    assert num == 0
    assert second.path != first.path
    assert (second.fingerprint, second.unreadable, second.files) == (
        first.fingerprint,
        first.unreadable,
        first.files,
    )
    assert (second.images == first.images).all()
    assert os.path.samefile(first.path / IMAGES, second.path / IMAGES)
    assert [parcel.num_bytes > 0 for parcel in parcels(mlruns / "cache")] == [True, False]
    assert decoded(SMALL, root, mlruns / "cache")[1] == 0
    shutil.rmtree(first.path)
    assert decoded(SMALL, root, mlruns / "cache")[0].images.any()


def test_other_content_of_the_same_size_is_decoded(root, mlruns):
    first = prepare(SMALL, root, mlruns / "cache")
    picture = root / "training" / "0_0.jpg"
    content = bytearray(picture.read_bytes())
    content[-3] ^= 1
    picture.write_bytes(content)
    second, num = decoded(SMALL, root, mlruns / "cache")
    assert num == 36
    assert second.fingerprint != first.fingerprint


def test_a_broken_picture_that_was_mended_is_decoded(root, mlruns):
    broken = root / "training" / "0_0.jpg"
    whole = broken.read_bytes()
    broken.write_bytes(bytes(len(whole)))
    assert len(prepare(SMALL, root, mlruns / "cache").unreadable) == 1
    broken.write_bytes(whole)
    assert len(prepare(SMALL, root, mlruns / "cache").files) == 36


def test_tables_and_arrays_are_known_again_too(root, tmp_path, mlruns):
    import numpy as np

    rows = [
        f"{path.relative_to(root)},{path.name[0]}" for path in sorted((root / "training").iterdir())
    ]
    (root / "train.csv").write_text("\n".join(["image,label", *rows]))
    (tmp_path / "arrays").mkdir()
    np.savez(
        tmp_path / "arrays" / "set.npz",
        x=np.arange(60 * 16, dtype=np.uint16).reshape(60, 4, 4),
        y=np.arange(60) % 3,
    )
    for dataset, folder in ((Csv(size=8), root), (Npz(size=8), tmp_path / "arrays")):
        first, num = decoded(dataset, folder, mlruns / "cache")
        assert num
        touch(folder, 1000)
        second, num = decoded(dataset, folder, mlruns / "cache")
        assert num == 0
        assert os.path.samefile(first.path / IMAGES, second.path / IMAGES)


def test_a_disk_without_links_decodes_again(root, mlruns, monkeypatch):
    def refuse(*_: object) -> None:
        raise OSError(95, "Operation not supported")

    first = prepare(SMALL, root, mlruns / "cache")
    touch(root)
    monkeypatch.setattr("os.link", refuse)
    second, num = decoded(SMALL, root, mlruns / "cache")
    assert num == 36
    assert second.fingerprint == first.fingerprint
    assert not list((mlruns / "cache").glob(f"*{UNFINISHED}"))


def test_what_no_study_uses_is_removed_and_nothing_else(root, mlruns, capsys):
    used = prepare(SMALL, root, mlruns / "cache")
    recorded(mlruns, "hw3-set", used.fingerprint)
    recorded(mlruns, "hw3-set.old1", used.fingerprint)
    save(root / "training" / "0_77.jpg", 0, 77)
    spare = prepare(SMALL, root, mlruns / "cache")
    left = mlruns / "cache" / f"{'0' * 32}{UNFINISHED}"
    left.mkdir()
    (left / IMAGES).write_bytes(bytes(100_000))
    foreign = [mlruns / "cache" / "notes.txt", mlruns / "cache" / ("f" * 32) / "thesis.tex"]
    for path in foreign:
        path.parent.mkdir(exist_ok=True)
        path.write_text("mine")
    before, there = used.path, spare.path
    del spare, used
    listed = said(capsys, mlruns)
    assert "used by hw3-set, hw3-set.old1" in listed
    assert listed.count("no recorded study uses it") == 1
    assert listed.count("left by a build") == 1
    assert there.exists()
    assert "2 caches removed" in said(capsys, mlruns, "--remove")
    assert before.exists()
    assert not there.exists()
    assert not left.exists()
    assert not Path(f"{there}{LOCK}").exists()
    assert all(path.read_text() == "mine" for path in foreign)
    assert "freed 0.0 MB: 0 caches removed" in said(capsys, mlruns, "--remove")


def test_of_the_same_pictures_one_is_kept(root, mlruns, capsys):
    first = prepare(SMALL, root, mlruns / "cache").path
    recorded(mlruns, "hw3-set", prepare(SMALL, root, mlruns / "cache").fingerprint)
    os.utime(first, (1, 1))
    touch(root)
    second = prepare(SMALL, root, mlruns / "cache").path
    assert "the same pictures as in a newer one" in said(capsys, mlruns)
    said(capsys, mlruns, "--remove")
    assert (first.exists(), second.exists()) == (False, True)
    assert decoded(SMALL, root, mlruns / "cache")[1] == 0


def test_what_a_running_command_uses_stays(root, mlruns, capsys):
    path = prepare(SMALL, root, mlruns / "cache").path
    code = "import sys; from pathlib import Path; from pipeline.data.cache import open_data\n"
    code += "data = open_data(Path(sys.argv[1])); print('open', flush=True); sys.stdin.read()"
    pipe = subprocess.PIPE
    with subprocess.Popen(
        [sys.executable, "-c", code, str(path)], stdin=pipe, stdout=pipe, text=True
    ) as other:
        assert other.stdout.readline() == "open\n"
        assert "0 caches removed; 1 other in use by a running command" in said(
            capsys, mlruns, "--remove"
        )
        assert path.exists()
        other.communicate()
    with locked(path):
        assert "1 other in use" in said(capsys, mlruns, "--remove")
    assert "1 cache removed" in said(capsys, mlruns, "--remove")
    assert not path.exists()


def test_a_record_that_cannot_be_read_keeps_everything(root, mlruns):
    path = prepare(SMALL, root, mlruns / "cache").path
    recorded(mlruns, "hw3-set", "0")
    (mlruns / "hw3-set" / FILE).write_bytes(json.dumps({"type": "study"}).encode() + b"\n{}\n")
    with pytest.raises(MachineError):
        caches.main(["--mlruns", str(mlruns), "--remove"])
    assert path.exists()


def test_a_record_that_is_closed_to_us_keeps_everything(mlruns):
    recorded(mlruns, "hw3-set", "0")
    for above in mlruns.parents:
        if above == Path(tempfile.gettempdir()):
            break
        above.chmod(0o755)
    caches.main(["--mlruns", str(mlruns)])
    (mlruns / "hw3-set").chmod(0)
    as_root = os.geteuid() == 0
    try:
        if as_root:  # to whom nothing is closed
            os.seteuid(65534)
        with pytest.raises(MachineError, match="hw3-set: cannot be read: Permission denied"):
            caches.main(["--mlruns", str(mlruns), "--remove"])
    finally:
        if as_root:
            os.seteuid(0)
        (mlruns / "hw3-set").chmod(0o755)


def test_no_escape_where_none_is_wanted(mlruns, monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    recorded(mlruns, "hw3-set", "0")
    monkeypatch.setenv("TERM", "xterm")
    for plain in ("", "1"):
        monkeypatch.setenv("NO_COLOR", plain)
        monkeypatch.setattr(sys, "stdout", Terminal())
        caches.main(["--mlruns", str(mlruns)])
        assert ("\x1b" in sys.stdout.getvalue()) == (not plain)


def test_no_folder(tmp_path):
    with pytest.raises(UserError, match="no such folder"):
        caches.main(["--mlruns", str(tmp_path / "none")])
    assert caches.main(["--mlruns", str(tmp_path)]) == 0
