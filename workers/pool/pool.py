"""N replicas with the face of one.

Each `run` goes whole to the replica with the least work; a replica holds a bounded number of them.
Work of a replica that died is given to another one under the same keys; nobody waits for the dead
one, which comes back when its process has loaded. A request that kills replicas is found and set
aside. Knows hosts; knows nothing of Ray, nor of what the requests mean.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections.abc import Callable, Coroutine, Sequence
from enum import IntEnum
from typing import Any, Generic, TypeVar

from workers.errors import EndpointAway
from workers.interface import (
    ConfigError,
    EngineDied,
    EvocliffError,
    Failure,
    FailureKind,
    TargetError,
)
from workers.pool.hosts import Launcher, ReplicaLost
from workers.pool.placement import Placement
from workers.pool.scaling import Replicas, to_add, to_retire
from workers.pool.seat import CALLS_UNSAID, OVERSUBSCRIPTION, Seat
from workers.pool.waiting import Waiting
from workers.replica import Factory
from workers.status import PoolStatus, ReplicaState

In = TypeVar("In")
Out = TypeVar("Out")

# A request on board of so many replicas that died, of the last one alone, is poisoned.
_LOSSES_ALLOWED = 2
# A replica that dies so often without answering one call in between will not do better.
_FUTILE_DEATHS = 10
_RETRY_S = 0.5
_MOST_RETRY_S = 10.0  # between two questions whether an endpoint is back
_CLOSE_S = 10.0
_SCALE_EVERY_S = 1.0


class Priority(IntEnum):
    """Who goes first where calls wait: short scoring requests pass long mutations."""

    SCORE = 0
    MUTATE = 1


class Pool(Generic[In, Out]):
    """`Worker` over replicas. Call `start` before `run`, and `close` at the end.

    Args:
        factory: builds the worker inside each replica's process.
        replicas: how many; `Replicas(min, max)` grows while work waits and shrinks after `idle_s`
            without any.
        in_flight: most `run` calls that one replica holds, further calls wait here; None: about 1.1
            times the sequences that its engine batches, two calls where it does not say.
        cpus, gpus: what Ray reserves for each replica, unless `placement` says it.
        weigh: sequences that a request makes the engine decode.
        tokens: tokens that a result took, for the figures.
        launch: makes the hosts; default: Ray actors.
    """

    def __init__(
        self,
        factory: Factory,
        *,
        replicas: int | Replicas = 1,
        in_flight: int | None = 2,
        cpus: float = 1,
        gpus: float = 0,
        name: str = "target",
        placement: Placement | None = None,
        weigh: Callable[[In], int] = lambda request: 1,
        tokens: Callable[[Out], int] = lambda result: 0,
        idle_s: float = 60.0,
        launch: Launcher | None = None,
    ) -> None:
        if launch is None:
            from workers.pool.ray_host import RayLauncher

            launch = RayLauncher(factory, cpus, gpus, name, placement)
        self.name = name
        self.limits = Replicas.fixed(replicas) if isinstance(replicas, int) else replicas
        self._launch = launch
        self._in_flight = in_flight
        self._weigh, self._tokens = weigh, tokens
        self._idle_s = idle_s
        self._seats: list[Seat] = []
        self._launched = 0
        self._waiting = Waiting()
        self._under_way = 0
        self._answered = False
        self._quarantined = 0
        self._left = _Left()
        self._closed = False
        self._started: asyncio.Future[Any] | None = None
        self.start_s: float | None = None  # what the first loading took, all replicas at once
        self._tasks: set[asyncio.Future[None]] = set()

    async def start(self) -> Any:
        """Wait until the least number of replicas has loaded; returns what the first says of itself.
        Starting again waits for the same.

        Raises:
            EvocliffError: whatever the factory raised, as it was raised.
        """
        if self._started is None:
            self._started = asyncio.ensure_future(self._start())
        return await asyncio.shield(self._started)

    async def _start(self) -> Any:
        began = time.monotonic()
        seats = [self._add_seat() for _ in range(self.limits.min)]
        descriptions = await asyncio.gather(*(self._load(seat) for seat in seats))
        self.start_s = time.monotonic() - began
        for seat in seats:
            seat.count_from_now()
        self._serve()
        if self.limits.max > self.limits.min:
            self._in_background(self._keep_size())
        return descriptions[0]

    async def run(
        self, requests: Sequence[In], priority: Priority = Priority.SCORE
    ) -> list[Out | Failure]:
        if not requests:
            return []
        self._under_way += 1
        try:
            return await self._dispatch(list(requests), priority, losses=0)
        finally:
            self._under_way -= 1

    def at(self, priority: Priority) -> Prioritised[In, Out]:
        """This pool for callers of one priority."""
        return Prioritised(self, priority)

    def calls_to_offer(self, weight: int) -> int:
        """Calls of `weight` sequences each that keep the replicas fed; more while it may still grow,
        so that work waits and it does grow."""
        batches = [seat.batch for seat in self._seats if seat.batch is not None]
        if self._in_flight is not None:
            each = self._in_flight
        elif batches:
            each = max(1, math.ceil(OVERSUBSCRIPTION * max(batches) / max(1, weight)))
        else:
            each = CALLS_UNSAID
        seats = max(self.limits.min, sum(s.state is not ReplicaState.BROKEN for s in self._seats))
        if self.limits.max > self.limits.min:
            seats = min(self.limits.max, 2 * seats)
        return each * seats

    async def drain(self, number: int) -> None:
        """Let a replica finish what it has, then end it. It takes nothing new from now on."""
        seat = next((s for s in self._seats if s.number == number), None)
        if seat is None:
            return
        seat.state = ReplicaState.LEAVING
        while seat.load:
            await asyncio.sleep(0.05)
        await self._end(seat)

    async def close(self) -> None:
        """Let the replicas close their engines, then end their processes."""
        if self._closed:
            return
        self._closed = True
        self._waiting.fail(TargetError(f"{self.name}: the pool was closed"))
        tasks = [*self._tasks, *([self._started] if self._started is not None else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.gather(*(self._end(seat) for seat in list(self._seats)))

    def status(self) -> PoolStatus:
        now = time.monotonic()
        seats = [s for s in self._seats if s.state is not ReplicaState.STARTING]
        alive_s = self._left.alive_s + sum(s.alive_s(now) for s in seats)
        busy_s = self._left.busy_s + sum(s.busy_s(now) for s in seats)
        return PoolStatus(
            name=self.name,
            replicas=tuple(seat.status(now) for seat in self._seats),
            waiting=len(self._waiting),
            quarantined=self._quarantined,
            restarts=self._left.restarts + sum(s.restarts for s in self._seats),
            mean_busy=min(1.0, busy_s / alive_s) if alive_s else 0.0,
        )

    # One call

    async def _dispatch(
        self, requests: list[In], priority: Priority, losses: int
    ) -> list[Out | Failure]:
        """Have requests answered that were on board of `losses` replicas that died."""
        weight = sum(self._weigh(request) for request in requests)
        while True:
            seat = await self._take_seat(priority, weight, suspect=losses > 0)
            process = seat.restarts
            try:
                results: list[Out | Failure] = await seat.host.call("run", requests)
            except (ReplicaLost, EngineDied) as error:
                self._mark_lost(seat, process)
                losses += 1
                cause: ReplicaLost | EngineDied = error
            else:
                self._answered = True
                seat.answered(sum(self._tokens(r) for r in results if not isinstance(r, Failure)))
                return results
            finally:
                seat.leave(weight)
                self._serve()
            if losses < _LOSSES_ALLOWED:
                continue  # most likely an accident: once more, alone on a replica, under the same keys
            if len(requests) > 1:
                # One poisoned request must not take its batch mates with it.
                parts = (self._dispatch([request], priority, losses) for request in requests)
                return [part[0] for part in await asyncio.gather(*parts)]
            if isinstance(cause, EngineDied) and not self._answered:
                # An engine that has never answered anything is broken; the request may be sound.
                if self._under_way == 1:
                    raise cause
                continue
            self._quarantined += 1
            message = f"{self.name}: {losses} replicas died while they held this request"
            return [Failure(FailureKind.REPLICA_LOST, message)]

    async def _take_seat(self, priority: Priority, weight: int, *, suspect: bool) -> Seat:
        call = self._waiting.join(priority, weight, suspect=suspect)
        self._serve()
        try:
            return await call.seat
        except asyncio.CancelledError:
            if call.seat.done() and not call.seat.cancelled() and call.seat.exception() is None:
                call.seat.result().leave(weight)
                self._serve()
            self._waiting.leave(call)
            raise

    def _serve(self) -> None:
        """Seat whoever can be seated."""
        if self._seats and all(seat.state is ReplicaState.BROKEN for seat in self._seats):
            error = self._seats[0].error or TargetError(f"{self.name}: no replica is left")
            self._waiting.fail(error)
        else:
            self._waiting.seat(self._seats, self._in_flight)

    # The life of a replica

    def _add_seat(self) -> Seat:
        seat = Seat(self._launch(self._launched), self.name, self._launched)
        self._launched += 1
        self._seats.append(seat)
        return seat

    async def _load(self, seat: Seat) -> Any:
        """Wait until a replica can work, however often its process dies before.

        Raises:
            EvocliffError: what the factory raised; TargetError: it died too often.
        """
        failed = 0  # among them the end of a process that was dying when it was asked
        while True:
            try:
                seat.pid = await seat.host.call("start")
                description = await seat.host.call("describe")
            except ReplicaLost:
                failed += 1
                if failed >= _FUTILE_DEATHS:
                    raise TargetError(
                        f"{self.name}: replica {seat.number} died {failed} times while it loaded; "
                        "see `ray logs`"
                    ) from None
                await asyncio.sleep(_RETRY_S)
            else:
                seat.batch = getattr(description, "max_sequences", None)
                if seat.state is not ReplicaState.LEAVING:
                    seat.state = ReplicaState.READY
                return description

    def _mark_lost(self, seat: Seat, process: int) -> None:
        """Keep work away from a dead replica until its next process has loaded. Of the calls that
        one process held, the first one to hear of its end comes here with news."""
        if seat.restarts == process and seat.state in (ReplicaState.READY, ReplicaState.LEAVING):
            seat.restarts += 1
            seat.deaths_in_a_row += 1
            if seat.deaths_in_a_row >= _FUTILE_DEATHS:
                seat.error, seat.state = _futile(seat), ReplicaState.BROKEN
            elif seat.state is ReplicaState.READY and not self._closed:
                seat.state = ReplicaState.LOST
                self._in_background(self._bring_back(seat))

    async def _bring_back(self, seat: Seat) -> None:
        """Load a replica in the background; one that cannot load any more leaves the others alone.
        One whose endpoint is away tries again, more and more seldom, for as long as its engine would
        have patience with a request."""
        pause_s, away_since = _RETRY_S, time.monotonic()
        while True:
            try:
                await self._load(seat)
                break
            except EndpointAway as error:
                if time.monotonic() - away_since >= error.patience_s:
                    seat.error, seat.state = _gone(seat, error), ReplicaState.BROKEN
                    break
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, _MOST_RETRY_S)
            except EvocliffError as error:
                seat.deaths_in_a_row += 1
                if isinstance(error, ConfigError) or seat.deaths_in_a_row >= _FUTILE_DEATHS:
                    seat.error, seat.state = error, ReplicaState.BROKEN
                    break
                await asyncio.sleep(_RETRY_S)  # a device may hold the dead process's memory a while
        self._serve()

    async def _bring_up(self, seat: Seat) -> None:
        """The first loading of a replica that joins later."""
        await self._bring_back(seat)
        seat.count_from_now()

    async def _end(self, seat: Seat) -> None:
        """Let a replica close its engine, then end its process."""
        if seat.state in (ReplicaState.READY, ReplicaState.LEAVING):
            with contextlib.suppress(ReplicaLost, EvocliffError, TimeoutError):
                await asyncio.wait_for(seat.host.call("close"), _CLOSE_S)
        seat.host.end()
        if seat in self._seats:
            self._seats.remove(seat)
            self._left.add(seat)

    # The number of replicas

    async def _keep_size(self) -> None:
        """Start replicas while work waits, drain them when they have had none for a while."""
        while True:
            await asyncio.sleep(_SCALE_EVERY_S)
            starting = [s for s in self._seats if s.state is ReplicaState.STARTING]
            present = [s for s in self._seats if s.state is not ReplicaState.BROKEN]
            new = to_add(
                self.limits,
                present=len(self._seats),
                starting=len(starting),
                waiting=len(self._waiting),
                in_flight=self._in_flight or CALLS_UNSAID,
            )
            for _ in range(new):
                self._in_background(self._bring_up(self._add_seat()))
            now = time.monotonic()
            idle = [
                s
                for s in present
                if s.state in (ReplicaState.READY, ReplicaState.STARTING)
                and s.idle_s(now) >= self._idle_s
            ]
            leaving = to_retire(
                self.limits,
                present=sum(s.state is not ReplicaState.LEAVING for s in present),
                idle=len(idle),
                waiting=len(self._waiting),
            )
            for seat in sorted(idle, key=lambda s: -s.number)[:leaving]:
                seat.state = ReplicaState.LEAVING
                self._in_background(self.drain(seat.number))

    def _in_background(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)  # the event loop itself holds tasks weakly
        task.add_done_callback(self._tasks.discard)


class Prioritised(Generic[In, Out]):
    """A `Worker`: a pool as callers of one priority see it. Several may share the pool; closing one
    of them closes nothing."""

    def __init__(self, pool: Pool[In, Out], priority: Priority) -> None:
        self._pool, self._priority = pool, priority

    async def start(self) -> Any:
        return await self._pool.start()

    async def run(self, requests: Sequence[In]) -> list[Out | Failure]:
        return await self._pool.run(requests, self._priority)

    async def close(self) -> None:
        return None


class _Left:
    """What replicas that have left had done."""

    def __init__(self) -> None:
        self.busy_s = self.alive_s = 0.0
        self.restarts = 0

    def add(self, seat: Seat) -> None:
        now = time.monotonic()
        self.busy_s += seat.busy_s(now)
        self.alive_s += seat.alive_s(now)
        self.restarts += seat.restarts


def _gone(seat: Seat, error: EndpointAway) -> TargetError:
    """No bad input, since it has worked before: the work fails, and can be taken up again."""
    return TargetError(
        f"{seat.pool}: replica {seat.number}: {error} Nobody has answered for "
        f"{error.patience_s:.0f} s; what has ended is stored, and the run can be resumed"
    )


def _futile(seat: Seat) -> TargetError:
    return TargetError(
        f"{seat.pool}: replica {seat.number} died {seat.deaths_in_a_row} times in a row without "
        "answering anything; see `ray logs`"
    )
