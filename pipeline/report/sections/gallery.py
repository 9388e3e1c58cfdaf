"""The pictures that an arm gets most wrong, as thumbnails."""

import io

from PIL import Image

from pipeline.analysis.answers import NUM_WRONG, Answers, Wrong
from pipeline.counts import plural
from pipeline.report.document import Gallery, Thumb, clean

SIDE = 64  # pixels of a thumbnail at most


def gallery(arm: str, answers: Answers, before: int) -> Gallery:
    """The most wrong pictures of an arm; `before` pictures of other arms are named already."""
    wrong = answers.shown[arm].wrong
    return Gallery(
        _caption(arm, answers),
        tuple(_thumb(one, before + i, answers, arm) for i, one in enumerate(wrong, 1)),
    )


def _caption(arm: str, answers: Answers) -> str:
    shown = answers.shown[arm]
    n = plural(shown.replicates, "replicate")
    if answers.same_pictures:
        whom = f"most of the {n} of {arm}" if shown.replicates > 1 else f"the replicate of {arm}"
        return (
            f"Got wrong by {whom}, the least probability of the true class first "
            f"(at most {NUM_WRONG}, among those that a replicate got most wrong). p is the mean "
            "probability given to the true class."
        )
    return (
        f"Among the most wrong of each of the {n} of {arm}; a replicate judges only its own val "
        "pictures, so a picture may be missing from the others. p is the mean probability given "
        "to the true class where it was counted."
    )


def _thumb(wrong: Wrong, number: int, answers: Answers, arm: str) -> Thumb:
    true, pred, n = (
        answers.names[wrong.true],
        answers.names[wrong.pred],
        answers.shown[arm].replicates,
    )
    label = (
        f"{true} → {pred}, p {wrong.true_prob:.2f}, wrong in {wrong.wrong} of "
        f"{plural(n, 'replicate')}: {_tail(wrong.file)}"
    )
    return Thumb(_png(wrong), label, f"A picture of {true} taken for {pred}", f"wrong-{number:02d}")


def _png(wrong: Wrong) -> bytes:
    image = Image.fromarray(wrong.pixels.transpose(1, 2, 0).copy())
    image.thumbnail((SIDE, SIDE))
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def _tail(file: str, limit: int = 60) -> str:
    text = clean(file)
    return text if len(text) <= limit else "…" + text[1 - limit :]
