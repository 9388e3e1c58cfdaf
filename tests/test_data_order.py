"""The order of classes: by value where they are numbers, and as recorded where a study was recorded
before.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from asked import chosen, options
from pictures import class_folder
from rich.console import Console
from sets import leaves
from studies import small_study

from pipeline.data.arrays import encode
from pipeline.data.cache import prepare
from pipeline.data.checks import fingerprint
from pipeline.data.datasets import Folder
from pipeline.data.datasets.csv import Csv
from pipeline.data.listing import FULL_DEPTH, as_recorded, in_order, plain
from pipeline.errors import UserError
from pipeline.machine import resources
from pipeline.record.ledger import Ledger
from pipeline.record.record import Record
from pipeline.session.opening import open_record
from pipeline.session.opening import prepare as begin
from pipeline.session.resume import require_same

NUMBERS = tuple(str(n) for n in range(11))
TEXT = tuple(
    sorted(NUMBERS)
)  # '0', '1', '10', '2': the order of folders in records of the first version


def test_whole_numbers_stand_by_value():
    values = sorted(
        set(np.random.default_rng(0).integers(-(10**17), 10**17, 500).tolist())
        | set(range(-200, 2000))
    )
    assert in_order(map(str, reversed(values))) == list(map(str, values))


def test_numbers_come_before_words_and_fractions_in_their_place():
    assert in_order(["b", "10", "-1", "9", "2.5", "a", "007"]) == [
        "-1",
        "2.5",
        "007",
        "9",
        "10",
        "a",
        "b",
    ]
    assert in_order(["1" * 40, "2"]) == ["2", "1" * 40]


@pytest.mark.parametrize(
    ("written", "label"),
    [("3.0", "3"), ("3.50", "3.50"), ("10.00", "10"), ("-1.0", "-1"), ("3", "3"), ("v3.0", "v3.0")],
)
def test_a_table_of_floats_has_whole_labels(written, label):
    assert plain(written) == label


def test_folders_tables_and_arrays_agree(tmp_path):
    class_folder(tmp_path / "folders", NUMBERS, num=4)
    assert Folder().scan(tmp_path / "folders").classes == NUMBERS
    leaves(tmp_path / "table", NUMBERS, num=4, num_test=0)
    assert Csv().scan(tmp_path / "table").classes == NUMBERS
    assert encode("here", np.array(TEXT), names=None)[1] == list(NUMBERS)


def test_a_recorded_order_is_kept_with_what_its_labels_meant(tmp_path):
    root = class_folder(tmp_path / "set", NUMBERS, num=4)
    dataset = Folder(size=8)
    now = prepare(dataset, root, tmp_path / "cache")
    kept = prepare(dataset, root, tmp_path / "cache", recorded={"classes": TEXT, "fingerprint": ""})
    assert (now.classes, kept.classes) == (NUMBERS, TEXT)
    for data in (now, kept):
        assert [data.classes[label] for label in data.labels] == [
            Path(file).parent.name for file in data.files
        ]
    # what the first version computed: the same pictures with labels by the order of text
    listing = dataset.scan(root)
    labels = tuple(TEXT.index(Path(file).parent.name) for file in listing.files)
    taken = replace(listing.taken, classes=tuple((name, 4) for name in TEXT))
    before, hashes = (
        replace(listing, classes=TEXT, labels=labels, taken=taken, written=TEXT),
        [""] * len(labels),
    )
    rows = range(len(labels))
    assert as_recorded(listing, TEXT) == before
    assert fingerprint(
        as_recorded(listing, TEXT), rows, hashes, (3, 8, 8), FULL_DEPTH
    ) == fingerprint(before, rows, hashes, (3, 8, 8), FULL_DEPTH)


def test_other_classes_are_left_as_they_are():
    listing = replace(small_study().baseline.dataset.scan(None), classes=NUMBERS[:10])
    for other in (NUMBERS, TEXT[:3], ("1", "1.0", *NUMBERS[1:9])):
        assert as_recorded(listing, other) is listing


def test_a_study_recorded_in_the_order_of_text_goes_on_in_it(tmp_path):
    root = class_folder(tmp_path / "set", NUMBERS, num=6)
    study = small_study().override(
        {"baseline.dataset": {"name": "folder", "size": 8}}, source="test"
    )
    given, asked, means = options(tmp_path), chosen(study, root), resources(1, 0)
    before = replace(asked, searched={"classes": TEXT, "fingerprint": ""})
    begun, data = begin(given, before, Record(), means, Console())
    with Ledger(tmp_path / "study") as ledger:
        record = Record()
        ledger.listener = record.apply
        open_record(begun, data, ledger, record, given, asked, means)
    again, same = begin(given, asked, record, means, Console())
    assert same.classes == TEXT
    assert same.fingerprint == data.fingerprint
    require_same(record, again, same, {}, tmp_path)
    other = begin(given, asked, Record(), means, Console())[1]
    with pytest.raises(
        UserError, match=r"classes: recorded '0', '1', '10', .*, now '0', '1', '2', "
    ):
        require_same(record, again, other, {}, tmp_path)
