"""The figures of replicas arrive at Ray's metrics endpoint, as Prometheus reads it."""

from __future__ import annotations

import socket
import time
import urllib.request

import pytest
import ray

from workers.metrics import Metrics
from workers.status import PoolStatus, ReplicaState, ReplicaStatus

pytestmark = pytest.mark.slow


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def status(tokens: int, restarts: int) -> PoolStatus:
    replica = ReplicaStatus(
        pool="target",
        number=3,
        state=ReplicaState.READY,
        pid=1,
        queue=2,
        finished=7,
        tokens=tokens,
        tokens_per_s=12.5,
        busy=0.75,
        restarts=restarts,
    )
    return PoolStatus("target", (replica,), 5, 0, restarts, 0.75)


def scraped(port: int, name: str) -> dict[str, float]:
    """The samples of one metric by their labels; nothing while the endpoint is not up yet."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as page:
            lines = page.read().decode().splitlines()
    except OSError:
        return {}
    found = [line for line in lines if line.startswith(f"ray_{name}" + "{")]
    return {line[: line.rindex("}")]: float(line.split("}")[-1]) for line in found}


@pytest.mark.timeout(400)
def test_every_figure_of_a_replica_can_be_scraped() -> None:
    port = free_port()
    ray.init(include_dashboard=False, log_to_driver=False, _metrics_export_port=port)
    try:
        metrics = Metrics("a-run")
        expected = {
            "evocliff_replica_tokens_per_second": 12.5,
            "evocliff_replica_queue": 2,
            "evocliff_replica_busy_ratio": 0.75,
            "evocliff_replica_tokens_total": 150,
            "evocliff_replica_restarts_total": 2,
            "evocliff_pool_waiting": 5,
            "evocliff_pool_replicas": 1,
        }
        metrics.publish([status(tokens=100, restarts=1)])
        metrics.publish([status(tokens=150, restarts=2)])  # counters add up the differences
        deadline = time.monotonic() + 120
        seen: dict[str, dict[str, float]] = {}
        while time.monotonic() < deadline and not all(seen.get(name) for name in expected):
            time.sleep(1.0)
            seen = {name: scraped(port, name) for name in expected}
        assert {name: list(values.values()) for name, values in seen.items()} == {
            name: [value] for name, value in expected.items()
        }
        (labels,) = seen["evocliff_replica_queue"]
        for label in ('run="a-run"', 'pool="target"', 'replica="3"'):
            assert label.lower() in labels.lower()
    finally:
        ray.shutdown()
