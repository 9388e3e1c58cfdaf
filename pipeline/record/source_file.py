"""A source file of Python: which statements bind its names, what those refer to, and a digest that
form does not change.
"""

import ast
import hashlib
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from pipeline.frozen import Frozen

Name = tuple[str, str]
"""A module and a name in it; "" stands for the module itself, ALL for all in it, EFFECTS for what
runs at import.
"""

ALL, EFFECTS = "*", "<import>"
UNREAD = {"annotation", "returns", "ctx", "kind", "type_comment", "type_params"}
"""Fields of the syntax tree that change nothing."""


class Source:
    """A source file: the statements that bind each of its names, and where those come from that it
    imports.
    """

    def __init__(self, name: str, path: Path) -> None:
        self.name, self.is_package = name, path.stem == "__init__"
        self.label = name.replace(".", "/") + ("/__init__" if self.is_package else "") + path.suffix
        self.bound: dict[str, list[ast.stmt]] = {EFFECTS: []}
        self.imports: dict[str, Name] = {}
        self.effects: list[Name] = []  # of the imports themselves
        self.own = name.partition(".")[0] != "pipeline"  # the user's, of which nothing is known
        self._read: dict[ast.stmt, Reader] = {}
        self._take(ast.parse(path.read_bytes()).body)

    def _take(self, body: Iterable[ast.stmt]) -> None:
        for statement in body:
            if isinstance(statement, (ast.Import, ast.ImportFrom)):
                self._import(statement)
            elif isinstance(statement, ast.If) and "TYPE_CHECKING" in (
                asked := ast.unparse(statement.test)
            ):
                self._take(statement.body if asked.startswith("not ") else statement.orelse)
            elif not (
                isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
            ):
                names = _binds(statement) or {EFFECTS}
                if self.own and _acts(statement):
                    names |= {EFFECTS}
                for name in names:
                    self.bound.setdefault(name, []).append(statement)

    def _import(self, statement: ast.Import | ast.ImportFrom) -> None:
        found = _imported(statement, self.package)
        self.effects += [
            (module, ALL if name == ALL else EFFECTS) for name, (module, _) in found.items()
        ]
        self.imports |= found

    @property
    def package(self) -> str:
        return self.name if self.is_package else self.name.rpartition(".")[0]

    def _reader(self, statement: ast.stmt) -> "Reader":
        if statement not in self._read:
            self._read[statement] = Reader(statement, self.name, self.package)
        return self._read[statement]

    def needs(self, attribute: str) -> Iterator[tuple[Name, list[str]]]:
        """What a name of the module refers to, here and elsewhere; of a module, with the names that
        are taken of it.
        """
        if attribute == EFFECTS:
            yield from ((name, []) for name in self.effects)
        if attribute == ALL:
            yield from (((self.name, name), []) for name in (*self.bound, *self.imports))
        elif attribute in self.bound:
            for statement in self.bound[attribute]:
                yield from self._reader(statement).needs(self)
        else:
            yield self.imports.get(attribute, (f"{self.name}.{attribute}", "")), []

    def digest(self, names: Iterable[str]) -> str:
        """Of the statements that bind these names, in their order, and of the imports they use; ""
        where there are none.
        """
        used = {statement for name in names for statement in self.bound.get(name, ())}
        readers = [
            self._reader(statement)
            for statement in sorted(used, key=lambda statement: statement.lineno)
        ]
        imported = set(names).union(*(reader.names for reader in readers)) & self.imports.keys()
        lines = [reader.text for reader in readers] + [
            f"{name} {self.imports[name]}" for name in sorted(imported)
        ]
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16] if readers else ""


class Reader:
    """One statement without what changes nothing: as text, and what it refers to."""

    def __init__(self, statement: ast.stmt, module: str, package: str) -> None:
        self.names: set[str] = set()
        self._attributes: set[tuple[str, str]] = set()
        self._imports: dict[str, Name] = {}
        self._words: list[str] = []
        self._module, self._package = module, package
        self._node(statement)
        self.text = " ".join(self._words)
        del self._words

    def needs(self, source: Source) -> Iterator[tuple[Name, list[str]]]:
        """See `Source.needs`; `source` holds the statement."""
        if source.own:
            yield from (((module, EFFECTS), []) for module, _ in self._imports.values())
        for name in self.names:
            if (found := self._imports.get(name) or source.imports.get(name)) is not None:
                yield found, [attribute for owner, attribute in self._attributes if owner == name]
            if name in source.bound:
                yield (source.name, name), []

    def _node(self, node: ast.AST) -> None:
        kind = type(node)
        if kind is ast.Name:
            self.names.add(node.id)  # type: ignore[attr-defined]
            self._words.append(node.id)  # type: ignore[attr-defined]
            return
        if kind is ast.Constant:
            self._words.append(repr(node.value))  # type: ignore[attr-defined]
            return
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            self._attributes.add((node.value.id, node.attr))
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            self._imports |= _imported(node, self._package)
        self._words.append(kind.__name__)
        for name in node._fields:
            value = getattr(node, name, None)
            if (
                name in UNREAD or value is None or value == []
            ):  # versions of Python differ in the empty ones
                continue
            self._words.append(name)
            if isinstance(value, list):
                for item in self._body(node, value) if name == "body" else value:
                    self._value(item)
                self._words.append(";")
            else:
                self._value(value)

    def _value(self, value: object) -> None:
        if isinstance(value, ast.AST):
            self._node(value)
        else:
            self._words.append(repr(value))

    def _body(self, node: ast.AST, body: list[ast.stmt]) -> list[ast.stmt]:
        """Without the docstring, and without the fields of a config's class."""
        if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            return body
        if ast.get_docstring(node, clean=False) is not None:
            body = body[1:]
        kind = config_class(self._module, node.name) if isinstance(node, ast.ClassDef) else None
        fields = kind.model_fields if kind else ()
        return [
            s
            for s in body
            if not (isinstance(s, ast.AnnAssign) and getattr(s.target, "id", "") in fields)
        ]


def config_class(module: str, name: str) -> type[Frozen] | None:
    """The class of that name where it is a config's: such modules are loaded wherever there are
    configs.
    """
    found = getattr(sys.modules.get(module), name, None) if name else None
    return found if isinstance(found, type) and issubclass(found, Frozen) else None


def _acts(statement: ast.stmt) -> bool:
    """Whether it may do more than bind names: register, patch, import."""
    compound = (ast.For, ast.While, ast.If, ast.With, ast.Try)
    return isinstance(statement, compound) or bool(getattr(statement, "decorator_list", ()))


def _binds(statement: ast.stmt) -> set[str]:
    """The names that a statement binds in its module."""
    if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        return {statement.name}
    found = set()
    for node in ast.walk(statement):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
        elif isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            found.add(node.name)
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            found |= _imported(node, "").keys()
    return found


def _imported(node: ast.Import | ast.ImportFrom, package: str) -> dict[str, Name]:
    """Name → (module, name in it): of `import a.b as c` c → (a.b, ""), of `import a.b` a.b → (a.b,
    ALL).
    """
    if isinstance(node, ast.Import):
        plain = {alias.asname or alias.name: (alias.name, "") for alias in node.names}
        return plain | {
            name.split(".")[0]: (name.split(".")[0], "") for name in plain if "." in name
        }
    parents = package.split(".")
    base = (
        ".".join([*parents[: len(parents) - node.level + 1], *filter(None, [node.module])])
        if node.level
        else node.module
    )
    return {alias.asname or alias.name: (str(base), alias.name) for alias in node.names}
