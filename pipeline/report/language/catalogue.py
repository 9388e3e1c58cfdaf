"""Sentences of the report in another language: templates with named slots, from one file a
language.

A template is an English text with slots. `{arm}` is kept as it is, whatever it says: names are the
user's. `{n:n}` is a number, `{a:v}` one that may have its per cent and `{d:p}` its points,
`{a:w}` a word that is kept, `{ci:i}` an interval in brackets, `{run|runs}` one of these words.
`{why:reason}` is said again by the templates of the section `reason`, `{why:reason*}` and
`{why:reason;}` are several of them, after commas or semicolons; `{arms:list}` names, of which the
last may be `and 7 more`, `{arms:names}` names with an `and` before the last. What no template
matches stays English.
"""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from importlib.resources import files

LANGUAGES = ("en", "zh")
SLOT = re.compile(r"\{([^{}]*)\}")
LONGEST, MOST = (
    4_000,
    100_000,
)  # characters of a slot, of names: what is longer stays English, so that no text takes long
NUMBER = r"[+\-−]?\d[\d,]*(?:\.\d+)?(?:e[+\-]?\d+)?|–|nan"
KINDS = {
    "": rf".{{1,{LONGEST}}}?",
    "w": r"[^\s†]+?",
    "n": NUMBER,
    "v": rf"(?:{NUMBER})(?: %)?",
    "p": rf"(?:{NUMBER})(?: points?)?",
    "i": r"\[[^\[\]]*\]",
}
KINDS |= dict.fromkeys(("list", "names"), rf".{{1,{MOST}}}?")
# letters that stand without spaces; one parts them from other letters
WIDE = "\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"
EDGE = re.compile(rf"(?<=[{WIDE}])(?=[A-Za-z0-9+−±Δ~\[])|(?<=[A-Za-z0-9%†\]])(?=[{WIDE}])")


@dataclass(frozen=True)
class Template:
    """`source` in English, `target` in the other language; `whole` where it is not a sentence among
    others.
    """

    source: str
    target: str
    whole: bool

    @cached_property
    def prefix(self) -> str:
        """What it begins with, before any slot."""
        return SLOT.split(self.source, maxsplit=1)[0]

    @cached_property
    def literals(self) -> tuple[str, ...]:
        return tuple(SLOT.sub("\0", self.source).split("\0"))

    @cached_property
    def weight(self) -> int:
        return sum(map(len, self.literals))

    @cached_property
    def longest(self) -> str:
        return max(self.literals, key=len)

    @cached_property
    def kinds(self) -> dict[str, str]:
        """Slot → its kind; of those that are kept or said again."""
        pairs = [slot.partition(":") for slot in SLOT.findall(self.source) if "|" not in slot]
        return {name: kind for name, _, kind in pairs}

    def expression(self, kinds: Mapping[str, str], *, named: bool) -> str:
        """As a regular expression; `kinds` are those of its slots."""
        parts = SLOT.split(self.source)
        return "".join(
            _group(part, kinds, named) if number % 2 else re.escape(part)
            for number, part in enumerate(parts)
        )

    @cached_property
    def pieces(self) -> tuple[str, ...]:
        """Of the target: literal, slot, literal, …"""
        return tuple(
            EDGE.sub(" ", p) if not number % 2 else p
            for number, p in enumerate(SLOT.split(self.target))
        )

    def said(self, slots: Mapping[str, str]) -> str:
        """The target with its slots filled."""
        text = ""
        for number, piece in enumerate(self.pieces):
            text = joined(text, slots[piece] if number % 2 else piece)
        return text


@dataclass
class Section:
    """Templates that are tried together, found by the first word of a text."""

    templates: list[Template]
    words: dict[str, list[Template]] = field(default_factory=dict)
    free: list[Template] = field(default_factory=list)  # those that may begin with any word

    def __post_init__(self) -> None:
        for template in self.templates:
            word, space, _ = template.prefix.partition(" ")
            alone = not SLOT.search(template.source)
            (self.words.setdefault(word, []) if space or alone else self.free).append(template)

    def candidates(self, text: str, at: int) -> tuple[list[Template], list[Template]]:
        """Those that begin as `text` does at `at`; those that begin with a slot."""
        end, reach = text.find(" ", at), at + MOST + LONGEST
        groups = self.words.get(text[at:] if end < 0 else text[at:end], []), self.free
        begun, free = (
            [
                t
                for t in group
                if text.startswith(t.prefix, at) and text.find(t.longest, at, reach) >= 0
            ]
            for group in groups
        )
        return begun, free


class Catalogue:
    """The templates of a language."""

    def __init__(self, lang: str, tree: Mapping[str, Mapping[str, str]]) -> None:
        self.lang = lang
        self.cells, self.rows = dict(tree.get("cells", {})), dict(tree.get("rows", {}))
        named = {name: body for name, body in tree.items() if name not in ("cells", "rows")}
        self.sections = {
            name: Section(
                [Template(source, target, name != "sentences") for source, target in body.items()]
            )
            for name, body in named.items()
        }
        self._kinds = dict(KINDS)
        self._patterns: dict[Template, re.Pattern[str]] = {}

    def pattern(self, template: Template) -> re.Pattern[str]:
        """What it matches: a sentence up to a space or the end, all else as a whole."""
        if template not in self._patterns:
            kinds = {kind: self._kind(kind) for kind in template.kinds.values()}
            end = r"(?= |$)" if not template.whole and template.source.endswith(".") else "$"
            self._patterns[template] = re.compile(
                template.expression(kinds, named=True) + end, re.DOTALL
            )
        return self._patterns[template]

    def _kind(self, kind: str) -> str:
        """The expression of a slot; exact where its section holds words and numbers alone, else any
        text.
        """
        if kind not in self._kinds:
            self._kinds[kind] = KINDS[""]  # where a section speaks of itself
            templates = (
                self.sections[name].templates
                if (name := kind.rstrip("*;")) in self.sections
                else []
            )
            kinds = {
                inner: self._kind(inner)
                for template in templates
                for inner in template.kinds.values()
            }
            ways = [
                template.expression(kinds, named=False)
                for template in sorted(templates, key=lambda t: -t.weight)
            ]
            one = f"(?:{'|'.join(ways)})"
            more = {"*": rf"(?:, {one})*(?: and [\d,]+ more)?", ";": rf"(?:; {one})*"}.get(
                kind[-1], ""
            )
            self._kinds[kind] = KINDS[""] if not ways or KINDS[""] in one else one + more
        return self._kinds[kind]


def joined(left: str, right: str) -> str:
    """Two pieces of a text, with a space where a letter of one script meets one of another."""
    return (
        f"{left} {right}" if left and right and EDGE.search(left[-1] + right[0]) else left + right
    )


@lru_cache
def catalogue(lang: str) -> Catalogue:
    """The catalogue of a language other than English."""
    text = files("pipeline.report.language").joinpath(f"{lang}.toml").read_text(encoding="utf-8")
    return Catalogue(lang, tomllib.loads(text))


def _group(slot: str, kinds: Mapping[str, str], named: bool) -> str:
    if "|" in slot:
        return f"(?:{'|'.join(map(re.escape, slot.split('|')))})"
    name, _, kind = slot.partition(":")
    return f"(?P<{name}>{kinds[kind]})" if named else f"(?:{kinds[kind]})"
