"""Labels worth a look, as a page with thumbnails and as a table for a spreadsheet."""

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from pipeline.analysis.mislabels import Side, Suspect
from pipeline.cells import inert
from pipeline.counts import plural
from pipeline.data.listing import PARTS
from pipeline.report.document import (
    Block,
    Bullets,
    Code,
    Document,
    Gallery,
    Heading,
    Text,
    Thumb,
    clean,
    table,
)
from pipeline.report.formats import html
from pipeline.report.language.catalogue import catalogue
from pipeline.report.language.translate import translated
from pipeline.report.language.translator import Translator

SHOWN, NUM_COPIES, SIDE = 12, 20, 96  # thumbnails of a side; groups of copies; pixels
HEAD = ("file", "part", "given", "doubt", "believed", "p_given", "p_believed", "runs")
TABLE = "labels.csv"
UNANSWERED = "Not looked at"
COPIES = "same_picture_as"  # the column of copies that have another label
WRONG_TOO = 0.8  # right answers below which most suspects may be the network's own mistakes


@dataclass(frozen=True)
class Doubts:
    """All that is said of a study's labels. pool: of train and validation; test: None where no test
    picture has a label; copies: rows of pictures that are the same with two labels; command: which
    gives those of the pool an answer that have none, '' where every one has.

    images: uint8 [N, C, S, S]; labels, parts: of all pictures; files: their names.
    """

    study: str
    title: str
    classes: tuple[str, ...]
    files: tuple[str, ...]
    labels: Sequence[int]
    parts: Sequence[int]
    images: npt.NDArray[np.uint8]
    runs: int
    lacking: tuple[str, ...]
    pool: Side
    test: Side | None
    copies: tuple[tuple[int, ...], ...]
    command: str

    @property
    def sides(self) -> tuple[tuple[str, Side], ...]:
        """(where, what was found there)."""
        both = (("train and validation", self.pool), ("test", self.test))
        return tuple((where, side) for where, side in both if side is not None)


def files(doubts: Doubts, lang: str = "en") -> dict[str, bytes]:
    """File name → content: the table in English, the page in `lang`."""
    page = document(doubts)
    if lang != "en":
        say = Translator(catalogue(lang), doubts.classes)
        page = translated(page, say, title=doubts.title)
    texts = {TABLE: rows(doubts), "labels.html": html.render(page, {})}
    return {name: text.encode("utf-8", "replace") for name, text in texts.items()}


def rows(doubts: Doubts) -> str:
    """The CSV: suspects of train and validation, those of test, then copies with two labels that
    are no suspects; what a spreadsheet would run as a formula gets a leading apostrophe.
    """
    same = {row: group for group in doubts.copies for row in group}
    lines = io.StringIO()
    writer = csv.writer(lines, lineterminator="\n")
    writer.writerow((*HEAD, COPIES))

    def line(row: int, *more: str) -> None:
        others = "; ".join(
            doubts.files[other]
            for other in same.get(row, ())
            if doubts.labels[other] != doubts.labels[row]
        )
        given = doubts.classes[doubts.labels[row]]
        cells = (doubts.files[row], PARTS[doubts.parts[row]], given, *more, others)
        writer.writerow(map(inert, cells))

    listed = set()
    for _, side in doubts.sides:
        for place, one in enumerate(side.suspects):
            doubt = "clear" if place < side.num_clear else "possible"
            numbers = (f"{one.p_given:.4f}", f"{one.p_believed:.4f}", str(one.runs))
            line(one.row, doubt, doubts.classes[one.believed], *numbers)
            listed.add(one.row)
    for row in same:
        if row not in listed:
            line(row, "copy", "", "", "", "")
    return lines.getvalue()


def document(doubts: Doubts) -> Document:
    """The page; a side that no run answered, or that guessing explains, has no list."""
    blocks = [block for where, side in doubts.sides for block in _side(where, side, doubts)]
    summary = [text for where, side in doubts.sides for text in _share(where, side)]
    return Document(
        f"Labels worth a look, on {doubts.title}",
        f"Study {doubts.study} · answers of {plural(doubts.runs, 'run')}",
        (),
        (Bullets(tuple(summary)),),
        (*blocks, *_unanswered(doubts), *_copies(doubts), Heading("How to read this"), *_read()),
    )


def _share(where: str, side: Side) -> Iterator[str]:
    """How many there are to look at."""
    num, more = side.num_clear, len(side.suspects) - side.num_clear
    if side.learned:
        yield (
            f"{plural(num, 'picture')} of {where} {'looks' if num == 1 else 'look'} mislabelled: "
            f"{100 * num / side.answered:.1f} % of the {side.answered:,} that were answered by "
            "runs which had not learned from them."
            + f" Less clear: {more:,} more ({100 * more / side.answered:.1f} %)."
            * bool(more)
        )
        if side.acc < WRONG_TOO:
            yield (
                f"Their mean answer is right for {100 * side.acc:.1f} % of {where}: of networks "
                "that err so often most suspects may be their own mistakes, so begin at the top "
                "and stop where the labels are right."
            )
    elif side.answered:
        yield (
            f"Of {where} nothing is listed: the runs' mean answer is right for "
            f"{100 * side.acc:.1f} %, where naming the most frequent class is for "
            f"{100 * side.guess:.1f} %: too little to doubt labels by."
        )
    else:
        yield f"Of {where} nothing is listed: no run answered a picture it had not learned from."


