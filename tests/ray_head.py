"""A real `ray start --head` for tests: its own ports, folder and token, and gone afterwards."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True, slots=True)
class Head:
    """A running head. `environment` is that of a user who holds its token."""

    port: int
    client_port: int
    jobs: str
    token: str
    folder: Path
    environment: dict[str, str]

    def evocliff(self, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        return subprocess.run(
            [sys.executable, "-m", "evo.cli", *words],
            cwd=self.folder,
            env=self.environment | environment,
            capture_output=True,
            text=True,
            timeout=400,
        )

    def start(self, *words: str) -> subprocess.Popen[str]:
        """Begin a command; both its outputs in one pipe."""
        return subprocess.Popen(
            [sys.executable, "-m", "evo.cli", *words],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )


@contextlib.contextmanager
def running_head(cpus: int = 2) -> Iterator[Head]:
    """Start a head, and end every process of it."""
    folder = Path(tempfile.mkdtemp(prefix="rh", dir="/tmp"))  # sockets need short paths
    token = secrets.token_hex(16)
    (folder / "token").write_text(token)
    ports = _free_ports(9)
    node = _node_environment(folder)
    names = (
        "port",
        "dashboard-port",
        "ray-client-server-port",
        "dashboard-agent-listen-port",
        "dashboard-agent-grpc-port",
        "runtime-env-agent-port",
        "metrics-export-port",
        "node-manager-port",
        "object-manager-port",
    )
    options = [f"--{name}={port}" for name, port in zip(names, ports, strict=True)]
    with (folder / "head.log").open("w") as log:
        head = subprocess.Popen(
            [
                *(sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block"),
                *options,
                "--dashboard-host=127.0.0.1",
                f"--temp-dir={folder}/r",
                f"--num-cpus={cpus}",
                "--num-gpus=0",
                "--object-store-memory=100000000",
            ],
            cwd=folder,
            env=node,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    jobs = f"http://127.0.0.1:{ports[1]}"
    user = _clean_environment() | {
        "PYTHONPATH": str(ROOT),
        "RAY_AUTH_TOKEN": token,
        "HF_HUB_OFFLINE": "1",
    }
    try:
        _wait(jobs, token, head, folder / "head.log")
        yield Head(ports[0], ports[2], jobs, token, folder, user)
    finally:
        _end(head, folder)
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def another_node(head: Head, *, cpus: int, gpus: int) -> Iterator[None]:
    """A second node of the head's cluster on this machine; Ray believes in the GPUs that it is told."""
    names = (
        "dashboard-agent-listen-port",
        "dashboard-agent-grpc-port",
        "runtime-env-agent-port",
        "metrics-export-port",
        "node-manager-port",
        "object-manager-port",
    )
    ports = _free_ports(len(names))
    with (head.folder / "node.log").open("w") as log:
        node = subprocess.Popen(
            [
                *(sys.executable, "-m", "ray.scripts.scripts", "start", "--block"),
                f"--address=127.0.0.1:{head.port}",
                *(f"--{name}={port}" for name, port in zip(names, ports, strict=True)),
                f"--num-cpus={cpus}",
                f"--num-gpus={gpus}",
                # In one folder the two nodes would clear away each other's shipped packages.
                f"--temp-dir={head.folder}/n",
                "--object-store-memory=100000000",
            ],
            cwd=head.folder,
            env=_node_environment(head.folder),
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield
    finally:
        children = psutil.Process(node.pid).children(recursive=True)
        os.killpg(node.pid, signal.SIGTERM)
        _, alive = psutil.wait_procs(children, timeout=10)
        for process in alive:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        node.kill()
        node.wait(timeout=10)


def processes_of(folder: Path) -> list[psutil.Process]:
    """Every process that has the head's folder on its command line or as its own."""
    found = []
    for process in psutil.process_iter(["cmdline", "cwd"]):
        said = " ".join(process.info["cmdline"] or [])
        if str(folder) in said or str(folder) in str(process.info["cwd"] or ""):
            found.append(process)
    return [p for p in found if p.pid != os.getpid()]


def _clean_environment() -> dict[str, str]:
    return {k: v for k, v in os.environ.items() if not k.startswith(("RAY_", "EVOCLIFF_DB"))}


def _node_environment(folder: Path) -> dict[str, str]:
    clean = _clean_environment()
    clean.pop("PYTHONPATH", None)  # what a job imports has to be shipped with it
    return clean | {
        "PATH": f"{Path(sys.executable).parent}:{clean['PATH']}",
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(folder / "token"),
        "RAY_USAGE_STATS_ENABLED": "0",
    }


def _wait(jobs: str, token: str, head: subprocess.Popen[bytes], log: Path) -> None:
    request = urllib.request.Request(  # noqa: S310
        f"{jobs}/api/version", headers={"Authorization": f"Bearer {token}"}
    )
    deadline = time.monotonic() + 90
    while True:
        assert head.poll() is None, log.read_text()
        with contextlib.suppress(urllib.error.URLError, OSError):
            urllib.request.urlopen(request, timeout=2).close()  # noqa: S310
            return
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.2)


def _end(head: subprocess.Popen[bytes], folder: Path) -> None:
    """SIGTERM to `ray start --block`, which ends its processes; then whatever is left of them."""
    mine = psutil.Process(head.pid).children(recursive=True) if head.poll() is None else []
    with contextlib.suppress(ProcessLookupError):
        os.killpg(head.pid, signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        head.wait(timeout=5)
    _, alive = psutil.wait_procs(mine + processes_of(folder), timeout=5)
    for process in alive:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(alive, timeout=10)
    head.wait(timeout=10)


def _free_ports(n: int) -> list[int]:
    with contextlib.ExitStack() as held:
        sockets = [held.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(n)]
        return [int(s.getsockname()[1]) for s in sockets]
