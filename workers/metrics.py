"""The figures of replicas as Ray's metrics, which Ray gives to Prometheus on every node.

They are told by the driver's process, so they are on the metrics port of the node that it runs on.
Ray puts `ray_` before every name and exports them where it is installed as `ray[default]`.
"""

from __future__ import annotations

from collections.abc import Iterable

from workers.status import PoolStatus, ReplicaStatus

_REPLICA_TAGS = ("run", "pool", "replica")
_POOL_TAGS = ("run", "pool")


class Metrics:
    """Gauges and counters of one run. `publish` as often as they are to change."""

    def __init__(self, run: str) -> None:
        from ray.util.metrics import Counter, Gauge

        self._run = run
        self._told: dict[tuple[str, int], tuple[int, int]] = {}  # tokens and restarts so far
        replica, pool = _REPLICA_TAGS, _POOL_TAGS
        self._tokens_per_s = Gauge(
            "evocliff_replica_tokens_per_second", "Generated, over the last half minute", replica
        )
        self._queue = Gauge("evocliff_replica_queue", "Calls that the replica holds", replica)
        self._busy = Gauge("evocliff_replica_busy_ratio", "Share of its life with a call", replica)
        self._tokens = Counter("evocliff_replica_tokens_total", "Generated tokens", replica)
        self._restarts = Counter("evocliff_replica_restarts_total", "Processes lost", replica)
        self._waiting = Gauge("evocliff_pool_waiting", "Calls that no replica holds", pool)
        self._replicas = Gauge("evocliff_pool_replicas", "Replicas of the pool", pool)

    def publish(self, pools: Iterable[PoolStatus]) -> None:
        for pool in pools:
            tags = {"run": self._run, "pool": pool.name}
            self._waiting.set(pool.waiting, tags)
            self._replicas.set(len(pool.replicas), tags)
            for replica in pool.replicas:
                self._publish_replica(replica)

    def _publish_replica(self, replica: ReplicaStatus) -> None:
        tags = {"run": self._run, "pool": replica.pool, "replica": str(replica.number)}
        self._tokens_per_s.set(replica.tokens_per_s, tags)
        self._queue.set(replica.queue, tags)
        self._busy.set(replica.busy, tags)
        place = replica.pool, replica.number
        tokens, restarts = self._told.get(place, (0, 0))
        # A counter that has not counted yet is not exported: an increase of 0 is refused.
        if replica.tokens > tokens:
            self._tokens.inc(replica.tokens - tokens, tags)
        if replica.restarts > restarts:
            self._restarts.inc(replica.restarts - restarts, tags)
        self._told[place] = replica.tokens, replica.restarts
