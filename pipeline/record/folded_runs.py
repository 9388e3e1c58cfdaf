"""The runs of a ledger, folded from the events that are about one run."""

from dataclasses import dataclass, field
from typing import Any, Literal

from pipeline.record import events
from pipeline.record.runs import Run, todays

Places = dict[str, dict[str, Any]]
"""Run → the number, knobs and names that it has in a search that it was not begun for."""


@dataclass
class Runs:
    """What is known of every run, and which search has which."""

    runs: dict[str, Run] = field(default_factory=dict)
    # search → runs by number; a configuration proposed twice keeps its first run, whichever search
    # that was begun for
    searches: dict[str, list[str]] = field(default_factory=lambda: {"": []})
    _adopted: dict[str, Places] = field(default_factory=dict)  # search → of runs begun elsewhere

    def _trial(self, event: events.Trial) -> None:
        run = Run(
            event.run,
            "trial",
            todays(event.config),
            number=event.trial,
            knobs=event.knobs,
            asked=event.asked,
            search=event.search,
            arm=event.arm,
            replicate=event.replicate,
            costs=event.costs,
        )
        self.runs[run.key] = run
        self.searches.setdefault(run.search, []).append(run.key)

    def _twin(self, event: events.Twin) -> None:
        key, search = event.run, event.search
        keys = self.searches.setdefault(search, [])
        own = self.runs[key]
        place = {"number": event.trial, "knobs": event.knobs, "asked": event.asked}
        stands = (own.search, own.number, own.knobs) == (search, event.trial, event.knobs)
        if key not in keys and not stands:
            place |= {"search": search, "arm": event.arm}
            self._adopted.setdefault(search, {})[key] = place
        keys.append(key)

    def _arm(self, event: events.Arm) -> None:
        known = self.runs.get(event.run)
        if known is not None:  # of an arm that was something else before the study grew, or a
            # source of variance was told by it before the arm had so many replicates
            known.kind, known.arm, known.replicate = "arm", event.arm, event.replicate
            return
        self._beside_search(event, "arm")

    def _source(self, event: events.Source) -> None:
        self._beside_search(event, "source")

    def _beside_search(
        self, event: events.Arm | events.Source, kind: Literal["arm", "source"]
    ) -> None:
        self.runs[event.run] = Run(
            event.run,
            kind,
            todays(event.config),
            arm=event.arm,
            replicate=event.replicate,
            data=event.data,
            core_version=event.core_version,
        )

    def _start(self, event: events.Start) -> None:
        run = self.runs[event.run]
        if event.code not in ("", *run.code):
            run.code.append(event.code)
        run.status, run.rung, run.error = "running", event.rung, ""
        run.parts, run.infeasible = event.parts or run.parts, False

    def _epoch(self, event: events.Epoch) -> None:
        run, metrics = self.runs[event.run], event.metrics
        if metrics["epoch"] == len(run.epochs) + 1:
            run.epochs.append({**metrics, "time": event.time})
            run.epoch_seqs.append(event.seq)

    def _rung(self, event: events.Rung) -> None:
        run = self.runs[event.run]
        run.rungs[event.rung] = event.value
        run.status, run.early = "paused", event.early

    def _end(self, event: events.End) -> None:
        run = self.runs[event.run]
        run.status, run.error, run.ended_seq = event.status, event.error, event.seq
        for name in ("best_epoch", "num_params", "num_macs", "num_train", "evidence", "device"):
            setattr(run, name, getattr(event, name) or getattr(run, name))
        run.test_loss, run.test_acc = event.test_loss, event.test_acc
        run.final, run.early = event.final, event.early or run.early
        run.infeasible = event.infeasible
        if event.infeasible and not run.epochs:
            run.parts = 0  # nothing was learned in them, and a larger device asks for none
        run.metrics = event.metrics
