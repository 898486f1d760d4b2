"""The pool on a real Ray: the face of one replica, and nothing lost when processes die."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Iterator, Sequence

import psutil
import pytest

from workers import cluster
from workers.interface import ConfigError, Failure, FailureKind
from workers.pool import Pool

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
