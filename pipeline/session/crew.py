"""Who trains a command's runs: on this machine or a cluster, with what, by which executor."""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.engine import measure
from pipeline.engine.interrupts import Interrupted, Interrupts
from pipeline.errors import UserError
from pipeline.machine import Resources, resources
from pipeline.record.record import Record
from pipeline.session.options import Options
from pipeline.session.preflight import is_promising
from pipeline.study.study import Study

if TYPE_CHECKING:
    from pipeline.engine.executor import Executor

CLIENT = "ray://"  # of Ray's client: what it joins is driven from another process


@dataclass(frozen=True)
class Crew:
    """What runs may use, what executes them, asked for when they begin, and how their cost is
    measured beforehand.
    """

    means: Resources
    executor: "Callable[[], Executor]"
    measured: measure.Measure = measure.measured
    early: bool = False  # whether the executor's own processes may start before there is a plan

    @contextlib.contextmanager
    def beforehand(
        self, folder: Path, interrupts: Interrupts, study: Study, record: Record
    ) -> Iterator[None]:
        """What takes seconds to start is started for the block, where something will be trained in
        it.
        """
        if not (self.early and is_promising(study, record)):
            yield
            return
        from pipeline.engine.ray_node import beforehand

        with beforehand(folder.resolve(), self.means, interrupts):
            yield


@contextlib.contextmanager
def hired(options: Options, interrupts: Interrupts, tell: Callable[[str], None]) -> Iterator[Crew]:
    """Those that the options ask for; a cluster is joined for the block, and `tell` says of it what
    the user should know. Raises UserError where there is not what is asked for.
    """
    if not options.address:
        workers = 1 if options.debug else options.workers
        means = resources(workers, options.gpus_per_trial)
        # where time is limited an epoch is measured first, and nothing may disturb that
        early = not options.debug and not options.is_limited
        yield Crew(means, _in_process if options.debug else _ray_tune, early=early)
        return
    if options.address.startswith(CLIENT):
        raise UserError(
            f"--address: got {options.address}, Ray's client, whose driver is another process; run "
            "the command on a node of the cluster (by ray job submit, say) and give HOST:PORT, or "
            "auto"
        )
    from pipeline.engine.ray_cluster import Cluster

    cluster = Cluster(options.address, Path(options.mlruns), interrupts, tell)
    try:
        means = cluster.resources(options.workers, options.gpus_per_trial)
        yield Crew(means, lambda: cluster, cluster.measured)
    except KeyboardInterrupt:  # Ray waits below Python, and raises one that names no signal
        if interrupts.signal:
            raise Interrupted(interrupts.signal) from None
        raise
    finally:
        cluster.close()


def _in_process() -> "Executor":
    from pipeline.engine import in_process

    return in_process


def _ray_tune() -> "Executor":
    from pipeline.engine import ray_tune

    return ray_tune
