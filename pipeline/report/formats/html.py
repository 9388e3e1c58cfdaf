"""The report as one HTML page that needs nothing else: figures inline, light and dark, phone to
print.
"""

import base64
import functools
import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from xml.etree import ElementTree

import jinja2
from markupsafe import Markup

from pipeline.analysis.wording import PAD
from pipeline.report.document import (
    Block,
    Cell,
    Document,
    Figure,
    Heading,
    Table,
    clean,
    homes,
)
from pipeline.report.figures import style
from pipeline.report.language.catalogue import WIDE
from pipeline.report.language.translator import Say, words

SVG, XLINK = "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"
PIXELS = 1.5  # of the page to a point of a drawing
ElementTree.register_namespace("", SVG)
ElementTree.register_namespace("xlink", XLINK)
# what each colour of the figures becomes where the reader's system is dark
DARK = {
    style.INK: "#e6e9ee",
    style.MUTED: "#98a2b0",
    style.RULE: "#363c46",
    style.BAND: "#232b38",
    style.PAPER: "#14171c",
    style.TRAIN: "#f0955a",
    style.VAL: "#62b0f0",
    style.GOOD: "#45c496",
    style.BAD: "#f2766b",
    "#9aa4b2": "#7d8796",
    "#5aa9e6": "#8fd0ff",
    "#e0a100": "#e9bd45",
    "#b07cc6": "#cfa3e2",
    "#2fa084": "#55c9ab",
    "#d46a8c": "#ea94b0",
}


def render(document: Document, svgs: Mapping[str, bytes]) -> str:
    """The page; `svgs` holds each figure's SVG by name. All texts are escaped by the template
    engine.
    """
    environment = _environment(document.lang)
    document = replace(document, blocks=tuple(map(_led, document.blocks)))
    drawn = [block for block in document.blocks if isinstance(block, Figure)]
    inline = {figure.name: _inline(figure, svgs[figure.name]) for figure in drawn}
    dark = [(_variable(light), light, twin) for light, twin in DARK.items()]
    say = words(document.lang)
    script, _, _ = environment.loader.get_source(environment, "report.js")  # type: ignore[union-attr]
    script = script.replace('title = "sort"', f'title = "{say("sort")}"')
    policy = base64.b64encode(
        hashlib.sha256(script.encode()).digest()
    ).decode()  # nothing but this script may run
    return environment.get_template("report.html").render(
        document=document,
        places={
            block.text: f"part-{number}"
            for number, block in enumerate(document.blocks)
            if isinstance(block, Heading) and block.level == 2
        },
        figures=inline,
        colours=dark,
        pieces=_linker(document, say),
        say=say,
        script=Markup(script),
        policy=policy,
    )


@functools.cache
def _environment(lang: str) -> jinja2.Environment:
    """The template engine, which reads a template once: that takes longer than to fill it in."""

    def finalize(value: object) -> object:
        plain = isinstance(value, str) and not isinstance(value, Markup)
        return _unbroken(clean(value), lang) if plain else value

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("pipeline.report.formats"),
        autoescape=True,
        finalize=finalize,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["encoded"] = lambda png: Markup(base64.b64encode(png).decode())
    return environment


def _led(block: Block) -> Block:
    """A table as a narrow page shows it: names and results first, then what tells the rows apart
    and what they cost.
    """
    if not isinstance(block, Table) or block.key is None or block.results is None:
        return block
    results = range(block.results, len(block.columns))
    order = [block.key, *results]
    order += [i for i in range(block.results) if i != block.key]
    return replace(
        block,
        columns=tuple(block.columns[i] for i in order),
        rows=tuple(tuple(row[i] for i in order) for row in block.rows),
        key=0,
    )


def _linker(document: Document, say: Say) -> Callable[[Cell], list[tuple[str, str, str]]]:
    """Cell → its text in pieces with the place and the name of what each leads to; empty where it
    leads nowhere.
    """
    home = homes(document)

    def pieces(cell: Cell) -> list[tuple[str, str, str]]:
        found = list(dict.fromkeys(home[key] for key in cell.runs if key in home))
        if not found or not cell.text:
            return [(cell.text, "", "")]
        if len(found) > 2:
            return [(cell.text, "#runs", say("all runs"))]
        texts = re.split(r" (?![^\[]*\])", cell.text, maxsplit=1) if len(found) > 1 else [cell.text]
        return [
            (text, f"#runs-{n}", say(f"runs of {title}"))
            for text, (n, title) in zip(texts, found, strict=False)
        ]

    return pieces


def _unbroken(text: str, lang: str) -> str:
    """No line ends within an interval, or between a number and its unit; nor is it padded, as
    narrow columns break it where others do not.
    """
    text = re.sub(r"(\[[−\d.]+,) ([−\d.]+\])", "\\1\u00a0\\2", text.replace(PAD, ""))
    text = re.sub(r"(\d) (%|points?\b|±|\(\d+\)|trials?\b|epochs?\b)", "\\1\u00a0\\2", text)
    text = text.replace("± ", "±\u00a0").replace("% CI]", "%\u00a0CI]")
    return text if lang == "en" else re.sub(rf"(\d) (?=[{WIDE}])", "\\1\u00a0", text)


def _variable(colour: str) -> str:
    return f"--f{colour[1:]}"


def _inline(figure: Figure, svg: bytes) -> Markup:
    """The SVG element alone: ids of its own, colours as variables, no fixed size, no background."""
    root = ElementTree.fromstring(svg)  # our own drawing, not a file from outside
    for parent in list(root.iter()):
        for child in [c for c in parent if c.tag in (f"{{{SVG}}}metadata", f"{{{SVG}}}style")]:
            parent.remove(child)
    width = float(root.attrib.pop("width").removesuffix("pt"))
    del root.attrib["height"]
    for element in root.iter():
        for key, value in element.attrib.items():
            element.set(key, _own(figure.name, key, value))
    root.set("style", f"max-width: {width * PIXELS:.0f}px; min-width: {min(width, 500):.0f}px")
    root.set("role", "img")
    root.set("aria-label", clean(figure.alt))
    return Markup(ElementTree.tostring(root, encoding="unicode"))


def _own(name: str, key: str, value: str) -> str:
    if key == "id":
        return f"{name}-{value}"
    if key.endswith("href") and value.startswith("#"):
        return f"#{name}-{value[1:]}"
    if key == "clip-path":
        return value.replace("url(#", f"url(#{name}-")
    if key == "style":
        value = re.sub(r"font-family: [^;]*(; )?", "", value).replace("fill: #ffffff", "fill: none")
        for colour in DARK:
            value = value.replace(colour, f"var({_variable(colour)})")
    return value
