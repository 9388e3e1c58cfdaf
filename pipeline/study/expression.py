"""Expressions over the fields of a configuration, in the notation of Python: `batch_size *
model.width <= 4096`. Nothing can be called but a few functions of numbers.
"""

import ast
import functools
import math
import operator
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.errors import choices, printable
from pipeline.frozen import Scalar

MOST_CHARACTERS = 1000
MOST_BITS = 4096  # of a whole number
MOST_DIGITS = 100  # that one is rounded to


class ExpressionError(ValueError):
    """A text that is no expression, or one that has no value at a point."""


class Missing(ExpressionError):
    """The configuration of the point has no such field."""


def _power(base: float, exponent: float) -> float:
    if isinstance(base, int) and isinstance(exponent, int) and exponent >= 0:
        if base.bit_length() * exponent > MOST_BITS:
            raise OverflowError("too large a power")
        return int(base**exponent)
    return math.pow(base, exponent)


def _rounded(number: float, digits: int | None = None) -> float:
    if digits is not None and abs(digits) > MOST_DIGITS:
        raise OverflowError(f"rounded to {digits} digits")
    return round(number, digits)


NUMERIC: dict[type, Callable[..., Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Mod: operator.mod,
    ast.Pow: _power,
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
}
ORDER: dict[type, Callable[..., bool]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}
ELSE = (
    *(ast.BinOp, ast.UnaryOp, ast.BoolOp, ast.Compare, ast.Tuple, ast.List, ast.Set),
    *(ast.And, ast.Or, ast.Not, ast.Eq, ast.NotEq, ast.In, ast.NotIn),
)
FUNCTIONS: dict[str, Callable[..., Any]] = {
    "min": min,
    "max": max,
    "round": _rounded,
    "log2": math.log2,
    "sqrt": math.sqrt,
}
NOTATION = "+ - * / ** %, < <= > >= == !=, in, and, or, not, " + ", ".join(
    f"{name}()" for name in FUNCTIONS
)
NAMES = {
    ast.FloorDiv: "//",
    ast.MatMult: "@",
    ast.BitAnd: "&",
    ast.BitOr: "|",
    ast.BitXor: "^",
    ast.LShift: "<<",
    ast.RShift: ">>",
    ast.Invert: "~",
    ast.Is: "is",
    ast.IsNot: "is not",
    ast.Lambda: "lambda",
    ast.IfExp: "if … else",
    ast.Subscript: "[…]",
    ast.JoinedStr: "f'…'",
    ast.NamedExpr: ":=",
    ast.Dict: "{…: …}",
}
INSTEAD = {"//": "round(… / …)", "&": "and", "|": "or", "~": "not", "is": "==", "is not": "!="}


@dataclass(frozen=True)
class Expression:
    """A text that was read. `names`: the paths that it speaks of, in order."""

    text: str
    names: tuple[str, ...]
    tree: ast.expr

    def value(self, fields: Mapping[str, Scalar]) -> Scalar:
        """Its value where the fields have these values. Raises ExpressionError where it has none,
        Missing where a field is not there.
        """
        try:
            found: Scalar = _value(self.tree, fields)
        except (ArithmeticError, TypeError, ValueError, RecursionError) as error:
            if isinstance(error, ExpressionError):
                raise
            raise ExpressionError(f"{self.text}: {printable(error)}{self._at(fields)}") from None
        if isinstance(found, float) and not math.isfinite(found):
            raise ExpressionError(f"{self.text}: it is {found}{self._at(fields)}")
        return found

    def holds(self, fields: Mapping[str, Scalar]) -> bool:
        """Its value as a condition's. Raises ExpressionError."""
        return _truth(self.value(fields), self.text)

    def _at(self, fields: Mapping[str, Scalar]) -> str:
        known = ", ".join(f"{name}={fields[name]}" for name in self.names if name in fields)
        return f" (at {printable(known)})" if known else ""


@functools.lru_cache(maxsize=1024)
def parse(text: str) -> Expression:
    """Read an expression. Raises ExpressionError, which says what is allowed."""
    if len(text) > MOST_CHARACTERS:
        raise ExpressionError(
            f"{printable(text, 60)}: {len(text):,} characters; allowed: {MOST_CHARACTERS:,}"
        )
    try:
        tree = ast.parse(text.strip(), mode="eval").body
        names = tuple(dict.fromkeys(_names(tree)))
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        if isinstance(error, ExpressionError):
            raise ExpressionError(f"{printable(text)}: {error}") from None
        why = error.msg if isinstance(error, SyntaxError) else "it cannot be read"
        raise ExpressionError(f"{printable(text)}: no expression: {why}") from None
    return Expression(text, names, tree)


def _names(node: ast.AST) -> Iterator[str]:
    """The paths below a node. Raises ExpressionError where something is not allowed."""
    if isinstance(node, (ast.Name, ast.Attribute)):
        yield _path(node)
        return
    _allow(node)
    for part in node.args if isinstance(node, ast.Call) else ast.iter_child_nodes(node):
        if not isinstance(part, ast.expr_context):
            yield from _names(part)


def _allow(node: ast.AST) -> None:
    """Raise ExpressionError where a node is not of the notation."""
    if isinstance(node, ast.Call):
        name = ast.unparse(node.func)
        if name not in FUNCTIONS or node.keywords:
            why = "it takes plain values" if name in FUNCTIONS else choices(name, FUNCTIONS)
            raise ExpressionError(f"{printable(name)}(): {why}")
    elif isinstance(node, ast.Constant):
        if not isinstance(node.value, (bool, int, float, str, type(None))):
            raise ExpressionError(f"{printable(ast.unparse(node), 60)}: no number, text or truth")
    elif not isinstance(node, (*NUMERIC, *ORDER, *ELSE)):
        name = NAMES.get(type(node), type(node).__name__)
        hint = f"; did you mean '{INSTEAD[name]}'?" if name in INSTEAD else ""
        raise ExpressionError(f"'{name}' is not allowed; allowed: {NOTATION}{hint}")


def _path(node: ast.expr) -> str:
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return f"{_path(node.value)}.{node.attr}"
    raise ExpressionError(f"'{printable(ast.unparse(node), 60)}' has no fields")


def _value(node: ast.expr, fields: Mapping[str, Scalar]) -> Any:
    match node:
        case ast.Constant(value=value):
            return value
        case ast.Name() | ast.Attribute():
            path = _path(node)
            if path not in fields:
                raise Missing(f"{path}: no such field at this point")
            return fields[path]
        case ast.Tuple(elts=elements) | ast.List(elts=elements) | ast.Set(elts=elements):
            return [_value(element, fields) for element in elements]
        case ast.Compare():
            return _compared(node, fields)
        case ast.BoolOp(op=op, values=values):
            each = (_truth(_value(part, fields), ast.unparse(part)) for part in values)
            return all(each) if isinstance(op, ast.And) else any(each)
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            return not _truth(_value(operand, fields), ast.unparse(operand))
    return _calculated(node, fields)


def _calculated(node: ast.expr, fields: Mapping[str, Scalar]) -> Any:
    match node:
        case ast.UnaryOp(op=op, operand=operand):
            return NUMERIC[type(op)](_number(operand, fields))
        case ast.BinOp(left=left, op=op, right=right):
            return _bounded(NUMERIC[type(op)](_number(left, fields), _number(right, fields)))
        case ast.Call(func=ast.Name(id=name), args=args):
            return FUNCTIONS[name](*(_number(arg, fields) for arg in args))
    raise ExpressionError(f"'{printable(ast.unparse(node), 60)}' is not allowed")


def _compared(node: ast.Compare, fields: Mapping[str, Scalar]) -> bool:
    left = _value(node.left, fields)
    for op, part in zip(node.ops, node.comparators, strict=True):
        right = _value(part, fields)
        match op:
            case ast.Eq():
                holds = left == right
            case ast.NotEq():
                holds = left != right
            case ast.In():
                holds = left in right
            case ast.NotIn():
                holds = left not in right
            case _:
                holds = ORDER[type(op)](left, right)
        if not holds:
            return False
        left = right
    return True


def _bounded(number: float) -> float:
    if isinstance(number, int) and number.bit_length() > MOST_BITS:
        raise OverflowError("too large a number")
    return number


def _number(node: ast.expr, fields: Mapping[str, Scalar]) -> float:
    value = _value(node, fields)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"'{ast.unparse(node)}' is no number: {value!r}")
    return value


def _truth(value: object, text: str) -> bool:
    if not isinstance(value, bool):
        raise ExpressionError(f"{printable(text)}: no condition: its value is {printable(value)}")
    return value
