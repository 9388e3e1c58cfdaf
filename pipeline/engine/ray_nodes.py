"""The nodes of a cluster as Ray counts and chooses them, and what an epoch costs on one."""

import functools
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any

from pipeline.core.config import TrainConfig
from pipeline.core.costs import Shape
from pipeline.engine import ray_join  # noqa: F401  (before ray: it makes the environment)
from pipeline.engine.measure import START_SECONDS, Measured, measured
from pipeline.engine.nodes import Node
from pipeline.errors import printable
from pipeline.machine import Resources

# isort: split
import ray
from ray.tune import PlacementGroupFactory
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

NODE_ID = ray._raylet.RAY_NODE_ID_KEY
FIT: set[str] = set()
"""Ids of the nodes that runs may be on, for the copy that Tune makes of what it is to ask. Those
that are gone stay: where the ids change, Tune begins other workers.
"""


def alive() -> Iterator[Node]:
    """The nodes that there are."""
    for found in ray.nodes():
        if found["Alive"]:
            has = found["Resources"]
            yield Node(
                id=found["NodeID"],
                name=found["NodeManagerAddress"],
                num_cores=int(has.get("CPU", 0)),
                num_gpus=int(has.get("GPU", 0)),
                num_bytes=int(has.get("memory", 0)),
            )


def on(node: Node) -> NodeAffinitySchedulingStrategy:
    """For what is to be done on this node alone."""
    return NodeAffinitySchedulingStrategy(node.id, soft=False)


def request(share: dict[str, float]) -> Callable[[Any], PlacementGroupFactory]:
    """What Tune is to ask for each run: its share, on a node that was found fit."""
    return functools.partial(_asked, share)


def _asked(share: dict[str, float], _: Any) -> PlacementGroupFactory:
    among = {NODE_ID: f"in({','.join(sorted(FIT))})"}
    bundle = {name.upper(): num for name, num in share.items()}
    return PlacementGroupFactory([bundle], bundle_label_selector=[among])


def nodes_of(trial: Any) -> set[str]:
    """Ids of the nodes that Tune's trial may be on."""
    (among,) = trial.placement_group_factory._kwargs["bundle_label_selector"]
    return set(among[NODE_ID].removeprefix("in(").removesuffix(")").split(","))


def measured_on(
    node: Node,
    share: float,
    configs: Iterable[TrainConfig],
    shape: Shape,
    means: Resources,
    *,
    apart: bool,
    most_seconds: float,
    tell: Callable[[str], None],
) -> Measured:
    """See `measure.measured`: on this node, as many at once as it takes. apart: whether it does not
    see the command's disk.
    """
    num = min(node.places(share), means.workers)
    asked = {"num_gpus": math.ceil(share * num)} if share else {}
    words: Any = list(configs)
    what: Callable[..., Measured] = measured
    if apart:
        from pipeline.engine import ray_ferry  # torch takes seconds to import

        what, words = ray_ferry.measured_there, ray_ferry.packed(words)
    task = ray.remote(what).options(
        num_cpus=num, scheduling_strategy=on(node), max_retries=0, **asked
    )
    told = task.remote(words, shape, replace(means, workers=num), most_seconds=most_seconds)
    patience = most_seconds + min(START_SECONDS, 10.0 + 5.0 * most_seconds)
    try:
        return ray.get(told, timeout=patience)
    except ray.exceptions.GetTimeoutError:
        why = (
            f"node {node.name} had no room to measure an epoch in {patience:.0f} s: how long all "
            "takes is not foreseen"
        )
    except ray.exceptions.RayError as error:
        said = printable(str(error).strip().partition("\n")[0], 200)
        why = f"no epoch could be measured on node {node.name} ({said})"
    ray.cancel(told, force=True)
    tell(f"warning: {why}")
    return Measured()
