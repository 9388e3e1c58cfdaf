"""Random streams: every draw of a run is a function of (seed, purpose, epoch), so that no
generator's state is kept.
"""

from typing import Literal

import numpy as np

Purpose = Literal["init", "order", "augment", "dropout", "subset", "attack"]
PURPOSES: dict[Purpose, int] = {
    "init": 0,
    "order": 1,
    "augment": 2,
    "dropout": 3,
    "subset": 4,
    "attack": 5,
}


def stream(seed: int, purpose: Purpose, epoch: int = 0) -> np.random.Generator:
    """A counter-based generator (Philox; Salmon et al. 2011, "Parallel random numbers: as easy as
    1, 2, 3").
    """
    return np.random.Generator(np.random.Philox(key=[seed, PURPOSES[purpose] << 32 | epoch]))


def torch_seed(seed: int, purpose: Purpose, epoch: int = 0) -> int:
    """A seed for torch's own generators (initialisation, dropout)."""
    return int(stream(seed, purpose, epoch).integers(2**63))
