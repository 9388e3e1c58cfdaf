"""Unions whose members are found: a package with one member (or a few) a module makes a tagged union."""

import importlib
import pkgutil
import typing

from pydantic.fields import FieldInfo

from pipeline.frozen import Frozen


def members(package: str, base: type[Frozen]) -> tuple[type, ...]:
    """The classes below `base` with a tag of their own (`name: Literal["cnn"] = "cnn"`) in the modules of `package`.

    Imports every module of the package, sorted by name; within a module the order is that of definition. A class without
    a tag is a base and is left out. Called by the package itself while it is imported, so its modules must import from
    each other and never from the package. Raises ValueError where two members have the same tag.
    """
    found: dict[str, type] = {}
    paths = importlib.import_module(package).__path__
    for name in sorted(module.name for module in pkgutil.iter_modules(paths)):
        module = importlib.import_module(f"{package}.{name}")
        for value in vars(module).values():
            if isinstance(value, type) and issubclass(value, base) and value.__module__ == module.__name__:
                tag = _tag(value.model_fields.get("name"))
                if tag is not None and found.setdefault(tag, value) is not value:
                    raise ValueError(f"{value.__qualname__} and {found[tag].__qualname__} are both called '{tag}'")
    return tuple(found.values())


def _tag(field: FieldInfo | None) -> str | None:
    literal = field is not None and typing.get_origin(field.annotation) is typing.Literal
    return field.default if field is not None and literal and isinstance(field.default, str) else None
