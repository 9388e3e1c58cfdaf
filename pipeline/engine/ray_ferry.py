"""The ferry over Ray: the depot is an actor on the command's node, and files go through Ray's
object store, chunk by chunk.
"""

import contextlib
import functools
import json
import os
import secrets
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import ray
from ray import tune
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from pipeline.core.config import TrainConfig
from pipeline.core.costs import Shape
from pipeline.engine import cargo as stowed
from pipeline.engine import ferry
from pipeline.engine.depot import Depot, Piece
from pipeline.engine.ferry import Cargo
from pipeline.engine.measure import Measured, measured
from pipeline.engine.order import Order, Outcome, Report
from pipeline.engine.voyage import Voyage, Work
from pipeline.errors import MachineError, PipelineError, UserError, printable
from pipeline.machine import Resources

DEPOT = "depot"
ANSWER_SECONDS = 10.0  # for what a node that may be in trouble is asked in passing


class Ferry:
    """Of a command whose study lies in `folder`. token: a file there, by which a process knows that
    it sees the disk.
    """

    def __init__(self, folder: Path, data: Path, token: Path) -> None:
        self.folder, self.token, self.session = folder, token, secrets.token_hex(8)
        self.nodes, self._silent = set[str](), set[str]()  # that were asked to have the cargo
        self.pictures = data.name
        paths = stowed.pictures(data)
        self.num_bytes = sum(path.stat().st_size for path in paths.values())
        own = ray.get_runtime_context().get_node_id()
        self.depot = (
            ray.remote(Depot)
            .options(name=DEPOT, num_cpus=0, max_concurrency=64, scheduling_strategy=_on(own))
            .remote(str(folder))
        )
        self.pieces = self._offered(paths | stowed.code())
        self._named: set[str] = set()

    def load(self, node: str) -> Any:
        """Ask a node to have what all runs need; what tells, when it is there, why it cannot be."""
        self.nodes.add(node)
        return (
            ray.remote(_load)
            .options(**_there(node))
            .remote(self.session, self.pictures, self.pieces)
        )

    def cargo(self, config: TrainConfig) -> str:
        """What a run of this configuration needs, as JSON; after the first node has been loaded."""
        with contextlib.suppress(PipelineError):  # the run says itself what is missing
            paths = stowed.named(config)
            if new := {key: path for key, path in paths.items() if key not in self._named}:
                ray.get(self._offered(new))
                self._named |= new.keys()
            return self._told(list(paths))
        return self._told([])

    def _told(self, named: list[str]) -> str:
        tree = {"session": self.session, "pictures": self.pictures, "named": named}
        return json.dumps(tree | {"token": str(self.token)})

    def salvage(self, segment: str, alive: Iterable[str]) -> None:
        """Bring what a worker that is gone has left, where its node is still there."""
        with contextlib.suppress(ray.exceptions.RayError, OSError):  # timeouts among them
            node = ray.get(self.depot.node.remote(segment), timeout=ANSWER_SECONDS)
            if node not in {*alive} - self._silent:
                return
            task = ray.remote(ferry.left_behind).options(**_there(node))
            self._silent.add(node)  # a node that died, which is not known yet, is waited for once
            found = ray.get(task.remote(self.session, segment), timeout=ANSWER_SECONDS)
            self._silent.discard(node)
            (self.folder / "logs").mkdir(exist_ok=True)
            for name, content in found.items():
                (self.folder / "logs" / name).write_bytes(content)

    def clear(self, alive: Iterable[str]) -> None:
        """Let nodes remove what they keep of this command, but for pictures."""
        task = ray.remote(ferry.clear)
        asked = [task.options(**_there(one)).remote(self.session) for one in self.nodes & {*alive}]
        with contextlib.suppress(ray.exceptions.RayError, ValueError):  # there are none
            ray.wait(asked, num_returns=len(asked), timeout=ANSWER_SECONDS)

    def _offered(self, paths: Mapping[str, Path]) -> Any:
        return self.depot.offer.remote({key: str(path.absolute()) for key, path in paths.items()})


