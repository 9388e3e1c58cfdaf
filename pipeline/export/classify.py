"""What a finished model says of pictures without labels, as it was judged: compressed and averaged
over its views.
"""

import numpy as np
import numpy.typing as npt
from torch import nn

from pipeline.core.augmentation.pixels import Pixels
from pipeline.core.config import TrainConfig
from pipeline.core.evaluate import BATCH, Answers
from pipeline.core.finished.compress import compress
from pipeline.core.finished.final import Int8Static
from pipeline.core.finished.finish import evaluate_views
from pipeline.core.pictures import Pictures, cut, evenly
from pipeline.data.splits import Split


def classify(
    config: TrainConfig,
    model: nn.Module,
    split: Split,
    calibration: Pictures,
    pixels: Pixels,
    *,
    seed: int,
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
    """(the likeliest class [N] of every picture of `split`, in its order, whose labels are not
    looked at; the probability of every class [N, K]).

    `model` has the run's weights; `calibration` is the run's train split, for int8's ranges; seed:
    the run's, for its views.
    """
    small = config.final.compress
    order = evenly(len(calibration), small.num_calibration if isinstance(small, Int8Static) else 1)
    cuts = cut(len(order), BATCH.get(calibration.device.type, 512))
    model = compress(
        small, model, (pixels(images) for _, images, _ in calibration.batches(order, cuts))
    )
    unknown = Split(
        split.images, np.zeros(len(split.images), dtype=np.int64), split.index
    )  # a loss needs some label
    answers = Answers(of_all=True)
    evaluate_views(
        config, model, Pictures(unknown, calibration.device), pixels, seed=seed, answers=answers
    )
    return answers.judged().pred, answers.probabilities()
