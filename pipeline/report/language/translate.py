"""A finished report in another language, block by block; names, numbers and what is typed stay as
they are.
"""

from dataclasses import replace

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
)
from pipeline.report.language.translator import Translator

Row = tuple[Cell, ...]


def translated(document: Document, say: Translator, *, title: str) -> Document:
    """`document` as `say` says it; `title` is that of the study, which stays."""
    rest = document.title.removeprefix(title)
    first = next((block for block in document.blocks if isinstance(block, Figure)), None)
    blocks = [
        _block(block, say) if block is not first else _first(first, say)
        for block in document.blocks
    ]
    return Document(
        title + (say.phrase("title", rest) if rest else ""),
        say.text(document.subtitle),
        tuple(map(say.text, document.banners)),
        tuple(_short(block, say) for block in document.summary),
        tuple(blocks),
        say.catalogue.lang,
    )


def table(block: Table, say: Translator) -> Table:
    """A table: the titles of its columns decide which of its cells are the report's own words."""
    named = block.key or 0  # columns before it are called after factors
    columns = tuple(
        column
        if number < named or not column.title
        else replace(column, title=say.phrase("columns", column.title))
        for number, column in enumerate(block.columns)
    )
    if len(block.columns) == 2 and not any(column.title for column in block.columns):
        rows = _facts(block, say)
    else:
        sections = [
            say.catalogue.cells.get(c.title, "") if i >= named else ""
            for i, c in enumerate(block.columns)
        ]
        rows = tuple(
            tuple(_cell(cell, section, say) for cell, section in zip(row, sections, strict=True))
            for row in block.rows
        )
    return replace(block, caption=say.text(block.caption), columns=columns, rows=rows)


def _short(block: Text | Bullets, say: Translator) -> Text | Bullets:
    if isinstance(block, Text):
        return Text(say.text(block.text), block.small)
    return Bullets(tuple(map(say.text, block.items)), block.small)


def _block(block: Block, say: Translator) -> Block:
    match block:
        case Heading(text, level):
            return Heading(say.phrase("headings" if level == 2 else "subheadings", text), level)
        case Text() | Bullets():
            return _short(block, say)
        case Table():
            return table(block, say)
        case Figure(name, caption, alt):
            return Figure(name, say.text(caption), say.text(alt))
        case Gallery(caption, items, wide):
            thumbs = (
                replace(item, label=say.phrase("thumbs", item.label), alt=say.text(item.alt))
                for item in items
            )
            return Gallery(say.text(caption), tuple(thumbs), wide)
        case Runs():
            return _runs(block, say)
        case Code():
            return block


def _first(figure: Figure, say: Translator) -> Figure:
    """The first figure says that the words inside figures stay English: no font for others may be
    assumed.
    """
    return replace(
        figure,
        caption=say.text(figure.caption) + say.phrase("words", "labels"),
        alt=say.text(figure.alt),
    )


def _facts(block: Table, say: Translator) -> tuple[Row, ...]:
    """Rows of two cells without titles: what, and how it is; a row without a name is more of the
    one above.
    """
    rows: list[Row] = []
    what = ""
    for name, fact in block.rows:
        what = name.text or what
        section = say.catalogue.rows.get(what, "")
        rows.append((_cell(name, "facts" if name.text else "", say), _cell(fact, section, say)))
    return tuple(rows)


def _cell(cell: Cell, section: str, say: Translator) -> Cell:
    if not section or not any(map(str.isalpha, cell.text)):
        return cell
    return replace(cell, text=say.phrase(section, cell.text))


def _runs(block: Runs, say: Translator) -> Runs:
    sections = [say.catalogue.cells.get(title, "") for title in block.titles]
    trails = []
    for trail in block.trails:
        runs = tuple(
            replace(
                run,
                cells=tuple(
                    say.phrase(section, text) if section else text
                    for section, text in zip(sections, run.cells, strict=True)
                ),
            )
            for run in trail.runs
        )
        trails.append(replace(trail, about=say.phrase("trail", trail.about), runs=runs))
    return Runs(tuple(say.phrase("columns", title) for title in block.titles), tuple(trails))
