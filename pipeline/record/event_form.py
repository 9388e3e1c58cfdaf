"""The form of events in a ledger: a line of plain JSON each, held to the types of its class."""

import dataclasses
from collections.abc import Mapping
from typing import Any, get_type_hints

from pydantic import BaseModel, ConfigDict, ValidationError, create_model

from pipeline.record.events import KINDS, Event, Line, Unread

_made: dict[type[Event], type[BaseModel]] = {}
_NAMES = {
    kind: frozenset(part.name for part in dataclasses.fields(cls)) for kind, cls in KINDS.items()
}


def read(line: Mapping[str, Any]) -> Event:
    """The event of a ledger's line; `Unread` where it is none that is known here, or a field of it
    is of another type.
    """
    kind = line["type"]
    try:
        if line.get("version", 1) > KINDS[kind].version:
            raise ValueError(f"version {line['version']} of '{kind}'")
        _types(KINDS[kind]).model_validate(line)
        known = _NAMES[kind]
        return KINDS[kind](**{name: value for name, value in line.items() if name in known})
    except ValidationError as error:
        wrong = error.errors()[0]
        said = ValueError(f"{'.'.join(map(str, wrong['loc']))}: {wrong['msg']}")
        return Unread(seq=line["seq"], time=line["time"], line=dict(line), error=said)
    except (LookupError, TypeError, ValueError) as error:
        return Unread(seq=line["seq"], time=line["time"], line=dict(line), error=error)


def _types(cls: type[Event]) -> type[BaseModel]:
    """What holds the fields of an event to their types; which of them must be there is left to the
    event's class.
    """
    if cls not in _made:
        hints, names = get_type_hints(cls, include_extras=True), dataclasses.fields(cls)
        fields: dict[str, Any] = {part.name: (hints[part.name], None) for part in names}
        _made[cls] = create_model(cls.__name__, __config__=ConfigDict(strict=True), **fields)
    return _made[cls]


def written(event: Event) -> Line:
    """The ledger's line of an event. Raises ValueError where it could not be read again."""
    line: Line = {"seq": event.seq, "time": event.time, "type": event.kind}
    if event.version > 1:
        line["version"] = event.version
    for part in dataclasses.fields(event)[2:]:
        value = getattr(event, part.name)
        if not part.metadata or value != _default(part):
            line[part.name] = value
    _types(type(event)).model_validate(line)
    return line


def _default(part: "dataclasses.Field[Any]") -> object:
    made = part.default_factory
    return part.default if made is dataclasses.MISSING else made()
