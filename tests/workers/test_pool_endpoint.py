"""A replica that is lost while its endpoint is away comes back with the endpoint."""

from __future__ import annotations

import asyncio
import copy
import pickle
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.scripted_endpoint import ScriptedEndpoint, scripted_endpoint
from workers.engines.endpoint_client import Surroundings
from workers.engines.openai import OpenAIEngine
from workers.errors import EndpointAway
from workers.interface import (
    ConfigError,
    Failure,
    Generation,
    GenerationRequest,
    Message,
    Sampling,
    TargetError,
)
from workers.pool import Pool, ReplicaLost, ReplicaState


class Leap:
    """A clock for the engine's own pauses, which are not what is tested: sleeping moves it."""

    def __init__(self) -> None:
        self.now_s = 0.0

    async def sleep(self, seconds: float) -> None:
        self.now_s += seconds
        await asyncio.sleep(0)

    def surroundings(self) -> Surroundings:
        return Surroundings(clock=lambda: self.now_s, sleep=self.sleep, chance=lambda: 0.0)


class EngineHost:
    """A host in this process whose worker is an engine on an endpoint. `lose` ends its process."""

    def __init__(self, endpoint: ScriptedEndpoint, patience_s: float) -> None:
        self._endpoint, self._patience_s = endpoint, patience_s
        self._engine: OpenAIEngine | None = None
        self.starts = 0

    async def call(self, method: str, *arguments: Any) -> Any:
        if method == "start":
            self.starts += 1
            self._engine = await asyncio.to_thread(
                OpenAIEngine,
                "tiny",
                base_url=self._endpoint.url,
                patience_s=self._patience_s,
                surroundings=Leap().surroundings(),
            )
            return self.starts
        if self._engine is None:
            raise ReplicaLost("gone")
        if method == "describe":
            return self._engine.description
        if method == "close":
            return await self._engine.close()
        return await self._engine.generate(*arguments)

    async def lose(self) -> None:
        engine, self._engine = self._engine, None
        assert engine is not None
        await engine.close()

    def end(self) -> None:
        return None


@pytest.fixture
def endpoint() -> Iterator[ScriptedEndpoint]:
    with scripted_endpoint() as served:
        yield served


def pool_on(
    endpoint: ScriptedEndpoint, patience_s: float
) -> tuple[Pool[GenerationRequest, Generation], list[EngineHost]]:
    hosts: list[EngineHost] = []

    def launch(number: int) -> EngineHost:
        hosts.append(EngineHost(endpoint, patience_s))
        return hosts[-1]

    def never() -> Any:
        raise AssertionError("the launcher makes the replicas")

    return Pool(never, launch=launch), hosts


def request() -> GenerationRequest:
    return GenerationRequest("key", (Message("user", "How?"),), 2, Sampling(max_tokens=5), 1)


def test_a_replica_that_starts_again_waits_for_its_endpoint(endpoint: ScriptedEndpoint) -> None:
    pool, hosts = pool_on(endpoint, patience_s=60)

    async def scenario() -> list[Generation | Failure]:
        await pool.start()
        endpoint.go_away()
        await hosts[0].lose()
        asked = asyncio.ensure_future(pool.run([request()]))
        while hosts[0].starts < 3:  # twice in vain
            await asyncio.sleep(0.02)
        assert [r.state for r in pool.status().replicas] == [ReplicaState.LOST]
        assert not asked.done()
        endpoint.begin()
        answers = await asyncio.wait_for(asked, timeout=30)
        await pool.close()
        return answers

    (answer,) = asyncio.run(scenario())
    assert isinstance(answer, Generation)
    assert len(answer.samples) == 2


def test_patience_ends_and_the_run_with_it_as_work_that_failed(endpoint: ScriptedEndpoint) -> None:
    pool, hosts = pool_on(endpoint, patience_s=1)

    async def scenario() -> float:
        await pool.start()
        endpoint.go_away()
        await hosts[0].lose()
        began = time.monotonic()
        with pytest.raises(TargetError, match=r"is the server up.*can be resumed"):
            await asyncio.wait_for(pool.run([request()]), timeout=30)
        await pool.close()
        return time.monotonic() - began

    assert asyncio.run(scenario()) >= 1


def test_the_first_start_is_strict(endpoint: ScriptedEndpoint) -> None:
    pool, hosts = pool_on(endpoint, patience_s=60)
    endpoint.go_away()

    async def scenario() -> None:
        with pytest.raises(ConfigError, match="is the server up"):
            await pool.start()
        await pool.close()

    asyncio.run(scenario())
    assert hosts[0].starts == 1


def test_a_key_that_is_refused_at_a_restart_is_not_waited_for(endpoint: ScriptedEndpoint) -> None:
    pool, hosts = pool_on(endpoint, patience_s=60)

    async def scenario() -> None:
        await pool.start()
        endpoint.key = "another"
        await hosts[0].lose()
        with pytest.raises(ConfigError, match="OPENAI_API_KEY"):
            await asyncio.wait_for(pool.run([request()]), timeout=30)
        await pool.close()

    asyncio.run(scenario())
    assert hosts[0].starts == 2


def test_the_error_crosses_processes_whole() -> None:
    error = EndpointAway("nobody answers", 12.5)
    for again in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert (str(again), again.patience_s) == ("nobody answers", 12.5)
