"""N replicas with the face of one: who gets which work, and what becomes of work when processes die."""

from workers.pool.hosts import Host, Launcher, ReplicaLost
from workers.pool.placement import Placement
from workers.pool.pool import Pool, Prioritised, Priority
from workers.pool.scaling import Replicas
from workers.status import PoolStatus, ReplicaState, ReplicaStatus

__all__ = [
    "Host",
    "Launcher",
    "Placement",
    "Pool",
    "PoolStatus",
    "Prioritised",
    "Priority",
    "ReplicaLost",
    "ReplicaState",
    "ReplicaStatus",
    "Replicas",
]
