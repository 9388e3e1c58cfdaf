"""A segment that is carried out on a node which does not see the command's disk: its checkpoint
comes from there, all that it writes goes there before it is told of. Knows nothing of Ray.
"""

import contextlib
import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from pipeline.core.checkpoints import META, STATE, epochs
from pipeline.engine import run_log
from pipeline.engine.depot import CHUNK, Piece
from pipeline.engine.ferry import Aboard, Ask, fetched, refused, work_folder
from pipeline.engine.order import Order, Outcome
from pipeline.errors import MachineError, printable
from pipeline.record import lease

Work = Callable[[Order, Callable[[dict[str, float]], None]], Outcome]


class Voyage:
    """A segment that is carried out here for the command's disk. order: as the command has it."""

    def __init__(self, order: Order, aboard: Aboard, ask: Ask, node: str) -> None:
        self.segment, self.run, self.ask, self.node = order.segment, order.folder.name, ask, node
        self.order = aboard.local(order)
        self.home = work_folder(aboard.folder, order.segment)
        self.sent: set[str] = set()
        self.turned_away = False  # by the command's disk, not by this node's
        self.home.mkdir(parents=True, exist_ok=True)

    def carry_out(self, work: Work, on_epoch: Callable[[dict[str, float]], None]) -> Outcome:
        """`work`, with the newest checkpoint from there, and every new one there before it is told
        of.
        """

        def tell(epoch: dict[str, float]) -> None:
            self._give_checkpoints()
            on_epoch(epoch)

        try:
            self._begin()
            outcome = self._home(work(self.order, tell))
        except lease.LeaseLost as error:
            return Outcome(status="failed", error=str(error), retry=True)
        except ConnectionError as error:
            return Outcome(status="failed", error=printable(str(error), 500), retry=True)
        except MachineError as error:
            outcome = Outcome(status="machine", error=str(error))
        except OSError as error:
            outcome = Outcome(status="machine", error=str(refused(error)))
        if outcome.status == "machine" and not self.turned_away:
            return replace(outcome, status="failed", retry=True, blameless=True, apart=self.node)
        return outcome

    def end(self) -> None:
        """Remove all that it has left here."""
        shutil.rmtree(self.home, ignore_errors=True)

    def held(self) -> Callable[[], bool]:
        """Let the command know that this worker keeps what it has; returns whether it shall."""
        self._there("output", self.segment, b"")
        return lambda: bool(self._there("has_output", self.segment))

    def _begin(self) -> None:
        pieces = [Piece(**p) for p in self._there("begin", self.segment, self.run, self.node)]
        lease.grant(self.order.folder, self.segment)
        for piece in pieces:
            path = self.order.folder / piece.name
            fetched(piece, path, self._there, "read_checkpoint", self.segment, self.run)
        self.sent = {Path(piece.name).parent.name for piece in pieces}

    def _home(self, outcome: Outcome) -> Outcome:
        """Give back what the segment has ended with."""
        if outcome.status == "failed" and not outcome.parts:
            with contextlib.suppress(OSError):
                self._there("output", self.segment, _tail(self.order.output))
        if outcome.status == "reached":
            newest = epochs(self.order.folder)[-1]
            self._give_checkpoints()
            complete = not (newest / STATE).exists()
            self._there("settle", self.segment, self.run, complete)
            if outcome.evidence:
                self._there("evidence", self.segment, self.run, self.order.evidence.read_bytes())
        return outcome

    def _give_checkpoints(self) -> None:
        for folder in epochs(self.order.folder):
            if folder.name in self.sent:
                continue
            meta = (folder / META).read_bytes()
            hashes = {**json.loads(meta)["sha256"], META: hashlib.sha256(meta).hexdigest()}
            words = (self.segment, self.run, folder.name)
            for file in self._there("lacks", *words, hashes):
                with (folder / file).open("rb") as there:
                    start = 0
                    while (chunk := there.read(CHUNK)) or not start:
                        name = f"{folder.name}/{file}"
                        self._there("write", self.segment, self.run, name, start, chunk)
                        start += max(1, len(chunk))
            self._there("commit", *words)
            self.sent.add(folder.name)

    def _there(self, method: str, *words: Any) -> Any:
        try:
            return self.ask(method, *words)
        except MachineError:
            self.turned_away = True
            raise


def _tail(path: Path) -> bytes:
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - run_log.MAX_BYTES))
        return file.read()
