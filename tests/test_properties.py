"""Rules whose inputs are endless, tried on drawn ones: names of splits, orders of labels, decimals,
settings, tables.
"""

import csv
import io
import json
from functools import partial
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.analysis.wording import MOST_DECIMALS, Points
from pipeline.cells import inert
from pipeline.data.listing import in_order
from pipeline.data.names import FILLERS, WORDS, SplitName, split_of
from pipeline.errors import printable
from pipeline.export.predictions import Form, table
from pipeline.session.resolve import _assignment
from pipeline.study.judged import Judged

normal = partial(
    st.floats, allow_subnormal=False
)  # which training flushes to 0, for the whole process
few = settings(derandomize=True, deadline=None, max_examples=80)
latin = st.sampled_from(sorted(word for word in FILLERS if word.isascii()))
case = st.sampled_from([str.lower, str.upper, str.title, str.capitalize])


@few
@given(
    st.sampled_from(sorted(WORDS)),
    st.lists(latin, max_size=2),
    st.sampled_from("_-. "),
    st.integers(0, 2099),
    case,
)
def test_a_split_is_found_in_every_spelling(
    word: str, beside: list[str], mark: str, number: int, change: Any
) -> None:
    for name in (
        mark.join((*beside, word)),
        mark.join((word, *beside)),
        mark.join((*beside, f"{word}{number}")),
        f"{word}set",
    ):
        assert split_of(change(name)) == SplitName(WORDS[word]), change(name)


@few
@given(st.text("bcfghjkmoq 0123_-."), st.text())
def test_a_name_without_a_word_of_a_split_is_none_and_no_name_breaks_the_rule(
    plain: str, wild: str
) -> None:
    assert split_of(plain) is None
    assert (found := split_of(wild)) is None or found.word in WORDS.values()


@few
@given(
    st.sets(st.integers(-(10**17), 10**17)),
    st.sets(st.text("abcdefg ", min_size=1)),
    st.randoms(use_true_random=False),
)
def test_labels_that_are_numbers_are_in_order_of_value_before_words(
    numbers: set[int], words: set[str], random: Any
) -> None:
    names = [*map(str, numbers), *words]
    random.shuffle(names)
    assert in_order(names) == [*map(str, sorted(numbers)), *sorted(words)]


@few
@given(
    st.lists(st.text(min_size=1).map(printable), min_size=1),
    st.integers(-999, 999),
    normal(-99, 99, width=16),
)
def test_predictions_give_the_users_own_labels_back(
    labels: list[str], whole: int, real: float
) -> None:
    labels = [*labels, str(whole), f"{real:.4f}"]
    files = {str(number): label for number, label in enumerate(labels)}
    text = table(Form({file: file for file in files}), files, {}, labels)
    rows = list(csv.reader(io.StringIO(text, newline="")))[1:]
    assert [row[1] for row in rows] == list(map(inert, labels))
    assert all(inert(label) in (label, f"'{label}") for label in labels)
    assert [row[1] for row in rows[-2:]] == labels[-2:], "numbers stay numbers, below zero too"


@few
@given(st.lists(normal(1e-7, 0.5), min_size=1), normal(1e-11, 1))
def test_decimals_show_two_digits_of_the_smallest_half_width_and_every_sign(
    halves: list[float], share: float
) -> None:
    shown, least = Points.fit(halves, Judged()), 100 * min(halves)
    assert 1 <= shown.decimals <= MOST_DECIMALS
    if shown.decimals < MOST_DECIMALS:
        assert abs(round(least, shown.decimals) - least) <= 0.051 * least or least >= 10
    if shown.decimals > 1:
        assert least < 10 ** (2 - shown.decimals) * (1 + 1e-9), (
            "a decimal less would have shown two digits"
        )
    assert shown.signed(share)[0] == "+"
    assert shown.signed(-share)[0] == "−"
    assert float(shown.signed(-share).replace("−", "-")) < 0 < float(shown.signed(share))


values = (
    st.none()
    | st.booleans()
    | st.integers()
    | normal(allow_nan=False, allow_infinity=False)
    | st.text()
)


@few
@given(
    values | st.lists(values, max_size=3),
    st.text("abc/=.: -", min_size=1),
    st.sampled_from(["", " ", "\t"]),
)
def test_a_setting_keeps_its_value_and_its_signs(value: Any, word: str, space: str) -> None:
    assert _assignment(f"optimizer.lr{space}={space}{json.dumps(value)}") == (
        "baseline.optimizer.lr",
        value,
    )
    assert _assignment("attack.epsilon=8/255") == ("baseline.attack.epsilon", 8 / 255)
    assert _assignment("name=8/255") == ("name", "8/255")
    assert _assignment(f"search.seed={json.dumps(value)}") == ("search.seed", value)
    assert _assignment(f"transfer.weights=w{word}") == (
        "baseline.transfer.weights",
        f"w{word}".strip(),
    )
