"""The environment that Ray is imported in."""

import atexit
import os
import secrets
import shutil
import tempfile

from pipeline.own.code import FOLDERS

# No telemetry, silence, no chdir, no snapshots, our own signal handlers; a process without a GPU
# may look at those there are; patience with a thread that ends late (of 2 s, Tune's own, a busy
# machine takes more, and then loses the worker).
ANYWHERE = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_FUNCTION_THREAD_TIMEOUT_S": "60",
    "TUNE_GLOBAL_CHECKPOINT_S": "1000000",
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
}
# Of a Ray of one's own: loopback only, no nice 15, no worker killed by Ray's own guess of memory.
OWN = {
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    "RAY_worker_niceness": "0",
    "RAY_memory_monitor_refresh_ms": "0",
    "RAY_AUTH_MODE": "token",
}
FOLDER = "PIPELINE_FOLDER"  # the command's working directory, for its workers on other nodes
# what a user's own code and the libraries of networks and pictures find their files by
TRAVEL = (FOLDERS, "PYTHONPATH", "TORCH_HOME", "HF_HOME", "HF_HUB_OFFLINE", "XDG_CACHE_HOME")


def set_up() -> None:
    """Replace all settings of Ray: a command's Ray is its own, whatever other one this process's
    environment speaks of.

    Loopback is shared by all users of a machine, and who may talk to Ray runs code as its owner: a
    token that only this process and those it starts know keeps others out.
    """
    for name in [name for name in os.environ if name.upper().startswith("RAY_")]:
        del os.environ[name]
    os.environ.update(ANYWHERE | OWN, RAY_AUTH_TOKEN=secrets.token_hex(32))
    _find_a_home()


def set_up_to_join() -> None:
    """Add what a driver in somebody's cluster needs to the settings that the user has for it, its
    address and token among them.
    """
    os.environ.update(ANYWHERE)
    _find_a_home()


def of_workers() -> dict[str, str]:
    """The variables of a worker on another node, which inherits none of this process's."""
    here = os.getcwd()
    travel = {name: os.environ[name] for name in TRAVEL if os.environ.get(name)}
    paths = [path for path in (here, *travel.get("PYTHONPATH", "").split(os.pathsep)) if path]
    return ANYWHERE | travel | {FOLDER: here, "PYTHONPATH": os.pathsep.join(paths)}


def go_home() -> None:
    """In a worker on another node: to the command's working directory, where that is there."""
    folder = os.environ.get(FOLDER)
    if folder and os.path.isdir(folder):
        os.chdir(folder)


def _find_a_home() -> None:
    if (
        os.path.expanduser("~") == "~"
    ):  # a container's user whom nobody knows: Ray looks for a home on import
        os.environ["HOME"] = home = tempfile.mkdtemp(prefix="pipeline-home-")
        atexit.register(shutil.rmtree, home, ignore_errors=True)
