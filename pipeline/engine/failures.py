"""Attempts of runs that failed: what is tried again, what is given up, and when all is."""

import json
from collections import Counter
from collections.abc import Mapping
from typing import Any

from pipeline.engine import run_log
from pipeline.engine.order import Outcome
from pipeline.errors import PipelineError
from pipeline.frozen import flatten
from pipeline.record import events
from pipeline.record.ledger import Ledger
from pipeline.record.record import Record, Run

MAX_ATTEMPTS = 3
MAX_FAILED_IN_A_ROW = 3
LIGHT = ("epochs", "patience", "split", "folds", "metrics", "select")  # memory knows none of them


class TooManyFailures(PipelineError):
    """Different runs failed one after another: the fault is not one configuration's."""

    exit_code = 3


class Failures:
    """Those of a plan in this session."""

    def __init__(self, ledger: Ledger, record: Record) -> None:
        self.ledger = ledger
        self.attempts: Counter[str] = Counter()
        self.in_a_row: list[str] = []
        self._parts: dict[str, int] = {}  # run → parts of a batch that the next attempt is made in
        self._learnt: dict[str, int] = {}  # what runs weigh → the same, of the finest of them
        for run in record.runs.values():
            if run.epochs:  # else it may fit nowhere, or whole on another device
                self._learn(run, run.parts)

    def parts(self, run: Run) -> int:
        """In how many parts a batch of the run is computed, where that is more than asked for. One
        that has not begun need not find out what others have that take as much memory.
        """
        fresh = self._learnt and not run.epochs
        learnt = self._learnt.get(_weight(run.config), 0) if fresh else 0
        return max(run.parts, self._parts.get(run.key, 0), learnt)

    def over(self, key: str) -> None:
        """A segment of the run has ended well: what comes next is another segment's."""
        self.in_a_row.clear()
        del self.attempts[key]

    def _learn(self, run: Run, parts: int) -> None:
        if parts:
            weight = _weight(run.config)
            self._learnt[weight] = max(parts, self._learnt.get(weight, 0))

    def again(self, run: Run, segment: str, outcome: Outcome) -> bool:
        """Take in a segment that failed; whether the run is to be tried again. If not, its end is
        in the ledger.

        What the memory was too small for is no attempt where it goes on in more parts, and, where
        nothing is left to cut, says nothing of the machine. Raises TooManyFailures.
        """
        if outcome.held:
            return True
        if outcome.parts:
            self._parts[run.key] = outcome.parts
            self._learn(run, outcome.parts)
            return True
        self.attempts[run.key] += not outcome.blameless
        facts = run_log.facts(run, outcome.error, self.attempts[run.key])
        log = run_log.write(self.ledger.folder, run.key, segment, facts)
        self.ledger.append(events.Fail(run=run.key, error=outcome.error, log=log))
        if outcome.retry and self.attempts[run.key] < MAX_ATTEMPTS:
            return True
        end = outcome.end(run.key, "failed")
        self.ledger.append(end)
        if not end.infeasible:
            self.in_a_row.append(run.key)
        if len(self.in_a_row) >= MAX_FAILED_IN_A_ROW:
            raise TooManyFailures(
                f"{MAX_FAILED_IN_A_ROW} different runs failed one after another, the last one "
                f"with: {outcome.error}; what is done is kept, the same command goes on from here"
            )
        return False


def _weight(config: Mapping[str, Any]) -> str:
    """What runs have in common that take as much memory: names, counts and a network's own numbers;
    of other numbers that are no counts, whether they are off.
    """
    flat = flatten({name: value for name, value in config.items() if name not in LIGHT})
    heavy = {
        path: bool(value) if isinstance(value, float) and _is_light(path) else value
        for path, value in flat
    }
    return json.dumps(heavy, sort_keys=True)


def _is_light(path: str) -> bool:
    return not path.startswith("model.") or path == "model.dropout"
