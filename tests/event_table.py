"""The table of events in docs/ledger.md, made from their classes: `python -m tests.event_table`."""

import dataclasses
import json
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from pipeline.record import events

PAGE = Path(__file__).parents[1] / "docs" / "ledger.md"
BEGIN, END = "<!-- made by python -m tests.event_table -->\n", "<!-- end -->\n"


def table() -> str:
    """Every event with its fields, in the order in which they are written."""
    rows = [
        ("event", "since", "version", "field", "type", "meaning", "where it is missing"),
        ("---",) * 7,
    ]
    for kind, cls in events.KINDS.items():
        meaning = " ".join((cls.__doc__ or "").split())
        rows.append((f"**`{kind}`**", str(cls.since), str(cls.version), "", "", meaning, ""))
        rows += [("", "", "", *row) for row in _fields(cls)]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def _fields(cls: type[events.Event]) -> Iterator[tuple[str, str, str, str]]:
    hints = get_type_hints(cls, include_extras=True)
    for part in dataclasses.fields(cls)[2:]:
        kind, meaning = get_args(hints[part.name])
        yield f"`{part.name}`", f"`{_named(kind)}`".replace("|", "or"), meaning, _missing(part)


def _named(kind: Any) -> str:
    if get_origin(kind) is Annotated:
        return _named(get_args(kind)[0])
    if isinstance(kind, types.UnionType):
        return " | ".join("null" if one is type(None) else _named(one) for one in get_args(kind))
    if get_args(kind) and not isinstance(get_args(kind)[0], str):
        return f"{get_origin(kind).__name__}[{', '.join(map(_named, get_args(kind)))}]"
    return "str" if get_args(kind) else kind.__name__


def _missing(part: "dataclasses.Field[Any]") -> str:
    made = part.default_factory
    default = part.default if made is dataclasses.MISSING else made()
    if default is dataclasses.MISSING:
        return "never"
    return f"`{json.dumps(default)}`" + (", left out so" if part.metadata else ", older ledgers")


def page(text: str) -> str:
    """The page with the table as the classes give it."""
    before, _, rest = text.partition(BEGIN)
    return f"{before}{BEGIN}{table()}{END}{rest.partition(END)[2]}"


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
