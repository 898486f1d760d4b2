"""The pool's rules over hosts without processes: who is served next, who is suspected, who leaves."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

import pytest

from workers.interface import (
    EngineDescription,
    EngineDied,
    Failure,
    FailureKind,
    TargetError,
)
from workers.pool import Pool, Priority, ReplicaLost, Replicas, ReplicaState

POISON = 13


@dataclass
class Desk:
    """A host in this process: doubles numbers, dies of `POISON`, works one `tick` a call."""

    number: int
    seen: list[tuple[int, list[int]]]  # (replica, requests) in the order of arrival, of all desks
    tick_s: float = 0.0
    batch: int | None = None
    engine_dies: bool = False
    opens_late: bool = False
    ended: bool = False
    company: list[int] = field(default_factory=list)  # calls held when each one arrived
    _held: int = 0
    _life: int = 0

    async def call(self, method: str, *arguments: Any) -> Any:
        if method == "start":
            while self.opens_late and self._life:
                await asyncio.sleep(0.01)
            return 1000 + self._life
        if method == "describe":
            return EngineDescription("desk", "d", "1", "t", "f", "n", 10, max_sequences=self.batch)
        if method == "close":
            return None
        (requests,) = arguments
        self.seen.append((self.number, requests))
        self._held += 1
        self.company.append(self._held)
        life = self._life
        try:
            await asyncio.sleep(self.tick_s)
            if POISON in requests:
                self._life += 1
            if self._life != life:
                if self.engine_dies:
                    raise EngineDied("the engine is dead")
                raise ReplicaLost("gone")
            return [2 * request for request in requests]
        finally:
            self._held -= 1

    def end(self) -> None:
        self.ended = True


@dataclass
class Office:
    """A pool over desks."""

    settings: dict[str, Any] = field(default_factory=dict)
    desk: dict[str, Any] = field(default_factory=dict)
    desks: list[Desk] = field(default_factory=list)
    seen: list[tuple[int, list[int]]] = field(default_factory=list)

    def pool(self) -> Pool[int, int]:
        def launch(number: int) -> Desk:
            self.desks.append(Desk(number, self.seen, **self.desk))
            return self.desks[-1]

        def never() -> Any:
            raise AssertionError("desks need no factory")

        return Pool(never, launch=launch, **self.settings)

    def run(self, scenario: Callable[[Pool[int, int]], Coroutine[Any, Any, None]]) -> None:
        async def whole() -> None:
            pool = self.pool()
            await pool.start()
            try:
                await asyncio.wait_for(scenario(pool), timeout=20)
            finally:
                await pool.close()

        asyncio.run(whole())
        assert all(desk.ended for desk in self.desks)


def test_waiting_calls_are_served_by_priority_then_in_order() -> None:
    office = Office({"replicas": 1, "in_flight": 1}, {"tick_s": 0.01})

    async def scenario(pool: Pool[int, int]) -> None:
        mutating, scoring = pool.at(Priority.MUTATE), pool.at(Priority.SCORE)
        calls = [mutating.run([0]), mutating.run([1]), mutating.run([2]), scoring.run([3])]
        await asyncio.gather(*calls)

    office.run(scenario)
    assert [requests for _, requests in office.seen] == [[0], [3], [1], [2]]


def test_the_least_loaded_replica_gets_the_next_call() -> None:
    office = Office({"replicas": 3, "in_flight": 2}, {"tick_s": 0.02})

    async def scenario(pool: Pool[int, int]) -> None:
        await asyncio.gather(*(pool.run([n]) for n in range(6)))

    office.run(scenario)
    assert sorted(number for number, _ in office.seen) == [0, 0, 1, 1, 2, 2]
    assert [number for number, _ in office.seen[:3]] == [0, 1, 2]


@pytest.mark.parametrize(
    ("in_flight", "batch", "held"), [(3, None, 3), (None, None, 2), (None, 10, 3), (None, 1, 1)]
)
def test_a_replica_holds_a_bounded_number_of_calls(
    in_flight: int | None, batch: int | None, held: int
) -> None:
    """With a batch of 10: calls of four sequences are taken until eleven are on board."""
    office = Office(
        {"in_flight": in_flight, "weigh": lambda request: 4}, {"tick_s": 0.01, "batch": batch}
    )

    async def scenario(pool: Pool[int, int]) -> None:
        assert pool.calls_to_offer(4) == held
        await asyncio.gather(*(pool.run([n]) for n in range(7)))

    office.run(scenario)
    assert max(office.desks[0].company) == held


def test_a_poisoned_request_kills_thrice_with_its_batch_and_not_again() -> None:
    office = Office({"replicas": 2})

    async def scenario(pool: Pool[int, int]) -> None:
        first, failed, last = await pool.run([1, POISON, 2])
        assert (first, last) == (2, 4)
        assert isinstance(failed, Failure)
        assert failed.kind is FailureKind.REPLICA_LOST
        assert failed.message == "target: 3 replicas died while they held this request"
        status = pool.status()
        assert (status.restarts, status.quarantined) == (3, 1)

    office.run(scenario)


def test_a_suspect_is_alone_on_its_replica_so_that_it_harms_nobody_else() -> None:
    office = Office({"replicas": 2, "in_flight": 4}, {"tick_s": 0.01})

    async def scenario(pool: Pool[int, int]) -> None:
        results = await asyncio.gather(*(pool.run([n]) for n in range(6, 20)))
        failures = [r for (r,) in results if isinstance(r, Failure)]
        assert len(failures) == 1
        assert pool.status().restarts == 2

    office.run(scenario)
    times = [requests[0] for _, requests in office.seen]
    assert times.count(POISON) == 2
    assert max(times.count(n) for n in range(6, 20)) == 2  # its neighbours were given out again


def test_the_others_never_wait_for_a_lost_replica() -> None:
    office = Office({"replicas": 2, "in_flight": 1}, {"opens_late": True})

    async def scenario(pool: Pool[int, int]) -> None:
        office.desks[0]._life = 1  # its next loading hangs
        running = asyncio.ensure_future(pool.run([POISON]))
        await asyncio.sleep(0.05)
        office.desks[1].opens_late = False
        assert await asyncio.gather(*(pool.run([n]) for n in range(5))) == [
            [2 * n] for n in range(5)
        ]
        states = {r.number: r.state for r in pool.status().replicas}
        assert ReplicaState.LOST in states.values()
        for desk in office.desks:
            desk.opens_late = False
        assert isinstance((await running)[0], Failure)

    office.run(scenario)


def test_an_engine_that_never_answers_anything_is_an_error_and_no_failure() -> None:
    async def scenario(pool: Pool[int, int]) -> None:
        with pytest.raises(EngineDied, match="the engine is dead"):
            await pool.run([POISON])

    Office({}, {"engine_dies": True}).run(scenario)


def test_an_engine_that_has_answered_before_quarantines_the_request() -> None:
    async def scenario(pool: Pool[int, int]) -> None:
        assert await pool.run([1]) == [2]
        (failed,) = await pool.run([POISON])
        assert isinstance(failed, Failure)

    Office({}, {"engine_dies": True}).run(scenario)


def test_a_pool_whose_every_replica_dies_of_everything_gives_up() -> None:
    async def scenario(pool: Pool[int, int]) -> None:
        for _ in range(4):  # two deaths each
            assert isinstance((await pool.run([POISON]))[0], Failure)
        with pytest.raises(TargetError, match="died 10 times in a row"):
            await asyncio.gather(pool.run([POISON]), pool.run([POISON]))

    Office({"replicas": 1}).run(scenario)


def test_replicas_come_while_work_waits_and_leave_without_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("workers.pool.pool._SCALE_EVERY_S", 0.02)
    office = Office({"replicas": Replicas(1, 3), "in_flight": 1, "idle_s": 0.1}, {"tick_s": 0.05})

    async def scenario(pool: Pool[int, int]) -> None:
        assert pool.calls_to_offer(1) == 2  # one works, one waits: so it grows
        results = await asyncio.gather(*(pool.run([n]) for n in range(12)))
        assert [r[0] for r in results] == [2 * n for n in range(12)]
        assert len(pool.status().replicas) == 3
        assert {number for number, _ in office.seen} == {0, 1, 2}
        await asyncio.sleep(0.4)
        assert len(pool.status().replicas) == 1
        assert sum(desk.ended for desk in office.desks) == 2

    office.run(scenario)


def test_a_drained_replica_finishes_what_it_has_and_takes_nothing_new() -> None:
    office = Office({"replicas": 2, "in_flight": 1}, {"tick_s": 0.05})

    async def scenario(pool: Pool[int, int]) -> None:
        calls = [asyncio.ensure_future(pool.run([n])) for n in range(4)]
        await asyncio.sleep(0.01)
        await pool.drain(0)
        assert office.desks[0].ended
        assert [(await call)[0] for call in calls] == [0, 2, 4, 6]
        assert [r.number for r in pool.status().replicas] == [1]

    office.run(scenario)
    assert [number for number, _ in office.seen].count(0) == 1


def test_calls_that_wait_when_the_pool_closes_end_with_an_error() -> None:
    office = Office({"replicas": 1, "in_flight": 1}, {"tick_s": 0.2})

    async def scenario(pool: Pool[int, int]) -> None:
        first = asyncio.ensure_future(pool.run([1]))
        second = asyncio.ensure_future(pool.run([2]))
        await asyncio.sleep(0.01)
        await pool.close()
        with pytest.raises(TargetError, match="closed"):
            await second
        first.cancel()

    office.run(scenario)


def test_the_status_counts_calls_tokens_and_busy_time() -> None:
    office = Office({"tokens": lambda result: 10}, {"tick_s": 0.02})

    async def scenario(pool: Pool[int, int]) -> None:
        await pool.run([1, 2])
        await pool.run([3])
        (replica,) = pool.status().replicas
        assert (replica.finished, replica.tokens, replica.queue) == (2, 30, 0)
        assert replica.tokens_per_s > 0
        assert 0.5 < replica.busy <= 1.0
        assert replica.pid == 1000

    office.run(scenario)
