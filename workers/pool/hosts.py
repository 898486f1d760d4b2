"""The seam between the pool and the processes that it fills: one host is one replica's process.

The pool knows this protocol and nothing of Ray; `workers.pool.ray_host` is the one for real work.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol


class ReplicaLost(Exception):
    """The process ended, or cannot be reached, before it answered a call. The pool answers it."""


class Host(Protocol):
    """One replica.

    `call` names a method of `workers.replica.Replica`. After `ReplicaLost` a new process is on its
    way by itself; calling "start" waits for it.
    """

    async def call(self, method: str, *arguments: Any) -> Any:
        """Raises `ReplicaLost`, or the `EvocliffError` that the worker raised."""

    def end(self) -> None:
        """End the process for good, whatever it is doing, and give back what it held."""


Launcher = Callable[[int], Host]  # replica number -> its host; does not wait for it