def packed(configs: Iterable[TrainConfig]) -> tuple[dict[str, bytes], list[dict[str, Any]]]:
    """For `measured_there`: the user's code, and the configs that may name it."""
    code = {key: path.read_bytes() for key, path in stowed.code().items()}
    return code, [config.model_dump(mode="json") for config in configs]


def measured_there(
    cargo: tuple[Mapping[str, bytes], list[dict[str, Any]]],
    shape: Shape,
    means: Resources,
    *,
    most_seconds: float,
) -> Measured:
    """See `measure.measured`: on a node that does not see the user's code."""
    code, trees = cargo
    with tempfile.TemporaryDirectory() as folder:
        for key, content in code.items():
            path = Path(folder, key)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        sys.path.insert(0, str(Path(folder, "code")))
        try:
            configs = [TrainConfig.parse(tree, source="measure") for tree in trees]
            return measured(configs, shape, means, most_seconds=most_seconds)
        finally:
            sys.path.pop(0)


def carry_out_apart(config: Mapping[str, str], work: Work, carry_out: Callable[..., None]) -> None:
    """`carry_out` of an order, whose folders this process may not see."""
    tree = json.loads(config["cargo"])
    if _sees(tree["token"]):
        return carry_out(Order.from_json(config["order"]), work)
    node, ask = ray.get_runtime_context().get_node_id(), _depot()
    try:
        pieces = ask("pieces", tree["named"])
        cargo = _cargo(tree["session"], tree["pictures"], pieces)
        aboard = ferry.load(cargo, ask)
    except (MachineError, UserError, OSError) as error:
        machine = isinstance(error, MachineError)
        failed = Outcome(
            status="failed",
            error=printable(str(error), 500),
            retry=not isinstance(error, UserError),
            blameless=machine,
            apart=node if machine else "",
        )
        segment = json.loads(config["order"])["segment"]
        return tune.report({"report": Report(segment, failed).to_json()})
    ferry.use(cargo, aboard)
    voyage = Voyage(Order.from_json(config["order"]), aboard, ask, node)
    try:
        carry_out(voyage.order, functools.partial(_carried, voyage, work), voyage.held)
    finally:
        voyage.end()
    return None


@functools.cache
def _sees(token: str) -> bool:
    return os.path.exists(token)


def _carried(
    voyage: Voyage, work: Work, _: Order, on_epoch: Callable[[dict[str, float]], None]
) -> Outcome:
    return voyage.carry_out(work, on_epoch)


def _cargo(session: str, pictures: str, pieces: list[dict[str, Any]]) -> Cargo:
    return Cargo(session, pictures, tuple(Piece(**piece) for piece in pieces))


def _load(session: str, pictures: str, pieces: list[dict[str, Any]]) -> str:
    """Have this on this node; why that cannot be, "" where it is there."""
    try:
        ferry.load(_cargo(session, pictures, pieces), _depot())
    except (MachineError, UserError, OSError) as error:
        return str(error)
    return ""


def _depot() -> ferry.Ask:
    depot = ray.get_actor(DEPOT)

    def ask(method: str, *words: Any) -> Any:
        try:
            return ray.get(getattr(depot, method).remote(*words))
        except ray.exceptions.RayTaskError as error:
            cause = error.cause
            if isinstance(cause, OSError):
                raise ConnectionError(str(cause)) from None
            raise cause from None
        except ray.exceptions.RayError as error:
            why = printable(str(error).strip().partition("\n")[0], 200)
            raise ConnectionError(f"the command's machine cannot be reached ({why})") from None

    return ask


def _there(node: str) -> dict[str, Any]:
    return {"num_cpus": 0, "max_retries": 0, "scheduling_strategy": _on(node)}


def _on(node: str) -> NodeAffinitySchedulingStrategy:
    return NodeAffinitySchedulingStrategy(node, soft=False)
