"""Sets of arrays: npz, idx, torchvision's and Hugging Face's."""

import gzip
import importlib.util
import typing
import urllib.request

import numpy as np
import pytest
from sets import idx_files, scans, write_idx

from pipeline.core.config import TrainConfig
from pipeline.data.cache import prepare
from pipeline.data.datasets.huggingface import HuggingFace
from pipeline.data.datasets.idx import Idx
from pipeline.data.datasets.npz import Npz
from pipeline.data.datasets.torchvision import SETS, Torchvision
from pipeline.data.listing import TEST, TRAIN, VALID
from pipeline.errors import MachineError, UserError

IMAGES, LABELS = scans(300)


def refusal(dataset, root):
    with pytest.raises(UserError) as caught:
        dataset.scan(root)
    return str(caught.value)


def archive(root, **arrays):
    root.mkdir(parents=True, exist_ok=True)
    np.savez(root / "set.npz", **arrays)
    return root


def pixels(root, tmp_path, **settings):
    """The training and validation pictures as stored, in the order of the source."""
    data = prepare(Npz(size=8, test_share=0, **settings), root, tmp_path / "cache")
    return np.array(data.images), data


@pytest.mark.parametrize(
    "keys",
    [
        "x y",
        "X Y",
        "images labels",
        "data target",
        "arr_0 arr_1",
        "train_images train_labels",
        "x_train y_train",
        "trainX trainY",
    ],
)
def test_npz_keys(tmp_path, keys):
    first, second = keys.split()
    listing = Npz().scan(archive(tmp_path, **{first: IMAGES, second: LABELS}))
    assert listing.files[:2] == ("train-00000", "train-00001")
    assert listing.labels == tuple(LABELS.tolist())
    assert [listing.parts.count(part) for part in (TRAIN, VALID, TEST)] == [210, 45, 45]


def test_npz_parts_are_the_official_ones(tmp_path):
    split = {"train": slice(0, 150), "val": slice(150, 200), "test": slice(200, 300)}
    arrays = {f"{part}_images": IMAGES[rows] for part, rows in split.items()}
    arrays |= {f"{part}_labels": LABELS[rows][:, None] for part, rows in split.items()}
    data = prepare(Npz(size=8), archive(tmp_path / "set", **arrays), tmp_path / "cache")
    assert data.counts == {"train": 150, "valid": 50, "test": 100}
    assert (data.images[data.files.index("test-00003"), 0] == IMAGES[203]).all()
    assert data.labels[data.files.index("valid-00049")] == LABELS[199]


def test_npz_test_pictures_may_have_no_label(tmp_path):
    root = archive(tmp_path, x_train=IMAGES[:200], y_train=LABELS[:200], x_test=IMAGES[200:])
    listing = Npz().scan(root)
    assert {
        label for label, part in zip(listing.labels, listing.parts, strict=True) if part == TEST
    } == {-1}


COLOUR = np.stack([IMAGES, 255 - IMAGES, IMAGES // 2], axis=1)  # [N, C, H, W]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (IMAGES, IMAGES[:, None]),
        (IMAGES.reshape(300, 64), IMAGES[:, None]),
        (IMAGES[..., None], IMAGES[:, None]),
        (IMAGES[:, None], IMAGES[:, None]),
        (IMAGES.astype(np.int64), IMAGES[:, None]),
        (IMAGES.astype(np.float32), IMAGES[:, None]),
        (IMAGES / 255, IMAGES[:, None]),
        ((IMAGES / 255).astype(np.float32), IMAGES[:, None]),
        (IMAGES.astype(np.uint16) * 257, IMAGES[:, None]),
        (IMAGES > 100, (IMAGES[:, None] > 100) * 255),
        (COLOUR, COLOUR),
        (COLOUR.transpose(0, 2, 3, 1), COLOUR),
        (np.concatenate([COLOUR, COLOUR[:, :1]], axis=1), COLOUR),
    ],
)
def test_npz_forms(tmp_path, given, expected):
    found, _ = pixels(
        archive(tmp_path / "set", x=given, y=LABELS), tmp_path, channels=expected.shape[1]
    )
    assert (found == expected).all()


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        (LABELS.astype(np.uint8), "0 1 2 3 4 5 6 7 8 9"),
        (LABELS.astype(np.float32), "0 1 2 3 4 5 6 7 8 9"),
        (LABELS + 1, "1 2 3 4 5 6 7 8 9 10"),
        (np.eye(10)[LABELS], "0 1 2 3 4 5 6 7 8 9"),
        (np.array(list("jihgfedcba"))[LABELS], "a b c d e f g h i j"),
        (np.array(list("jihgfedcba")).astype("S1")[LABELS], "a b c d e f g h i j"),
    ],
)
def test_npz_labels(tmp_path, labels, classes):
    _, data = pixels(archive(tmp_path / "set", x=IMAGES, y=labels), tmp_path)
    assert data.classes == tuple(classes.split())
    letters = "a" in classes
    assert (data.labels == (9 - LABELS if letters else LABELS)).all()


