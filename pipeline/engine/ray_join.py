"""Joining a cluster of Ray's that somebody else began, and noticing when its head is gone."""

import contextlib
import logging
import os
import re
import secrets
import socket
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pipeline.engine import nodes, ray_environment
from pipeline.engine.interrupts import Interrupts
from pipeline.errors import MachineError, UserError, printable

if "ray" not in sys.modules:  # before the modules for a Ray of one's own
    ray_environment.set_up_to_join()

import ray
from ray.air.execution._internal.actor_manager import RayActorManager
from ray.exceptions import OutOfMemoryError, RayActorError

AUTO = "auto"
CONNECT_SECONDS = 10.0
WATCH_SECONDS = 2.0
GONE_SECONDS = 30.0  # a head that does not answer for so long is gone
PACKAGE = Path(nodes.__file__).parents[1]


def join(address: str, interrupts: Interrupts) -> None:
    """Make this process a driver of the cluster, in a namespace of its own. This package goes with
    it to every node, so that all train by the same code.

    Raises UserError where there is no cluster that this machine is a node of.
    """
    found = _answering(address)
    ray._private.utils.set_sigterm_handler = lambda _: None  # the signals are `interrupts`'
    ray._private.worker.print_to_stdstream = lambda *_, **__: None
    RayActorManager._actor_task_failed = _a_workers_death(RayActorManager._actor_task_failed)
    try:
        ray.init(
            address=found,
            namespace=f"pipeline-{secrets.token_hex(8)}",
            logging_level=logging.CRITICAL,  # what goes wrong is told in our words
            log_to_driver=False,
            runtime_env={
                "py_modules": [str(PACKAGE)],
                "excludes": ["**/__pycache__"],
                "env_vars": ray_environment.of_workers(),
            },
        )
    except Exception as error:
        if interrupts.signal:
            raise
        why = printable(str(error).strip().partition("\n")[0].rstrip("."), 300)
        raise _refused(address, why) from error
    interrupts.install()
    logging.getLogger("ray").setLevel(logging.CRITICAL)


def require_own_node() -> None:
    """Raise MachineError where Ray's own process on this machine is gone: then all workers are lost
    to this command, and no run is at fault.
    """
    try:
        with socket.socket(socket.AF_UNIX) as pipe:
            pipe.connect(ray._private.worker._global_node.raylet_socket_name.removeprefix("unix:"))
    except OSError as error:
        raise MachineError(
            "Ray's process on this machine has ended, so that it is no node of the cluster any "
            "more; nothing is lost, the same command goes on once it is one again"
        ) from error


def _answering(address: str) -> str:
    """HOST:PORT of what the address names; Ray itself would wait for minutes for one that is not
    there. Raises UserError where nothing answers.
    """
    if address != AUTO and not re.fullmatch(r"\S+:\d{1,5}", address):
        raise _refused(address, "no HOST:PORT")
    try:
        found = str(ray._private.services.canonicalize_bootstrap_address(address))
        host, _, port = found.rpartition(":")
        socket.create_connection((host.strip("[]"), int(port)), CONNECT_SECONDS).close()
    except (OSError, ValueError, OverflowError) as error:
        raise _refused(address, printable(str(error).partition(".")[0], 200)) from error
    return found


def _refused(address: str, why: str) -> UserError:
    return UserError(
        f"--address: got {printable(address)}, which cannot be joined ({why}); give HOST:PORT of a "
        "running cluster that this machine is a node of (ray start --address=HOST:PORT "
        "--num-cpus=0 makes it one), or auto"
    )


def watch(over: threading.Event) -> None:
    """Leave at once when the cluster's head is gone: Ray would end this process in its own
    words.
    """
    host, _, port = ray.get_runtime_context().gcs_address.rpartition(":")
    host = host.strip("[]")  # of IPv6
    answered = time.monotonic()
    while not over.wait(WATCH_SECONDS):
        with contextlib.suppress(OSError), socket.create_connection((host, int(port)), 5.0):
            answered = time.monotonic()
        if time.monotonic() - answered > GONE_SECONDS and not over.is_set():
            print(
                f"error: the head of the cluster, {host}:{port}, has not answered for "
                f"{GONE_SECONDS:.0f} s; nothing is lost, the same command goes on from here",
                file=sys.stderr,
                flush=True,
            )
            os._exit(MachineError.exit_code)


def _a_workers_death(failed: Callable[..., None]) -> Callable[..., None]:
    """Ray's own handler, told of a worker that a node ended for want of memory as of any that died:
    else it ends the command.
    """

    def handle(manager: Any, tracked_actor_task: Any, exception: Exception) -> None:
        if isinstance(exception, OutOfMemoryError):
            exception = RayActorError(error_msg=str(exception))
        failed(manager, tracked_actor_task, exception)

    return handle
