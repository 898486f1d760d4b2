"""Engines that die: the error says so, Ray starts the replica again, and no process is left behind."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial

import psutil
import pytest

from tests.integration.vllm.conftest import CACHE_GIB, THREADS
from workers import cluster
from workers.engines.vllm import VllmEngine
from workers.interface import (
    EngineDied,
    Failure,
    Generation,
    GenerationRequest,
    Message,
    Sampling,
)
from workers.pool import Pool
from workers.replica import EngineWorker

pytestmark = [pytest.mark.vllm, pytest.mark.slow, pytest.mark.timeout(600)]

CORE = "VLLM::EngineCore"
SETTINGS = {"model": "local:smollm2", "threads": THREADS, "kv_cache_gib": CACHE_GIB}


def request(max_tokens: int = 8) -> GenerationRequest:
    sampling = Sampling(1.0, max_tokens=max_tokens)
    return GenerationRequest("k", (Message("user", "Tell me a story."),), 4, sampling, 1)


def cores() -> list[psutil.Process]:
    """Engine cores below this process. One that ends while it is asked for its name is none."""
    found = []
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            if process.name() == CORE:
                found.append(process)
    return found


def ended(process: psutil.Process) -> bool:
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:  # between the two questions
        return True


def wait_until(holds: Callable[[], bool], timeout_s: float) -> None:
    deadline = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_a_dead_engine_is_an_exception_and_leaves_no_process() -> None:
    engine = VllmEngine(**SETTINGS)  # type: ignore[arg-type]
    processes = [psutil.Process(pid) for pid in engine.pids]
    (core,) = [p for p in processes if p.name() == CORE]

    async def scenario() -> None:
        under_way = asyncio.ensure_future(engine.generate([request(500)]))
        await asyncio.sleep(1.0)
        core.kill()
        with pytest.raises(EngineDied, match="died"):
            await asyncio.wait_for(under_way, 30)
        with pytest.raises(EngineDied):
            await asyncio.wait_for(engine.generate([request()]), 30)
        await engine.close()
        with pytest.raises(EngineDied, match="closed"):
            await engine.generate([request()])

    asyncio.run(scenario())
    assert all(map(ended, processes))


HOLDER = """
from workers.engines.vllm import VllmEngine
if __name__ == "__main__":
    VllmEngine("local:smollm2", kv_cache_gib=1)
"""


def test_a_process_that_is_killed_while_its_engine_starts_leaves_nothing() -> None:
    holder = subprocess.Popen([sys.executable, "-c", HOLDER], stderr=subprocess.DEVNULL)
    parent = psutil.Process(holder.pid)

    def starting() -> bool:
        with contextlib.suppress(psutil.NoSuchProcess):
            children = parent.children(recursive=True)
            return any("spawn_main" in " ".join(p.cmdline()) for p in children)
        return False

    wait_until(starting, 120)
    children = parent.children(recursive=True)
    holder.kill()
    holder.wait()
    _, alive = psutil.wait_procs(children, timeout=15)
    assert not alive


def bare_engine() -> EngineWorker:
    return EngineWorker(VllmEngine(**SETTINGS))  # type: ignore[arg-type]


def test_ray_starts_a_replica_again_whose_engine_or_process_was_killed() -> None:
    others = set(cores())  # of tests before this one

    async def scenario() -> None:
        pool: Pool[GenerationRequest, Generation] = Pool(partial(bare_engine), cpus=1)
        try:
            await pool.start()
            (core,) = set(cores()) - others
            replica = core.parent()
            assert replica is not None
            family = replica.children(recursive=True)
            core.kill()
            answers: list[Generation | Failure] = await asyncio.wait_for(
                pool.run([request(), request()]), 300
            )
            assert all(isinstance(a, Generation) for a in answers)
            wait_until(lambda: all(map(ended, [replica, *family])), 30)

            (core,) = set(cores()) - others
            replica = core.parent()
            assert replica is not None
            assert replica.pid != family[0].ppid
            family = replica.children(recursive=True)
            os.kill(replica.pid, signal.SIGKILL)
            wait_until(lambda: all(map(ended, [replica, *family])), 30)
        finally:
            await pool.close()

    with cluster.connect("local"):
        asyncio.run(scenario())
        wait_until(lambda: set(cores()) <= others, 30)
