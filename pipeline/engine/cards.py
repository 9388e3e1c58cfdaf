"""GPUs that workers are lost on: which of them nothing is trained on any more."""

import os
import socket
from dataclasses import replace

from pipeline.counts import plural
from pipeline.engine.order import Order, Outcome

MOST_LOST = 3
"""Processes one after another, of different runs, after which a GPU is taken for broken: a run's
own fault, such as a label that there is not, would show on every one."""


class Cards:
    """Of a plan in this session, as its workers report them."""

    def __init__(self) -> None:
        self._lost: dict[str, list[str]] = {}  # card → runs of the processes lost there, in a row
        self.shunned: list[str] = []

    def take(self, run: str, outcome: Outcome) -> Outcome:
        """Take in how a segment ended; what the plan is to hear of it. A run is not blamed for the
        card that goes.
        """
        if not outcome.card or outcome.held:
            return outcome
        if not (outcome.broken and outcome.retry):  # else it was the run's own fault
            self._lost.pop(outcome.card, None)
            return outcome
        lost = self._lost.setdefault(outcome.card, [])
        lost.append(run)
        if len(lost) < MOST_LOST or len(set(lost)) < 2 or outcome.card in self.shunned:
            return outcome
        self.shunned.append(outcome.card)
        said = (
            f"{named(outcome.card)} has lost {plural(len(lost), 'process', 'processes')} one after "
            f"another, of {plural(len(set(lost)), 'run')}: from here on nothing is trained on it"
        )
        return replace(outcome, error=f"{outcome.error}; {said}", retry=True, blameless=True)


def card_of(order: Order) -> str:
    """What this process computes on, as Ray has given it: the GPUs' numbers and the host; "" for a
    CPU. It asks nothing of CUDA, which may be lost.
    """
    if order.device != "cuda":
        return ""
    return f"{os.environ.get('CUDA_VISIBLE_DEVICES', '')}@{socket.gethostname()}"


def named(card: str) -> str:
    """`GPU 1`, of this machine; of another with its name."""
    numbers, _, host = card.rpartition("@")
    what = f"{'GPUs' if ',' in numbers else 'GPU'} {numbers or '(unnumbered)'}"
    return what if host == socket.gethostname() else f"{what} of {host}"
