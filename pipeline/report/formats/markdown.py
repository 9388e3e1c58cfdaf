"""The report as Markdown (CommonMark with tables)."""

import re
from collections.abc import Mapping

from pipeline.report.document import (
    Block,
    Bullets,
    Cell,
    Code,
    Document,
    Figure,
    Gallery,
    Heading,
    Runs,
    Table,
    Text,
    clean,
    homes,
)
from pipeline.report.language.translator import Say, words

MARKS = {"left": "---", "right": "--:", "center": ":-:"}


def escape(text: object) -> str:
    """Plain text that Markdown shows as it is: no markup, no HTML, no link, no cell break."""
    line = clean(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    line = re.sub(r"([\\`*_\[\]|#~$!])", r"\\\1", line)
    line = re.sub(r"(?i)\b(https?|ftp|mailto)(:)", r"\1&#58;", line)
    line = re.sub(r"(?i)\b(www)\.", r"\1&#46;", line).replace("@", "&#64;")
    return re.sub(
        r"^(\s*)([-+](?=\s|$|-)|=|\d+[.)](?=\s|$))",
        lambda m: f"{m[1]}{m[2][:-1]}\\{m[2][-1]}",
        line,
    )


def render(document: Document) -> str:
    """One file; figures are linked as figures/NAME.svg."""
    parts = [f"# {escape(document.title)}"]
    parts += [f"> **{escape(banner)}**" for banner in document.banners]
    parts += [escape(document.subtitle)]
    home = {key: number for key, (number, _) in homes(document).items()}
    say = words(document.lang)
    parts += [_block(block, home, say) for block in (*document.summary, *document.blocks)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _block(block: Block, home: Mapping[str, int], say: Say) -> str:
    match block:
        case Heading(text, level):
            return f"{'#' * level} {escape(text)}"
        case Text(text):
            return escape(text)
        case Bullets(items):
            return "\n".join(f"- {escape(item)}" for item in items)
        case Code(lines):
            lines = tuple(map(clean, lines))
            fence = "`" * (
                2 + max((len(run) for line in lines for run in re.findall("`+", line)), default=1)
            )
            return "\n".join((f"{fence}sh", *lines, fence))
        case Figure(name, caption, alt):
            return f"![{escape(alt)}](figures/{name}.svg)\n\n{escape(caption)}"
        case Table():
            return _table(block, home)
        case Gallery(caption, items, _):
            shown = [
                f"- ![{escape(item.alt)}](figures/{item.name}.png) {escape(item.label)}"
                for item in items
            ]
            return "\n".join((escape(caption), "", *shown))
        case Runs():
            return _runs(block, say)


def _table(block: Table, home: Mapping[str, int]) -> str:
    head = "| " + " | ".join(escape(column.title) for column in block.columns) + " |"
    rule = "|" + "|".join(MARKS[column.align] for column in block.columns) + "|"
    rows = []
    for row in block.rows:
        texts = [_cell(cell, home if place == block.key else {}) for place, cell in enumerate(row)]
        rows.append("| " + " | ".join(texts) + " |")
    return "\n".join((escape(block.caption), "", head, rule, *rows))


def _cell(cell: Cell, home: Mapping[str, int]) -> str:
    """The cell that names a row leads to the row's runs."""
    text = f"**{escape(cell.text)}**" if cell.bold and cell.text else escape(cell.text)
    found = {home[key] for key in cell.runs if key in home}
    return f"[{text}](#runs-{found.pop()})" if len(found) == 1 and text else text


def _runs(block: Runs, say: Say) -> str:
    """A table an arm, each under an anchor that the tables link to."""
    parts = []
    for number, trail in enumerate(block.trails, 1):
        titles = (*block.titles, say("run"), say("MLflow"))
        lines = [
            f'<a id="runs-{number}"></a>{escape(trail.title)}{say(": ")}{escape(trail.about)}',
            "",
        ]
        lines += [
            "| " + " | ".join(map(escape, titles)) + " |",
            "|" + "--:|" + "---|" * (len(titles) - 1),
        ]
        for run in trail.runs:
            lines.append(
                "| " + " | ".join(map(escape, (*run.cells, run.key, run.mlflow or "–"))) + " |"
            )
        parts.append("\n".join(lines))
    return "\n\n".join(parts)
