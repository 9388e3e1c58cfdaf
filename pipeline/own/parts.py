"""Parts of the user's own: what a study names `module:Name` becomes a member of its union, with
knobs.

A part is a config class that derives from the union's base, or a plain class or function, whose
signature gives the knobs.
"""

import bdb
import functools
import hashlib
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, cast

from pydantic import BaseModel, GetCoreSchemaHandler, ValidationError, create_model
from pydantic_core import CoreSchema, InitErrorDetails, PydanticKnownError, core_schema

from pipeline.errors import UserError, printable
from pipeline.frozen import Frozen, Open
from pipeline.own.blame import blamed, place_of
from pipeline.own.code import TAG, load, offered, source_of, tag_of
from pipeline.own.signature import Parameter, parameters


class Own(dict[str, Any]):
    """A part of one's own, as a study names it: `model=Own("my_nets:MyNet", width=16)`, or of the
    class or function itself.
    """

    def __init__(self, part: str | Callable[..., Any], /, **knobs: Any) -> None:
        super().__init__(name=part if isinstance(part, str) else tag_of(part), **knobs)


class Plain(Frozen):
    """What a plain class or function becomes: a config whose fields are the parameters that are
    not `LEADING`, which are passed first, nor `GIVEN`, which are passed by name where it asks for
    them.
    """

    LEADING: ClassVar[tuple[str, ...]] = ()
    GIVEN: ClassVar[tuple[str, ...]] = ()
    NEEDS: ClassVar[tuple[str, ...]] = ()  # knobs that it must have
    part: ClassVar[Any]
    asks: ClassVar[frozenset[str]]
    knobs: ClassVar[tuple[str, ...]]

    @classmethod
    def leading(cls, part: Any) -> tuple[str, ...]:  # noqa: ARG003
        """What is passed first to this very part."""
        return cls.LEADING

    def call(self, *leading: Any, **given: Any) -> Any:
        """The part, called with its knobs."""
        asked = {name: value for name, value in given.items() if name in self.asks}
        return type(self).part(
            *leading, **asked, **{name: getattr(self, name) for name in self.knobs}
        )

    def wrong(self, problem: str) -> ValueError:
        """The error of a part that does not do what it should."""
        return ValueError(f"{place_of(type(self).part)}: {problem}")


@dataclass(frozen=True, eq=False)
class Kind(Open):
    """A union that is open to parts of the user's own. `noun`: what its members are; `base`: what
    config classes of the user's derive from; `plain`: what makes a config of a plain class or
    function, None where only config classes will do.
    """

    noun: str
    members: tuple[type[Frozen], ...]
    base: type[Frozen]
    plain: type[Plain] | None = None
    guarded: tuple[str, ...] = ()  # methods whose errors are told with the user's line
    declared: Callable[[Any], dict[str, Any]] = lambda _: {}  # fields by what a part says of itself

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.no_info_wrap_validator_function(
            self._validate, handler(source), serialization=core_schema.simple_ser_schema("any")
        )

    def _validate(self, value: Any, handler: Callable[[Any], Any]) -> Any:
        if isinstance(value, BaseModel):
            if type(value) in self.members or hasattr(type(value), "__part__"):
                return handler(value) if type(value) in self.members else self._own(value)
            if isinstance(value, (self.base, *self.members)):
                found = self.member(tag_of(type(value)))
                return found.model_validate(value.model_dump() | {"name": _name_of(found)})
            return handler(value)
        if callable(value):
            return self.member(tag_of(value))()
        if isinstance(value, str) and TAG.fullmatch(value):
            value = {"name": value}
        name = value.get("name") if isinstance(value, Mapping) else None
        if not isinstance(name, str) or name in self._listed:
            return handler(value)
        if ":" not in name and name not in offered():
            known = ", ".join(f"'{one}'" for one in (*self._listed, *offered()))
            raise PydanticKnownError(
                "union_tag_invalid",
                {"discriminator": "'name'", "tag": name, "expected_tags": known},
            )
        try:
            return self.member(name).model_validate(value)
        except ValidationError as error:  # its place is told as that of a listed member
            raise ValidationError.from_exception_data(
                error.title,
                [cast(InitErrorDetails, {**e, "loc": (name, *e["loc"])}) for e in error.errors()],
            ) from None

    def _own(self, value: BaseModel) -> BaseModel:
        if type(value) is not self.member(_name_of(type(value))):
            raise ValueError(f"'{_name_of(type(value))}' is no {self.noun}")
        return value

    @functools.cached_property
    def _listed(self) -> dict[str, type[Frozen]]:
        """The members by name; asked for at every validation of a part."""
        return {_name_of(member): member for member in self.members}

    def member(self, tag: str) -> type[Frozen]:
        """The config class of the part called `tag`; raises ValueError where there is none."""
        if tag in self._listed:
            return self._listed[tag]
        part = load(tag)
        made = _made.get((self.noun, tag))
        if made is None or made[0] is not part:
            _made[self.noun, tag] = made = part, self._make(tag, part)
        return made[1]

    def _make(self, tag: str, part: Any) -> type[Frozen]:
        module, _, name = source_of(tag).partition(":")
        base, fields, about = self._shape(tag, part)
        with (
            warnings.catch_warnings()
        ):  # what a part declares of itself is a class's attribute there
            warnings.filterwarnings("ignore", "Field name .* shadows", UserWarning)
            made = cast(
                type[Frozen],
                cast(Any, create_model)(
                    name,
                    __base__=base,
                    __module__=module,
                    __doc__=part.__doc__,
                    name=(Literal[tag], tag),
                    **fields,
                    **self.declared(part),
                ),
            )
        about |= {method: _guarded(getattr(made, method), self.noun) for method in self.guarded}
        for attribute, value in (about | {"__part__": tag}).items():
            setattr(made, attribute, value)
        return made

    def _shape(self, tag: str, part: Any) -> tuple[type[Frozen], dict[str, Any], dict[str, Any]]:
        """(base, fields, attributes) of the part's config class."""
        name = source_of(tag).partition(":")[2]
        derive = f"derives from {self.base.__module__}.{self.base.__qualname__}"
        if isinstance(part, type) and issubclass(part, BaseModel):
            if not issubclass(part, (self.base, *self.members)):
                raise ValueError(
                    f"{place_of(part)}: {name}: the config class of a part '{self.noun}' {derive}"
                )
            return cast(type[Frozen], part), {}, {}
        if self.plain is None:
            raise ValueError(
                f"{place_of(part)}: {name}: a part '{self.noun}' is a config class that {derive}"
            )
        taken = parameters(part, self.noun, self.plain.leading(part))
        about = {
            "part": staticmethod(part) if not isinstance(part, type) else part,
            "asks": frozenset(p.name for p in taken) & {*self.plain.GIVEN},
            "knobs": tuple(p.name for p in taken if p.name not in self.plain.GIVEN),
        }
        return self.plain, self._fields(part, taken), about

    def _fields(self, part: Any, taken: list[Parameter]) -> dict[str, Any]:
        assert self.plain is not None
        fields: dict[str, Any] = {}
        for parameter in taken:
            if parameter.name in self.plain.GIVEN:
                continue
            if hasattr(self.plain, parameter.name) or parameter.name in self.plain.model_fields:
                raise ValueError(
                    f"{place_of(part)}: {parameter.name}: this name has a meaning of its own for "
                    f"every {self.noun}; call the parameter otherwise"
                )
            if parameter.name.startswith("_") or parameter.name == "name":
                raise ValueError(
                    f"{place_of(part)}: {parameter.name}: no knob can be called so; call the "
                    "parameter otherwise"
                )
            fields[parameter.name] = parameter.field(place_of(part))
        for name in self.plain.NEEDS:
            if name not in fields:
                raise ValueError(
                    f"{place_of(part)}: every {self.noun} takes {name}; it takes "
                    f"{', '.join(p.name for p in taken) or 'nothing'}"
                )
        return fields


