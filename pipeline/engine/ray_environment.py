"""The environment that Ray is imported in."""

import atexit
import os
import secrets
import shutil
import tempfile

# Loopback only, no telemetry, silence, no chdir, no nice 15, no snapshots, our own signal handlers;
# patience with a thread that ends late (of 2 s, Tune's own, a busy machine takes more, and then
# loses the worker).
SETTINGS = {
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_worker_niceness": "0",
    "RAY_memory_monitor_refresh_ms": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_AUTH_MODE": "token",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_FUNCTION_THREAD_TIMEOUT_S": "60",
    "TUNE_GLOBAL_CHECKPOINT_S": "1000000",
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
}


def set_up() -> None:
    """Replace all settings of Ray: a command's Ray is its own, whatever other one this process's
    environment speaks of.

    Loopback is shared by all users of a machine, and who may talk to Ray runs code as its owner: a
    token that only this process and those it starts know keeps others out.
    """
    for name in [name for name in os.environ if name.upper().startswith("RAY_")]:
        del os.environ[name]
    os.environ.update(SETTINGS, RAY_AUTH_TOKEN=secrets.token_hex(32))
    if (
        os.path.expanduser("~") == "~"
    ):  # a container's user whom nobody knows: Ray looks for a home on import
        os.environ["HOME"] = home = tempfile.mkdtemp(prefix="pipeline-home-")
        atexit.register(shutil.rmtree, home, ignore_errors=True)
