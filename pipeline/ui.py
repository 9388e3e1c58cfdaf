"""`python -m pipeline.ui`: the MLflow UI on this machine alone, on the store that the studies write
to.
"""

import argparse
import contextlib
import ipaddress
import os
import re
import socket
import sqlite3
import sys
from collections.abc import Sequence
from pathlib import Path

from pipeline.errors import MachineError, UserError, printable
from pipeline.record.mlflow_places import FILE, settle, sqlite_file, store_uri
from pipeline.record.mlflow_store import require_usable
from pipeline.record.mlflow_trouble import redacted, refused
from pipeline.screen import folded, steadily
from pipeline.session.cli import Parser, guarded
from pipeline.session.places import add_mlruns

LOOPBACK = "127.0.0.1"
SERVABLE = re.compile(r"(sqlite|postgresql|mysql|mssql)(\+\w+)?://")


@steadily
def main(argv: Sequence[str] | None = None) -> int:
    flags = Parser("pipeline.ui", "Open the MLflow UI on this machine alone.")
    add_mlruns(flags)
    flags.add_argument("--port", type=_port, default=5000, help="port to listen on (default: 5000)")
    flags.add_argument(
        "--host",
        metavar="ADDRESS",
        default=LOOPBACK,
        help=f"address to listen on (default: {LOOPBACK})",
    )
    flags.add_argument(
        "--remote",
        action="store_true",
        help="let other machines in, without a password; with --host",
    )
    args: argparse.Namespace = flags.parse_args(argv)
    uri = os.environ.get("MLFLOW_TRACKING_URI", "")
    if uri.lower().startswith("http"):
        print(
            folded(
                f"MLFLOW_TRACKING_URI names a server: open {printable(redacted(uri))} in a browser"
            )
        )
        return 0
    root = None if uri else Path(args.mlruns).resolve()
    uri = uri or store_uri(Path(args.mlruns).resolve() / FILE)
    _require_store(uri, root)
    names = _names(args.host, args.port, remote=args.remote)
    address = f"http://{names[0]}:{args.port}"
    print(folded(f"MLflow UI on {address} in a few seconds (Ctrl-C ends it)"))
    if args.remote:
        print(
            folded(
                f"warning: it has no password: whoever can reach {address} can read, change and "
                "delete the results"
            )
        )
    else:
        print(
            folded(
                "warning: it has no password: every user of this machine can read, change and "
                "delete the results through it"
            )
        )
        tunnel = f"ssh -L {args.port}:{LOOPBACK}:{args.port} {socket.gethostname()}"
        print(folded(f"from another machine: {tunnel}, then the same address there"))
    sys.stdout.flush()
    os.execve(sys.executable, _command(uri, root, args, names), _environment())


def _port(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,5}", text) or not 0 < int(text) < 1 << 16:
        raise argparse.ArgumentTypeError(f"expected a whole number from 1 to 65535, got {text!r}")
    return int(text)


def _require_store(uri: str, root: Path | None) -> None:
    """What MLflow would say as a traceback; `root` is the mlruns folder, or None for the store of
    `MLFLOW_TRACKING_URI`.
    """
    if trouble := refused(uri):
        raise UserError(f"{trouble.what}; {trouble.way}")
    if not SERVABLE.match(uri):
        raise UserError(
            f"MLFLOW_TRACKING_URI: {printable(redacted(uri))} is no store that a UI can be opened "
            "on here; unset it"
        )
    file = sqlite_file(uri)
    if file is None:
        return
    if not file.exists():
        raise UserError(
            f"--mlruns: no results yet in {printable(file.parent)}; run a study first"
            if root
            else (
                f"MLFLOW_TRACKING_URI: there is no {printable(file)}; unset it for the results in "
                "the folder of --mlruns"
            )
        )
    try:
        require_usable(file)
        if root:
            settle(file, root)
    except sqlite3.Error as error:
        if "readonly" not in str(error):  # somebody else's store can be looked at all the same
            raise MachineError(
                f"{printable(file)} cannot be used ({error}); try again later"
            ) from error


def _names(host: str, port: int, *, remote: bool) -> list[str]:
    """The names by which a browser asks for `host`, the first for the user; raises where this
    machine cannot listen there.

    MLflow is to answer to these alone: under any other name, a web page could read the results (DNS
    rebinding).
    """
    try:
        ((family, *_, address), *_) = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        own = ipaddress.ip_address(address[0])
    except (OSError, UnicodeError, ValueError) as error:
        raise UserError(
            f"--host: {printable(host)} is not known ({error}); give an address of this machine"
        ) from error
    if own.is_unspecified:
        raise UserError(
            f"--host: {printable(host)} is every address; give the one by which other machines "
            "know this one"
        )
    if own.is_loopback == remote:
        what = (
            "is no address of this machine alone: add --remote"
            if not remote
            else "is reached from this machine alone"
        )
        raise UserError(
            f"--host: {printable(host)} {what if not remote else what + ': leave out --remote'}"
        )
    with socket.socket(family) as probe:  # MLflow would say it in the middle of its log
        probe.setsockopt(
            socket.SOL_SOCKET, socket.SO_REUSEADDR, 1
        )  # as the server does: a port that was just left is free
        try:
            probe.bind((str(own), port))
        except OSError as error:
            raise MachineError(
                f"--port: {port} cannot be had on {own} ({error.strerror}); give another one"
            ) from error
    number = f"[{own}]" if own.version == 6 else str(own)
    with contextlib.suppress(ValueError):
        ipaddress.ip_address(host)
        return [number, "localhost"] if own.is_loopback else [number]
    return [host.lower(), number]


def _command(uri: str, root: Path | None, args: argparse.Namespace, names: list[str]) -> list[str]:
    """One worker: a viewer needs no more, and each takes hundreds of MB."""
    command = [
        sys.executable,
        "-m",
        "mlflow",
        "ui",
        "--backend-store-uri",
        uri,
        "--host",
        args.host,
    ]
    command += [
        "--port",
        str(args.port),
        "--workers",
        "1",
        "--uvicorn-opts",
        "--http pipeline.record.mlflow_viewer:Viewer",
    ]
    hosts = [f"{name}:{args.port}" for name in names] + (names if args.port == 80 else [])
    command += [
        "--allowed-hosts",
        ",".join(hosts),
        "--cors-allowed-origins",
        ",".join(f"http://{host}" for host in hosts),
    ]
    return [*command, "--artifacts-destination", (root / "artifacts").as_uri()] if root else command


def _environment() -> dict[str, str]:
    """Without job processes and telemetry, nor settings of servers that would let others in than
    the flags say.
    """
    kept = {
        name: value
        for name, value in os.environ.items()
        if not re.match("MLFLOW_(SERVER|UVICORN|GUNICORN)_", name)
    }
    off = {
        name: "false"
        for name in ("MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "MLFLOW_ENABLE_REMOTE_ASSISTANT")
    }
    found = os.pathsep.join(
        filter(None, [str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH")])
    )
    return (
        kept | off | {"MLFLOW_DISABLE_TELEMETRY": "true", "PYTHONPATH": found}
    )  # for `mlflow_viewer`


if __name__ == "__main__":
    guarded(main)
