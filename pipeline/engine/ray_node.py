"""Ray's own processes on this machine: started for one command, watched, ended with it."""

import atexit
import contextlib
import logging
import os
import shutil
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pipeline
from pipeline.engine import ray_environment
from pipeline.engine.interrupts import Interrupts
from pipeline.engine.processes import (
    descendants,
    end_descendants,
    outlived_by_none,
    without_garbage,
)
from pipeline.errors import MachineError, printable
from pipeline.machine import RAY_FOLDER, Resources, make_anew, temp_folder

if "ray" not in sys.modules:  # in its workers it is, and has given them their environment
    ray_environment.set_up()

import ray

WATCH_SECONDS = 2.0
NEEDLESS = (  # a Python process each, a second of a core: nobody reads what they would show
    "start_api_server",  # the dashboard's; without it telemetry alone, which is off
    "start_log_monitor",  # hands the workers' output to the driver, which does not ask for it
    "start_monitor",  # the autoscaler's
)
LOADED = ("pipeline.engine.ray_segment", "pipeline.engine.worker")  # seconds of a core
INSTALLED = ("site-packages", "dist-packages")
EARLY = contextlib.ExitStack()  # ends a Ray that was started beforehand
OBJECT_STORE_BYTES = 80 * 2**20  # only dicts travel; pictures are memory-mapped


@contextlib.contextmanager
def running(folder: Path, resources: Resources, interrupts: Interrupts) -> Iterator[Path]:
    """Ray with the workers and GPUs of `resources`, for the study in `folder`: what was started
    `beforehand`, or else a new one; none of its processes outlives the block. Gives the temporary
    folder that it lies in, which is this user's own. Raises MachineError where Ray does not start.
    """
    with EARLY.pop_all() if ray.is_initialized() else _started(folder, resources, interrupts):
        yield temp_folder(folder)


@contextlib.contextmanager
def beforehand(folder: Path, resources: Resources, interrupts: Interrupts) -> Iterator[None]:
    """Ray starts, and its workers load what they need, while the block prepares what is to be
    trained by `running` in it. Where Ray does not start, `running` tries again, and says so.
    """
    with EARLY:
        # a Ray that is left half begun takes this process along (SIGSEGV)
        with contextlib.suppress(MachineError), interrupts.kept():
            EARLY.enter_context(_started(folder, resources, interrupts))
            interrupts.spared = descendants(os.getpid())  # without them to leave it takes 5 s
        try:
            yield
        finally:
            interrupts.spared = ()


@contextlib.contextmanager
def _started(folder: Path, resources: Resources, interrupts: Interrupts) -> Iterator[None]:
    temp, over = temp_folder(folder), threading.Event()
    make_anew(temp)
    try:
        _start(resources.workers, resources.num_gpus, temp, interrupts)
        watch = threading.Thread(
            target=_watch, args=(over, interrupts), name="ray watch", daemon=True
        )
        watch.start()
        yield
    finally:
        over.set()
        _end()
        shutil.rmtree(temp, ignore_errors=True)


def _start(workers: int, num_gpus: int, temp: Path, interrupts: Interrupts) -> None:
    """Start Ray; where it does not come up (on a busy machine it waits half a minute for itself in
    vain), once more.
    """
    if ray._raylet.get_authentication_mode() != ray._raylet.AuthenticationMode.TOKEN:
        raise MachineError(
            "Ray was imported before this command's own part of it: it would let other users of "
            "this machine in"
        )
    ray._private.utils.set_sigterm_handler = lambda _: None  # the signals are `interrupts`'
    ray._private.worker.print_to_stdstream = lambda *_, **__: (
        None
    )  # how a worker died is told by the plan, in a line
    for needless in NEEDLESS:
        setattr(ray._private.node.Node, needless, lambda *_, **__: None)
    # idle workers above the cores that are free are ended: as Tune reserves its cores, all of them
    os.environ |= {"RAY_num_workers_soft_limit": str(workers)}
    _lead_to_this_package()
    if not num_gpus:  # what a worker sees of them is settled before it loads torch
        os.environ |= {"RAY_preload_python_modules": ",".join(LOADED)}
    for last in (False, True):
        # a signal to the whole group (a closed terminal, Slurm) is the driver's to hear: without
        # Ray it could not end cleanly. And of a Ray whose driver was killed, two agents would look
        # for the rest for most of a minute
        ray._private.services.ConsolePopen = outlived_by_none("RAY_AUTH_TOKEN")
        try:
            ray.init(
                address="local",
                num_cpus=workers,
                num_gpus=num_gpus,
                include_dashboard=False,
                logging_level=logging.CRITICAL,  # what goes wrong is told in our words
                log_to_driver=False,
                object_store_memory=OBJECT_STORE_BYTES,
                _temp_dir=str(temp / RAY_FOLDER),
            )
            break
        except Exception as error:
            if last and not interrupts.signal:
                why = printable(str(error).strip().partition("\n")[0].rstrip("."), 300)
                raise MachineError(
                    "Ray did not start in two tries, as on a machine that is too busy or short of "
                    f"memory ({why}); nothing is lost, the same command goes on"
                ) from error
            if interrupts.signal:
                raise
            _end()
            make_anew(temp)
    interrupts.install()
    logging.getLogger("ray").setLevel(logging.CRITICAL)  # a worker's death is told by the plan


def _lead_to_this_package() -> None:
    """A worker loads it before Ray tells it the command's working directory: in another folder than
    the one that is installed it would train with the code of that.
    """
    root = Path(pipeline.__file__).absolute().parents[1]
    known = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    # where others are installed it is found anyway, and they would come before Python's own modules
    if root.name not in INSTALLED and str(root) not in known:
        os.environ["PYTHONPATH"] = os.pathsep.join((str(root), *known))


def _end() -> None:
    """Disconnect from Ray, then kill its processes: Ray itself waits for each of them, and for some
    not at all.

    What Tune leaves holds references to Ray's objects in circles. Where a thread's garbage
    collection meets one while Ray disconnects, Ray ends this process ("The core worker has already
    been shutdown").
    """
    if (
        "colorama.initialise" in sys.modules
    ):  # Ray's own; it would end the screen with an escape sequence on any terminal
        atexit.unregister(sys.modules["colorama.initialise"].reset_all)
    with without_garbage():
        ray._private.worker._global_node = (
            None  # else its processes are ended one by one, a second or two for each
        )
        ray.shutdown()
        end_descendants()


def _watch(over: threading.Event, interrupts: Interrupts) -> None:
    """Leave at once when a process of Ray itself has died: the driver would wait for it for
    minutes, or for ever.

    A signal to the whole process group ends Ray too: then it is the signal that ended the command.
    """
    while not over.wait(WATCH_SECONDS):
        node = ray._private.worker._global_node
        if node is not None and node.dead_processes() and not over.wait(WATCH_SECONDS):
            what = (
                f"signal {interrupts.signal} ended Ray"
                if interrupts.signal
                else "a process of Ray died"
            )
            print(
                f"error: {what}; nothing is lost, the same command goes on from here",
                file=sys.stderr,
                flush=True,
            )
            end_descendants()
            os._exit(128 + interrupts.signal if interrupts.signal else MachineError.exit_code)
