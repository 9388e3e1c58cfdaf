"""`python -m pipeline.ui`: the MLflow UI on 127.0.0.1, on the store that the studies write to."""

import argparse
import os
import socket
import sys
from collections.abc import Sequence
from pathlib import Path

from pipeline.cli import MLRUNS, Parser, guarded, positive
from pipeline.errors import MachineError, UserError, printable


def main(argv: Sequence[str] | None = None) -> int:
    flags = Parser(prog="python -m pipeline.ui", description="Open the MLflow UI on this machine alone.", allow_abbrev=False)
    flags.add_argument("--mlruns", metavar="FOLDER", default=MLRUNS, help="where the studies were written (default: mlruns)")
    flags.add_argument("--port", type=positive, default=5000, help="port on 127.0.0.1 (default: 5000)")
    args: argparse.Namespace = flags.parse_args(argv)
    uri = os.environ.get("MLFLOW_TRACKING_URI", "")
    if uri.startswith("http"):
        print("MLFLOW_TRACKING_URI names a server: open that address in a browser")
        return 0
    if not uri:
        store = Path(args.mlruns).resolve() / "mlflow.db"
        if not store.exists():
            raise UserError(f"--mlruns: no results yet in {printable(store.parent)}; run a study first")
        uri = f"sqlite:///{store}"
    _require_free(args.port)
    print(f"MLflow UI on http://127.0.0.1:{args.port} in a few seconds (Ctrl-C ends it)", flush=True)
    # One worker, no job processes and no telemetry: a viewer needs none of them, and they take over 1 GB of memory.
    environment = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    command = [sys.executable, "-m", "mlflow", "ui", "--backend-store-uri", uri, "--host", "127.0.0.1"]
    os.execve(sys.executable, [*command, "--port", str(args.port), "--workers", "1"], environment)


def _require_free(port: int) -> None:
    """MLflow would say it in the middle of its log."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the server does: a port that was just left is free
        try:
            probe.bind(("127.0.0.1", port))
        except (OSError, OverflowError) as error:
            raise MachineError(f"--port: {port} cannot be had on 127.0.0.1 ({error}); give another one") from error


if __name__ == "__main__":
    guarded(main)
