"""The small language of a space's rules."""

import math

import hypothesis
import pytest
from hypothesis import strategies as st

from pipeline.study.expression import MOST_CHARACTERS, ExpressionError, Missing, parse

FIELDS = {
    "batch_size": 32,
    "model.width": 8,
    "model.name": "vgg",
    "model.plain": False,
    "optimizer.lr": 0.01,
    "nothing": None,
}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("batch_size * model.width <= 4096", True),
        ("not (model.name == 'vgg' and batch_size > 64)", True),
        ("not model.plain or model.width > 100", True),
        ("model.name in ('vgg', 'cnn') and 16 <= batch_size < 64", True),
        ("model.name not in ['vgg']", False),
        ("optimizer.lr * batch_size / 64", 0.005),
        ("round(model.width * 1.5) % 5", 2),
        ("round(2.567, 1)", 2.6),
        ("max(batch_size, 40) - min(1, 2, 3)", 39),
        ("log2(batch_size) + sqrt(model.width * 2)", 9.0),
        ("-model.width ** 2", -64),
        ("2 ** -1", 0.5),
        ("+batch_size", 32),
        ("nothing == None and model.name != 'cnn'", True),
        ("'x' if", None),
    ],
)
def test_what_it_means_is_what_python_means(text, value):
    if value is None:
        with pytest.raises(ExpressionError):
            parse(text)
        return
    found = parse(text).value(FIELDS)
    assert (found, type(found)) == (value, type(value))


def test_it_says_what_it_speaks_of():
    assert parse("a.b.c + a.b.c * d > max(e, 1)").names == ("a.b.c", "d", "e")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "log(x)",
            r"log\(\): got 'log'; allowed: min, max, .*; did you mean 'log2'",
        ),
        ("__import__('os').system('ls')", 'system"; allowed: min, max'),
        ("min(x, key=x)", "plain values"),
        ("min(*x)", "'Starred' is not allowed"),
        ("x // 2", r"'//' is not allowed; .*did you mean 'round"),
        ("x & y", "did you mean 'and'"),
        ("x is y", "did you mean '=='"),
        ("x[0]", "is not allowed"),
        ("(lambda: 1)()", "allowed: min"),
        ("[y for y in x]", "is not allowed"),
        ("'a'.upper", "has no fields"),
        ("f'{x}'", "is not allowed"),
        ("1j", "no number"),
        ("x = 2", "no expression"),
        ("", "no expression"),
        ("x\0", "no expression|cannot be read"),
        ("(" * 400 + "x" + ")" * 400, "no expression"),
        ("-" * 999 + "x", "no expression|cannot be read"),
        ("x" * (MOST_CHARACTERS + 1), "1,001 characters; allowed: 1,000"),
    ],
)
def test_anything_else_is_refused_with_what_is_allowed(text, words):
    with pytest.raises(ExpressionError, match=words):
        parse(text).value({"x": 1, "y": 2})


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("batch_size / 0", "division by zero .at batch_size=32"),
        ("sqrt(-batch_size)", "batch_size=32"),
        ("9 ** 9 ** 9 ** 9", "too large a power"),
        ("10.0 ** 400", "400|range"),
        ("1e308 * 10", "it is inf"),
        ("model.name * 3", "'model.name' is no number: 'vgg'"),
        ("model.plain + 1", "no number"),
        ("model.name < 3", "not supported"),
        ("nothing + 1", "no number"),
        ("batch_size in 3", "not .*iterable|argument of type"),
    ],
)
def test_what_has_no_value_says_where(text, words):
    with pytest.raises(ExpressionError, match=words):
        parse(text).value(FIELDS)


def test_a_condition_is_true_or_false():
    assert parse("model.plain").holds(FIELDS) is False
    for text in ("batch_size", "batch_size and model.plain", "not batch_size", "model.name"):
        with pytest.raises(ExpressionError, match="no condition"):
            parse(text).holds(FIELDS)


def test_a_field_that_is_not_there_is_told_from_a_mistake():
    with pytest.raises(Missing, match=r"optimizer\.momentum"):
        parse("optimizer.momentum > 0.5").holds(FIELDS)
    assert parse("model.name == 'vgg' or optimizer.momentum > 0.5").holds(FIELDS)


@hypothesis.given(st.text(alphabet="ab.()+-*/%<>=! '0123456789,notrdin", max_size=40))
def test_any_text_is_a_value_or_an_error(text):
    try:
        found = parse(text).value({"a": 2, "a.b": 0.5, "b": "text"})
    except ExpressionError:
        return
    assert not isinstance(found, float) or math.isfinite(found)


@hypothesis.given(st.integers(-50, 50), st.integers(1, 50), st.floats(0.1, 10))
def test_arithmetic_is_python_s(a, b, c):
    for text in ("a + b * c", "a % b - c / b", "max(a, b) <= c * b", "round(a / b) == a or a < b"):
        assert parse(text).value({"a": a, "b": b, "c": c}) == eval(text)
