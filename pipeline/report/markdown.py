"""The report as Markdown (CommonMark with tables)."""

import re

from pipeline.report.document import Block, Bullets, Code, Document, Figure, Heading, Table, Text, clean

MARKS = {"left": "---", "right": "--:", "center": ":-:"}


def escape(text: object) -> str:
    """Plain text that Markdown shows as it is: no markup, no HTML, no link, no cell break."""
    line = clean(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    line = re.sub(r"([\\`*_\[\]|#~$!])", r"\\\1", line)
    line = re.sub(r"(?i)\b(https?|ftp|mailto)(:)", r"\1&#58;", line)
    line = re.sub(r"(?i)\b(www)\.", r"\1&#46;", line).replace("@", "&#64;")
    return re.sub(r"^(\s*)([-+](?=\s|$|-)|=|\d+[.)](?=\s|$))", lambda m: f"{m[1]}{m[2][:-1]}\\{m[2][-1]}", line)


def render(document: Document) -> str:
    """One file; figures are linked as figures/NAME.svg."""
    parts = [f"# {escape(document.title)}"]
    parts += [f"> **{escape(banner)}**" for banner in document.banners]
    parts += [escape(document.subtitle), escape(document.summary)]
    parts += [_block(block) for block in document.blocks]
    return "\n\n".join(part for part in parts if part) + "\n"


def _block(block: Block) -> str:
    match block:
        case Heading(text, level):
            return f"{'#' * level} {escape(text)}"
        case Text(text):
            return escape(text)
        case Bullets(items):
            return "\n".join(f"- {escape(item)}" for item in items)
        case Code(lines):
            lines = tuple(map(clean, lines))
            fence = "`" * (2 + max((len(run) for line in lines for run in re.findall("`+", line)), default=1))
            return "\n".join((f"{fence}sh", *lines, fence))
        case Figure(name, caption, alt):
            return f"![{escape(alt)}](figures/{name}.svg)\n\n{escape(caption)}"
        case Table():
            return _table(block)


def _table(block: Table) -> str:
    head = "| " + " | ".join(escape(column.title) for column in block.columns) + " |"
    rule = "|" + "|".join(MARKS[column.align] for column in block.columns) + "|"
    rows = []
    for row in block.rows:
        texts = [f"**{escape(cell.text)}**" if cell.bold and cell.text else escape(cell.text) for cell in row]
        rows.append("| " + " | ".join(texts) + " |")
    return "\n".join((escape(block.caption), "", head, rule, *rows))
