"""A clock that plays asynchronous workers over recorded curves: no training, only its seconds."""

import heapq
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from benchmarks.curves.sets import Curve, CurveSet
from pipeline.frozen import Scalar


@dataclass(frozen=True)
class Piece:
    """What to train next: a trial, from where it stands to an epoch; `knobs` where it is new."""

    trial: int
    stop: int
    knobs: Mapping[str, Scalar] | None = None


class Searcher(Protocol):
    """A search as the clock sees it."""

    def ask(self) -> Piece | None:
        """The next piece; None to wait for one that runs."""

    def tell(self, trial: int, epoch: int, value: float | None) -> None:
        """A piece has ended with this val_acc; None: it diverged."""

    def best(self) -> int | None:
        """The trial that the search would hand on now."""


def play(
    curves: CurveSet, searcher: Searcher, *, workers: int, budgets: tuple[float, ...], seed: int
) -> list[float]:
    """The regret of what the search would hand on at each of `budgets` (in full runs)."""
    chance = np.random.default_rng((seed, 7))
    full = curves.reference[2]
    deadlines = [budget * full / workers for budget in budgets]
    runs: dict[int, Curve] = {}
    stands: dict[int, int] = {}
    queue: list[tuple[float, int, int, int]] = []
    now, number, found = 0.0, 0, list[float]()
    truth = -np.inf
    while len(found) < len(deadlines):
        while len(queue) < workers and (piece := searcher.ask()) is not None:
            if piece.knobs is not None:
                runs[piece.trial] = curves.curve(piece.knobs, chance)
            run, begun = runs[piece.trial], stands.get(piece.trial, 0)
            stop = min(piece.stop, run.end)
            took = run.seconds[stop - 1] - (run.seconds[begun - 1] if begun else 0.0)
            number += 1
            heapq.heappush(queue, (now + took, number, piece.trial, stop))
        if not queue:
            raise RuntimeError("the search asks for nothing and nothing runs")
        now, _, trial, stop = heapq.heappop(queue)
        while len(found) < len(deadlines) and now > deadlines[len(found)]:
            found.append(1.0 if truth == -np.inf else curves.regret(truth))
        run = runs[trial]
        stands[trial] = stop
        lost = stop >= run.end and run.end < curves.num_epochs
        searcher.tell(trial, stop, None if lost else run.level(stop))
        best = searcher.best()
        truth = runs[best].truth if best is not None else -np.inf
    return found
