"""What every dataset promises."""

import json
import os
import shutil

import numpy as np
import pytest
from pictures import class_folder
from PIL import Image
from sets import MAKERS, made

from pipeline.core.config import TrainConfig
from pipeline.data.cache import open_data, prepare
from pipeline.data.datasets import DATASETS, Folder, PictureSet
from pipeline.data.listing import TEST, TRAIN, VALID
from pipeline.errors import MachineError, UserError

EVERY = pytest.mark.parametrize("member", DATASETS)


def test_every_dataset_has_a_set_to_be_tried_on():
    assert sorted(MAKERS) == sorted(member.model_fields["name"].default for member in DATASETS)


@EVERY
def test_it_lists_consistently(member, tmp_path):
    dataset, root = made(member, tmp_path / "set")
    listing = dataset.scan(root)
    assert (
        len({len(listing.files), len(listing.labels), len(listing.parts), len(listing.stamps)}) == 1
    )
    assert listing.files == tuple(sorted(set(listing.files)))
    assert {label for label in listing.labels if label >= 0} == set(range(len(listing.classes)))
    for part in (TRAIN, VALID):
        assert {
            label for label, own in zip(listing.labels, listing.parts, strict=True) if own == part
        } == set(range(len(listing.classes)))
    assert listing.parts.count(TEST) > 0
    assert dataset.scan(root) == listing


@EVERY
@pytest.mark.parametrize(("size", "channels"), [(8, 1), (11, 3)])
def test_it_is_prepared_in_the_form_that_is_asked_for(member, size, channels, tmp_path):
    dataset, root = made(member, tmp_path / "set", size=size, channels=channels)
    data = prepare(dataset, root, tmp_path / "cache")
    assert data.images.shape == (len(data.files), channels, size, size)
    assert data.images.std() > 10
    assert (len(data.mean), len(data.std)) == (channels, channels)
    listing = dataset.scan(root)
    assert (data.files, data.classes) == (listing.files, listing.classes)
    assert (data.labels == listing.labels).all()
    assert (data.parts == listing.parts).all()
    for row in range(0, len(data.files), 7):
        assert (data.images[row] == dataset.read(listing, row)[0]).all()
    again = open_data(data.path)
    assert (again.fingerprint, again.warnings) == (data.fingerprint, data.warnings)


@EVERY
def test_grey_and_colour_differ_in_identity(member, tmp_path):
    prints = set()
    for channels in (1, 3):
        dataset, root = made(member, tmp_path / str(channels), channels=channels)
        prints.add(prepare(dataset, root, tmp_path / "cache").fingerprint)
    assert len(prints) == 2


@EVERY
def test_the_fingerprint_is_that_of_a_copy_elsewhere(member, tmp_path):
    dataset, root = made(member, tmp_path / "set", size=8)
    first = prepare(dataset, root, tmp_path / "cache").fingerprint
    if root is None:
        pytest.skip("lies in no folder")
    copied = tmp_path / "elsewhere" / "renamed"
    shutil.copytree(root, copied, copy_function=shutil.copyfile)
    for path in copied.rglob("*"):
        os.utime(path, (1, 1))
    assert prepare(dataset, copied, tmp_path / "cache2").fingerprint == first


@EVERY
def test_json_round_trip_in_a_training_configuration(member, tmp_path):
    dataset, _ = made(member, tmp_path / "set", size=9, channels=1)
    config = TrainConfig(dataset=dataset)
    back = TrainConfig.parse(json.loads(config.model_dump_json()), source="test")
    assert back == config
    assert type(back.dataset) is member
    assert back.fingerprint() == config.fingerprint()
    assert TrainConfig().override(config.flat()).dataset == dataset


@EVERY
def test_a_missing_folder(member, tmp_path):
    dataset, _ = made(member, tmp_path / "set")
    if dataset.folder == "unused":
        assert dataset.scan(None) == dataset.scan(tmp_path)
        return
    with pytest.raises(UserError, match="no such folder: 'gone' is missing"):
        dataset.scan(tmp_path / "gone" / "pictures")
    if dataset.folder == "needed":
        with pytest.raises(UserError, match="--data"):
            dataset.scan(None)
    (tmp_path / "empty").mkdir()
    with pytest.raises((UserError, MachineError)) as caught:
        dataset.scan(tmp_path / "empty")
    assert str(tmp_path / "empty") in str(caught.value)


@EVERY
def test_it_says_what_a_study_on_it_is_called(member, tmp_path):
    dataset, root = made(member, tmp_path / "my set")
    assert dataset.slug(root) in ("my set", dataset.name, getattr(dataset, "set", ""))


def test_a_member_declares_what_all_share():
    for member in DATASETS:
        assert issubclass(member, PictureSet)
        assert {"name", "size", "channels"} <= member.model_fields.keys()
        assert member.scan is not PictureSet.scan
        assert member.read is not PictureSet.read


def test_train_statistics_leave_out_what_has_no_label(tmp_path):
    class_folder(tmp_path / "set" / "train", num=10)
    before = prepare(Folder(size=8), tmp_path / "set", tmp_path / "cache")
    (tmp_path / "set" / "train" / "unlabeled").mkdir()
    for n in range(5):
        Image.new("RGB", (9, 9), "white").save(
            tmp_path / "set" / "train" / "unlabeled" / f"{n}.png"
        )
    after = prepare(Folder(size=8), tmp_path / "set", tmp_path / "cache")
    assert (after.mean, after.std) == (before.mean, before.std)
    assert after.counts == before.counts | {"unlabeled": 5}
    assert np.flatnonzero(after.labels < 0).size == 5
