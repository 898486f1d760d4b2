"""N replicas with the face of one.

Each `run` goes whole to the replica with the least work; a replica holds a bounded number of them.
Work of a replica that died is given to the next free one; a batch that has lost two replicas is
split, and a request that alone has lost two more is a failure, not a reason to go on for ever.
Knows Ray; knows nothing of what the requests mean.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import ray
from ray.exceptions import ActorDiedError, ActorUnavailableError, RayActorError, RayTaskError

from workers.interface import EvocliffError, Failure, FailureKind, TargetError
from workers.replica import Factory, Replica

In = TypeVar("In")
Out = TypeVar("Out")

_LOSSES_ALLOWED = 2
_RESTARTS = 10


@dataclass(slots=True)
class _Seat:
    """One replica as the pool sees it."""

    actor: Any
    number: int
    load: int = 0
    lost: bool = False
    busy_since: float | None = None
    busy_s: float = 0.0
    restarts: int = 0
    finished: int = 0


@dataclass(slots=True)
class PoolStatus:
    """How the pool did since it started. `busy` is in [0, 1], per replica; `restarts` counts processes."""

    busy: list[float] = field(default_factory=list)
    restarts: int = 0
    in_flight: int = 0

    @property
    def mean_busy(self) -> float:
        return sum(self.busy) / len(self.busy) if self.busy else 0.0


class Pool(Generic[In, Out]):
    """`Worker` over replicas. Call `start` before `run`, and `close` at the end.

    Args:
        factory: builds the worker inside each replica's process.
        replicas: how many.
        in_flight: most `run` calls that one replica holds; further calls wait here.
        cpus, gpus: what Ray reserves for each replica.
    """

    def __init__(
        self,
        factory: Factory,
        *,
        replicas: int = 1,
        in_flight: int = 2,
        cpus: float = 1,
        gpus: float = 0,
        name: str = "target",
    ) -> None:
        self._name = name
        self._in_flight = in_flight
        actor_class = ray.remote(Replica).options(
            num_cpus=cpus, num_gpus=gpus, max_restarts=_RESTARTS, max_task_retries=0
        )
        self._seats = [_Seat(actor_class.remote(factory), n) for n in range(replicas)]
        self._free = asyncio.Condition()
        self._started_at = time.monotonic()
        self._closed = False
        self._returning: set[asyncio.Future[None]] = set()

    async def start(self) -> Any:
        """Wait until every replica has loaded; returns what the first one says of itself.

        Raises:
            EvocliffError: whatever the factory raised, as it was raised.
        """
        await asyncio.gather(*(self._call(seat, "start") for seat in self._seats))
        self._started_at = time.monotonic()
        return await self._call(self._seats[0], "describe")

    async def run(self, requests: Sequence[In]) -> list[Out | Failure]:
        if not requests:
            return []
        for _ in range(_LOSSES_ALLOWED):
            seat = await self._take_seat()
            try:
                results: list[Out | Failure] = await self._call(seat, "run", list(requests))
                seat.finished += 1
                return results
            except (ActorDiedError, ActorUnavailableError, RayActorError):
                self._mark_lost(seat)
            finally:
                await self._leave_seat(seat)
        if len(requests) == 1:
            message = f"{self._name}: this request lost {_LOSSES_ALLOWED} replicas"
            return [Failure(FailureKind.REPLICA_LOST, message)]
        # One poisoned request must not take its batch mates with it.
        half = len(requests) // 2
        parts = [await self.run(part) for part in (requests[:half], requests[half:])]
        return parts[0] + parts[1]

    async def close(self) -> None:
        """Let the replicas close their engines, then end their processes."""
        if self._closed:
            return
        self._closed = True
        closing = [seat.actor.close.remote() for seat in self._seats]
        await asyncio.wait([asyncio.ensure_future(_settled(ref)) for ref in closing], timeout=10)
        for seat in self._seats:
            ray.kill(seat.actor, no_restart=True)

    def status(self) -> PoolStatus:
        now = time.monotonic()
        elapsed = max(1e-9, now - self._started_at)
        busy = [
            min(1.0, (s.busy_s + (now - s.busy_since if s.busy_since is not None else 0)) / elapsed)
            for s in self._seats
        ]
        return PoolStatus(
            busy, sum(s.restarts for s in self._seats), sum(s.load for s in self._seats)
        )

    async def _take_seat(self) -> _Seat:
        """The least loaded replica with room; waits while there is none."""
        async with self._free:
            while True:
                open_seats = [s for s in self._seats if not s.lost and s.load < self._in_flight]
                if open_seats:
                    seat = min(open_seats, key=lambda s: (s.load, s.finished, s.number))
                    break
                if all(s.restarts > _RESTARTS for s in self._seats):
                    raise TargetError(
                        f"{self._name}: every replica died more than {_RESTARTS} times; see `ray logs`"
                    )
                await self._free.wait()
            if seat.load == 0:
                seat.busy_since = time.monotonic()
            seat.load += 1
            return seat

    async def _leave_seat(self, seat: _Seat) -> None:
        async with self._free:
            seat.load -= 1
            if seat.load == 0 and seat.busy_since is not None:
                seat.busy_s += time.monotonic() - seat.busy_since
                seat.busy_since = None
            self._free.notify_all()

    def _mark_lost(self, seat: _Seat) -> None:
        """Keep work away from a dead replica until Ray has brought it back."""
        if not seat.lost:
            seat.lost = True
            seat.restarts += 1
            returning = asyncio.ensure_future(self._bring_back(seat))
            self._returning.add(returning)  # the event loop itself holds tasks weakly
            returning.add_done_callback(self._returning.discard)

    async def _bring_back(self, seat: _Seat) -> None:
        while seat.restarts <= _RESTARTS and not self._closed:
            try:
                await self._call(seat, "start")
                break
            except (ActorUnavailableError, RayActorError) as error:
                if isinstance(error, ActorDiedError) and not isinstance(
                    error, ActorUnavailableError
                ):
                    seat.restarts += 1
                await asyncio.sleep(0.5)
        else:
            async with self._free:
                self._free.notify_all()
            return
        async with self._free:
            seat.lost = False
            self._free.notify_all()

    async def _call(self, seat: _Seat, method: str, *arguments: Any) -> Any:
        try:
            return await getattr(seat.actor, method).remote(*arguments)
        except RayTaskError as error:
            # Ray wraps what the worker raised; give back the error that a person can act on.
            cause = getattr(error, "cause", None)
            if isinstance(cause, EvocliffError):
                raise cause from None
            raise TargetError(f"{self._name}: a replica failed: {cause or error}") from error


async def _settled(reference: Any) -> None:
    try:
        await reference
    except (RayActorError, RayTaskError):
        return
