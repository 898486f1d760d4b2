"""What people may know of a pool and its replicas: values, taken at one moment. Standard library only."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class ReplicaState(StrEnum):
    """What a replica is doing."""

    STARTING = "starting"  # loading for the first time
    READY = "ready"
    LOST = "lost"  # its process died; a new one is loading
    LEAVING = "leaving"  # it finishes what it has and takes nothing new
    BROKEN = "broken"  # it cannot load any more; the others go on


@dataclass(frozen=True, slots=True)
class ReplicaStatus:
    """One replica of a pool.

    pid           its present process, on whichever node; None before the first one has loaded
    queue         calls that it holds
    finished      calls that it has answered
    tokens        that it has generated; tokens_per_s over the last half minute
    busy          share of its life, in [0, 1], in which it held a call
    restarts      processes that were lost at work
    """

    pool: str
    number: int
    state: ReplicaState
    pid: int | None
    queue: int
    finished: int
    tokens: int
    tokens_per_s: float
    busy: float
    restarts: int


@dataclass(frozen=True, slots=True)
class PoolStatus:
    """A pool. `waiting` calls are held by no replica; `quarantined` requests killed replicas twice;
    `restarts` and `mean_busy` count replicas that have left, too."""

    name: str
    replicas: tuple[ReplicaStatus, ...]
    waiting: int
    quarantined: int
    restarts: int
    mean_busy: float

    @property
    def busy(self) -> list[float]:
        return [replica.busy for replica in self.replicas]

    @property
    def in_flight(self) -> int:
        return sum(replica.queue for replica in self.replicas)

    @property
    def tokens_per_s(self) -> float:
        return sum(replica.tokens_per_s for replica in self.replicas)
