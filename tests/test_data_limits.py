"""What reading one picture may take: bombs are refused by what they declare, or by the process that
can be ended.
"""

import os
import threading
from pathlib import Path

import numpy as np
import pytest
from picture_bombs import (
    blocks,
    declared,
    encoded,
    flat_png,
    many_scans,
    rle_bmp,
    segment,
    small_bombs,
)
from pictures import class_folder
from PIL import Image

from pipeline.data import limits, tables, ward
from pipeline.data.cache import prepare
from pipeline.data.datasets import Folder
from pipeline.data.decode import load_rgb, read_picture, resize
from pipeline.data.files import open_file
from pipeline.data.folder import walk
from pipeline.data.listing import BadPicture
from pipeline.data.tables import read_table
from pipeline.errors import UserError

REASONS = {
    "thin-50-million.png": "1 x 49999999 pixels; no side may be longer than 1,000,000",
    "flat-50-million.png": "no side may be longer",
    "scans3009.jpg": "a JPEG of 4000 x 4000 pixels in more than 250 scans",
    "progressive60000.jpg": "60000 x 60000 pixels; dataset.max_megapixels allows 50",
    "progressive16000x20000.jpg": "in several scans: it takes 1.0 GB to decode",
    "segments100000.jpg": "more than 4,096 segments",
    "filling2000000.jpg": "more than 1,000,000 bytes of filling",
    "chunks300000.png": "more than 200,000 chunks",
}
READ = {"thin-million.png", "scans-of-thumbnail.jpg", "frames100000.png", "comment-of-bytes.gif"}


@pytest.fixture(autouse=True)
def alone():
    with ward.dismissed():
        yield