def test_npz_class_names(tmp_path):
    root = archive(tmp_path, x=IMAGES, y=LABELS)
    (root / "classes.json").write_text('["zero", "one", "two", "3", "4", "5", "6", "7", "8", "9"]')
    assert Npz().scan(root).classes[:3] == ("zero", "one", "two")
    (root / "classes.json").write_text('["zero", "one"]')
    assert "2 classes have names, but the labels are 0 to 9" in refusal(Npz(), root)


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"x": IMAGES}, "no pictures and labels found among its keys: x"),
        ({"x": IMAGES, "y": LABELS[:-1]}, "300 pictures in 'x', but 299 labels"),
        ({"x": IMAGES[None], "y": LABELS[:1]}, "pictures must be [N, H, W]"),
        ({"x": IMAGES, "y": LABELS + 0.5}, "labels must be whole numbers"),
        ({"x": IMAGES, "y": IMAGES}, "labels must be one whole number or word"),
        (
            {"x": IMAGES, "y": np.array([object()] * 300)},
            "'y' holds Python objects, which could run anything",
        ),
    ],
)
def test_npz_that_cannot_be_used(tmp_path, arrays, words):
    assert words in refusal(Npz(), archive(tmp_path, **arrays))


@pytest.mark.parametrize(
    "values", [IMAGES * -1.0, IMAGES * 2.0, IMAGES * np.nan, IMAGES.astype(np.int32) * 1000]
)
def test_npz_values_that_are_no_pixels(tmp_path, values):
    with pytest.raises(UserError, match=r"values from .*; expected: whole numbers in 0 … 255"):
        prepare(Npz(), archive(tmp_path / "set", x=values, y=LABELS), tmp_path / "cache")


def test_npz_files(tmp_path):
    root = archive(tmp_path / "set", x=IMAGES, y=LABELS)
    (root / "set.npz").rename(root / "a.npz")
    archive(root, x=IMAGES, y=LABELS)
    assert "one .npz archive is expected in it, found a.npz, set.npz" in refusal(Npz(), root)
    assert Npz(file="a.npz").scan(root).title == "a"
    assert "did you mean 'a.npz'?" in refusal(Npz(file="aa.npz"), root)
    (root / "a.npz").write_bytes((root / "set.npz").read_bytes()[:5000])
    assert "not an .npz archive" in refusal(Npz(file="a.npz"), root)


@pytest.mark.parametrize("ending", ["", ".gz"])
@pytest.mark.parametrize("below", [(), ("MNIST", "raw")])
def test_idx(tmp_path, ending, below):
    idx_files(tmp_path.joinpath("set", *below), ending)
    data = prepare(Idx(size=8), tmp_path / "set", tmp_path / "cache")
    assert data.counts == {"train": 170, "valid": 30, "test": 100}
    for row in (0, 99, 100, 299):
        part, place = data.files[row].split("-")
        source = int(place) + (200 if part == "test" else 0)
        assert (data.images[row, 0] == IMAGES[source]).all()
        assert data.labels[row] == LABELS[source]
        assert (data.parts[row] == TEST) == (part == "test")


def test_idx_without_a_test_set(tmp_path):
    idx_files(tmp_path)
    for path in tmp_path.glob("t10k*"):
        path.unlink()
    assert any("no test pictures" in warning for warning in Idx().scan(tmp_path).warnings)


