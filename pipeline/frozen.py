"""Frozen: the base of every configuration object. Immutable, refuses unknown keys, knows its
identity.
"""

import functools
import hashlib
import importlib
import json
import pkgutil
import typing
from collections.abc import Iterator, Mapping
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic.fields import FieldInfo

from pipeline.errors import UserError, choices, printable

Scalar = str | int | float | bool | None


class Frozen(BaseModel):
    """Immutable, validated data. Derive a changed copy with `override`; `model_copy(update=…)` does
    not validate.
    """

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        allow_inf_nan=False,
        validate_default=True,
        protected_namespaces=(),
    )

    def override(self, knobs: Mapping[str, Any], *, source: str = "override") -> Self:
        """A copy with dotted paths set, validated as a whole.

        Setting a part's `name` starts that part from its own defaults, before its other knobs are
        set: `override({"optimizer.name": "adamw", "optimizer.lr": 3e-4})`. Only the fields that
        both variants inherit from one base class, with the same default (a network's width and
        dropout), keep their values.

        Raises UserError naming every wrong path and value at once; `source` says where they came
        from.
        """
        tree = self.model_dump(mode="json")
        wrong = []
        for path in sorted(knobs, key=lambda path: (not path.endswith(".name"), path)):
            value = knobs[path]
            plain = value.model_dump(mode="json") if isinstance(value, BaseModel) else value
            problem = _set(tree, path, plain, kept=_shared(self, path, plain))
            if problem:
                wrong.append(f"{source}: {printable(path)}: {problem}")
        try:
            made = type(self).parse(tree, source=source)
        except UserError as error:
            wrong += str(error).splitlines()
        if wrong:
            raise UserError("\n".join(wrong))
        return made

    @classmethod
    def parse(cls, tree: object, *, source: str) -> Self:
        """Validate plain data; raises UserError with every problem, each with `source`, key, value
        and what is allowed.
        """
        try:
            return cls.model_validate(tree)
        except ValidationError as error:
            raise UserError("\n".join(f"{source}: {line}" for line in explain(error))) from None

    def fingerprint(self) -> str:
        """16 hex digits of the SHA-256 over all fields, defaults included: editing a default is
        another experiment.
        """
        return digest(self.model_dump(mode="json"))

    def flat(self) -> dict[str, Scalar]:
        """Dotted path → scalar, in field order; lists and tuples are written as JSON."""
        return dict(flatten(self.model_dump(mode="json")))


def digest(tree: Mapping[str, Any]) -> str:
    """The `fingerprint` of a dumped object, as recorded."""
    text = json.dumps(tree, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def flatten(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Scalar]]:
    """Walk nested dicts as (dotted path, scalar)."""
    for key, value in tree.items():
        if isinstance(value, Mapping) and value:
            yield from flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", json.dumps(value) if isinstance(value, (list, dict)) else value


def _shared(root: BaseModel, path: str, name: object) -> set[str]:
    """The fields that the part which owns the last key of `path` has in common with its variant
    `name`.

    In common is what both inherit from one base class with the same default: a value means the same
    in both, and where the default differs, the variant's own is part of what it is.
    """
    part: Any = root
    field: FieldInfo | None = None
    for key in path.split(".")[:-1]:
        field = type(part).model_fields.get(key) if isinstance(part, BaseModel) else None
        part = getattr(part, key, None)
    other = _member(field, name)
    if not isinstance(part, BaseModel) or other is None:
        return set()
    old, new = type(part).model_fields, other.model_fields
    base = next(cls for cls in type(part).__mro__ if issubclass(other, cls))
    fields = getattr(base, "model_fields", {})
    return {field for field in fields if old[field].default == new[field].default}


class Open:
    """In a field's annotation: says that its union has members beside those that are written
    down.
    """

    def member(self, tag: str) -> type[BaseModel]:
        """The member called `tag`; raises ValueError where there is none."""
        raise NotImplementedError


def _member(field: FieldInfo | None, name: object) -> type[BaseModel] | None:
    """The variant called `name` of the union that a field holds."""
    if field is None:
        return None
    listed = next((m for m in _models(field.annotation) if name in _tags(m)), None)
    return listed or _joined(field, str(name))


