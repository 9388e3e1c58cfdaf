"""Tables of file and label."""

import os

import pytest
from pictures import save
from sets import leaves

from pipeline.data.cache import prepare
from pipeline.data.columns import Row, Wanted, read_columns
from pipeline.data.datasets.csv import Csv
from pipeline.data.listing import TEST, TRAIN, VALID
from pipeline.data.tables import read_table
from pipeline.errors import UserError


def is_picture(cell):
    return cell.endswith(".jpg")


def rows_of(path, wanted=None, labelled=True):
    return list(
        read_columns(
            read_table(path, is_picture), wanted or Wanted(), is_picture, labelled=labelled
        ).rows
    )


def refusal(root, **settings):
    with pytest.raises(UserError) as caught:
        Csv(**settings).scan(root)
    assert str(caught.value).isprintable()
    return str(caught.value)


def of(listing, part):
    return {
        file: label
        for file, label, own in zip(listing.files, listing.labels, listing.parts, strict=True)
        if own == part
    }


def test_the_layout_of_classify_leaves(tmp_path):
    listing = Csv(valid_share=0.25).scan(leaves(tmp_path / "leaves"))
    assert (listing.title, listing.classes) == ("leaves", ("acer", "ilex", "tilia"))
    assert [listing.parts.count(part) for part in (TRAIN, VALID, TEST)] == [27, 9, 6]
    names = {0: "acer", 1: "tilia", 2: "ilex"}
    for file, label in (of(listing, TRAIN) | of(listing, VALID)).items():
        assert listing.classes[label] == names[int(file.removeprefix("images/")[:-4]) // 100]
    assert set(of(listing, TEST).values()) == {-1}
    assert any("none of the 6 test pictures has a label" in warning for warning in listing.warnings)


def test_the_truth_beside_the_test_table_is_read_and_said(tmp_path):
    root = leaves(tmp_path)
    known = "".join(
        f"images/{9000 + n}.jpg,{name}\n"
        for n, name in enumerate(("acer", "tilia", "ilex", "acer", "tilia"))
    )
    (root / "test_labels.csv").write_text("image,label\n" + known)
    listing = Csv().scan(root)
    assert [of(listing, TEST)[f"images/{9000 + n}.jpg"] for n in range(6)] == [0, 2, 1, 0, 2, -1]
    assert "the labels of 5 test pictures were read from test_labels.csv" in listing.warnings
    assert any("1 of 6 test pictures has no label" in warning for warning in listing.warnings)


def test_without_a_test_table_a_test_part_is_cut(tmp_path):
    listing = Csv().scan(leaves(tmp_path, num=20, num_test=0))
    assert [listing.parts.count(part) for part in (TRAIN, VALID, TEST)] == [42, 9, 9]
    assert [listing.parts.count(TEST), Csv(test_share=0).scan(tmp_path).parts.count(TEST)] == [9, 0]


TEXT = 'id,"kind, of leaf"\r\n"a, b.jpg",  "Großer ""Ahorn"""\r\n\r\nc.jpg,\r\n'


@pytest.mark.parametrize(
    "raw",
    [
        TEXT.encode(),
        b"\xef\xbb\xbf" + TEXT.encode(),
        TEXT.replace("\r\n", "\n").encode(),
        TEXT.replace("\r\n", "\r").encode(),
        TEXT.rstrip().encode(),
    ],
)
def test_byte_order_marks_line_ends_and_quotes(tmp_path, raw):
    (tmp_path / "t.csv").write_bytes(raw.replace(b'  "Gro', b'"Gro'))
    rows = rows_of(tmp_path / "t.csv")
    assert [(row.file, row.label) for row in rows] == [
        ("a, b.jpg", 'Großer "Ahorn"'),
        ("c.jpg", ""),
    ]


@pytest.mark.parametrize(
    ("text", "settings", "row"),
    [
        ("image,label\na.jpg,x", {}, Row("a.jpg", "x", 2)),
        ("label,image\nx,a.jpg", {}, Row("a.jpg", "x", 2)),
        ("a.jpg,x", {}, Row("a.jpg", "x", 1)),
        ("photo;sort\na.jpg;x", {}, Row("a.jpg", "x", 2)),
        ("n\tImage\tLabel\n7\ta.jpg\tx", {}, Row("a.jpg", "x", 2)),
        ("n,what,photo\n7,x,a.jpg", {"file": "photo", "label": "what"}, Row("a.jpg", "x", 2)),
        ("image\na.jpg", {}, Row("a.jpg", "", 2)),
        ("a.jpg", {}, Row("a.jpg", "", 1)),
    ],
)
def test_columns_are_found(tmp_path, text, settings, row):
    (tmp_path / "t.csv").write_text(text)
    assert rows_of(tmp_path / "t.csv", Wanted(**settings), labelled=bool(row.label)) == [row]


@pytest.mark.parametrize(
    "written", ["{}.jpg", "{}", "images/{}.jpg", "./images/{}.jpg", "images\\{}.jpg"]
)
def test_files_are_found_without_their_folder_or_ending(tmp_path, written):
    leaves(tmp_path, num_test=0)
    lines = [f"{written.format(n + 100 * c)},{c}" for c in range(3) for n in range(12)]
    (tmp_path / "train.csv").write_text("file,label\n" + "\n".join(lines))
    listing = Csv().scan(tmp_path)
    assert listing.files[0] == "images/0.jpg"
    assert listing.classes == ("0", "1", "2")


def test_numbers_are_classes_in_their_order(tmp_path):
    leaves(tmp_path, ("10", "9", "100"))
    assert Csv().scan(tmp_path).classes == ("9", "10", "100")


@pytest.mark.parametrize(
    ("text", "settings", "words"),
    [
        ("", {}, "the table is empty"),
        (
            "image,label\nimages/0.jpg,a\nimages/0.jpg,b\n",
            {},
            "line 3: images/0.jpg has been listed before with another",
        ),
        ("image,label\n../secret.jpg,a\n", {}, "line 2: ../secret.jpg: files must lie below"),
        ("image,label\n/etc/passwd,a\n", {}, "files must lie below"),
        ("image,label\nimages/0.jpg\n", {}, "line 2: 1 cell or no file in it"),
        ('image,label\n"images/0.jpg,a\n', {}, "unexpected end of data"),
        (
            "image,label\nimages/0.jpg,a\n",
            {"label_column": "lable"},
            "dataset.label_column: no such column; got 'lable'",
        ),
        ("images/0.jpg,a\n", {"label_column": "label"}, "no line of column names"),
        (
            "image\nimages/0.jpg\n",
            {},
            "which column says the class? name it in dataset.label_column; its columns: image",
        ),
        ("image,label\nimages/0.jpg,\n", {}, "no labels in it"),
        ("image,label\nimages/0.jpg,a\nimages/1.jpg,a\n", {}, "at least 2 classes"),
        (
            "image,label\n" + "".join(f"images/x{n}.jpg,a\n" for n in range(7)),
            {},
            "7 of 7 pictures are missing: images/x0.jpg",
        ),
    ],
)
def test_tables_that_cannot_be_used(tmp_path, text, settings, words):
    leaves(tmp_path)
    (tmp_path / "train.csv").write_text(text)
    assert words in refusal(tmp_path, **settings)


def test_other_tables_that_cannot_be_used(tmp_path):
    leaves(tmp_path)
    assert "no such table; found: test.csv, train.csv; did you mean 'train.csv'?" in refusal(
        tmp_path, table="tran.csv"
    )
    (tmp_path / "train.csv").write_bytes(b"image,label\nimages/\xff.jpg,a\n")
    assert "not UTF-8 (byte 19)" in refusal(tmp_path)
    leaves(tmp_path)
    (tmp_path / "test.csv").write_text("image\nimages/0.jpg\n")
    assert "has been listed before with another label or part" in refusal(tmp_path)


def test_a_few_missing_pictures_are_named_and_left_out(tmp_path):
    root = leaves(tmp_path / "set", num=40)
    os.unlink(root / "images" / "7.jpg")
    data = prepare(Csv(size=8), root, tmp_path / "cache")
    assert [(bad.file, bad.reason) for bad in data.unreadable] == [
        ("images/7.jpg", "No such file or directory")
    ]
    os.unlink(root / "images" / "8.jpg")
    assert (
        "2 of 120 pictures are missing: images/7.jpg (line 9), images/8.jpg (line 10)"
        in refusal(root)
    )
    assert "2 of 120" in refusal(root, max_unreadable=0)
    assert len(prepare(Csv(size=8, max_unreadable=0.05), root, tmp_path / "cache").unreadable) == 2


def test_repeated_lines_are_counted(tmp_path):
    root = leaves(tmp_path)
    with (root / "train.csv").open("a") as file:
        file.write("images/0.jpg,acer\n")
    assert "train.csv: 1 picture is listed more than once" in Csv().scan(root).warnings


def test_pictures_without_a_label_are_listed_as_such(tmp_path):
    root = leaves(tmp_path)
    save(root / "images" / "5000.jpg")
    with (root / "train.csv").open("a") as file:
        file.write("images/5000.jpg,\n")
    assert of(Csv().scan(root), TRAIN)["images/5000.jpg"] == -1


@pytest.mark.parametrize("blank", ["?", "-", "none", "Unknown", "-1"])
def test_a_class_called_as_if_there_were_no_label_is_said_and_stays(blank, tmp_path):
    root = leaves(tmp_path)
    table = (root / "train.csv").read_text()
    (root / "train.csv").write_text(table.replace(",ilex", f",{blank}"))
    listing = Csv().scan(root)
    assert blank in listing.classes
    told = [warning for warning in listing.warnings if "as if there were no label" in warning]
    assert len(told) == 1
    assert f": '{blank}' (" in told[0]
    assert told[0].endswith("to leave their pictures out, empty their cells")
    (root / "train.csv").write_text(table.replace(",ilex", ","))
    assert not any("as if there were" in warning for warning in Csv().scan(root).warnings), (
        "as it says, they are left out"
    )


def test_one_and_minus_one_are_two_classes(tmp_path):
    root = leaves(tmp_path)
    table = (root / "train.csv").read_text()
    for name, label in (("acer", "1"), ("ilex", "-1"), ("tilia", "1")):
        table = table.replace(f",{name}", f",{label}")
    (root / "train.csv").write_text(table)
    listing = Csv().scan(root)
    assert listing.classes == ("-1", "1")
    assert not any("as if there were" in warning for warning in listing.warnings)


@pytest.mark.parametrize(
    ("more", "said"),
    [("shape", " (by its name; 'shape' may say the class as well"), ("size", " of t")],
)
def test_a_column_of_a_name_that_says_little_names_the_others(more, said, tmp_path):
    for number in range(24):
        save(tmp_path / f"{number}.jpg", number % 3, number)
    other = (lambda n: "ab"[n % 2]) if more == "shape" else (lambda n: f"{n}.5")
    lines = "".join(f"{n}.jpg,{'xyz'[n % 3]},{other(n)}\n" for n in range(24))
    (tmp_path / "train.csv").write_text(f"image,type,{more}\n{lines}")
    listing = Csv().scan(tmp_path)
    assert listing.classes == ("x", "y", "z")
    assert f"column 'type'{said}" in dict(listing.taken.lines())["labels"]
