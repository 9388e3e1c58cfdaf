"""`python -m pipeline.labels --study hw3`: which pictures look mislabelled, by runs that did not
learn from them; trains nothing.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.counts import plural
from pipeline.errors import UserError, printable
from pipeline.report.language.catalogue import LANGUAGES
from pipeline.screen import folded, steadily
from pipeline.session.cli import guarded, parser
from pipeline.session.options import Options

if TYPE_CHECKING:
    from pipeline.data.cache import Data
    from pipeline.record.record import Record
    from pipeline.report.labels import Doubts

SHOWN = 5  # runs that are named as left out


@steadily
def main(argv: Sequence[str] | None = None) -> int:
    """0 where the list is written, however long; raises PipelineError where nothing is."""
    flags = parser(
        "pipeline.labels",
        "List the pictures of a recorded study that look mislabelled, with thumbnails: by the "
        "replicates that did not learn from them. Nothing is trained.",
        trains=False,
    )
    flags.add_argument(
        "--lang", choices=LANGUAGES, default="en", help="of the page; zh goes to labels-zh/"
    )
    args = flags.parse_args(argv)
    from pipeline.data.cache import prepare
    from pipeline.report import files, labels
    from pipeline.session.resolve import chosen, recorded_folder
    from pipeline.session.resume import recorded_in

    asked = Options.of(flags.command, args)
    found = chosen(asked)
    folder = recorded_folder(asked, found)
    record = recorded_in(folder)
    data = prepare(
        record.study.baseline.dataset,
        found.data,
        Path(asked.mlruns) / "cache",
        recorded=record.data,
    )
    if data.fingerprint != record.data["fingerprint"]:
        raise UserError(
            f"data: these are not the pictures of the study (recorded {record.data['fingerprint']},"
            f" now {data.fingerprint}): were some moved, or labels changed since? Put them back as "
            "they were, or train a study of them as they are now"
        )
    doubts = read(record, data, folder)
    target = folder / ("labels" if args.lang == "en" else f"labels-{args.lang}")
    kept = files.keep_changed(target, labels.TABLE)
    written = files.replace_all(
        target, files.listed(labels.files(_published(doubts, record), args.lang))
    )
    print(folded("\n".join(_lines(doubts, written))))
    if kept:
        said = f"warning: {labels.TABLE} had been changed since it was written, and is kept as "
        print(folded(f"{said}{printable(kept, 1000)}"))
    return 0


def _published(doubts: "Doubts", record: "Record") -> "Doubts":
    """For the page, which is handed on, without the places of this machine."""
    from pipeline.record.published import cutter

    cut = cutter(record)
    lacking = tuple(map(cut.text, doubts.lacking))
    return replace(doubts, command=cut.command(doubts.command), lacking=lacking)


def read(record: "Record", data: "Data", folder: Path) -> "Doubts":
    """What the complete replicates of all arms make doubtful. Raises UserError where there are
    none, or none can answer.
    """
    import numpy as np

    from pipeline.analysis.mislabels import alike, contradicting, side
    from pipeline.core.process import tune_process
    from pipeline.data.listing import TEST, UNKNOWN
    from pipeline.export.out_of_sample import answers
    from pipeline.machine import at_hand
    from pipeline.report.labels import Doubts

    runs = [
        run
        for own in record.arms().values()
        for run in own
        if run.status == "complete" and run.best
    ]
    if not runs:
        raise UserError(
            "labels: no arm of the study has a complete replicate, which would answer for its "
            "pictures: go on with the study first"
        )
    tune_process()
    means, wrong = at_hand()
    if wrong:
        print(folded(f"warning: answers are computed on the CPU: {printable(wrong, 1000)}"))
    same = alike(data.images)
    found = answers(record, runs, data, folder, same=same, device=means.device)
    if not found.asked:
        why = "; ".join(found.lacking[:2])
        raise UserError(
            f"labels: none of {plural(len(runs), 'complete replicate')} can answer: {why}"
        )
    known = data.labels != UNKNOWN
    pool, test = (np.flatnonzero(known & of) for of in (data.parts != TEST, data.parts == TEST))
    own = side(pool, found.probs, found.runs, data.labels)
    return Doubts(
        study=record.study.name,
        title=data.title,
        classes=data.classes,
        files=data.files,
        labels=data.labels.tolist(),
        parts=data.parts.tolist(),
        images=data.images,
        runs=found.asked,
        lacking=found.lacking,
        pool=own,
        test=side(test, found.probs, found.runs, data.labels) if len(test) else None,
        copies=tuple(contradicting(same, data.labels.tolist())),
        command=_command(record, folder) if own.answered < own.num else "",
    )


def _command(record: "Record", folder: Path) -> str:
    """The recorded command, so that each picture validates once; '' where that is not known, or
    each does already.
    """
    from pipeline.record.pasted import from_here
    from pipeline.report.sections.next_steps import cross_validated

    base = record.study.baseline
    done = (sum(run.status == "complete" for run in own) for own in record.arms().values())
    if not record.sessions or (base.split == "kfold" and min(done) >= base.folds):
        return ""
    recorded = from_here(record.sessions[-1], folder.parent)
    return cross_validated(recorded, record.study)


def _lines(doubts: "Doubts", written: Sequence[Path]) -> Iterator[str]:
    """What is said on the screen."""
    from pipeline.report.document import Bullets, Code, Text
    from pipeline.report.labels import UNANSWERED, document, untested

    page = document(doubts)
    for first in page.summary:
        yield from first.items if isinstance(first, Bullets) else (first.text,)
    if doubts.copies:
        yield f"the same picture under two labels: {plural(len(doubts.copies), 'picture')}"
    if doubts.pool.answered < doubts.pool.num:
        at = next(i for i, b in enumerate(page.blocks) if getattr(b, "text", "") == UNANSWERED)
        said, below = page.blocks[at + 1 : at + 3]
        if isinstance(said, Text):
            yield said.text
        if isinstance(below, Code):
            yield from below.lines
    if doubts.test is not None and doubts.test.answered < doubts.test.num:
        yield untested(doubts.test)
    for text in doubts.lacking[:SHOWN]:
        yield f"warning: left out: {text}"
    if (more := len(doubts.lacking) - SHOWN) > 0:
        yield f"warning: left out: {plural(more, 'run')} more"
    yield from (printable(path, 1000) for path in written if path.suffix in (".csv", ".html"))


if __name__ == "__main__":
    guarded(main)