def _joined(field: FieldInfo | None, name: str) -> type[BaseModel] | None:
    union = next((one for one in field.metadata if isinstance(one, Open)), None) if field else None
    if union is None:
        return None
    try:
        return union.member(name)
    except ValueError:  # told when the whole is validated
        return None


def _set(tree: dict[str, Any], path: str, value: Any, kept: set[str]) -> str:
    """Set a dotted path in place; returns what is wrong with the path, or nothing.

    Another `name` leaves of its part nothing but the fields `kept`.
    """
    node, rest = tree, path
    while True:
        key = next(
            (
                k
                for k in sorted(node, key=len, reverse=True)
                if rest == k or rest.startswith(f"{k}.")
            ),
            None,
        )
        if key == rest or (key is None and "." not in rest):
            if rest == "name" and node is not tree and node.get("name") != value:
                for field in node.keys() - kept:
                    del node[field]
            node[rest] = value
            return ""
        if key is not None and not isinstance(node[key], dict):
            whole = path[: len(path) - len(rest) + len(key)]
            return f"'{printable(key)}' is a value, no part; did you mean '{printable(whole)}'?"
        if key is None:
            parts = [k for k, v in node.items() if isinstance(v, dict)]
            return (
                f"no part '{printable(rest.split('.')[0])}' there; "
                f"{choices(rest.split('.')[0], parts)}"
            )
        node, rest = node[key], rest[len(key) + 1 :]


def explain(error: ValidationError) -> Iterator[str]:
    """A line for every problem: path, what is wrong, what was given, what is allowed."""
    cls = next((c for c in _below(Frozen) if c.__name__ == error.title), Frozen)
    for item in error.errors()[:20]:
        path, owner = _locate(cls, item["loc"])
        key, got, context = (
            item["loc"][-1] if item["loc"] else "",
            item["input"],
            item.get("ctx", {}),
        )
        shown = printable(repr(got)) if not isinstance(got, dict) else "a group"
        if item["type"] == "extra_forbidden":
            above = _above(cls, item["loc"])
            known = choices(key, owner.model_fields if owner else ())
            yield f"{path}: unknown key; {above or known}"
        elif item["type"] == "union_tag_invalid":
            field = context["discriminator"].strip("'")
            tag = got.get(field) if isinstance(got, dict) else got
            allowed = [t.strip().strip("'") for t in context["expected_tags"].split(",")]
            yield f"{path}.{field}: unknown; {choices(tag, allowed)}"
        elif item["type"] == "literal_error":
            allowed = [
                t.strip().strip("'") for t in context["expected"].replace(" or ", ",").split(",")
            ]
            yield f"{path}: {choices(got, allowed)}"
        elif item["type"] == "missing":
            part = getattr(owner, "__part__", "")  # of the user's own
            why = f": '{part}' has no default for it" if part else ""
            yield f"{path}: this key is required{why}"
        elif item["type"] == "value_error":
            yield f"{path or '(whole)'}: {printable(context['error'], 500)}"
        elif item["type"] == "model_attributes_type":
            yield f"{path}: a group of keys is expected, got {shown}; did you mean '{path}.name'?"
        else:
            wanted = _expected(item["type"], context, item["msg"])
            yield f"{path or '(whole)'}: {wanted}, got {shown}"


def _below(cls: type[Frozen]) -> Iterator[type[Frozen]]:
    for one in cls.__subclasses__():
        yield one
        yield from _below(one)


EXPECTED = {
    "int": "a whole number is expected",
    "float": "a number is expected",
    "bool": "true or false is expected",
    "string": "a text is expected",
    "finite_number": "a finite number is expected",
    "greater_than": "more than {gt} is expected",
    "greater_than_equal": "at least {ge} is expected",
    "less_than": "less than {lt} is expected",
    "less_than_equal": "at most {le} is expected",
    "list": "a list is expected",
    "tuple": "a list is expected",
    "dict": "a group of keys is expected",
    "model": "a group of keys is expected",
    "too_short": "at least {min_length} in number are expected",
    "string_too_long": "at most {max_length} characters are expected",
    "string_pattern_mismatch": "what matches {pattern} is expected",
}
"""What a problem of pydantic's says in our words; by its kind, else by the type that it begins
with.
"""


