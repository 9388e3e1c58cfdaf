"""One thing is said as one thing: wherever a sentence counts, whatever it counts."""

import ast
import re
from itertools import pairwise
from pathlib import Path

import pytest

from pipeline.analysis.preregistration import awaited, lines, outline
from pipeline.counts import duration, plural
from pipeline.data.cut import warn_test
from pipeline.data.listing import TEST, UNKNOWN
from pipeline.report.compose import read, texts
from pipeline.report.formats.terminal import render
from tests.records import Scribe, make_study
from tests.test_layout import PATHS, TREES

NOUNS = (
    "answers|arms|cells|channels|classes|copies|cores|epochs|files|folders|gpus|images|knobs|labels|layers|links|networks|"
    "pairs|parameters|parts|pictures|processes|replicates|runs|splits|steps|tables|tensors|tests|trials|workers"
)
COUNTED = re.compile(rf" (?:[\w-]+ )?(?:{NOUNS})\b", re.IGNORECASE)
NO_COUNTS = re.compile(
    r"(?:plural|some|size|printable|shown\.\w+)\(.*|RULES\..*|r\..*|(?:.*\.)?[A-Z_]+|.*ending|.*suffix.*"
)
SEVERAL = {  # never one of them, or no number
    *(
        "len(listing.classes)",
        "len(data.classes)",
        "len(classes)",
        "len(data['classes'])",
        "artifact.num_classes",
    ),
    *(
        "setting.num_classes",
        "classes.num_classes",
        "len(several)",
        "sizes[-1]",
        "counts[-1]",
        "max(num_train)",
    ),
    *(
        "baseline.folds",
        "base.folds",
        "num_factors",
        "limit",
        "2 ** MAX_BASE",
        "len(tests)",
        "unknown",
        "len(epochs)",
    ),
    *(
        "num_lost",
        "max(cut)",
        "event.parts",
        "curves.tail",
        "len(curves)",
        "more",
        "len(rows)",
        "answers.split",
        "first.imbalance",
        "source",
        "kind",
    ),
    *(
        "part",
        "config.accumulate",
        "self.accumulate",
        "count / goal - 1",
        "len(sample.trials)",
        "len(deep)",
        "len(runs)",
    ),
    *("most", "len(field)"),  # of a race: one alone is told otherwise
}


@pytest.mark.parametrize("name", [name for name in PATHS if not name.startswith("core")])
def test_a_number_before_a_noun_in_the_plural_may_not_be_one(name: str) -> None:
    """Use `plural`; what is always several, or no number of things, stands above."""
    for node in ast.walk(TREES[name]):
        for value, text in pairwise(node.values) if isinstance(node, ast.JoinedStr) else ():
            if (
                isinstance(value, ast.FormattedValue)
                and isinstance(text, ast.Constant)
                and COUNTED.match(str(text.value))
            ):
                number = ast.unparse(value.value)
                assert number in SEVERAL or NO_COUNTS.fullmatch(number), f"{{{number}}}{text.value}"


def test_a_study_of_one_of_everything_is_said_so(tmp_path: Path) -> None:
    book = Scribe(tmp_path / "study", make_study(replicates=1, num_trials=1, epochs=1))
    book.session()
    book.trials(1)
    book.arms()
    findings = read(book.record(), tmp_path)
    plan = outline(book.study)
    said = [
        render(findings, tmp_path / "report.html"),
        texts(findings, {})["report.md"],
        awaited(plan),
    ]
    said += [text for _, text in lines(plan)] + warn_test([UNKNOWN], [TEST])
    for text in said:
        assert not (
            found := re.search(rf"(?<![\d.,−+-])1 (?:[\w-]+ )?(?:{NOUNS}|points)\b.*", text)
        ), found
    assert "1 replicate = " in " ".join(said)


def test_what_is_counted() -> None:
    assert [plural(n, "run") for n in (0, 1, 1204)] == ["0 runs", "1 run", "1,204 runs"]
    assert [plural(n, "picture has", "pictures have") for n in (1, 2)] == [
        "1 picture has",
        "2 pictures have",
    ]


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0 s"),
        (59.6, "1 min 00 s"),
        (100, "1 min 40 s"),
        (7320, "2 h 02 min"),
        (4e6, "1,111 h 06 min"),
    ],
)
def test_a_duration_is_said_in_one_way(seconds, words):
    assert duration(seconds) == words
