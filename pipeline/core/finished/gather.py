"""Evidence of a finished run, from the model as it was judged: its answers, its worst mistakes,
what its layers see.
"""

import logging
from collections.abc import Sequence

import numpy as np

from pipeline.core.finished.embed import embeddings
from pipeline.core.finished.evidence import MAX_SIDE, MAX_WRONG, Embedding, Evidence, Judged, Wrong
from pipeline.core.finished.finish import Finished
from pipeline.core.pictures import Pictures
from pipeline.data.decode import fit

log = logging.getLogger(__name__)


def gather(finished: Finished, *, split: str, files: Sequence[str], embed: bool) -> Evidence:
    """The evidence of `finished`, judged on the split called `split`; `files`: the names of all
    pictures of the set.

    Embeddings, where wanted, are left out (and the reason logged) where they cannot be had.
    """
    found: tuple[Embedding, ...] = ()
    if embed:
        try:
            found = embeddings(finished.model, finished.pictures, finished.pixels)
        # of networks and libraries of all kinds; a run that trained is not lost to a picture of it
        except Exception:
            log.warning("no embeddings of the layers", exc_info=True)
    return Evidence(
        split, finished.judged, most_wrong(finished.judged, finished.pictures, files), found
    )


def most_wrong(judged: Judged, pictures: Pictures, files: Sequence[str]) -> Wrong:
    """The pictures with the highest pred_prob - true_prob among the wrong, the worst first; ties in
    the split's order.
    """
    wrong = np.flatnonzero(judged.pred != judged.true)
    worst = np.argsort(judged.true_prob[wrong] - judged.pred_prob[wrong], kind="stable")[:MAX_WRONG]
    rows = wrong[worst].astype(np.int64)
    places = pictures.index[rows].tolist()
    side = min(MAX_SIDE, pictures.images.shape[-1])
    shown = [fit(np.asarray(pictures.images[place]), side, 3) for place in places]
    small = np.stack(shown) if shown else np.zeros((0, 3, side, side), np.uint8)
    return Wrong(rows, small, tuple(files[place] for place in places))