def _expected(kind: str, context: Mapping[str, Any], otherwise: str) -> str:
    words = EXPECTED.get(kind, EXPECTED.get(kind.split("_")[0], ""))
    return words.format(**context) if words else otherwise


def _above(cls: type[BaseModel], loc: tuple[int | str, ...]) -> str:
    """What to say of an unknown key that a part around its own has; of others nothing."""
    for depth in reversed(range(len(loc) - 1)):
        path, owner = _locate(cls, (*loc[:depth], loc[-1]))
        if owner and loc[-1] in owner.model_fields and loc[-1] != "name":
            return f"got '{printable(str(loc[-1]))}'; did you mean '{path}'?"
    return ""


def unplaced(key: str, *classes: type[BaseModel]) -> str:
    """What to say of a key that none of the classes has: which parts of theirs do, or what may."""
    fields = {part: field for cls in classes for part, field in cls.model_fields.items()}
    found = [
        f"{part}.{key}"
        for part, field in fields.items()
        if any(key in model.model_fields for model in _models(field.annotation))
    ]
    if not found or key == "name":
        return choices(key, fields)
    return f"got '{printable(key)}'; did you mean {' or '.join(map(repr, found))}?"


def _locate(cls: type[BaseModel], loc: tuple[int | str, ...]) -> tuple[str, type[BaseModel] | None]:
    """The dotted path a user knows (union tags left out) and the class that owns its last key."""
    path: list[str] = []
    owner: type[BaseModel] | None = cls
    node: Any = cls
    field: FieldInfo | None = None
    for key in loc:
        members = _models(node)
        tagged = next((m for m in members if key in _tags(m)), None) if len(members) > 1 else None
        if tagged is None and isinstance(key, str):
            tagged = _joined(field, key)
        if tagged is not None and typing.get_origin(node) is not dict:
            node, field = tagged, None
            continue
        path.append(str(key))
        owner = members[0] if len(members) == 1 else None
        if typing.get_origin(node) is dict:
            node, field = typing.get_args(node)[1], None
        else:
            field = owner.model_fields.get(str(key)) if owner else None
            node = field.annotation if field else None
    return printable(".".join(path)), owner


@functools.cache
def _tags(cls: type[BaseModel]) -> list[Any]:
    """What a tagged union knows a class by."""
    return [
        field.default
        for field in cls.model_fields.values()
        if typing.get_origin(field.annotation) is typing.Literal
    ]


def _models(annotation: Any) -> tuple[type[BaseModel], ...]:
    """The model classes inside an annotation (`A | B`, `Annotated[...]`, `dict[str, A]`)."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return (annotation,)
    found: list[type[BaseModel]] = []
    for arg in typing.get_args(annotation):
        found += [m for m in _models(arg) if m not in found]
    return tuple(found)


def members(package: str, base: type[Frozen]) -> tuple[type, ...]:
    """The classes below `base` with a tag of their own (`name: Literal["cnn"] = "cnn"`) in the
    modules of `package`.

    Imports every module of the package, sorted by name; within a module the order is that of
    definition. A class without a tag is a base and is left out. Called by the package itself while
    it is imported, so its modules must import from each other and never from the package. Raises
    ValueError where two members have the same tag.
    """
    found: dict[str, type] = {}
    paths = importlib.import_module(package).__path__
    for name in sorted(module.name for module in pkgutil.iter_modules(paths)):
        module = importlib.import_module(f"{package}.{name}")
        for value in vars(module).values():
            if (
                isinstance(value, type)
                and issubclass(value, base)
                and value.__module__ == module.__name__
            ):
                tag = _tag(value.model_fields.get("name"))
                if tag is not None and found.setdefault(tag, value) is not value:
                    raise ValueError(
                        f"{value.__qualname__} and {found[tag].__qualname__} are both called "
                        f"'{tag}'"
                    )
    return tuple(found.values())


def _tag(field: FieldInfo | None) -> str | None:
    literal = field is not None and typing.get_origin(field.annotation) is typing.Literal
    return (
        field.default if field is not None and literal and isinstance(field.default, str) else None
    )
