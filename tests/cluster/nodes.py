"""A real Ray cluster on one machine: each node with a network and folders of its own where this
user may make them, else with an address of the loopback's.
"""

import contextlib
import functools
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.engine.processes import descendants

RAY = Path(sys.executable).with_name("ray")
STORE = "--object-store-memory=80000000"
SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AUTH_MODE": "disabled",
    "RAY_worker_niceness": "0",  # 15 is usual
}
HEALTH = {  # a node is dead for the head after seconds, not a minute
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_timeout_ms": "3000",
    "RAY_health_check_failure_threshold": "4",
}
PATIENCE_SECONDS = 300.0


@dataclass
class Nodes:
    """A cluster whose head trains nothing. `hidden`: a folder that nodes begun with `blind` do not
    see; of such a one, `tight` has no room for copies either.
    """

    apart: bool
    subnet: str
    folder: Path
    hidden: Path
    port: int
    processes: dict[int, "subprocess.Popen[bytes]"] = field(default_factory=dict)

    @property
    def address(self) -> str:
        return f"{self.subnet}.1:{self.port}"

    def start(
        self, number: int, *flags: str, cores: int = 1, blind: bool = False, tight: bool = False
    ) -> str:
        """Begin node `number` (from 2 on) and wait until the head has heard of it; returns its
        address.
        """
        place = f"{self.subnet}.{number}"
        words = ["start", f"--address={self.address}", f"--num-cpus={cores}", *flags]
        self._run(number, place, words, blind=blind, tight=tight)
        self._await(place)
        return place

    def kill(self, number: int, *, gently: bool = False) -> None:
        """End a node as a power cut does: nobody hears of it, where the node has a network; or
        `gently`, when its network may be gone.
        """
        process = self.processes.pop(number)
        if self.apart and number > 1 and not gently:
            _sh(f"ip link set {_wire(self.subnet, number)} down")
        for pid in (*descendants(process.pid), process.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.wait()

    def idle(self) -> bool:
        """Whether no run is on any node."""
        return "0.0/" in next(line for line in self.status().splitlines() if "CPU" in line)

    def status(self) -> str:
        """What Ray says of the cluster."""
        words = [RAY, "status", "--address", self.address]
        done = subprocess.run(
            words, env=os.environ | SETTINGS, capture_output=True, text=True, check=False
        )
        return done.stdout + done.stderr

    def _run(
        self, number: int, place: str, words: list[str], *, blind: bool = False, tight: bool = False
    ) -> None:
        words = [str(RAY), *words, f"--node-ip-address={place}", STORE]
        words += ["--disable-usage-stats", "--block"]
        cache: dict[str, str] = {}
        if self.apart and number > 1:
            own = self.folder.with_name(f"{self.folder.name}-{number}")
            shutil.rmtree(own, ignore_errors=True)
            own.mkdir()
            mounts = f"mount --make-rprivate / && mount --bind {own} {self.folder}"
            if blind:
                mounts += f" && mount -t tmpfs -o size=4m tmpfs {self.hidden}"
                cache = {"XDG_CACHE_HOME": str(self.hidden if tight else self.folder / "cache")}
            script = f'{mounts} && mount -t tmpfs tmpfs /dev/shm && exec "$@"'
            _network(self.subnet, number)
            space = _space(self.subnet, number)
            words = [
                "ip",
                "netns",
                "exec",
                space,
                "unshare",
                "-m",
                "sh",
                "-c",
                script,
                "sh",
                *words,
            ]
        with self.folder.with_name(f"{self.folder.name}-{number}.log").open("w") as log:
            self.processes[number] = subprocess.Popen(
                words,
                env=os.environ | SETTINGS | HEALTH | cache,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def _await(self, place: str) -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        script = (
            "import ray, sys; ray.init(address=sys.argv[1], log_to_driver=False, logging_level=50);"
            "print(*(n['NodeManagerAddress'] for n in ray.nodes() if n['Alive']))"
        )
        while True:
            words = [sys.executable, "-c", script, self.address]
            env = os.environ | SETTINGS
            done = subprocess.run(words, env=env, capture_output=True, text=True, check=False)
            if place in done.stdout.split():
                return
            assert time.monotonic() < deadline, done.stderr + self.logs()
            time.sleep(0.5)

    def logs(self) -> str:
        """What the nodes have printed."""
        found = sorted(self.folder.parent.glob(f"{self.folder.name}-*.log"))
        return "\n".join(path.read_text() for path in found)


@functools.cache
def apart() -> bool:
    """Whether this user may make networks and mounts."""
    name = f"probe{os.getpid()}"
    tried = (
        f"ip netns add {name} && ip link add {name} type bridge && ip link del {name} && "
        f"ip netns exec {name} unshare -m mount -t tmpfs tmpfs /mnt; "
        f"code=$?; ip netns del {name}; exit $code"
    )
    return subprocess.run(["sh", "-c", tried], capture_output=True, check=False).returncode == 0


@contextlib.contextmanager
def nodes(hidden: Path) -> Iterator[Nodes]:
    """A cluster of a head alone; all of it is ended with the block."""
    number = os.getpid() % 200 + 20
    subnet = f"10.{number}.{os.getpid() // 200 % 250}" if apart() else f"127.{number}.0"
    folder = Path(tempfile.mkdtemp(prefix="rc", dir="/tmp"))
    with contextlib.closing(socket.socket()) as free:
        free.bind(("", 0))
        port = free.getsockname()[1]
    found = Nodes(apart(), subnet, folder, hidden, port)
    try:
        if found.apart:
            _sh(f"ip link add {_bridge(subnet)} type bridge")
            _sh(f"ip addr add {subnet}.1/24 dev {_bridge(subnet)}")
            _sh(f"ip link set {_bridge(subnet)} up")
        words = ["start", "--head", f"--port={port}", "--num-cpus=0", f"--temp-dir={folder}"]
        found._run(1, f"{subnet}.1", [*words, "--include-dashboard=false"])
        found._await(f"{subnet}.1")
        yield found
    finally:
        for number in [*found.processes]:
            found.kill(number, gently=True)
        for path in folder.parent.glob(f"{folder.name}*"):
            shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink()
        if found.apart:
            for number in range(2, 6):
                subprocess.run(
                    ["ip", "netns", "del", _space(subnet, number)], capture_output=True, check=False
                )
            subprocess.run(["ip", "link", "del", _bridge(subnet)], check=False)


def _network(subnet: str, number: int) -> None:
    """A network of the node's own, wired to the bridge."""
    space, wire = _space(subnet, number), _wire(subnet, number)
    _sh(f"ip netns add {space}")
    _sh(f"ip link add {wire} type veth peer name eth0 netns {space}")
    _sh(f"ip link set {wire} master {_bridge(subnet)} up")
    _sh(f"ip netns exec {space} ip addr add {subnet}.{number}/24 dev eth0")
    _sh(f"ip netns exec {space} ip link set eth0 up")
    _sh(f"ip netns exec {space} ip link set lo up")


def _sh(line: str) -> None:
    subprocess.run(line.split(), check=True, capture_output=True)


def _bridge(subnet: str) -> str:
    return "br" + "".join(f"{int(part):02x}" for part in subnet.split("."))


def _wire(subnet: str, number: int) -> str:
    return f"{_bridge(subnet)}v{number}"


def _space(subnet: str, number: int) -> str:
    return f"ray-{subnet}.{number}"
