"""Says English texts of the report in another language, by the templates of its catalogue."""

import re
from collections.abc import Callable, Iterable
from itertools import islice

from pipeline.report.language.catalogue import Catalogue, Template, catalogue, joined

Say = Callable[[str], str]
Match = tuple[Template, re.Match[str]]
MOST_PARTS, MOST_STOPS = 20, 4  # of a phrase in a list; ends of a sentence that are tried
NAMED = ("who", "long", "effect")  # sections whose phrases may be an arm's name


class Translator:
    """Says texts in the language of a catalogue. `missed` are those that it could not, `kept` what
    slots held verbatim.
    """

    def __init__(self, catalogue: Catalogue, names: Iterable[str] = ()) -> None:
        """`names` are the arms', so that none of them is taken for words of the report."""
        self.catalogue, self.names = catalogue, frozenset(names)
        self.missed: list[str] = []
        self.kept: set[str] = set()
        self.num_said = 0
        self._known: dict[tuple[str, str], str | None] = {}

    def text(self, text: str) -> str:
        """Sentences one after another."""
        found, at = "", 0
        while at < len(text):
            match = self._match("sentences", text, at)
            if match is None:
                stop = re.compile(r"[.:] ").search(text, at)
                end = stop.end() - 1 if stop else len(text)
                self._miss(text[at:end])
                said = text[at:end]
            else:
                said, end = match
                self.num_said += 1
            found = found + said if not found or found[-1] in "。：；" else f"{found} {said}"
            at = end + 1
        return found

    def phrase(self, section: str, text: str) -> str:
        """A text that is one template of a section as a whole."""
        said = self._phrase(section, text)
        if said is None:
            self._miss(text)
        else:
            self.num_said += 1
        return text if said is None else said

    def _miss(self, text: str) -> None:
        if re.search(r"[A-Za-z]{2}", text):
            self.missed.append(text)

    def _phrase(self, section: str, text: str) -> str | None:
        if section in NAMED and text in self.names:
            return text
        if (section, text) not in self._known:
            match = self._match(section, text, 0)
            self._known[section, text] = None if match is None else match[0]
        return self._known[section, text]

    def _match(self, section: str, text: str, at: int) -> tuple[str, int] | None:
        """What `text` says from `at` on, and where that ends; the nearest end, for a slot could
        swallow sentences.
        """
        begun, free = self.catalogue.sections[section].candidates(text, at)
        if any(
            text.startswith(name, at) for name in self.names
        ):  # an arm may be called as a sentence begins
            named = [match for match in self._matches(free, text, at) if match[1][1] in self.names]
            if found := self._first(named, text, at):
                return found
        return self._first(self._matches(begun, text, at), text, at) or self._first(
            self._matches(free, text, at), text, at
        )

    def _matches(self, templates: list[Template], text: str, at: int) -> list[Match]:
        found = [(t, m) for t in templates if (m := self.catalogue.pattern(t).match(text, at))]
        return sorted(found, key=lambda pair: (pair[1].end(), -pair[0].weight))

    def _first(self, matches: list[Match], text: str, at: int) -> tuple[str, int] | None:
        """The first that can be said; where a name holds what ends a sentence, the sentence ends
        later.
        """
        for template, match in matches:
            slots = self._slots(template, match)
            if slots is not None:
                return template.said(slots), match.end()
        for template, match in matches:
            for stop in islice(re.compile(r"\.(?= |$)").finditer(text, match.end()), MOST_STOPS):
                later = self.catalogue.pattern(template).fullmatch(text, at, stop.end())
                slots = self._slots(template, later) if later else None
                if slots is not None:
                    return template.said(slots), stop.end()
        return None

    def _slots(self, template: Template, match: re.Match[str]) -> dict[str, str] | None:
        """The slots' texts as they are to stand; None where one cannot be said again."""
        found: dict[str, str] = {}
        for name, kind in template.kinds.items():
            said = self._slot(kind, match[name])
            if said is None:
                return None
            found[name] = said
        return found

    def _slot(self, kind: str, text: str) -> str | None:
        if kind in ("", "w", "n", "i"):
            self.kept |= {text} if kind in ("", "w") else set()
            return text
        if kind == "v":
            return text.replace(" ", "")
        if kind == "p":
            number, unit, _ = text.partition(" point")
            return joined(number, "个百分点") if unit else number
        if kind == "list":
            more = re.search(r" and ([\d,]+) more$", text)
            self.kept.add(text[: more.start()] if more else text)
            return f"{text[: more.start()]} 等（另有 {more[1]} 个）" if more else text
        if kind == "names":
            return self._names(text)
        if kind == "sentences":
            return self.text(text)
        if kind[-1] in "*;":
            return self._several(
                kind[:-1],
                text,
                ", " if kind[-1] == "*" else "; ",
                "、" if kind[-1] == "*" else "；",
            )
        return self._phrase(kind, text)

    def _names(self, text: str) -> str:
        """`a, b and c`, where c is known to be a name: names may hold the word as well."""
        places = [
            found for found in re.finditer(" and ", text) if text[found.end() :] in self.names
        ]
        self.kept.add(text)
        return f"{text[: places[0].start()]} 与 {text[places[0].end() :]}" if places else text

    def _several(self, section: str, text: str, between: str, mark: str) -> str | None:
        """Phrases one after another, each as short as can be, for names may hold the mark between
        them.
        """
        more = re.search(r" and ([\d,]+) more$", text)
        parts = (text[: more.start()] if more else text).split(between)
        rest: list[str | None] = [None] * len(parts) + [""]  # what is said from each part on
        for first in reversed(range(len(parts))):
            for last in range(first + 1, min(len(parts), first + MOST_PARTS) + 1):
                tail = rest[last]
                said = (
                    None if tail is None else self._phrase(section, between.join(parts[first:last]))
                )
                if said is not None:
                    rest[first] = said + (mark + tail if tail else "")
                    break
        ended = f" 等（另有 {more[1]} 项）" if more else ""
        return None if rest[0] is None else rest[0] + ended


def words(lang: str) -> Say:
    """Says the fixed words of a page; English as they are."""
    if lang == "en":
        return str
    said = Translator(catalogue(lang))
    return lambda text: said.phrase("words", text)
