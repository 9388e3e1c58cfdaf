"""Batches of a split, from memory and from a file that is larger than memory would be."""

import gc
import os

import numpy as np
import pytest
import torch

from pipeline.core import pictures
from pipeline.core.pictures import AHEAD, Pictures, can_read_ahead, cut
from pipeline.data.splits import Split

CPU = torch.device("cpu")
SHAPE = (3, 8, 8)


@pytest.fixture
def images(tmp_path):
    values = np.random.default_rng(0).integers(0, 256, (500, *SHAPE)).astype(np.uint8)
    values.tofile(tmp_path / "images.u8")
    return np.memmap(tmp_path / "images.u8", dtype=np.uint8, mode="r", shape=values.shape)


def split_of(images):
    return Split(images, np.arange(len(images)) % 7, np.arange(3, len(images), 2))


@pytest.mark.parametrize("batch_size", [2, 7, 64, 1000])
@pytest.mark.parametrize("mapped", [True, False])
def test_batches_are_the_rows_in_order(images, batch_size, mapped):
    split = split_of(images if mapped else np.array(images))
    made = Pictures(split, CPU)
    order = np.random.default_rng(1).permutation(len(split))
    seen = 0
    for positions, pixels, labels in made.batches(order, cut(len(order), batch_size)):
        rows = split.index[order[seen : seen + len(positions)]]
        assert positions.tolist() == order[seen : seen + len(positions)].tolist()
        assert np.array_equal(pixels.numpy(), images[rows])
        assert labels.tolist() == (rows % 7).tolist()
        seen += len(positions)
    assert seen == len(split)


@pytest.mark.skipif(not hasattr(os, "posix_fadvise"), reason="this system takes no advice")
def test_the_next_rows_are_asked_for_before_they_are_needed(images, monkeypatch):
    asked = []
    real = os.posix_fadvise

    def advise(descriptor, start, num_bytes, advice):
        real(descriptor, start, num_bytes, advice)
        assert (num_bytes, advice, start % num_bytes) == (192, os.POSIX_FADV_WILLNEED, 0)
        asked.append(start // num_bytes)

    monkeypatch.setattr(os, "posix_fadvise", advise)
    split = split_of(images)
    order = np.random.default_rng(1).permutation(len(split))
    wanted = split.index[order].tolist()
    cuts = cut(len(order), 4)
    for number, (positions, _, _) in enumerate(Pictures(split, CPU).batches(order, cuts), 1):
        assert len(positions) <= 5
        assert asked == wanted[: cuts[min(number + AHEAD, len(cuts)) - 1].stop]
    assert asked == wanted


def test_batches_are_made_one_by_one(images, monkeypatch):
    """A consumer that stops early has not paid for the rest."""
    asked = []
    monkeypatch.setattr(pictures._Ahead, "want", lambda _self, rows: asked.append(len(rows)))
    split = split_of(images)
    next(Pictures(split, CPU).batches(np.arange(len(split)), cut(len(split), 2)))
    assert len(asked) == AHEAD + 1


def test_the_file_is_closed_with_its_pictures(images):
    folder = "/proc/self/fd"
    if not os.path.isdir(folder):
        pytest.skip("this system does not list open files")
    before = len(os.listdir(folder))
    made = [Pictures(split_of(images), CPU) for _ in range(5)]
    assert len(os.listdir(folder)) == before + 5
    made.clear()
    gc.collect()
    assert len(os.listdir(folder)) == before


def test_only_whole_files_are_read_ahead(images, tmp_path):
    assert can_read_ahead(images) == hasattr(os, "posix_fadvise")
    for other in (images[2:], images[::2], images[:, :1], np.array(images)):
        assert not can_read_ahead(other)
        order = np.arange(len(split_of(other)))
        (batch,) = Pictures(split_of(other), CPU).batches(order, cut(len(order), 1000))
        assert np.array_equal(batch[1].numpy(), other[3::2])
    os.unlink(tmp_path / "images.u8")
    assert not can_read_ahead(images)