def write(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


@pytest.mark.filterwarnings("ignore")
def test_bombs_are_refused_by_what_they_declare_or_read(tmp_path):
    read, refused = set(), {}
    for name, content in small_bombs():
        try:
            assert read_picture(write(tmp_path / name, content), 16).pixels.shape == (3, 16, 16)
            read.add(name)
        except BadPicture as bad:
            refused[name] = str(bad)
    assert read >= READ
    assert all(map(str.isprintable, refused.values()))
    for name, words in REASONS.items():
        assert words in refused[name]


@pytest.mark.parametrize("name", ["bread.heic", "bread.avif", "bread.gif", "bread.tif"])
def test_the_process_apart_gives_the_same_pixels(tmp_path, monkeypatch, name):
    Image.Image.save(blocks(60, 40), tmp_path / name)
    there = read_picture(tmp_path / name, 16)
    monkeypatch.setattr("pipeline.data.decode.is_plain", lambda _: name[-4:] in ("heic", "avif"))
    assert np.array_equal(read_picture(tmp_path / name, 16).pixels, there.pixels)
    assert np.array_equal(read_picture(tmp_path / name, 16, 1).pixels.shape, (1, 16, 16))


def test_what_takes_too_long_is_ended_and_the_next_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(ward, "CPU_SECONDS", 1)
    endless = write(tmp_path / "endless.bmp", rle_bmp(7000, 7000, b"\1\5\0\0" * 7000 + b"\0\1"))
    with pytest.raises(BadPicture, match="it takes more than 1 s to decode"):
        read_picture(endless, 16)
    blocks(60, 40).save(tmp_path / "next.heic")
    assert read_picture(tmp_path / "next.heic", 16).pixels.any()


def test_what_takes_too_much_memory_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(ward, "MEMORY", 2**20)
    monkeypatch.setattr(ward, "scaled", lambda amount, _: amount)
    picture = write(tmp_path / "large.bmp", rle_bmp(7000, 7000, (b"\xff\1" * 28 + b"\0\0") * 7000))
    with pytest.raises(BadPicture, match="memory"):
        read_picture(picture, 16)


def test_a_decoder_that_crashes_takes_its_process_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(
        ward, "SERVE", "import os, sys; {!r}; sys.stdin.buffer.readline(); os.abort()"
    )
    blocks(60, 40).save(tmp_path / "crash.heic")
    with pytest.raises(BadPicture, match=r"its decoder crashes \(SIGABRT\)"):
        read_picture(tmp_path / "crash.heic", 16)


def test_no_process_is_left_when_a_cache_is_built(tmp_path):
    class_folder(tmp_path / "set")
    for name in ("bread", "egg"):
        blocks(60, 40).save(tmp_path / "set" / name / "phone.heic")
    assert not prepare(Folder(size=8), tmp_path / "set", tmp_path / "cache").unreadable
    assert ward._IDLE.empty()


def test_ordinary_jpegs_keep_their_scans_and_segments(tmp_path):
    photo = encoded("JPEG", blocks(3000, 2000), progressive=True, icc_profile=bytes(3_000_000))
    read_picture(write(tmp_path / "photo.jpg", photo), 16)
    film = (
        encoded("JPEG", blocks(3000, 2000)) + b"\xff\xda\0\4ab" * 100_000
    )  # a phone's film behind the picture
    read_picture(write(tmp_path / "film.jpg", film), 16)
    with pytest.raises(BadPicture, match="scans"):
        read_picture(write(tmp_path / "scans.jpg", many_scans(2000, 2000, 1100)), 16)
    wide = declared(encoded("JPEG", blocks(64, 48)), 12_000, 9000)
    assert read_picture(write(tmp_path / "phone.jpg", wide), 16).pixels.any()


@pytest.mark.parametrize("shape", [(1, 30_000), (30_000, 1), (7, 40_000)])
def test_long_pictures_are_shrunk_before_they_are_widened(shape):
    line = (
        np.linspace(0, 255, max(shape)).reshape(1, -1, 1)
        if shape[0] > 8
        else np.linspace(0, 255, shape[1])[None, None]
    )
    pixels = np.broadcast_to(line, (3, *shape)).round().astype(np.uint8)
    for turned in (pixels, pixels.transpose(0, 2, 1).copy()):
        found = resize(turned, 1024)
        own = Image.fromarray(turned.transpose(1, 2, 0)).resize(
            (1024, 1024), Image.Resampling.BILINEAR
        )
        assert np.abs(found.astype(int) - np.asarray(own).transpose(2, 0, 1)).max() <= 1


def test_pipes_devices_and_what_the_kernel_makes_up_are_not_waited_for(tmp_path):
    class_folder(tmp_path, num=2)
    os.mkfifo(tmp_path / "pipe.jpg")
    for number, target in enumerate(("/proc/self/environ", "/proc/uptime", "/dev/zero")):
        (tmp_path / "bread" / f"link{number}.jpg").symlink_to(target)
        with pytest.raises(BadPicture):
            read_picture(tmp_path / "bread" / f"link{number}.jpg", 8)
    (tmp_path / "bread" / "all").symlink_to("/proc/self")
    with pytest.raises(BadPicture, match="not a file, but a pipe"):
        read_picture(tmp_path / "pipe.jpg", 8)
    with pytest.raises(OSError, match="pipe"):
        open_file(tmp_path / "pipe.jpg")
    tree = walk(tmp_path)
    assert len(tree.pictures) == 6
    assert tree.ignored["sockets, pipes or devices"] == 5


def test_the_memory_is_shared():
    budget, most, held, lock = limits.Budget(100), 0, 0, threading.Lock()

    def work(amount: int) -> None:
        nonlocal most, held
        for _ in range(50):
            with budget.claim(amount):
                with lock:
                    held += min(amount, 100)
                    most = max(most, held)
                with lock:
                    held -= min(amount, 100)

    threads = [threading.Thread(target=work, args=(amount,)) for amount in (1, 30, 60, 100, 1000)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert held == 0
    assert most <= 100


def test_sets_of_torchvision_are_read_within_the_same_limits(tmp_path):
    blocks(60, 40).convert("P").save(tmp_path / "plain.png")
    found = load_rgb(tmp_path / "plain.png")
    assert (found.mode, found.size) == ("RGB", (60, 40))
    for name, content in (
        ("a.png", flat_png(1, 2_000_000, 8, 0)),
        ("b.jpg", many_scans(2000, 2000, 1100)),
    ):
        with pytest.raises(BadPicture):
            load_rgb(write(tmp_path / name, content))


def test_tables_have_an_end(tmp_path, monkeypatch):
    monkeypatch.setattr(tables, "MAX_CELLS", 1000)
    table = write(tmp_path / "train.csv", b"image,label\n" + b"," * 2000)
    with pytest.raises(UserError, match="line 2: more than 1,000 cells"):
        read_table(table, lambda _: False)
    os.truncate(table, tables.MAX_BYTES + 1)
    with pytest.raises(UserError, match="larger than 256 MiB"):
        read_table(table, lambda _: False)


def test_metadata_between_the_scans_counts_as_nothing(tmp_path):
    jpeg = encoded("JPEG", blocks(64, 48))
    thumbnail = segment(encoded("JPEG", blocks(16, 16), progressive=True))
    assert read_picture(
        write(tmp_path / "a.jpg", jpeg[:2] + thumbnail * 50 + jpeg[2:]), 8
    ).pixels.any()
