"""A cluster of Ray's that somebody else began, as an executor: its nodes are looked at, and those
on which these runs cannot be trained are left out, with a word. Nothing of it is ended but the
command's own workers.
"""

import contextlib
import functools
import gc
import secrets
import shutil
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from pipeline.core.config import TrainConfig
from pipeline.core.costs import Shape
from pipeline.counts import plural
from pipeline.engine.ray_join import join, require_own_node, watch

# isort: split
import ray

from pipeline.engine import nodes, ray_nodes, ray_tune, run_log
from pipeline.engine.interrupts import Interrupts
from pipeline.engine.measure import Measured
from pipeline.engine.nodes import Look, Node
from pipeline.engine.order import Order, Outcome
from pipeline.engine.processes import without_garbage
from pipeline.engine.queue import Plan
from pipeline.engine.ray_copies import Copies
from pipeline.engine.ray_nodes import FIT
from pipeline.errors import MachineError, UserError, printable
from pipeline.machine import Resources, make_anew, versions

LOOK_SECONDS = 5.0  # between looks at the nodes: one may have come or gone
TOKEN = ".seen-"
WORD_SECONDS = 15.0  # a cluster that is full is spoken of after so long
ANSWER_SECONDS = 300.0  # a node has to fetch the code, and may load torch for the first time
Tell = Callable[[str], None]


