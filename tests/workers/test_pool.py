"""The pool on a real Ray: the face of one replica, and nothing lost when processes die."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import psutil
import pytest

from workers import cluster
from workers.interface import ConfigError, EngineDied, Failure, FailureKind
from workers.pool import Placement, Pool

pytestmark = pytest.mark.slow


class Doubler:
    """Doubles numbers. Negative ones fail, 13 kills the process, 99 takes its time."""

    description = "doubler"

    async def run(self, requests: Sequence[int]) -> list[int | Failure]:
        if 13 in requests:
            os.kill(os.getpid(), signal.SIGKILL)
        if 99 in requests:
            await asyncio.sleep(0.5)
        return [Failure(FailureKind.ENGINE, "negative") if r < 0 else 2 * r for r in requests]

    async def close(self) -> None:
        return None


class Mortal(Doubler):
    """Its engine dies at the first call of all processes."""

    def __init__(self, once: Path) -> None:
        self._once = once

    async def run(self, requests: Sequence[int]) -> list[int | Failure]:
        if not self._once.exists():
            self._once.touch()
            raise EngineDied("dead")
        return await super().run(requests)


class Parent(Doubler):
    """An engine with a process of its own, whose id is its answer; 13 is its death."""

    def __init__(self) -> None:
        self._child = subprocess.Popen(["sleep", "600"])

    async def run(self, requests: Sequence[int]) -> list[int | Failure]:
        if 13 in requests:
            raise EngineDied("dead")
        return [self._child.pid for _ in requests]


def no_worker() -> Doubler:
    raise ConfigError("target.model: 'absent' does not exist")


@pytest.fixture(scope="module")
def ray_here() -> Iterator[None]:
    with cluster.connect("local"):
        yield


def test_results_keep_length_and_order_and_failures_are_data(ray_here: None) -> None:
    async def scenario() -> None:
        pool: Pool[int, int] = Pool(Doubler, replicas=2, cpus=0.5)
        await pool.start()
        batches = [[n, -1, n + 1] for n in range(20, 40)]
        results = await asyncio.gather(*(pool.run(b) for b in batches))
        for batch, result in zip(batches, results, strict=True):
            assert [r for r in result if not isinstance(r, Failure)] == [2 * batch[0], 2 * batch[2]]
            assert isinstance(result[1], Failure)
        assert await pool.run([]) == []
        await pool.close()

    asyncio.run(scenario())


def test_a_wrong_model_comes_back_as_the_error_that_it_is(ray_here: None) -> None:
    async def scenario() -> None:
        pool: Pool[int, int] = Pool(no_worker, cpus=0.5)
        try:
            with pytest.raises(ConfigError, match="'absent' does not exist"):
                await pool.start()
        finally:
            await pool.close()

    asyncio.run(scenario())


def test_a_poisoned_request_fails_alone_and_its_batch_mates_do_not(ray_here: None) -> None:
    async def scenario() -> None:
        pool: Pool[int, int] = Pool(Doubler, replicas=2, cpus=0.5)
        await pool.start()
        result = await pool.run([1, 13, 2, 3])
        assert [r for r in result if not isinstance(r, Failure)] == [2, 4, 6]
        assert isinstance(result[1], Failure)
        assert result[1].kind is FailureKind.REPLICA_LOST
        await pool.close()

    asyncio.run(scenario())


def test_a_killed_replica_loses_no_work(ray_here: None) -> None:
    async def scenario() -> None:
        pool: Pool[int, int] = Pool(Doubler, replicas=2, cpus=0.5)
        await pool.start()
        pids = [replica.pid or 0 for replica in pool.status().replicas]
        running = asyncio.gather(*(pool.run([99, n]) for n in range(6)))
        await asyncio.sleep(0.2)
        os.kill(pids[0], signal.SIGKILL)
        assert [r[1] for r in await running] == [0, 2, 4, 6, 8, 10]
        assert pool.status().restarts >= 1
        await pool.close()

    asyncio.run(scenario())


def test_close_leaves_no_replica_process(ray_here: None) -> None:
    async def scenario() -> list[int]:
        pool: Pool[int, int] = Pool(Doubler, replicas=2, cpus=0.5)
        await pool.start()
        pids = [replica.pid or 0 for replica in pool.status().replicas]
        await pool.close()
        return pids

    pids = asyncio.run(scenario())
    deadline = time.monotonic() + 10
    while any(psutil.pid_exists(pid) for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not any(psutil.pid_exists(pid) for pid in pids)


def test_an_engine_that_dies_ends_its_process_and_the_work_is_done_by_the_next(
    ray_here: None, tmp_path: Path
) -> None:
    async def scenario() -> None:
        pool: Pool[int, int] = Pool(partial(Mortal, tmp_path / "once"), cpus=0.5)
        await pool.start()
        (before,) = pool.status().replicas
        assert await pool.run([4, 5]) == [8, 10]
        (after,) = pool.status().replicas
        assert after.restarts == 1
        assert after.pid != before.pid
        assert not psutil.pid_exists(before.pid or 0)
        await pool.close()

    asyncio.run(scenario())


def test_a_replica_with_a_placement_group_sits_in_it_and_gives_it_back(ray_here: None) -> None:
    async def scenario() -> None:
        from ray.util.placement_group import placement_group_table

        placement = Placement(({"CPU": 0.5}, {"CPU": 0.5}), "PACK", actor_cpus=0.5)
        pool: Pool[int, int] = Pool(Doubler, placement=placement)
        await pool.start()
        assert await pool.run([4]) == [8]
        states = [group["state"] for group in placement_group_table().values()]
        assert states.count("CREATED") == 1
        await pool.close()
        states = [group["state"] for group in placement_group_table().values()]
        assert states.count("CREATED") == 0

    asyncio.run(scenario())


def test_an_engine_takes_its_own_processes_with_it(ray_here: None, tmp_path: Path) -> None:
    """What an engine has started would go on holding the device's memory."""

    async def scenario(worker: Callable[[], Parent], requests: list[int]) -> int:
        pool: Pool[int, int] = Pool(worker, cpus=0.5)
        await pool.start()
        (child,) = await pool.run([1])
        assert isinstance(child, int)
        assert psutil.pid_exists(child)
        if requests:
            await pool.run(requests)
        await pool.close()
        return child

    for requests in ([], [13]):  # closed, and died
        child = asyncio.run(scenario(Parent, requests))
        deadline = time.monotonic() + 10
        while _runs(child) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert not _runs(child)


def _runs(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