def test_idx_that_cannot_be_used(tmp_path):
    root = idx_files(tmp_path / "set", ".gz")
    labels = root / "train-labels-idx1-ubyte.gz"
    whole = labels.read_bytes()
    labels.unlink()
    assert "missing: train-labels-idx1-ubyte[.gz]" in refusal(Idx(), root)
    labels.write_bytes(whole[:-20])
    assert "cannot be read" in refusal(Idx(), root)
    labels.write_bytes(b"no gzip")
    assert "cannot be read" in refusal(Idx(), root)
    write_idx(labels, LABELS[:199])
    assert "200 pictures, but 199 labels" in refusal(Idx(), root)
    write_idx(labels, IMAGES[:200])
    assert "not an idx file of unsigned bytes in 1 dimensions" in refusal(Idx(), root)
    labels.write_bytes(gzip.compress(gzip.decompress(whole)[:-1]))
    assert "199 bytes after its header, expected 200" in refusal(Idx(), root)
    labels.write_bytes(gzip.compress(gzip.decompress(whole) + b"0"))
    assert "201 bytes" in refusal(Idx(), root)
    idx_files(root / "other", ".gz")
    assert "several files for train-images" in refusal(Idx(), root)


def test_damaged_idx_pictures_are_noticed(tmp_path):
    root = idx_files(tmp_path / "set")
    path = root / "train-images-idx3-ubyte"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(UserError, match="12799 bytes after its header, expected 12800"):
        prepare(Idx(), root, tmp_path / "cache")


def test_the_named_sets_are_torchvisions():
    from torchvision import datasets

    assert typing.get_args(Torchvision.model_fields["set"].annotation) == tuple(SETS)
    for name in SETS:
        assert issubclass(getattr(datasets, name), datasets.VisionDataset)


def test_a_named_set_that_is_there_needs_no_network(tmp_path):
    idx_files(tmp_path / "sets" / "FashionMNIST" / "raw")
    data = prepare(Torchvision(set="FashionMNIST", size=8), tmp_path / "sets", tmp_path / "cache")
    assert (data.title, data.counts) == ("FashionMNIST", {"train": 170, "valid": 30, "test": 100})
    assert data.classes[0] == "T-shirt/top"
    assert (data.images[data.files.index("test-00005")] == IMAGES[205]).all()
    assert Torchvision(set="FashionMNIST").slug(tmp_path) == "FashionMNIST"


def test_a_named_set_with_other_pictures_is_decoded_anew(tmp_path):
    raw = tmp_path / "sets" / "MNIST" / "raw"
    dataset = Torchvision(set="MNIST", size=8)
    idx_files(raw)
    first = prepare(dataset, tmp_path / "sets", tmp_path / "cache")
    write_idx(raw / "train-images-idx3-ubyte", 255 - IMAGES[:200])
    second = prepare(dataset, tmp_path / "sets", tmp_path / "cache")
    assert second.fingerprint != first.fingerprint
    assert (second.images[100:] == 255 - first.images[100:]).all()


def test_a_named_set_without_a_folder_lies_in_the_cache_of_the_user(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    dataset, place = Torchvision(set="KMNIST"), tmp_path / "torchvision" / "datasets"
    assert dataset.to_download(None) == f"torchvision's KMNIST, not found in {place}"
    assert not place.exists(), "it was looked for, and nothing else"
    idx_files(place / "KMNIST" / "raw")
    assert dataset.to_download(None) == ""
    assert len(dataset.scan(None).files) == 300


def test_a_named_set_that_cannot_be_fetched(tmp_path, monkeypatch):
    def offline(*_args, **_kwargs):
        raise OSError("Network is unreachable")

    monkeypatch.setattr(urllib.request, "urlopen", offline)
    with pytest.raises(MachineError) as caught:
        Torchvision(set="CIFAR10").scan(tmp_path)
    assert "torchvision's CIFAR10 (train): not found in" in str(caught.value)
    assert "Network is unreachable" in str(caught.value)
    assert "give it with --data" in str(caught.value)


def test_an_unknown_named_set_gets_the_nearest():
    with pytest.raises(
        UserError, match=r"dataset\.set: got 'CIFAR-10'; allowed: .*did you mean 'CIFAR10'\?"
    ):
        TrainConfig().override({"dataset.name": "torchvision", "dataset.set": "CIFAR-10"})


@pytest.mark.skipif(
    importlib.util.find_spec("datasets") is not None, reason="the package is installed"
)
def test_hugging_face_without_its_package(tmp_path):
    for dataset in (HuggingFace(), HuggingFace(path="ylecun/mnist")):
        assert (
            "needs the package 'datasets', which is not installed: pip install datasets"
            in refusal(dataset, tmp_path)
        )


def test_hugging_face_wants_a_folder_only_without_a_name():
    assert (HuggingFace().folder, HuggingFace(path="ylecun/mnist").folder) == ("needed", "unused")
    assert HuggingFace(path="ylecun/mnist").slug(None) == "ylecun/mnist"