class Cluster:
    """The cluster at an address, joined by this process until `close`. `tell` says a line to the
    user.

    Raises UserError where there is none that this machine is a node of. Nodes that do not see the
    folder `mlruns`, which may not be there yet, get copies of what runs need.
    """

    def __init__(self, address: str, mlruns: Path, interrupts: Interrupts, tell: Tell) -> None:
        self.address, self.mlruns, self.tell = address, mlruns.resolve(), tell
        self._over = threading.Event()
        self._share, self._most = 0.0, 0  # most: runs at once, as asked for; 0: as many as can be
        self._token = Path()  # what a node has to see
        self._usable: dict[str, tuple[Node, Look]] = {}  # also those that are gone
        self._refused: set[str] = set()
        self._asked: dict[Any, Node] = {}  # that have not answered yet
        self.copies: Copies | None = None  # for nodes that do not see the folder, once it is full
        self._gone: dict[str, float] = {}  # usable once → when it was missed
        self._looked = 0.0
        join(address, interrupts)
        threading.Thread(target=watch, args=(self._over,), name="ray watch", daemon=True).start()

    def resources(self, workers: int | None, gpus_per_trial: float | None) -> Resources:
        """All GPUs of the nodes, one for each run unless `gpus_per_trial` says otherwise, else all
        their cores; at most `workers` runs.

        Raises UserError where no node has what is asked for, or none can train.
        """
        self._share = nodes.share_of(list(ray_nodes.alive()), gpus_per_trial)
        self._most = workers or 0
        there = next(one for one in (self.mlruns, *self.mlruns.parents) if one.is_dir())
        with self._seen(there):
            self._look(seconds=ANSWER_SECONDS)
        return self._resources()

    def run(
        self,
        plan: Plan,
        resources: Resources,
        data: Path,
        *,
        interrupts: Interrupts,
        deadline: float = float("inf"),
        on_step: Callable[[], None] = lambda: None,
    ) -> None:
        """See `Executor`."""
        segments = Spread(self, plan, data, resources, interrupts, deadline)
        run_log.clear(segments.folder)
        storage = segments.folder / "tune"
        for token in segments.folder.glob(f"{TOKEN}*"):  # of a command that was killed
            token.unlink(missing_ok=True)
        with self._seen(segments.folder), ray_tune.explained(segments):
            step = functools.partial(self._step, segments, on_step)
            try:
                blind = [node for node, found in self._there() if not found.sees]
                self.copies = Copies(segments.folder, data, self._token)
                if blind:
                    self.tell(self.copies.send(*blind))
                    segments.resources = self._resources()
                if not self._there():
                    self._await_others(segments, step)
                while not segments.stopping:
                    make_anew(storage)
                    ray_tune.train(segments, storage, Pulse(segments, step), ray_nodes.request)
                    if segments.stopping or not segments.left:
                        break
                    self._await_others(segments, step)
                    if segments.stopping:  # Tune, without a trial, would ask for ever
                        break
            finally:
                shutil.rmtree(storage, ignore_errors=True)
                if self.copies:
                    self.copies.clear()

    def measured(
        self,
        configs: Iterable[TrainConfig],
        shape: Shape,
        means: Resources,
        *,
        most_seconds: float,
    ) -> Measured:
        """See `measure.measured`: on the node that takes most runs, as many at once as it takes."""
        node, found = max(self._there(), key=lambda one: one[0].places(self._share))
        return ray_nodes.measured_on(
            node,
            self._share,
            configs,
            shape,
            means,
            apart=not found.sees,
            most_seconds=most_seconds,
            tell=self.tell,
        )

    def close(self) -> None:
        """Leave the cluster; what it still trains of this command is ended by it."""
        self._over.set()
        with without_garbage():
            ray.shutdown()

    def died_since(self, when: float) -> str:
        """A node that was used and was missed after this moment (monotonic); "" where none was."""
        self._look()
        died = (node for node, at in self._gone.items() if at >= when)
        return next((self._usable[one][0].name for one in died if one in self._usable), "")

    def leave_out(self, node_id: str, why: str) -> None:
        """Train nothing more on a node whose own disk refuses."""
        if node_id in self._usable:
            self._leave_out(self._usable.pop(node_id)[0], why)
            FIT.discard(node_id)

    def _hear_of_copies(self) -> None:
        for node, why in self.copies.arrived() if self.copies else ():
            if why and node.id not in self._gone:
                self.leave_out(node.id, why)
            elif not why:
                FIT.add(node.id)
                self._looked = 0.0  # there is more room from this moment on

    def _step(self, segments: "Spread", on_step: Callable[[], None]) -> None:
        self._hear_of_copies()
        if time.monotonic() - self._looked > LOOK_SECONDS:
            self._look()
            segments.resources = self._resources()
        on_step()

    def _await_others(self, segments: "Spread", step: Callable[[], None]) -> None:
        """After Tune was left, since the nodes that it waited for are gone: until there is one."""
        if not self._there() and not (self.copies and self.copies.awaited):
            self.tell(
                "no node of the cluster is left to train on: waiting for one (Ctrl-C ends that; "
                "nothing is lost)"
            )
        while not self._there() and not segments.stopping:
            time.sleep(1.0)
            segments._guarded(step)
        fit = {node.id for node, _ in self._there()}
        FIT.clear()
        FIT.update(fit)
        segments.renew()
        segments.left = False
        gc.collect()  # Tune's workers, which nobody hears any more, go with what names them

    def deserted(self, trials: list[Any]) -> bool:
        """Whether one of Tune's trials waits for nodes that are all gone: for ever."""
        there = {node.id for node, _ in self._there()}
        waiting = (trial for trial in trials if trial.status == trial.PENDING)
        return any(not ray_nodes.nodes_of(trial) & there for trial in waiting)

    def _look(self, seconds: float = 0.0) -> None:
        """See which nodes have come and gone, ask those that have come what they are, and hear the
        answers there are in so many seconds; says what has changed.
        """
        self._looked = time.monotonic()
        alive = {node.id: node for node in ray_nodes.alive()}
        for gone in self._usable.keys() - alive.keys() - self._gone.keys():
            self._gone[gone] = self._looked
            self.tell(f"node {self._usable[gone][0].name} of the cluster is gone; its runs go on")
        known = self._usable.keys() | self._refused | {node.id for node in self._asked.values()}
        for node in alive.values():
            if node.id not in known and node.places(self._share):
                told = ray.remote(nodes.look).options(
                    num_cpus=0, scheduling_strategy=ray_nodes.on(node), max_retries=0
                )
                device = "cuda" if self._share else "cpu"
                self._asked[told.remote(device, str(self._token), self._share)] = node
        if not self._asked:
            return
        answers, _ = ray.wait(list(self._asked), num_returns=len(self._asked), timeout=seconds)
        for answer in answers:
            self._hear(self._asked.pop(answer), answer, joined=not seconds)
        for late in [*self._asked] if seconds else ():
            self._leave_out(self._asked.pop(late), f"it does not answer in {seconds:.0f} s")

    def _hear(self, node: Node, answer: Any, *, joined: bool) -> None:
        try:
            found = Look(**ray.get(answer))
        except ray.exceptions.RayError as error:
            return self._leave_out(node, str(error).strip().rpartition("\n")[2])
        if why := nodes.refusal(found, versions()):
            return self._leave_out(node, why)
        self._usable[node.id] = (node, found)
        if found.sees:
            FIT.add(node.id)
        elif self.copies:
            self.tell(self.copies.send(node))
        if joined:
            num = node.places(self._share)
            copies = "" if found.sees else ", once it has its copies"
            more = f"{plural(num, 'run')} more at once{copies}"
            self.tell(f"node {node.name} has joined the cluster: {more}")
        return None

    def _leave_out(self, node: Node, why: str) -> None:
        self._refused.add(node.id)
        self.tell(f"warning: node {node.name} of the cluster is left out: {printable(why, 400)}")

    @contextlib.contextmanager
    def _seen(self, folder: Path) -> Iterator[None]:
        """A file of this moment in the folder: who sees it sees the same disk. Raises MachineError
        where it cannot be written.
        """
        self._token = folder / f"{TOKEN}{secrets.token_hex(8)}"
        try:
            self._token.touch()
        except OSError as error:
            raise MachineError(f"{printable(folder)}: cannot be used: {error.strerror}") from error
        try:
            yield
        finally:
            self._token.unlink(missing_ok=True)

    def any_there(self) -> bool:
        """Whether there is a node to train on."""
        return bool(self._there())

    def _there(self) -> list[tuple[Node, Look]]:
        """The nodes that runs can be on; those without copies too, before it is known of what."""
        there = self._usable.keys() - self._gone.keys()
        return [
            found
            for one, found in self._usable.items()
            if one in there and (one in FIT or not self.copies)
        ]

    def _resources(self) -> Resources:
        """What there is now; where all nodes are gone, one run is kept waiting for others."""
        if not self._usable:
            raise UserError(
                f"--address: these runs can be trained on no node of {printable(self.address)}; "
                "the warnings above say why"
            )
        there = self._there()
        room = sum(node.places(self._share) for node, _ in there)
        known = there or list(self._usable.values())
        return Resources(
            workers=max(1, min(room, self._most or room)),
            gpus_per_trial=self._share,
            num_gpus=sum(node.num_gpus for node, _ in there) if self._share else 0,
            machine=nodes.machine(known),
            fast=nodes.fast(known),
        )


