"""The Ray actor of one replica: it holds what a factory built and forwards one call."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable, Sequence
from typing import Any

from workers.interface import Engine, Failure, Generation, GenerationRequest, Worker

Factory = Callable[[], Worker[Any, Any]]


class Replica:
    """A worker in a process of its own.

    The worker is built in `start`, not in the constructor, so that a wrong model name comes back as
    the exception that it is; a restarted process builds it anew at the first call.
    """

    def __init__(self, factory: Factory) -> None:
        self._factory = factory
        self._worker: Worker[Any, Any] | None = None
        self._building = asyncio.Lock()

    async def start(self) -> int:
        """Build the worker if need be; returns the process id."""
        async with self._building:
            if self._worker is None:
                self._worker = await asyncio.to_thread(self._factory)
        return os.getpid()

    async def run(self, requests: Sequence[Any]) -> list[Any]:
        await self.start()
        assert self._worker is not None  # noqa: S101 - start has built it
        return await self._worker.run(requests)

    async def describe(self) -> Any:
        """What the worker says of itself (`Evaluator.description`, `Engine.description`)."""
        await self.start()
        return getattr(self._worker, "description", None)

    async def close(self) -> None:
        if self._worker is not None:
            with contextlib.suppress(Exception):  # the process ends next, whatever happens here
                await self._worker.close()


class EngineWorker:
    """A bare engine with the face of a worker: what a pool of proposers or judges hosts."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.description = engine.description

    async def run(self, requests: Sequence[GenerationRequest]) -> list[Generation | Failure]:
        return await self._engine.generate(requests)

    async def close(self) -> None:
        await self._engine.close()
