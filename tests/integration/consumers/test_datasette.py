"""Datasette serves the SQLite file as JSON while the store has it open."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

import db

pytestmark = pytest.mark.slow

_START_S = 120.0


@pytest.fixture(scope="module")
def served(database: Path) -> Iterator[httpx.Client]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "datasette", "serve", str(database)]
    with contextlib.closing(db.open(f"sqlite:///{database}")):  # a search may be running
        process = subprocess.Popen(
            [*command, "--host", "127.0.0.1", "--port", str(port)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:
            try:
                _wait(client, process)
                yield client
            finally:
                process.terminate()
                process.wait(timeout=30)


def _wait(client: httpx.Client, process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + _START_S
    while True:
        with contextlib.suppress(httpx.TransportError):
            client.get("/-/versions.json").raise_for_status()
            return
        assert process.poll() is None, "datasette ended"
        assert time.monotonic() < until, "datasette does not answer"
        time.sleep(0.2)


def rows(client: httpx.Client, path: str, **parameters: Any) -> list[dict[str, Any]]:
    answer = client.get(path, params={"_shape": "array", **parameters}, timeout=60)
    answer.raise_for_status()
    return list(answer.json())