class Spread(ray_tune.Segments):
    """Segments whose workers may die with their node, which is no fault of their runs."""

    def __init__(self, cluster: Cluster, *words: Any) -> None:
        super().__init__(*words)
        self.cluster, self.since = cluster, dict[str, float]()
        self.left = False  # whether Tune was left for want of nodes, no fault of any run's

    def suggest(self, trial_id: str) -> Any:
        if not self.cluster.any_there():
            self.left = True
            return self.FINISHED
        self.since[trial_id] = time.monotonic()
        return super().suggest(trial_id)

    def _told(self, order: Order) -> dict[str, str]:
        assert self.cluster.copies
        return super()._told(order) | self.cluster.copies.told(order)

    def _finish(self, segment: str, outcome: Outcome) -> None:
        if outcome.apart:
            self.cluster.leave_out(outcome.apart, outcome.error)
        super()._finish(segment, outcome)

    def _salvage(self, segment: str) -> None:
        assert self.cluster.copies
        self.cluster.copies.salvage(segment)

    def _death(self, trial_id: str) -> Outcome:
        require_own_node()
        since = 0.0 if self.left else self.since.get(trial_id, 0.0)
        gone = self.cluster.died_since(since)
        error = f"node {gone} of the cluster is gone" if gone else "the worker process died"
        return Outcome(status="failed", error=error, retry=True, blameless=bool(gone))


class Pulse(ray_tune.Heartbeat):
    """Waits for a cluster that others fill, with a word; leaves Tune where that waits in vain."""

    said = False

    def on_step_end(self, *, trials: list[Any], **rest: Any) -> None:
        super().on_step_end(trials=trials, **rest)
        assert isinstance(self.segments, Spread)
        if not self.segments.cluster.any_there() or self.segments.cluster.deserted(trials):
            self.segments.left = True
            raise ray_tune.Ended

    def _require_an_answer(self, trials: list[Any]) -> None:
        waits = bool(trials) and all(trial.status == trial.PENDING for trial in trials)
        self.asked = min(self.asked, time.monotonic()) if waits else float("inf")
        if waits and not self.said and time.monotonic() - self.asked > WORD_SECONDS:
            self.said = True
            assert isinstance(self.segments, Spread)
            self.segments.cluster.tell(
                "no run has begun on the cluster yet: others may fill it, or its nodes take long "
                "to load; waiting (Ctrl-C ends that; nothing is lost)"
            )