def _side(where: str, side: Side, doubts: Doubts) -> Iterator[Block]:
    if not side.suspects:
        return
    yield Heading("Train and validation" if where != "test" else "Test")
    if where == "test":
        yield Text(
            "Runs neither learned from these pictures nor were chosen by them. Labels that are "
            "changed because networks doubt them make the test part agree with networks: let "
            "somebody judge who does not see the believed class, and look at as many pictures that "
            "nobody doubts."
        )
    names = doubts.classes
    told = tuple(
        f"{100 * share:.0f} % of {clean(names[a])} are taken for {clean(names[b])}: rather two "
        "classes that look alike, or one rule of labelling, than single wrong labels."
        for (a, b), share in side.confused.items()
    )
    if told:
        yield Bullets(told)
    shown = side.suspects[:SHOWN]
    yield Gallery(
        f"The {len(shown)} most doubtful of {len(side.suspects):,}, the least probability of the "
        "given class first, as a share of what is usual for it; p is the mean probability. All are "
        "in labels.csv.",
        tuple(_thumb(one, n, where, doubts) for n, one in enumerate(shown, 1)),
    )


def _thumb(one: Suspect, number: int, where: str, doubts: Doubts) -> Thumb:
    given, believed = doubts.classes[one.given], doubts.classes[one.believed]
    label = (
        f"labelled {given} (p {one.p_given:.2f}), believed {believed} (p {one.p_believed:.2f}), "
        f"{plural(one.runs, 'run')}: {clean(doubts.files[one.row])}"
    )
    alt = f"A picture labelled {given}, believed to be {believed}."
    return Thumb(_png(doubts.images[one.row]), label, alt, f"{where.split()[0]}-{number:02d}")


def _png(pixels: npt.NDArray[np.uint8]) -> bytes:
    """Of [C, S, S] with 1 or 3 channels."""
    plane = np.asarray(pixels).transpose(1, 2, 0)
    image = Image.fromarray(plane[:, :, 0].copy() if plane.shape[2] == 1 else plane.copy())
    image.thumbnail((SIDE, SIDE))
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def _unanswered(doubts: Doubts) -> Iterator[Block]:
    """What nobody has judged, and how it would be."""
    left = doubts.pool.num - doubts.pool.answered
    untold = doubts.test is not None and doubts.test.answered < doubts.test.num
    if left or untold or doubts.lacking:
        yield Heading(UNANSWERED)
    if left:
        yield Text(
            f"{left:,} of {plural(doubts.pool.num, 'picture')} of train and validation "
            f"{'has' if left == 1 else 'have'} no answer: no run kept them, and all exact copies "
            "of them, for validation."
            + " This command has each picture validate a run of every arm." * bool(doubts.command)
            + " What is recorded now is moved aside." * ("--fresh" in doubts.command)
        )
        if doubts.command:
            yield Code((doubts.command,))
    if doubts.test is not None and untold:
        yield Text(untested(doubts.test))
    if doubts.lacking:
        num = plural(len(doubts.lacking), "run is", "runs are")
        yield Text(f"{num} left out, for these reasons.", small=True)
        yield Code(tuple(map(clean, doubts.lacking[:NUM_COPIES])))


def untested(test: Side) -> str:
    """Which pictures of the test part nobody has judged."""
    left = test.num - test.answered
    return (
        f"{left:,} of {plural(test.num, 'picture')} of test {'has' if left == 1 else 'have'} no "
        "answer: every run learned from exact copies."
    )


def _copies(doubts: Doubts) -> Iterator[Block]:
    if not doubts.copies:
        return
    yield Heading("The same picture with two labels")
    shown = [
        (n, clean(doubts.files[row]), clean(doubts.classes[doubts.labels[row]]))
        for n, group in enumerate(doubts.copies[:NUM_COPIES], 1)
        for row in group
    ]
    yield table(
        f"Of {plural(len(doubts.copies), 'picture')} there are copies that have another label, the "
        "same pixel by pixel as the networks see them; at least one label of each is wrong, unless "
        "it shows two things, or so few pixels hide what tells the files apart. "
        f"Shown are at most {NUM_COPIES}, all are in labels.csv.",
        ("group", "file", "class"),
        shown,
        aligns="rll",
    )


def _read() -> Iterator[Block]:
    yield Text(
        "A picture is listed where the mean answer of the runs that learned neither from it nor "
        "from an exact copy of it reaches the usual confidence in another class and prefers it "
        "(confident learning, Northcutt et al. 2021). It is clear where its own class gets less "
        "than a twentieth of what is usual and another is likelier. These are suspicions, not "
        "errors: a picture may be hard, show two things, or be of a class that all networks "
        "confuse. The best epoch of each run was chosen on the pictures that it validates. When "
        "labels are corrected the pictures are others, and the study has a record of its own."
    )
