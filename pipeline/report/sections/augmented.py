"""What training saw of a picture: each augmentation of the arms, drawn a few times."""

from collections.abc import Iterator

from pipeline.analysis.augmented import SHOWN, Kept, strip_png
from pipeline.counts import plural
from pipeline.report.document import Block, Gallery, Heading, Text, Thumb, clean

TITLE = "What training saw of a picture"


def blocks(kept: Kept) -> Iterator[Block]:
    """The section; nothing where no sheet was kept."""
    if not kept.sheets:
        return
    yield Heading(TITLE)
    yield Text(
        f"In each row a training picture as it is, then {SHOWN} results of augmenting it, which "
        "every epoch draws anew. The first row has all that is on, each other row one amount alone."
        + " Amounts are the arms' as given; their runs had those that tuning found."
        * kept.tuned
    )
    number = 0
    for sheet in kept.sheets:
        thumbs = []
        for row in sheet.rows:
            number += 1
            thumbs.append(
                Thumb(
                    strip_png(sheet.picture, row),
                    clean(row.title),
                    f"A training picture and {SHOWN} results: {clean(row.title)}",
                    f"augmented-{number:02d}",
                )
            )
        yield Gallery(f"{clean(sheet.arms)}: {clean(sheet.augment)}", tuple(thumbs), wide=True)
    if more := kept.num_rows - number:
        yield Text(f"{plural(more, 'row')} more: pipeline.doctor --preview shows them.", small=True)


def pictures(kept: Kept) -> dict[str, bytes]:
    """Path in the report's folder → PNG of every strip of the section."""
    found = (block for block in blocks(kept) if isinstance(block, Gallery))
    return {f"figures/{thumb.name}.png": thumb.png for block in found for thumb in block.items}