_made: dict[tuple[str, str], tuple[Any, type[Frozen]]] = {}


def _guarded(method: Callable[..., Any], noun: str) -> Callable[..., Any]:
    @functools.wraps(method)
    def call(self: Frozen, *args: Any, **named: Any) -> Any:
        with at_fault(f"{noun}.name", self):
            return method(self, *args, **named)

    return call


def _name_of(member: type[BaseModel]) -> str:
    return str(member.model_fields["name"].default)


def own_parts(config: Frozen, path: str = "") -> Iterator[tuple[str, Frozen]]:
    """(path, part) of every part of the user's own in a config."""
    for name in type(config).model_fields:
        value = getattr(config, name)
        several = isinstance(value, tuple)
        for number, one in enumerate(value if several else (value,)):
            if isinstance(one, Frozen):
                where = f"{path}{name}" + (f".{number}" if several else "")
                if hasattr(type(one), "__part__"):
                    yield where, one
                yield from own_parts(one, f"{where}.")


def file_of(part: Frozen) -> str:
    """The name of the file that a part of the user's own is defined in."""
    file = getattr(sys.modules.get(type(part).__module__), "__file__", None)
    return printable(Path(file).name) if file else type(part).__module__


def source_digest(part: Frozen) -> str:
    """Of the file that a part of the user's own is defined in; "" of ours."""
    if not hasattr(type(part), "__part__"):
        return ""
    file = getattr(sys.modules.get(type(part).__module__), "__file__", None)
    return hashlib.sha256(Path(file).read_bytes()).hexdigest() if file else ""


def short(text: object) -> object:
    """A part's name as reports say it: `MyNet` of `my_nets:MyNet`; all else as it is."""
    found = TAG.fullmatch(text) if isinstance(text, str) else None
    return found["name"] if found else text


@contextmanager
def at_fault(where: str, part: Frozen) -> Iterator[None]:
    """What goes wrong in the block is an error in the part at `where`, if it is the user's own: a
    UserError with file and line. Errors that the product has classes for stay what they are.
    """
    try:
        yield
    except bdb.BdbQuit:
        raise KeyboardInterrupt("the debugger was left; the same command goes on") from None
    except Exception as error:
        tag = getattr(type(part), "__part__", "")
        if not tag or type(error).__module__.startswith("pipeline."):
            raise
        raise UserError(f"{where} '{tag}': {blamed(error, _place(part))}") from error


def _place(part: Frozen) -> str:
    """Where a part of the user's own is defined."""
    return place_of(type(part).part if isinstance(part, Plain) else type(part).__bases__[0])
