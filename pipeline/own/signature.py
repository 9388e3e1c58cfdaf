"""The parameters of a plain class or function as fields of a config: JSON types, defaults."""

import inspect
import types
import typing
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.own.blame import place_of

SCALARS = (bool, int, float, str, type(None))


@dataclass(frozen=True)
class Parameter:
    """One that a study may set; `kind` is its JSON type, None where it has none."""

    name: str
    kind: Any
    default: Any = inspect.Parameter.empty

    def field(self, place: str) -> tuple[Any, Any]:
        """(type, default) for a config; raises ValueError where it has no JSON type."""
        if self.kind is None:
            raise ValueError(
                f"{place}: {self.name}: no JSON type is known of it: annotate it (int, float, str, "
                "bool, a Literal, or a list, tuple or dict of them) or give it such a default"
            )
        return self.kind, ... if self.default is inspect.Parameter.empty else self.default


def parameters(part: Callable[..., Any], noun: str, leading: Sequence[str]) -> list[Parameter]:
    """All but the `leading` ones, which are passed first, and those that have a default of no JSON
    type, which keep it.

    Raises ValueError where the leading ones are missing, or others cannot be passed by name.
    """
    try:
        taken = list(inspect.signature(part).parameters.values())
    except (TypeError, ValueError) as error:
        raise ValueError(f"{place_of(part)}: its parameters cannot be read: {error}") from None
    several = any(p.kind is p.VAR_POSITIONAL for p in taken)
    places = [p for p in taken if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    if len(places) < len(leading) and not several:
        got = ", ".join(p.name for p in taken) or "nothing"
        raise ValueError(
            f"{place_of(part)}: every {noun} takes {' and '.join(leading)} first; it takes {got}"
        )
    rest = [p for p in taken if p not in places[: len(leading)]]
    hints = _hints(part)
    found = []
    for p in rest:
        if p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD):
            continue
        if p.kind is p.POSITIONAL_ONLY:
            raise ValueError(f"{place_of(part)}: {p.name}: it cannot be passed by its name")
        kind = _kind(hints.get(p.name, Any), p.default)
        if kind is not None or p.default is p.empty:
            found.append(Parameter(p.name, kind, p.default))
    return found


def _hints(part: Callable[..., Any]) -> dict[str, Any]:
    try:
        function = part.__init__ if isinstance(part, type) else part  # type: ignore[misc]
        return typing.get_type_hints(function, include_extras=True)
    except Exception:  # an annotation may name what is not there
        return {}


def _kind(hint: Any, default: Any) -> Any:
    """The JSON type, by the annotation or else by the default; None where neither is one."""
    if hint is not Any and _is_json(hint):
        return hint
    if default is inspect.Parameter.empty or default is None or not _is_plain(default):
        return None
    return type(default) if isinstance(default, SCALARS) else Any


def _is_json(hint: Any) -> bool:
    if hint in SCALARS:
        return True
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Literal:
        return all(isinstance(value, SCALARS) for value in args)
    if origin is typing.Annotated:
        return _is_json(args[0])
    if hint in (list, tuple, dict):
        return True
    kinds = (typing.Union, types.UnionType, list, tuple, dict)
    return origin in kinds and all(arg is ... or _is_json(arg) for arg in args)


def _is_plain(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return all(map(_is_plain, value))
    return isinstance(value, SCALARS)
